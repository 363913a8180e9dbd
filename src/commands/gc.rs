//! `laioncele gc`: shows what no result needs, and deletes it where asked to.

mod garbage;
mod portraits;

use clap::Args;
use laioncele_core::StageName;
use laioncele_core::ledger::Ledger;
use serde::Serialize;

use crate::args::RunPaths;
use crate::failure::Failure;
use crate::output;
use crate::session::{Access, Session};
use crate::words::{count, grouped, headed_table, size};

use garbage::{Garbage, Kind, Object};

const EXAMPLES: &str = "\
Examples:
  laioncele gc                                        show what no record names
  laioncele gc --superseded                           and results of other settings
  laioncele gc --superseded --delete
  laioncele gc --json | jq -r '.objects[].path'

With keep_portraits = \"known\" (or \"none\") in [generate_portraits], the images of portraits of dropped
names (of all names) go too, once every step has looked at them: what was found in them stays, and a
step that needs them again has them drawn again. How much room they take is said roughly.

No record names what killed runs and lost attempts left behind; it is never read. Superseded results
are those that the present manifest does not use: with them gone, going back to earlier settings
runs again what they were made by. A step that is not complete keeps all of its results.";

/// `laioncele gc`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Gc {
    #[command(flatten)]
    paths: RunPaths,
    /// Also results that the present manifest does not use, and what was published from others
    #[arg(long)]
    superseded: bool,
    /// Delete what is shown
    #[arg(long)]
    delete: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is shown.
#[derive(Debug, Serialize)]
struct Report<'a> {
    deleted: bool,
    bytes: u64,
    objects: &'a [Object],
}

impl Gc {
    /// Shows, and deletes where asked to.
    ///
    /// # Errors
    /// A folder without a run, or in use; store errors.
    pub(crate) fn execute(self) -> Result<(), Failure> {
        // Under the lock even to look: parts of running tasks have no record yet.
        let session = Session::open(&self.paths, StageName::Evaluate, Access::Change)?;
        let garbage = Garbage::of(&session, self.superseded)?;
        if self.delete {
            delete(&session, &garbage)?;
        }
        let report = Report {
            deleted: self.delete,
            bytes: garbage.objects.iter().map(|object| object.bytes).sum(),
            objects: &garbage.objects,
        };
        if self.json {
            output::json(&report)
        } else {
            output::data(&report.render())
        }
    }
}

/// Records first, and each for good: a crash leaves parts that no record names, never a record
/// without its parts.
fn delete(session: &Session, garbage: &Garbage) -> Result<(), Failure> {
    let store = session.store()?;
    let dims = &session.manifest.embedding_dims;
    let ledger = Ledger::new(store.clone());
    for record in &garbage.records {
        ledger.remove(&record.step, &record.partition, record.key)?;
    }
    for object in &garbage.objects {
        match object.kind {
            Kind::Record | Kind::Portraits => {}
            Kind::Upload => store.abandon_upload(&object.path)?,
            _ => store.delete(&object.path)?,
        }
    }
    for pruning in &garbage.prunings {
        pruning.carry_out(store, dims)?;
    }
    Ok(store.remove_empty_folders(&[
        "tables",
        "ledger",
        "earlier",
        "damaged",
        "cache/checkpoints",
    ])?)
}

impl Report<'_> {
    fn render(&self) -> String {
        if self.objects.is_empty() {
            return "nothing to delete".to_owned();
        }
        let heading = ["what", "files", "size", "for example"].map(str::to_owned);
        let mut rows = vec![heading.to_vec()];
        for kind in Kind::ALL {
            let of_kind: Vec<&Object> = self.objects.iter().filter(|o| o.kind == kind).collect();
            let Some(first) = of_kind.first() else {
                continue;
            };
            rows.push(vec![
                kind.words().to_owned(),
                grouped(of_kind.len() as u64),
                size(of_kind.iter().map(|object| object.bytes).sum()),
                first.path.clone(),
            ]);
        }
        let (files, bytes) = (count(self.objects.len(), "file"), size(self.bytes));
        let end = match self.deleted {
            true => format!("deleted: {files}, {bytes}"),
            false => format!("{files}, {bytes}; --delete deletes them"),
        };
        format!("{}\n{end}", headed_table(&rows, &[1, 2]))
    }
}
