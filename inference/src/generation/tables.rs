//! Where the pipeline's tables come from and where its models are kept: a task at work, or a run's store.

use bytes::Bytes;
use laioncele_core::store::Store;
use laioncele_core::{EmbeddingDims, Part, Row, StageError, TableId, Task, part};

use crate::ModelLoader;

/// Where the pipeline reads `encoder` and `name_sums`; in runs of earlier versions `identities` and `name_embeddings`.
pub enum RunTables<'a> {
    /// A task's inputs; loaded models are kept for the worker's next task.
    Task(&'a Task),
    /// Committed parts of a run.
    Run {
        /// The run's store.
        store: &'a Store,
        /// The run's embedding dims.
        dims: &'a EmbeddingDims,
        /// The current parts of a table.
        parts: &'a dyn Fn(TableId) -> Vec<Part>,
    },
}

impl RunTables<'_> {
    pub(super) fn parts(&self, table: TableId) -> Vec<Part> {
        match self {
            Self::Task(task) => task.inputs(table).cloned().collect(),
            Self::Run { parts, .. } => parts(table),
        }
    }

    pub(super) fn rows<R: Row>(&self, part: &Part) -> Result<Vec<R>, StageError> {
        match self {
            Self::Task(task) => task.read_part(part),
            Self::Run { store, dims, .. } => Ok(part::read_rows(store, part, dims)?),
        }
    }

    pub(super) fn bytes(&self, part: &Part) -> Result<Bytes, StageError> {
        match self {
            Self::Task(task) => task.read_bytes(part),
            Self::Run { store, .. } => Ok(store.get(&part.path)?),
        }
    }

    pub(super) fn embedding_dims(&self) -> &EmbeddingDims {
        match self {
            Self::Task(task) => task.embedding_dims(),
            Self::Run { dims, .. } => dims,
        }
    }

    /// Loads models, kept where there is a worker to keep them.
    pub(super) fn loader(&self) -> ModelLoader<'_> {
        match self {
            Self::Task(task) => ModelLoader::of_task(task),
            Self::Run { dims, .. } => ModelLoader::without_task(dims),
        }
    }
}
