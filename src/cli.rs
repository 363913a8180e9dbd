//! The command line: what can be said, the help, and how a result becomes an exit code.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::args::Verbosity;
use crate::commands;
use crate::failure::{Exit, Failure};
use crate::logging;
use crate::output;

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    a defect of this program
  2    wrong arguments or a wrong manifest
  3    the environment is wrong: missing or broken weights, an empty source, a full, read-only
       or locked folder, a table written by a newer version
  4    tasks failed; each is named with the command that runs it alone
  5    `verify` found damage
  130  stopped by Ctrl-C or a termination signal

Data goes to standard output, messages to standard error. RUST_LOG (as in RUST_LOG=laioncele=debug)
says more exactly than -v what is logged.";

const EXAMPLES: &str = "\
Examples:
  laioncele run --stage all --manifest manifests/mini.toml
  laioncele plan                            what would run, and why
  laioncele run --stage download-images..dedupe-images
  laioncele status --json | jq '.[] | .step'
  laioncele verify --digests                one line per table, equal where the data is equal";

/// Constructs the LaionCele dataset and uses it: captions to names, names to portraits, photos to shards, an encoder,
/// and consistent pictures of anybody.
#[derive(Debug, Parser)]
#[command(name = "laioncele", version, after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
#[command(propagate_version = false, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    verbosity: Verbosity,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run stages; what is done already is not run again
    Run(commands::run::Run),
    /// Show what `run` would do, and why, without doing it
    Plan(commands::plan::Plan),
    /// Check that everything a manifest names is there and whole
    Doctor(commands::doctor::Doctor),
    /// Show what has run: tasks, rows, sizes, seconds
    Status(commands::status::Status),
    /// Check every byte and that names, photos, embeddings and portraits belong together
    Verify(commands::verify::Verify),
    /// Draw anybody, from a photo or a name
    Generate(commands::generate::Generate),
    /// Draw the way from one person to another
    Interpolate(commands::interpolate::Interpolate),
    /// Print CLIP's features of pictures
    EncodeImage(commands::encode_image::EncodeImage),
    /// Print the figures of the last run, or score a folder of pictures
    Evaluate(commands::evaluate::Evaluate),
    /// Find the entities in captions, a line in, a line out
    Ner(commands::ner::NerCommand),
    /// Find the faces of pictures, or compare two
    Faces(commands::faces::Faces),
    /// Measure what thresholds of the face recognizer stand for
    Calibrate(commands::calibrate::Calibrate),
    /// Build, serve or score an embedded world
    Mini(commands::mini::Mini),
    /// Do tasks read from standard input, or one task alone
    Worker(commands::worker::Worker),
}

impl Command {
    fn execute(self, verbosity: &Verbosity) -> Result<(), Failure> {
        match self {
            Self::Run(command) => command.execute(verbosity),
            Self::Plan(command) => command.execute(),
            Self::Doctor(command) => command.execute(),
            Self::Status(command) => command.execute(),
            Self::Verify(command) => command.execute(),
            Self::Generate(command) => command.execute(),
            Self::Interpolate(command) => command.execute(),
            Self::EncodeImage(command) => command.execute(),
            Self::Evaluate(command) => command.execute(),
            Self::Ner(command) => command.execute(),
            Self::Faces(command) => command.execute(),
            Self::Calibrate(command) => command.execute(),
            Self::Mini(command) => command.execute(),
            Self::Worker(command) => command.execute(verbosity),
        }
    }

    /// A worker that is driven over pipes sends its log lines there.
    fn logs_to_coordinator(&self) -> bool {
        matches!(self, Self::Worker(worker) if worker.is_driven())
    }
}

/// Parses this process's arguments, does what they say, tells how it went.
pub fn main() -> ExitCode {
    let Cli { verbosity, command } = Cli::parse();
    if !command.logs_to_coordinator() {
        logging::to_stderr(&verbosity);
    }
    match command.execute(&verbosity) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::message(&failure.render());
            ExitCode::from(failure.exit.code())
        }
    }
}

impl Exit {
    /// The number that the process ends with.
    pub fn code(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
