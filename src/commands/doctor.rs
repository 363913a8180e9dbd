//! `laioncele doctor`: checks that everything the manifest names exists and fits together.

use std::path::PathBuf;

use clap::Args;

use crate::args::{ModelsOf, SetArgs};
use crate::crew::WorkerArgs;
use crate::doctor::{Check, Digests, examine};
use crate::failure::{Exit, Failure};
use crate::output;
use crate::registry;
use crate::session::manifest_of_models;
use crate::words::{count, table};

const EXAMPLES: &str = "\
Examples:
  laioncele doctor --manifest manifests/laion2b-en.toml
  laioncele doctor --manifest my.toml --output /data/run     before `run` with the same two
  laioncele doctor --deep                   also check that every weight is finite
  laioncele doctor --digests                also tell SDXL's files by their SHA-256
  laioncele doctor --json | jq -r '.[] | select(.ok | not) | .check'

Checks settings, captions and their columns; files, configuration, tensors, shapes and types of each
model; embedding dimensions; the memory that all workers need; where ONNX Runtime is looked for, and
which is taken; names of hosts, the clock, limits of the process, the disk. With --output also whether it can be written
to, and the disk is held against what the run's stages will still write, by what they have written so
far. Each line is ok, a warning or an error, with a way out. The exit code is 3 if there is an error.

--digests holds the weight files of [models.sdxl] against the published SHA-256 of SDXL base 1.0 and of
files used with it. What was read is remembered by size and time in ~/.cache/laioncele.";

/// `laioncele doctor`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Doctor {
    /// The manifest that is checked [default: that of the run in --output; without one
    /// manifests/mini.toml]
    #[arg(long, short, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// The folder, or the place in a bucket, of the run, which need not be there yet: whether it can
    /// be written to, and the disk has room
    #[arg(long, short, value_name = "FOLDER")]
    output: Option<PathBuf>,
    #[command(flatten)]
    set: SetArgs,
    /// Also read every weight and check that it is finite
    #[arg(long)]
    deep: bool,
    /// Also read SDXL's weight files and say whose they are by their SHA-256
    #[arg(long)]
    digests: bool,
    /// With --digests: a table of your own files' SHA-256, beside the shipped one
    #[arg(long, value_name = "FILE")]
    known_files: Option<PathBuf>,
    #[command(flatten)]
    workers: WorkerArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// Prints one line per check.
    ///
    /// # Errors
    /// A manifest that cannot be read; checks that failed.
    pub(crate) fn execute(self) -> Result<(), Failure> {
        let manifest = manifest_of_models(&ModelsOf {
            manifest: self.manifest,
            output: self.output.clone(),
            set: self.set.set,
        })?;
        let output = self.output.as_deref();
        let steps = registry::steps();
        let digests = Digests::new(self.digests, self.known_files.as_deref())?;
        let checks = examine(
            &manifest,
            &steps,
            self.deep,
            &digests,
            &self.workers,
            output,
        );
        if self.json {
            output::json(&checks)?;
        } else {
            output::data(&render(&checks))?;
        }
        let failed = checks.iter().filter(|check| !check.ok).count();
        if failed == 0 {
            return Ok(());
        }
        let text = format!("{failed} of {} failed", count(checks.len(), "check"));
        Err(Failure::new(Exit::Environment, text))
    }
}

fn render(checks: &[Check]) -> String {
    let row = |check: &Check| {
        vec![
            check.level.word().to_owned(),
            check.check.clone(),
            check.text(),
        ]
    };
    table(&checks.iter().map(row).collect::<Vec<_>>(), &[])
}
