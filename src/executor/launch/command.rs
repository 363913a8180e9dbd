//! Workers on other machines, behind a command that forwards its standard input and output: `ssh`, `srun`, or any other.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::local::{Ending, environment, spawn};
use super::{Launch, Program, StartedWorker, WorkerOptions};

/// `PREFIX env NAME=VALUE … PROGRAM worker --identify`: variables go through `env`, because most commands that lead to
/// another machine do not take ours along.
#[derive(Clone, Debug)]
pub(crate) struct Prefix {
    /// The command's words; `{slot}`, `{host}`, `{threads}` and `{gpu}` are filled in.
    words: Vec<String>,
    /// Hosts that slots are dealt to in turn.
    hosts: Vec<String>,
    program: Program,
    start_timeout: Duration,
}

impl Prefix {
    /// Workers behind `prefix`, split into words as a shell does.
    ///
    /// # Errors
    /// An empty prefix, an open quote, `{host}` without hosts, hosts without `{host}`.
    pub(crate) fn new(
        prefix: &str,
        hosts: Vec<String>,
        program: Program,
        start_timeout: Duration,
    ) -> Result<Self, String> {
        let words = shlex::split(prefix).ok_or_else(|| format!("`{prefix}`: an open quote"))?;
        if words.is_empty() {
            return Err("a command is missing, as in command:'ssh {host}'".to_owned());
        }
        match (prefix.contains("{host}"), hosts.is_empty()) {
            (true, true) => Err(format!("`{prefix}` wants hosts: give --hosts a,b,c")),
            (false, false) => Err(format!("--hosts: `{prefix}` has no {{host}}")),
            _ => Ok(Self {
                words,
                hosts,
                program,
                start_timeout,
            }),
        }
    }

    fn command(&self, options: &WorkerOptions) -> Command {
        let slot = options.slot.to_string();
        let host = self.hosts.iter().cycle().nth(options.slot);
        let filled = self.words.iter().map(|word| {
            word.replace("{slot}", &slot)
                .replace("{host}", host.map_or("", String::as_str))
                .replace("{threads}", &options.threads.to_string())
                .replace("{gpu}", options.gpu.as_deref().unwrap_or(""))
        });
        let words: Vec<String> = filled.collect();
        let gpu = options.gpu.as_deref().unwrap_or("");
        let mut rest = worker_words(&self.program, options);
        rest.insert(1, format!("CUDA_VISIBLE_DEVICES={gpu}"));
        // ssh hands one text to the shell of the other side.
        if Path::new(&words[0]).file_name() == Some(OsStr::new("ssh")) {
            for word in &mut rest {
                if let Ok(quoted) = shlex::try_quote(word) {
                    *word = quoted.into_owned();
                }
            }
        }
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(rest);
        command
    }
}

/// `env`, the variables of a worker but for its GPU, the program and its arguments.
fn worker_words(program: &Program, options: &WorkerOptions) -> Vec<String> {
    let mut words = vec!["env".to_owned()];
    let variables = environment(options).into_iter();
    words.extend(variables.map(|(name, value)| format!("{name}={value}")));
    words.extend_from_slice(&program.command);
    words.extend(["worker", "--identify"].map(str::to_owned));
    words
}

impl Launch for Prefix {
    fn start(&self, options: &WorkerOptions) -> io::Result<StartedWorker> {
        spawn(self.command(options), options, Ending::Ask)
    }

    fn start_timeout(&self) -> Duration {
        self.start_timeout
    }

    fn program(&self) -> Option<&str> {
        Some(&self.program.digest)
    }

    fn obstacles(&self) -> Option<String> {
        let command = self.words.join(" ");
        Some(format!("`{command}` has started no worker"))
    }
}

/// Workers as steps of the Slurm job that this process runs in. `srun` finds a place for each; where there is none, it
/// waits.
#[derive(Clone, Debug)]
pub(crate) struct Slurm {
    program: Program,
    start_timeout: Duration,
    /// Nodes that get no more workers.
    avoided: RefCell<Vec<String>>,
}

impl Slurm {
    /// Workers as steps of the job around this process.
    pub(crate) fn new(program: Program, start_timeout: Duration) -> Self {
        Self {
            program,
            start_timeout,
            avoided: RefCell::default(),
        }
    }

    fn command(&self, options: &WorkerOptions) -> Command {
        let threads = options.threads;
        let mut command = Command::new("srun");
        // A step without --mem=0 takes the whole memory of its node, and the next one waits for ever.
        command.args(["-N1", "-n1", "--exact", "--unbuffered", "--mem=0"]);
        command.arg(format!("-c{threads}"));
        let avoided = self.avoided.borrow();
        if !avoided.is_empty() {
            command.arg(format!("--exclude={}", avoided.join(",")));
        }
        // srun takes what the job asked for as what each step asks for, and refuses it beside `none`.
        for variable in ["SLURM_GPUS", "SLURM_GPUS_PER_NODE", "SLURM_GPUS_PER_TASK"] {
            command.env_remove(variable);
        }
        let mut rest = worker_words(&self.program, options);
        match options.gpu {
            // Slurm says which one, in CUDA_VISIBLE_DEVICES.
            Some(_) => drop(command.arg("--gpus-per-task=1")),
            None => {
                command.arg("--gres=none");
                rest.insert(1, "CUDA_VISIBLE_DEVICES=".to_owned());
            }
        }
        command.args(rest);
        command
    }
}

impl Launch for Slurm {
    fn start(&self, options: &WorkerOptions) -> io::Result<StartedWorker> {
        spawn(self.command(options), options, Ending::Ask)
    }

    fn start_timeout(&self) -> Duration {
        self.start_timeout
    }

    fn program(&self) -> Option<&str> {
        Some(&self.program.digest)
    }

    fn avoid(&self, machine: &str) {
        self.avoided.borrow_mut().push(machine.to_owned());
    }

    fn obstacles(&self) -> Option<String> {
        Some(
            "srun has placed no worker: is the job large enough for a step of this size?"
                .to_owned(),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn program() -> Program {
        Program {
            command: vec!["/opt/laion cele".to_owned()],
            digest: "0".repeat(64),
        }
    }

    fn options(slot: usize, gpu: Option<&str>) -> WorkerOptions {
        WorkerOptions {
            slot,
            threads: 3,
            gpu: gpu.map(str::to_owned),
            log: PathBuf::new(),
            log_filter: "laioncele=debug,warn".to_owned(),
            yields: false,
        }
    }

    fn words(command: &Command) -> Vec<String> {
        let all = std::iter::once(command.get_program()).chain(command.get_args());
        all.map(|word| word.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn hosts_are_dealt_in_turn_and_ssh_gets_quoted_words() {
        let hosts = vec!["a".to_owned(), "b".to_owned()];
        let timeout = Duration::from_secs(1);
        let prefix = Prefix::new("ssh -o 'BatchMode yes' {host}", hosts, program(), timeout);
        let prefix = prefix.expect("a prefix");
        let words = words(&prefix.command(&options(3, Some("1"))));
        assert_eq!(words[..4], ["ssh", "-o", "BatchMode yes", "b"]);
        assert_eq!(words[4..6], ["env", "'CUDA_VISIBLE_DEVICES=1'"]);
        assert_eq!(
            words[words.len() - 3..],
            ["'/opt/laion cele'", "worker", "--identify"]
        );
        assert!(
            words.contains(&"'RAYON_NUM_THREADS=3'".to_owned()),
            "{words:?}"
        );
    }

    #[test]
    fn other_commands_get_words_as_they_are() {
        let timeout = Duration::from_secs(1);
        let prefix = Prefix::new("nice -n {threads}", Vec::new(), program(), timeout);
        let words = words(&prefix.expect("a prefix").command(&options(0, None)));
        assert_eq!(
            words[..5],
            ["nice", "-n", "3", "env", "CUDA_VISIBLE_DEVICES="]
        );
        assert!(words.contains(&"/opt/laion cele".to_owned()), "{words:?}");
        // One that is printed without memory would wait for ever.
        assert!(words.contains(&"RUST_BACKTRACE=0".to_owned()), "{words:?}");
    }

    #[test]
    fn hosts_and_their_place_belong_together() {
        let timeout = Duration::from_secs(1);
        let hosts = || vec!["a".to_owned()];
        for (prefix, hosts) in [
            ("ssh {host}", Vec::new()),
            ("ssh a", hosts()),
            ("", Vec::new()),
            ("ssh '", Vec::new()),
        ] {
            assert!(
                Prefix::new(prefix, hosts, program(), timeout).is_err(),
                "{prefix}"
            );
        }
    }

    #[test]
    fn steps_of_slurm_share_memory_and_see_gpus_only_where_they_compute_on_them() {
        let slurm = Slurm::new(program(), Duration::from_secs(1));
        slurm.avoid("n2");
        slurm.avoid("n7");
        let command = slurm.command(&options(0, None));
        let inherited = command
            .get_envs()
            .find(|(name, _)| *name == "SLURM_GPUS_PER_NODE");
        assert_eq!(inherited.map(|(_, value)| value), Some(None));
        let without = words(&command);
        assert!(without.contains(&"--gres=none".to_owned()), "{without:?}");
        let exclude = "--exclude=n2,n7".to_owned();
        assert!(without.contains(&exclude), "{without:?}");
        assert!(
            without.contains(&"CUDA_VISIBLE_DEVICES=".to_owned()),
            "{without:?}"
        );
        let with = words(&slurm.command(&options(0, Some("0"))));
        assert!(with.contains(&"--gpus-per-task=1".to_owned()), "{with:?}");
        assert!(
            !with.iter().any(|word| word.starts_with("CUDA")),
            "{with:?}"
        );
    }
}
