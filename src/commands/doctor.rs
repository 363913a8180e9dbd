//! `laioncele doctor`: checks that everything the manifest names exists and fits together.

use clap::Args;

use crate::args::ModelsOf;
use crate::crew::WorkerArgs;
use crate::doctor::{Check, examine};
use crate::failure::{Exit, Failure};
use crate::output;
use crate::registry;
use crate::session::manifest_of_models;
use crate::words::{count, table};

const EXAMPLES: &str = "\
Examples:
  laioncele doctor --manifest manifests/laion2b-en.toml
  laioncele doctor --deep                   also check that every weight is finite
  laioncele doctor --json | jq -r '.[] | select(.ok | not) | .check'

Checks settings, captions and their columns; files, configuration, tensors, shapes and types of each
model; embedding dimensions; the memory that all workers need. The exit code is 3 if a check fails.";

/// `laioncele doctor`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Doctor {
    #[command(flatten)]
    models: ModelsOf,
    /// Also read every weight and check that it is finite
    #[arg(long)]
    deep: bool,
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
        let manifest = manifest_of_models(&self.models)?;
        let checks = examine(&manifest, &registry::steps(), self.deep, &self.workers);
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
        let state = if check.ok { "ok" } else { "FAILED" };
        vec![state.to_owned(), check.check.clone(), check.text()]
    };
    table(&checks.iter().map(row).collect::<Vec<_>>(), &[])
}
