//! Where a studio's tables come from and where its networks are kept: a task at work, or a run's store.

use std::sync::Arc;

use bytes::Bytes;
use laioncele_core::store::Store;
use laioncele_core::{EmbeddingDims, Part, Row, StageError, TableId, Task, part};

/// Where a studio's tables come from.
pub enum Source<'a> {
    /// A task's inputs; loaded networks are kept for the worker's next task.
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

impl Source<'_> {
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

    /// A loaded thing, kept under `key` where there is a worker to keep it.
    pub(super) fn keep<T: Send + Sync + 'static>(
        &self,
        key: &str,
        load: impl FnOnce() -> Result<T, StageError>,
    ) -> Result<Arc<T>, StageError> {
        match self {
            Self::Task(task) => task.resource(key, load),
            Self::Run { .. } => load().map(Arc::new),
        }
    }
}
