//! `laioncele verify`: checks every byte and that tables match; or prints one digest per table.

mod digests;
mod parts;
mod sync;

use clap::Args;
use laioncele_core::StageName;
use serde::Serialize;

use crate::args::RunPaths;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::session::{Access, Session};
use crate::words::{count, size};

const EXAMPLES: &str = "\
Examples:
  laioncele verify
  laioncele verify --digests > before.txt           two runs with the same data give equal files
  laioncele verify --json | jq '.problems[]'

Without --digests, every part that the ledger names is hashed and compared. Then every photo of the
dataset must have its name, and every name its photos, its embedding and its four portraits. The
exit code is 5 if anything is wrong.";

/// Most problems printed; the JSON has them all.
const SHOWN_PROBLEMS: usize = 20;

/// `laioncele verify`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Verify {
    #[command(flatten)]
    paths: RunPaths,
    /// Print one line per table instead: name, rows, digest of the rows
    #[arg(long)]
    digests: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was checked and found.
#[derive(Debug, Default, Serialize)]
struct Findings {
    parts: usize,
    bytes: u64,
    /// Identities of the dataset that were checked.
    identities: usize,
    problems: Vec<String>,
}

impl Verify {
    /// Verifies.
    ///
    /// # Errors
    /// [`Exit::Damage`] if anything is wrong; whatever prevents the check.
    pub(crate) fn execute(self) -> Result<(), Failure> {
        let session = Session::open(&self.paths, StageName::Evaluate, Access::Existing)?;
        if self.digests {
            let tables = digests::of(session.store()?, &session.current_records()?)?;
            return if self.json {
                output::json(&tables)
            } else {
                output::data(&digests::render(&tables))
            };
        }
        let mut findings = Findings::default();
        parts::check(&session, &mut findings)?;
        sync::check(&session, &mut findings)?;
        if self.json {
            output::json(&findings)?;
        } else {
            output::data(&format!(
                "{} ({}) and {} checked",
                count(findings.parts, "part"),
                size(findings.bytes),
                count(findings.identities, "identity")
            ))?;
        }
        outcome(&findings.problems)
    }
}

fn outcome(problems: &[String]) -> Result<(), Failure> {
    if problems.is_empty() {
        return Ok(());
    }
    let mut text = count(problems.len(), "problem");
    for problem in problems.iter().take(SHOWN_PROBLEMS) {
        text.push_str(&format!("\n  {problem}"));
    }
    if problems.len() > SHOWN_PROBLEMS {
        text.push_str(&format!("\n  and {} more", problems.len() - SHOWN_PROBLEMS));
    }
    Err(Failure::new(Exit::Damage, text).hint(
        "delete the ledger record of a damaged part (in ledger/STEP/PARTITION/) and run again",
    ))
}
