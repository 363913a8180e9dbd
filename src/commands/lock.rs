//! `laioncele lock`: writes what a dataset is made of into one file, by which another run can be
//! compared with it.

mod compare;
mod file;

use std::fs;
use std::path::PathBuf;

use clap::Args;
use laioncele_core::{CoreError, StageName};

use crate::args::RunPaths;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::session::{Access, Session};
use crate::words::count;

pub(super) use compare::{Comparison, compare};
pub(super) use file::LockFile;

const EXAMPLES: &str = "\
Examples:
  laioncele lock laioncele.lock.json --output /data/run
  laioncele verify --lock laioncele.lock.json         how much of it this machine's run equals
  jq '.people[] | .photos[] | .url' laioncele.lock.json

The file has the settings of every step and the seed, the digests of models, source files and
tables, and for each person the urls and SHA-256 of the photos; no photo and no path of this machine.";

/// `laioncele lock`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LockCommand {
    /// The JSON file to write
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    paths: RunPaths,
}

impl LockCommand {
    /// Writes the file.
    ///
    /// # Errors
    /// A run without a packed dataset, damaged tables, a file that cannot be written.
    pub(crate) fn execute(self) -> Result<(), Failure> {
        let session = Session::open(&self.paths, StageName::Evaluate, Access::Existing)?;
        let lock = LockFile::of(&session)?;
        if lock.people.is_empty() {
            let text = format!("{}: no dataset was packed yet", self.paths.output.display());
            return Err(Failure::new(Exit::Environment, text)
                .hint("run `laioncele run --stage ..pack-shards` first"));
        }
        let text = serde_json::to_vec_pretty(&lock)
            .map_err(|e| Failure::new(Exit::Defect, format!("JSON: {e}")))?;
        // Whole or not at all, also on a full disk.
        let partial = self.file.with_extension("partial");
        fs::write(&partial, text)
            .and_then(|()| fs::rename(&partial, &self.file))
            .map_err(|e| CoreError::from_io(&self.file, e))?;
        let photos: usize = lock.people.values().map(|person| person.photos.len()).sum();
        output::data(&format!(
            "{}: {} with {}",
            self.file.display(),
            count(lock.people.len(), "name"),
            count(photos, "photo")
        ))
    }
}
