//! `laioncele verify`: checks every byte and that tables match; or prints one digest per table.

mod findings;
mod forgotten;
mod lists;
mod parts;
mod published;
mod repair;
mod sync;

use std::path::{Path, PathBuf};

use clap::Args;
use laioncele_core::StageName;

use crate::args::RunPaths;
use crate::commands::lock::{Comparison, LockFile, compare};
use crate::failure::{Exit, Failure};
use crate::output;
use crate::plan::{Cause, StepPlan};
use crate::session::{Access, Look, Session};
use crate::table_digests;

use findings::{Findings, Kind};

const EXAMPLES: &str = "\
Examples:
  laioncele verify
  laioncele verify --repair                         then `laioncele run` makes again what is damaged
  laioncele verify --digests > before.txt           two runs with the same data give equal files
  laioncele verify --lock theirs.lock.json          how much of another's dataset ours equals
  laioncele verify --json | jq -r '.problems[].text'

Without --digests, every record of the ledger is checked, and every part that one names and every
published file is hashed and compared. Then every photo of the dataset must have its name, and every
name its photos, its embedding and its four portraits. All damage is listed; the exit code is 5 if
there is any.

--repair takes the records of damaged and missing parts out of the ledger, and deletes damaged
published files: the next `laioncele run` makes these again, and only what depends on bytes that
came out otherwise. The exit code is then 0 if everything could be repaired.";

/// `laioncele verify`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Verify {
    #[command(flatten)]
    paths: RunPaths,
    /// Print one line per table instead: name, rows, digest of the rows
    #[arg(long, conflicts_with = "repair")]
    digests: bool,
    /// Make the next run make again what is damaged
    #[arg(long)]
    repair: bool,
    /// Say how much of a locked dataset the run's equals, instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["digests", "repair"])]
    lock: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Verify {
    /// Verifies.
    ///
    /// # Errors
    /// [`Exit::Damage`] if anything is wrong and stays so; whatever prevents the check.
    pub(crate) fn execute(self) -> Result<(), Failure> {
        let access = match self.repair {
            true => Access::Change,
            false => Access::Existing,
        };
        let mut session = Session::open_by(&self.paths, StageName::Evaluate, access, Look::Anew)?;
        if self.digests {
            return self.print_digests(&session);
        }
        if let Some(file) = &self.lock {
            return self.print_comparison(&session, file);
        }
        let mut findings = check(&mut session)?;
        if self.repair && !findings.problems.is_empty() {
            repair::repair(&session, &mut findings)?;
        }
        if self.json {
            output::json(&findings)?;
        } else {
            output::data(&findings.render())?;
        }
        findings.outcome()
    }

    fn print_comparison(&self, session: &Session, file: &Path) -> Result<(), Failure> {
        let theirs = LockFile::read(file)?;
        whole(session)?;
        let comparison: Comparison = compare(&theirs, &LockFile::of(session)?);
        if self.json {
            output::json(&comparison)
        } else {
            output::data(&comparison.render())
        }
    }

    fn print_digests(&self, session: &Session) -> Result<(), Failure> {
        whole(session)?;
        let tables = table_digests::of(session.store()?, &session.current_records()?)?;
        if self.json {
            output::json(&tables)
        } else {
            output::data(&table_digests::render(&tables))
        }
    }
}

/// # Errors
/// [`Exit::Damage`] where parts of the current results are lost.
fn whole(session: &Session) -> Result<(), Failure> {
    let Some(loss) = losses(session)?.into_iter().next() else {
        return Ok(());
    };
    let text = format!("the tables are not whole: {loss}");
    Err(Failure::new(Exit::Damage, text)
        .hint("`laioncele verify` lists all damage, `laioncele run` makes lost parts again"))
}

/// Checks everything.
fn check(session: &mut Session) -> Result<Findings, Failure> {
    let mut findings = Findings::default();
    for record in session.records.unusable() {
        findings.add(Kind::Record, &record.path, &record.reason);
    }
    parts::check(session, &mut findings)?;
    lists::check(session, &mut findings)?;
    published::check(session, &mut findings)?;
    forgotten::check(session, &mut findings)?;
    if losses(session)?.is_empty() {
        sync::check(session, &mut findings)?;
        findings.tables_compared = true;
    }
    Ok(findings)
}

/// What is lost of the current results.
fn losses(session: &Session) -> Result<Vec<String>, Failure> {
    let plan = session.plan()?;
    let causes = plan.steps.iter().flat_map(StepPlan::missing);
    let losses = causes.filter_map(|(_, causes)| match causes.first() {
        Some(Cause::Loss(loss)) => Some(loss.to_string()),
        _ => None,
    });
    Ok(losses.collect())
}
