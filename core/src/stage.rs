//! Stages and their steps: what a step promises the planner, and how its work is partitioned.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::drops::closed_words;
use crate::error::{CoreError, StageError};
use crate::ledger::Record;
use crate::manifest::Manifest;
use crate::store::Store;
use crate::table::TableId;
use crate::task::Task;

closed_words! {
    /// The thirteen stages, in data order; their words on the command line and as crate names.
    StageName {
        /// 1: captions → mentions.
        ExtractNames = "extract-names",
        /// 2: mentions → names, candidates.
        MergeNames = "merge-names",
        /// 3: names → name_embeddings.
        EncodeNames = "encode-names",
        /// 4: name_embeddings → portraits.
        GeneratePortraits = "generate-portraits",
        /// 5: portraits → known_names.
        VerifyPortraits = "verify-portraits",
        /// 6: candidates of known_names → photos.
        DownloadImages = "download-images",
        /// 7: photos → unique_photos.
        DedupeImages = "dedupe-images",
        /// 8: unique_photos, known_names → matches.
        VerifyImages = "verify-images",
        /// 9: matches → identities.
        FilterCounts = "filter-counts",
        /// 10: identities, photos, name_embeddings → laioncele.
        PackShards = "pack-shards",
        /// 11: laioncele → encoder.
        TrainEncoder = "train-encoder",
        /// 12: encoder, reference photos, prompts → samples.
        GenerateSamples = "generate-samples",
        /// 13: samples → evaluation.
        Evaluate = "evaluate",
    }
}

impl StageName {
    /// 1…13.
    pub fn number(self) -> usize {
        Self::ALL
            .iter()
            .position(|s| *s == self)
            .map_or(0, |i| i + 1)
    }
}

/// A shard, a bucket, or the whole: what one task works on. Also a folder name, so of `[a-z0-9._-]` only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Partition(String);

impl Partition {
    /// The single partition of a step that runs once.
    pub fn whole() -> Self {
        Self("all".to_owned())
    }

    /// The partition of name bucket `k`.
    pub fn bucket(k: u32) -> Self {
        Self(format!("bucket-{k:04}"))
    }

    /// Chunk `k` of a step that cuts its work by the manifest.
    pub fn chunk(k: u32) -> Self {
        Self(format!("chunk-{k:04}"))
    }

    /// The partition of a source shard, from its file name; other characters become `_`.
    pub fn shard(file_stem: &str) -> Self {
        let clean = |c: char| {
            if c.is_ascii_alphanumeric() || "._-".contains(c) {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        };
        Self(format!(
            "shard-{}",
            file_stem.chars().map(clean).collect::<String>()
        ))
    }

    /// The text, as in paths.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// How a step's work is cut into tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partitioning {
    /// One task per file of the source.
    Shards,
    /// One task per name bucket (`run.buckets` of the manifest).
    Buckets,
    /// One task.
    Once,
    /// This many tasks, numbered from 0.
    Chunks(u32),
}

/// Which parts of a table a task reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of its own partition.
    Own,
    /// All of them.
    All,
}

/// A table that a step reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reads {
    /// The table.
    pub table: TableId,
    /// Which of its parts.
    pub scope: Scope,
}

impl Reads {
    /// The parts of the task's own partition.
    pub const fn own(table: TableId) -> Self {
        Self {
            table,
            scope: Scope::Own,
        }
    }

    /// All parts.
    pub const fn all(table: TableId) -> Self {
        Self {
            table,
            scope: Scope::All,
        }
    }
}

/// Files of a model that a step uses; their digest is in the key of each of its tasks.
#[derive(Clone, Debug)]
pub struct ModelFiles {
    /// What the plan calls it: `models.face`, …
    pub label: String,
    /// File or folder.
    pub path: PathBuf,
}

/// One kind of task. Most stages are one step; scores are a step apart from the decisions taken on them, so that a
/// threshold re-decides without a model.
///
/// The planner calls everything but [`Step::run`] in the coordinator, often; `run` is called in a worker process, one
/// task at a time. A step holds no state: what is worth keeping between tasks goes into [`Task::resource`].
pub trait Step: Send + Sync {
    /// Unique; the first step of a stage that has just one bears the stage's own name.
    fn name(&self) -> &'static str;

    /// The stage it belongs to.
    fn stage(&self) -> StageName;

    /// Part of every key. Raise it when the same inputs and settings give another result.
    fn version(&self) -> u32;

    /// How its work is cut.
    ///
    /// # Errors
    /// Settings of the wrong form.
    fn partitioning(&self, manifest: &Manifest) -> Result<Partitioning, CoreError>;

    /// The tables it reads.
    fn reads(&self, manifest: &Manifest) -> Vec<Reads>;

    /// The tables it writes ([`TableId::Dropped`] goes without saying).
    fn writes(&self) -> Vec<TableId>;

    /// The part of the manifest that its result depends on, resolved (defaults filled in). Goes into the key.
    ///
    /// # Errors
    /// An unknown key or wrong type, naming the nearest valid key.
    fn settings(&self, manifest: &Manifest) -> Result<serde_json::Value, CoreError>;

    /// The model files it uses. Must exist; their digests go into the key.
    ///
    /// # Errors
    /// Settings of the wrong form.
    fn models(&self, manifest: &Manifest) -> Result<Vec<ModelFiles>, CoreError>;

    /// Does one task: reads through `task`, writes through it, drops through it, accounts for every row. The caller
    /// commits. Must give the same parts for the same inputs.
    ///
    /// # Errors
    /// Only what concerns the task as a whole; a bad row is dropped with its reason.
    fn run(&self, task: &mut Task) -> Result<(), StageError>;

    /// Makes committed results visible outside `tables/` (a published folder, a sheet). Called in the coordinator
    /// once all the step's tasks are committed, also when none had to run; must be idempotent and cheap when nothing
    /// changed.
    ///
    /// # Errors
    /// Store errors.
    fn publish(
        &self,
        _store: &Store,
        _manifest: &Manifest,
        _records: &[Record],
    ) -> Result<(), CoreError> {
        Ok(())
    }
}
