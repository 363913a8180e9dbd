//! `--on`: where workers run, and how many of which size there are.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use laioncele_core::store::Store;

use crate::crew::WorkerArgs;
use crate::executor::launch::{Launch, Local, Prefix, Program, Ray, Slurm};
use crate::failure::{Exit, Failure};
use crate::machine::{Machine, VisibleGpu};
use crate::node_cache::program as fetched;
use crate::words::count;

/// Where workers run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    /// On this machine.
    Local,
    /// As steps of the Slurm job that this process runs in.
    Slurm,
    /// On the Ray cluster at this address.
    Ray(String),
    /// Behind this command.
    Command(String),
}

impl FromStr for Where {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let prefixed = |prefix| text.strip_prefix(prefix).filter(|rest| !rest.is_empty());
        match text {
            "local" => return Ok(Self::Local),
            "slurm" => return Ok(Self::Slurm),
            _ => {}
        }
        if let Some(address) = prefixed("ray://") {
            return Ok(Self::Ray(address.to_owned()));
        }
        if let Some(command) = prefixed("command:") {
            return Ok(Self::Command(command.to_owned()));
        }
        Err("one of local, slurm, ray://HOST:PORT, ray://auto, command:PREFIX".to_owned())
    }
}

/// Where workers run, and what they find there.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Other machines")]
pub(crate) struct OnArgs {
    /// Where workers run: `local`; `slurm`, inside a job of Slurm; `ray://HOST:PORT` or `ray://auto`, on a
    /// Ray cluster; `command:PREFIX`, behind a command such as `ssh {host}`. Source, output and models
    /// must lie at the same paths everywhere, models only without --node-cache
    #[arg(long, value_name = "WHERE", default_value = "local")]
    pub on: Where,
    /// Hosts that take the place of {host} in a command, in turn
    #[arg(long, value_name = "HOST,...", value_delimiter = ',')]
    hosts: Vec<String>,
    /// Threads of a worker elsewhere [default: one with `command`, the CPUs of a task with `slurm`, two with `ray`]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// laioncele on the other machines, the same file as here [default: this program's path]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Workers elsewhere keep models in this folder of their machine, each fetched once from the output and checked by its digest; the
    /// manifest's paths of models need not be there
    #[arg(long, value_name = "FOLDER", value_parser = whole_path)]
    node_cache: Option<PathBuf>,
    /// They fetch this program too, from the output folder, with sh and sha256sum
    #[arg(long, requires = "node_cache", conflicts_with = "program")]
    fetch_program: bool,
    /// How long a worker elsewhere may take until it answers
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = crate::units::duration)]
    start_timeout: Duration,
    /// The Python that has the package `ray`
    #[arg(long, value_name = "FILE", default_value = "python3")]
    python: PathBuf,
}

/// The launcher of a run, and the machine that its workers make up.
pub(crate) struct Machines {
    /// Starts workers.
    pub launcher: Box<dyn Launch>,
    /// All that they may use.
    pub machine: Machine,
    /// How many of them, as asked for or as the place has room for.
    pub workers: WorkerArgs,
}

/// What a place has room for.
struct Room {
    workers: usize,
    threads: usize,
    gpus: usize,
}

impl OnArgs {
    /// Whether workers run on this machine.
    pub(crate) fn is_local(&self) -> bool {
        self.on == Where::Local
    }

    /// The folder of other machines in which workers keep models.
    pub(crate) fn node_cache(&self) -> Option<&Path> {
        self.node_cache.as_deref()
    }

    /// Finds the place for a run in `store`. Its messages go to `log`.
    ///
    /// # Errors
    /// A place that is not there; settings of one place with another; a program that cannot be published.
    pub(crate) fn machines(
        &self,
        asked: &WorkerArgs,
        store: &Store,
        log: &Path,
    ) -> Result<Machines, Failure> {
        if self.is_local() && self.node_cache.is_some() {
            let text = "--node-cache is for workers on other machines: it needs --on";
            return Err(Failure::new(Exit::Usage, text));
        }
        if !self.hosts.is_empty() && !matches!(self.on, Where::Command(_)) {
            let text = "--hosts belongs to --on command:PREFIX";
            return Err(Failure::new(Exit::Usage, text));
        }
        if self.is_local() {
            let launcher = Local::new().map_err(no_program)?;
            return Ok(Machines {
                launcher: Box::new(launcher),
                machine: Machine::look(),
                workers: asked.clone(),
            });
        }
        let program = self.program(store)?;
        let (launcher, room) = self.elsewhere(program, asked, log)?;
        Ok(Machines {
            launcher,
            machine: room.machine(),
            workers: WorkerArgs {
                workers: Some(u16::try_from(room.workers.max(1)).unwrap_or(u16::MAX)),
                gpus: asked.gpus.clone(),
            },
        })
    }

    /// The program on the other machines.
    fn program(&self, store: &Store) -> Result<Program, Failure> {
        let program = Program::this(self.program.clone()).map_err(no_program)?;
        match &self.node_cache {
            Some(folder) if self.fetch_program => Ok(Program {
                command: fetched::publish(store, folder)?,
                ..program
            }),
            _ => Ok(program),
        }
    }

    fn elsewhere(
        &self,
        program: Program,
        asked: &WorkerArgs,
        log: &Path,
    ) -> Result<(Box<dyn Launch>, Room), Failure> {
        let usage = |text: String| Failure::new(Exit::Usage, text);
        let timeout = self.start_timeout;
        match &self.on {
            Where::Command(prefix) => {
                let room = self.room_of_command(asked)?;
                let prefix = Prefix::new(prefix, self.hosts.clone(), program, timeout);
                Ok((Box::new(prefix.map_err(usage)?), room))
            }
            Where::Ray(address) => {
                let ray = Ray::join(&self.python, address, program, timeout, log);
                let ray =
                    ray.map_err(|e| Failure::new(Exit::Environment, format!("--on ray: {e}")))?;
                let cluster = ray.cluster();
                let room = self.room_of_cluster(asked, cluster.cpus, cluster.gpus);
                Ok((Box::new(ray), room))
            }
            Where::Slurm | Where::Local => {
                let room = self.room_of_job(asked, |name| std::env::var(name).ok())?;
                Ok((Box::new(Slurm::new(program, timeout)), room))
            }
        }
    }

    fn room_of_command(&self, asked: &WorkerArgs) -> Result<Room, Failure> {
        let workers = match (asked.workers, self.hosts.len()) {
            (Some(workers), _) => workers.into(),
            (None, 0) => {
                let text = "--on command: how many workers? give --workers or --hosts";
                return Err(Failure::new(Exit::Usage, text));
            }
            (None, hosts) => hosts,
        };
        Ok(Room {
            workers,
            threads: self.threads.map_or(1, usize::from),
            gpus: 0,
        })
    }

    /// What a Ray cluster has. A size that was asked for stays, also where it does not fit: no worker comes then, and the run
    /// says so.
    fn room_of_cluster(&self, asked: &WorkerArgs, cpus: usize, gpus: usize) -> Room {
        let threads = self.threads.map_or(cpus.clamp(1, 2), usize::from);
        Room {
            workers: asked.workers.map_or(cpus / threads, usize::from),
            threads,
            gpus,
        }
    }

    /// What the Slurm job around this process has, by the variables that Slurm sets.
    fn room_of_job(
        &self,
        asked: &WorkerArgs,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Room, Failure> {
        if variable("SLURM_JOB_ID").is_none() {
            let text = "--on slurm: this process is not inside a job of Slurm";
            let hint = "`laioncele submit slurm` writes a batch script that runs it in one";
            return Err(Failure::new(Exit::Usage, text).hint(hint));
        }
        let number = |name: &str| {
            let text = variable(name)?;
            // SLURM_TASKS_PER_NODE and its kind say 2(x3); what is read here are plain numbers.
            text.trim().parse::<usize>().ok()
        };
        let threads = self.threads.map(usize::from);
        let threads = threads
            .or_else(|| number("SLURM_CPUS_PER_TASK"))
            .unwrap_or(1);
        let nodes = number("SLURM_JOB_NUM_NODES").unwrap_or(1);
        let tasks = number("SLURM_NTASKS").unwrap_or(nodes);
        // Of a job that salloc made, only what was asked for is known.
        let gpus = number("SLURM_GPUS_ON_NODE").or_else(|| number("SLURM_GPUS_PER_NODE"));
        Ok(Room {
            workers: asked.workers.map_or(tasks, usize::from),
            threads,
            gpus: gpus.unwrap_or(0) * nodes,
        })
    }
}

impl Room {
    /// One machine that has all of it. How much memory there is nobody says.
    fn machine(&self) -> Machine {
        let gpu = |number: usize| VisibleGpu {
            name: number.to_string(),
            memory: u64::MAX,
        };
        Machine {
            cpus: self.workers * self.threads,
            gpus: (0..self.gpus).map(gpu).collect(),
            free: None,
            threads_each: Some(self.threads),
        }
    }
}

impl Machines {
    /// What is used, for the user: `4 workers of 2 threads`.
    pub(crate) fn words(&self) -> String {
        let workers = self.workers.workers.map_or(1, usize::from);
        let threads = self.machine.cpus / workers.max(1);
        let gpus = match self.machine.gpus.len() {
            0 => String::new(),
            gpus => format!(", {}", count(gpus, "GPU")),
        };
        format!(
            "{} of {}{gpus}",
            count(workers, "worker"),
            count(threads, "thread")
        )
    }
}

/// A folder of any machine: a path that does not depend on where a process is.
fn whole_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.is_absolute() {
        true => Ok(path),
        false => Err("a path from the root, as on the other machines".to_owned()),
    }
}

fn no_program(error: std::io::Error) -> Failure {
    let text = format!("cannot find the program's own file: {error}");
    Failure::new(Exit::Environment, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(on: &str) -> OnArgs {
        OnArgs {
            on: on.parse().expect("a place"),
            hosts: Vec::new(),
            threads: None,
            program: None,
            node_cache: None,
            fetch_program: false,
            start_timeout: Duration::from_secs(1),
            python: PathBuf::from("python3"),
        }
    }

    #[test]
    fn places_are_told_from_their_words() {
        assert_eq!("ray://auto".parse(), Ok(Where::Ray("auto".to_owned())));
        let command = Where::Command("ssh {host}".to_owned());
        assert_eq!("command:ssh {host}".parse(), Ok(command));
        for wrong in ["", "ray://", "command:", "kubernetes", "Local"] {
            assert!(wrong.parse::<Where>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_job_says_what_it_has() {
        let variable = |name: &str| match name {
            "SLURM_JOB_ID" => Some("7".to_owned()),
            "SLURM_NTASKS" => Some("6".to_owned()),
            "SLURM_CPUS_PER_TASK" => Some("4".to_owned()),
            "SLURM_JOB_NUM_NODES" => Some("3".to_owned()),
            "SLURM_GPUS_ON_NODE" => Some("2".to_owned()),
            _ => None,
        };
        let room = args("slurm").room_of_job(&WorkerArgs::default(), variable);
        let machine = room.map(|room| room.machine());
        let machine = machine.unwrap_or_else(|e| panic!("{}", e.message));
        assert_eq!(
            (machine.cpus, machine.gpus.len(), machine.free),
            (24, 6, None)
        );
        let outside = args("slurm").room_of_job(&WorkerArgs::default(), |_| None);
        assert!(outside.is_err());
    }

    #[test]
    fn a_cluster_has_workers_of_two_threads_unless_asked_otherwise() {
        let mut on = args("ray://auto");
        let size = |on: &OnArgs, cpus| {
            let room = on.room_of_cluster(&WorkerArgs::default(), cpus, 0);
            (room.workers, room.threads)
        };
        assert_eq!((size(&on, 9), size(&on, 1)), ((4, 2), (1, 1)));
        on.threads = Some(64);
        assert_eq!(size(&on, 4), (0, 64));
    }

    #[test]
    fn a_command_has_as_many_workers_as_hosts_unless_asked_otherwise() {
        let mut on = args("command:ssh {host}");
        assert!(on.room_of_command(&WorkerArgs::default()).is_err());
        on.hosts = vec!["a".to_owned(), "b".to_owned()];
        let workers = |asked| {
            let asked = WorkerArgs {
                workers: asked,
                gpus: Vec::new(),
            };
            on.room_of_command(&asked).map(|room| room.workers).ok()
        };
        assert_eq!((workers(None), workers(Some(5))), (Some(2), Some(5)));
    }
}
