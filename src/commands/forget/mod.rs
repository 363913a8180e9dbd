//! `laioncele forget`: takes people, urls and photos out of the run, and keeps them out.

mod balance;
mod derived;
mod ledger;
mod leftovers;
mod references;
mod targets;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use clap::Args;
use laioncele_core::forgotten::{FORGOTTEN, Forgotten};
use laioncele_core::{Digest, StageName};
use serde::Serialize;

use crate::args::RunPaths;
use crate::failure::Failure;
use crate::output;
use crate::session::{Access, Session};
use crate::words::{count, grouped};

pub(crate) use leftovers::scanned;
pub(crate) use references::reference_photos;

const EXAMPLES: &str = "\
Examples:
  laioncele forget 'Mira Castellan'
  laioncele forget https://a.example/1.jpg
  laioncele forget --list takedowns.txt            a name, url or SHA-256 on each line
  laioncele forget --dry-run 'Mira Castellan'
  laioncele forget                                 finishes what was interrupted

A name goes with all spellings that are merged with it, its portraits, its photos, and every caption
that names it, also captions that name others too. Rows leave every table, shard and training list at
once; nothing is made again. Salted hashes in forgotten.json keep them out of every later run on this
folder: it must not be deleted. The source's own files are not changed, nor are reference photos: those
that bear the name are listed, for you to delete. An encoder that was trained
before keeps its weights, and the dataset's card says so; `laioncele verify` proves that no file of
the folder has them any more.";

/// `laioncele forget`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Forget {
    /// Names, urls, or SHA-256 digests of photos
    #[arg(value_name = "NAME|URL|SHA256")]
    what: Vec<String>,
    /// A file with one of these on each line; empty lines and lines that begin with # say nothing
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Say what would be taken away, and take nothing away
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    paths: RunPaths,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which rows of a part stay, by the digest that it had.
type KeptRows = HashMap<Digest, Vec<bool>>;

/// What was taken away, or would be.
#[derive(Debug, Default, Serialize)]
pub(super) struct Taken {
    /// Whether nothing was changed.
    dry_run: bool,
    /// What was asked for and is not in the run. It is kept out from now on.
    unknown: Vec<String>,
    /// Names, with all of their spellings.
    names: usize,
    spellings: usize,
    /// Urls and photos.
    images: usize,
    /// Rows by table.
    rows: BTreeMap<String, u64>,
    /// Files that were deleted.
    files: usize,
    /// Reference photos with such a name, which are not the run's to delete.
    reference_photos: Vec<PathBuf>,
    /// Whether an encoder stays that was trained with them.
    trained_before: bool,
}

impl Forget {
    /// Takes down.
    ///
    /// # Errors
    /// A folder without a run, or one in use; a list that cannot be read; store errors. What was begun is finished by another
    /// `laioncele forget`.
    pub(crate) fn execute(self) -> Result<(), Failure> {
        let access = match self.dry_run {
            true => Access::Existing,
            false => Access::Change,
        };
        let asked = targets::asked(&self.what, self.list.as_deref())?;
        let mut session = Session::open(&self.paths, StageName::Evaluate, access)?;
        let store = session.store()?.clone();
        let known = Forgotten::load(&store)?;
        let mut stones = match known {
            Some(stones) => stones,
            None => Forgotten::new(&targets::salt()?),
        };
        let mut taken = Taken {
            dry_run: self.dry_run,
            ..Taken::default()
        };
        targets::add(&session, &asked, &mut stones, &mut taken)?;
        if self.dry_run {
            ledger::count(&session, &stones, &mut taken)?;
        } else {
            // First: a crash from here on leaves rows, which the next `forget` takes, and brings nobody back.
            stones.save(&store)?;
            session.clear_leftovers()?;
            ledger::rewrite(&mut session, &mut stones, &mut taken)?;
            stones.save(&store)?;
            ledger::publish(&session)?;
            // Last: what was published before is among what the cache remembers.
            leftovers::clear(&session, &stones, &mut taken)?;
        }
        taken.reference_photos = reference_photos(&session.manifest, &stones);
        match self.json {
            true => output::json(&taken),
            false => output::data(&taken.render()),
        }
    }
}

impl Taken {
    fn render(&self) -> String {
        let mut lines = Vec::new();
        for what in &self.unknown {
            lines.push(format!(
                "`{what}` is not in the run; it is kept out from now on"
            ));
        }
        lines.push(format!(
            "{} with {}, {}",
            count(self.names, "name"),
            count(self.spellings, "spelling"),
            count(self.images, "image")
        ));
        for (table, rows) in &self.rows {
            lines.push(format!("  {table}: {} rows", grouped(*rows)));
        }
        for photo in &self.reference_photos {
            lines.push(format!(
                "{} is a reference photo of somebody who is taken down: delete it, or the next run draws them again",
                photo.display()
            ));
        }
        if self.trained_before {
            lines.push(
                "the encoder was trained before and keeps what it learnt; the card says so"
                    .to_owned(),
            );
        }
        lines.push(match self.dry_run {
            true => "nothing was changed (--dry-run)".to_owned(),
            false => format!(
                "taken out; {} deleted besides; {FORGOTTEN} keeps them out",
                count(self.files, "file")
            ),
        });
        lines.join("\n")
    }
}
