//! `laioncele submit slurm`: a batch script that runs the pipeline inside a job.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use laioncele_core::CoreError;

use crate::failure::{Exit, Failure};
use crate::output;

const EXAMPLES: &str = "\
Examples:
  laioncele submit slurm --nodes 4 --tasks 32 --threads 4 -- --manifest laion.toml --output /shared/run
  laioncele submit slurm --nodes 2 --tasks 16 --gpus-per-node 8 --script run.sbatch -- --stage all
  sbatch run.sbatch

What stands behind -- are arguments of `laioncele run`. The job is put back into the queue when its first
node fails, and goes on where it was; two minutes before its time is over it stops by itself, and the
same script submitted again resumes it.";

/// `laioncele submit`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Submit {
    #[command(subcommand)]
    queue: Queue,
}

#[derive(Debug, Subcommand)]
enum Queue {
    /// Write a batch script for Slurm
    #[command(after_help = EXAMPLES)]
    Slurm(Slurm),
}

/// A job of Slurm.
#[derive(Args, Clone, Debug)]
struct Slurm {
    /// Nodes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    nodes: u32,
    /// Workers over all nodes [default: one a node]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    tasks: Option<u32>,
    /// CPUs of each worker
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    threads: u32,
    /// GPUs of each node; steps whose models compute on GPUs get one per worker
    #[arg(long, value_name = "N")]
    gpus_per_node: Option<u32>,
    /// Longest time of the job, as Slurm writes it: 12:00:00, 2-00:00:00
    #[arg(long, value_name = "TIME", value_parser = one_word)]
    time: Option<String>,
    /// Memory of each node, as Slurm writes it: 64G
    #[arg(long, value_name = "SIZE", value_parser = one_word)]
    memory: Option<String>,
    /// Partition
    #[arg(long, value_name = "NAME", value_parser = one_word)]
    partition: Option<String>,
    /// Account that is charged
    #[arg(long, value_name = "NAME", value_parser = one_word)]
    account: Option<String>,
    /// Name of the job
    #[arg(long, value_name = "NAME", default_value = "laioncele", value_parser = one_word)]
    job_name: String,
    /// The script to write
    #[arg(long, value_name = "FILE", default_value = "laioncele.sbatch")]
    script: PathBuf,
    /// Overwrite the script if it is there
    #[arg(long)]
    force: bool,
    /// Arguments of `laioncele run`
    #[arg(last = true, value_name = "ARGUMENTS OF RUN")]
    run: Vec<String>,
}

/// A value of an `#SBATCH` line: Slurm takes quotes there literally, so it must be one word.
fn one_word(text: &str) -> Result<String, String> {
    match text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        true => Err("it must be one word".to_owned()),
        false => Ok(text.to_owned()),
    }
}

impl Submit {
    /// Writes the script.
    ///
    /// # Errors
    /// A script that is there already or cannot be written; arguments that choose another place.
    pub(crate) fn execute(self) -> Result<(), Failure> {
        let Queue::Slurm(job) = self.queue;
        if job
            .run
            .iter()
            .any(|word| word == "--on" || word.starts_with("--on="))
        {
            let text = "--on: the script says `--on slurm` itself";
            return Err(Failure::new(Exit::Usage, text));
        }
        let program = std::env::current_exe().map_err(|e| {
            let text = format!("cannot find the program's own file: {e}");
            Failure::new(Exit::Environment, text)
        })?;
        let text = job.text(&program.to_string_lossy())?;
        let mut file = OpenOptions::new();
        file.write(true)
            .create(true)
            .truncate(true)
            .create_new(!job.force);
        let written = file
            .open(&job.script)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => {
                let text = format!("{} is there already", job.script.display());
                Failure::new(Exit::Usage, text).hint("--force overwrites it")
            }
            _ => CoreError::from_io(&job.script, error).into(),
        })?;
        output::data(&format!("sbatch {}", job.script.display()))
    }
}

impl Slurm {
    fn text(&self, program: &str) -> Result<String, Failure> {
        let words = [program, "run", "--on", "slurm"].into_iter();
        let words = words.chain(self.run.iter().map(String::as_str));
        let command = shlex::try_join(words)
            .map_err(|e| Failure::new(Exit::Usage, format!("an argument of run: {e}")))?;
        let mut lines = vec![
            format!("--job-name={}", self.job_name),
            format!("--nodes={}", self.nodes),
            format!("--ntasks={}", self.tasks.unwrap_or(self.nodes)),
            format!("--cpus-per-task={}", self.threads),
        ];
        let optional = [
            ("gpus-per-node", self.gpus_per_node.map(|n| n.to_string())),
            ("mem", self.memory.clone()),
            ("time", self.time.clone()),
            ("partition", self.partition.clone()),
            ("account", self.account.clone()),
        ];
        for (name, value) in optional {
            lines.extend(value.map(|value| format!("--{name}={value}")));
        }
        let options: String = lines
            .iter()
            .map(|line| format!("#SBATCH {line}\n"))
            .collect();
        Ok(format!(
            "#!/bin/sh\n{options}\
             # A node that fails takes its workers along, not the job.\n\
             #SBATCH --no-kill\n\
             # The job begins anew when its first node fails, and the run goes on where it was.\n\
             #SBATCH --requeue\n\
             #SBATCH --open-mode=append\n\
             # Two minutes before the time is over the run stops by itself; finished tasks are kept.\n\
             #SBATCH --signal=B:TERM@120\n\
             exec {command}\n"
        ))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        submit: Submit,
    }

    #[test]
    fn the_script_quotes_what_a_shell_would_take_apart() {
        let words = [
            "x",
            "slurm",
            "--nodes",
            "2",
            "--tasks",
            "6",
            "--gpus-per-node",
            "3",
            "--time",
            "1:00:00",
            "--",
            "--output",
            "/shared/a run",
        ];
        let Queue::Slurm(job) = Line::parse_from(words).submit.queue;
        let text = job
            .text("/opt/laioncele")
            .unwrap_or_else(|e| panic!("{}", e.message));
        let last = text.lines().last();
        assert_eq!(
            last,
            Some("exec /opt/laioncele run --on slurm --output '/shared/a run'")
        );
        for line in [
            "--nodes=2",
            "--ntasks=6",
            "--cpus-per-task=1",
            "--gpus-per-node=3",
            "--time=1:00:00",
            "--no-kill",
        ] {
            let line = format!("#SBATCH {line}");
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_value_of_two_words_would_end_its_line() {
        let words = ["x", "slurm", "--partition", "a\n#SBATCH --x"];
        assert!(Line::try_parse_from(words).is_err());
    }
}
