//! `laioncele mini score`: compares a run on a world with the world's truth.

use std::path::PathBuf;

use clap::Args;
use laioncele_core::{Part, StageName, TableId};
use laioncele_mini_world::{Truth, score};

use crate::args::RunPaths;
use crate::failure::Failure;
use crate::output;
use crate::session::{Access, Session};

const EXAMPLES: &str = "\
Examples:
  laioncele mini score
  laioncele mini score --output /data/run-7
  laioncele mini score --json | jq -e .passed          exits with 1 if a target is missed

Metrics that need a table which the run has not written have no value.";

/// `laioncele mini score`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Score {
    #[command(flatten)]
    paths: RunPaths,
    /// The world's truth [default: truth.json beside the manifest]
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Score {
    /// Prints the metrics.
    ///
    /// # Errors
    /// A folder without a run, a world without a truth, damaged tables.
    pub(super) fn execute(self) -> Result<(), Failure> {
        let session = Session::open(&self.paths, StageName::Evaluate, Access::Existing)?;
        let beside = || session.manifest.path().with_file_name("truth.json");
        let truth = Truth::load(&self.truth.unwrap_or_else(beside))?;
        let records = session.current_records()?;
        let parts = |table: TableId| -> Vec<Part> {
            let parts = records.iter().flat_map(|r| r.outputs_of(table));
            parts.cloned().collect()
        };
        let scores = score(
            session.store()?,
            &session.manifest.embedding_dims,
            &parts,
            &truth,
        )?;
        if self.json {
            output::json(&scores)
        } else {
            output::data(scores.table().trim_end())
        }
    }
}
