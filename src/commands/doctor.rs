//! `laioncele doctor`: checks that everything the manifest names exists and fits together.

use std::path::PathBuf;

use clap::Args;

use crate::args::DEFAULT_MANIFEST;
use crate::doctor::{Check, examine};
use crate::failure::{Exit, Failure};
use crate::output;
use crate::registry;
use crate::session::load_manifest;
use crate::words::{count, table};

const EXAMPLES: &str = "\
Examples:
  laioncele doctor --manifest manifests/laion2b-en.toml
  laioncele doctor --deep                   also check that every weight is finite
  laioncele doctor --json | jq -r '.[] | select(.ok | not) | .check'

Checks settings, captions and their columns; files, configuration, tensors, shapes and types of each
model; embedding dimensions; memory. The exit code is 3 if a check fails.";

/// `laioncele doctor`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Doctor {
    /// The manifest, which describes the run
    #[arg(long, short, value_name = "FILE", default_value = DEFAULT_MANIFEST)]
    manifest: PathBuf,
    /// Also read every weight and check that it is finite
    #[arg(long)]
    deep: bool,
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
        let manifest = load_manifest(&self.manifest)?;
        let checks = examine(&manifest, &registry::steps(), self.deep);
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
        let detail = match &check.path {
            Some(path) if !check.ok && !check.detail.contains(&*path.to_string_lossy()) => {
                format!("{}: {}", path.display(), check.detail)
            }
            _ => check.detail.clone(),
        };
        vec![state.to_owned(), check.check.clone(), detail]
    };
    table(&checks.iter().map(row).collect::<Vec<_>>(), &[])
}
