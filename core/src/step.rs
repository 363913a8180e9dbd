//! Steps: what a step promises the planner, and how its work is partitioned.

use std::path::{Path, PathBuf};

use crate::error::{Cause, CoreError, StageError};
use crate::ledger::Record;
use crate::manifest::Manifest;
use crate::names::StageName;
use crate::store::Store;
use crate::table::TableId;
use crate::task::Task;

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
    /// Files of the source in at most this many groups, by a hash of their names: one task per group that has files.
    ShardGroups(u32),
}

/// Which parts of a table a task reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of its own partition.
    Own,
    /// All of them.
    All,
    /// Those of the shards of its group. Only for [`Partitioning::ShardGroups`].
    Group,
    /// Of all of them the row groups of its own bucket. Only for [`Partitioning::Buckets`], and tables with a column
    /// `bucket`. The key names the whole list: a task whose slices have not changed writes the same parts again, and
    /// what reads those does not run.
    Slice,
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

    /// The parts of the shards of the task's group.
    pub const fn group(table: TableId) -> Self {
        Self {
            table,
            scope: Scope::Group,
        }
    }

    /// The row groups of the task's bucket in all parts.
    pub const fn slice(table: TableId) -> Self {
        Self {
            table,
            scope: Scope::Slice,
        }
    }
}

/// Lists the files of a model's folder that are read when it is loaded.
pub type FilesRead = fn(&Path) -> Result<Vec<PathBuf>, Cause>;

/// Files of a model that a step uses; their digest is in the key of each of its tasks.
#[derive(Clone, Debug)]
pub struct ModelFiles {
    /// What the plan calls it: `models.face`, …
    pub label: String,
    /// File or folder.
    pub path: PathBuf,
    /// What is read of a folder: nothing else that lies there is in the key. A file is read itself.
    pub files_read: FilesRead,
}

impl ModelFiles {
    /// A model that is one file.
    pub fn file(label: impl Into<String>, path: PathBuf) -> Self {
        Self::folder(label, path, |_| {
            Err(std::io::Error::from(std::io::ErrorKind::IsADirectory).into())
        })
    }

    /// A model that is a folder of which `files_read` are read, or one file in its place.
    pub fn folder(label: impl Into<String>, path: PathBuf, files_read: FilesRead) -> Self {
        Self {
            label: label.into(),
            path,
            files_read,
        }
    }
}

/// What a step is, whatever the manifest says.
#[derive(Debug)]
pub struct StepSpec {
    /// Unique. The step of a stage that has just one has the stage's own name.
    pub name: &'static str,
    /// The stage it belongs to.
    pub stage: StageName,
    /// Part of every key. Raise it when the same inputs and settings give another result.
    pub version: u32,
    /// How its work is cut. Where the manifest decides the number of chunks, this is the largest.
    pub partitioning: Partitioning,
    /// The tables it always reads.
    pub reads: &'static [Reads],
    /// The tables it writes, besides [`TableId::Dropped`] which every step writes.
    pub writes: &'static [TableId],
}

/// One kind of task. Most stages are one step; scores are a step apart from the decisions taken on them, so that a
/// threshold re-decides without a model.
///
/// The planner calls everything but [`Step::run`] in the coordinator, often; `run` is called in a worker process, for one
/// task at a time unless [`Step::tasks_at_once`] says otherwise. A step holds no state: what is worth keeping between
/// tasks goes into [`Task::resource`].
pub trait Step: Send + Sync {
    /// What the step is, whatever the manifest says.
    fn spec(&self) -> &'static StepSpec;

    /// How its work is cut: as its spec says, except where the manifest decides the number of chunks.
    ///
    /// # Errors
    /// Settings of the wrong form.
    fn partitioning(&self, _manifest: &Manifest) -> Result<Partitioning, CoreError> {
        Ok(self.spec().partitioning)
    }

    /// The tables it reads: those of its spec, and those that only some settings need.
    fn reads(&self, _manifest: &Manifest) -> Vec<Reads> {
        self.spec().reads.to_vec()
    }

    /// The part of the manifest that its result depends on, resolved (defaults filled in). Goes into the key.
    ///
    /// # Errors
    /// An unknown key or wrong type, naming the nearest valid key.
    fn settings(&self, manifest: &Manifest) -> Result<serde_json::Value, CoreError>;

    /// The model files it uses, by default none. They must exist; the digests of what is read of them go into the key.
    ///
    /// # Errors
    /// Settings of the wrong form.
    fn models(&self, _manifest: &Manifest) -> Result<Vec<ModelFiles>, CoreError> {
        Ok(Vec::new())
    }

    /// How many tasks a worker runs at once, each on a thread of its own: 1, but for steps that wait for others most of
    /// the time. Such tasks share the worker's resources and threads.
    fn tasks_at_once(&self) -> usize {
        1
    }

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

    /// Whether a run can go on with what the step's tasks have committed. Called in the coordinator after
    /// [`Step::publish`], by runs only: what is there can be read all the same.
    ///
    /// # Errors
    /// Why not; store errors.
    fn check_results(
        &self,
        _store: &Store,
        _manifest: &Manifest,
        _records: &[Record],
    ) -> Result<(), CoreError> {
        Ok(())
    }
}
