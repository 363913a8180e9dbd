//! The command line: commands, help, and exit codes.

mod narrow;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use laioncele_core::model_cache;
use laioncele_core::store::place_scratch;

use crate::args::Verbosity;
use crate::commands;
use crate::failure::{Exit, Failure};
use crate::fault;
use crate::logging;
use crate::output;
use crate::words::size;

const EXIT_CODES: &str = "\
Exit codes:
  0    success
  1    a bug in laioncele
  2    invalid arguments or an invalid manifest
  3    a problem of the environment: missing or damaged weights, no captions, a full, read-only or
       locked folder, a table written by a newer version
  4    tasks failed; the error lists them with the commands that rerun them
  5    `verify` found damage
  130  interrupted by Ctrl-C or a termination signal

Results go to standard output, messages to standard error. RUST_LOG, for example
RUST_LOG=laioncele=debug, selects log messages more precisely than -v.";

const EXAMPLES: &str = "\
Examples:
  laioncele run --stage all --manifest manifests/mini.toml
  laioncele plan                            show what would run, and why
  laioncele run --stage download-images..dedupe-images
  laioncele status --json | jq '.[] | .step'
  laioncele verify --digests                one line per table; equal lines mean equal data";

/// Builds the LaionCele dataset and uses it: finds names in captions, generates portraits, matches
/// web photos, packs training shards, trains a name encoder, and generates consistent images of a
/// person.
#[derive(Debug, Parser)]
#[command(name = "laioncele", version, after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
#[command(propagate_version = false, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    verbosity: Verbosity,
    /// Where a run in a bucket keeps files while it works, on this machine [default: the system's
    /// folder for temporary files]
    #[arg(long, value_name = "FOLDER", global = true, display_order = 902)]
    scratch: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "a process has one of them")]
enum Command {
    /// Make a folder with a manifest to begin with
    Init(commands::init::Init),
    /// Run stages; tasks that are done are not run again
    Run(commands::run::Run),
    /// Ask again for images that could not be downloaded
    Retry(commands::retry::Retry),
    /// Show what `run` would do, and why
    Plan(commands::plan::PlanCommand),
    /// Check that everything the manifest names exists and fits together
    Doctor(commands::doctor::Doctor),
    /// Show what has run: tasks, rows, sizes, times
    Status(commands::status::Status),
    /// Write one page that shows the run: people, faces, the funnel, times, licences
    Report(commands::report::Report),
    /// Show everything that happened to a name, a url or an id
    Explain(commands::explain::Explain),
    /// Decide on identities and photos, on a page in a browser
    Review(commands::review::Review),
    /// Take people, urls and photos out of the run, and keep them out
    Forget(commands::forget::Forget),
    /// Check that the stored data is intact and that its tables match
    Verify(commands::verify::Verify),
    /// Show what no result needs any more, and delete it
    Gc(commands::gc::Gc),
    /// Write urls, hashes and settings of the dataset into one file
    Lock(commands::lock::LockCommand),
    /// Generate images of a person from a photo or a name
    Generate(commands::generate::Generate),
    /// Generate images between one person and another
    Interpolate(commands::interpolate::Interpolate),
    /// Draw experiments with names as one labelled sheet each
    Sheet(commands::sheet::SheetCommand),
    /// Export or look at the trained encoder, or write what it gives other programs
    Encoder(commands::encoder::EncoderCommand),
    /// Print CLIP embeddings of images
    EncodeImage(commands::encode_image::EncodeImage),
    /// Print the metrics of the last run, or score folders of images
    Evaluate(commands::evaluate::Evaluate),
    /// Train the U-Net with people's names in the texts: a LoRA, or all of it
    Finetune(commands::finetune::Finetune),
    /// Download the photos behind a list of urls
    Download(commands::download::Download),
    /// Find the named entities in captions
    Ner(commands::ner::NerCommand),
    /// Normalize mentions of people, or merge spellings, as merge-names does
    #[command(alias = "name")]
    Names(commands::names::Names),
    /// Find the faces in images, or compare two images
    Faces(commands::faces::Faces),
    /// Print average hashes of images, as Python's imagehash does
    Ahash(commands::ahash::Ahash),
    /// Measure the error rates of face similarity thresholds
    Calibrate(commands::calibrate::Calibrate),
    /// Build, serve or score an embedded world
    Mini(commands::mini::Mini),
    /// Print what a shell completes commands by
    Completions(commands::completions::Completions),
    /// Write manual pages
    Man(commands::completions::Man),
    /// Write a batch script that runs the pipeline as a job
    Submit(commands::submit::Submit),
    /// Run tasks from stdin, or one with --task
    Worker(commands::worker::Worker),
}

impl Command {
    fn execute(self, verbosity: &Verbosity) -> Result<(), Failure> {
        match self {
            Self::Init(command) => command.execute(),
            Self::Run(command) => command.execute(verbosity),
            Self::Retry(command) => command.execute(verbosity),
            Self::Plan(command) => command.execute(),
            Self::Doctor(command) => command.execute(),
            Self::Status(command) => command.execute(),
            Self::Report(command) => command.execute(),
            Self::Explain(command) => command.execute(),
            Self::Review(command) => command.execute(),
            Self::Forget(command) => command.execute(),
            Self::Verify(command) => command.execute(),
            Self::Gc(command) => command.execute(),
            Self::Lock(command) => command.execute(),
            Self::Generate(command) => command.execute(verbosity),
            Self::Interpolate(command) => command.execute(verbosity),
            Self::Sheet(command) => command.execute(verbosity),
            Self::Encoder(command) => command.execute(),
            Self::EncodeImage(command) => command.execute(),
            Self::Evaluate(command) => command.execute(),
            Self::Finetune(command) => command.execute(),
            Self::Download(command) => command.execute(verbosity),
            Self::Ner(command) => command.execute(),
            Self::Names(command) => command.execute(),
            Self::Faces(command) => command.execute(),
            Self::Ahash(command) => command.execute(),
            Self::Calibrate(command) => command.execute(),
            Self::Mini(command) => command.execute(),
            Self::Completions(command) => command.execute(Cli::command()),
            Self::Man(command) => command.execute(Cli::command()),
            Self::Submit(command) => command.execute(),
            Self::Worker(command) => command.execute(verbosity),
        }
    }

    /// A worker that a coordinator drives sends its log lines to it.
    fn logs_to_coordinator(&self) -> bool {
        matches!(self, Self::Worker(worker) if worker.is_driven())
    }
}

/// Parses this process's arguments, runs the command, reports a failure.
pub(crate) fn main() -> ExitCode {
    let Cli {
        verbosity,
        scratch,
        command,
    } = parsed();
    if let Some(folder) = scratch {
        // Absolute, for workers; a folder that is gone is said where it is used.
        place_scratch(std::path::absolute(&folder).unwrap_or(folder));
    }
    if !command.logs_to_coordinator() {
        logging::to_stderr(&verbosity);
        if !verbosity.quiet {
            model_cache::tell(|url, bytes| {
                output::message(&format!("fetching {url} ({})", size(bytes)));
            });
        }
    }
    if let Err(problem) = fault::arm_from_environment(command.logs_to_coordinator()) {
        output::message(&format!("error: {problem}"));
        return ExitCode::from(Exit::Usage.code());
    }
    match command.execute(&verbosity) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::message(&failure.render());
            ExitCode::from(failure.exit.code())
        }
    }
}

/// The arguments; ends the process where they are wrong, or ask for help.
fn parsed() -> Cli {
    let matches = narrow::fitted(Cli::command()).get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

impl Exit {
    /// The process's exit status.
    pub fn code(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests;
