//! The threads of a task.

use laioncele_core::{StageError, Task};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::ModelError;

/// A pool of as many threads as the worker gives to `task`.
///
/// # Errors
/// [`StageError::Environment`] where the system starts no more threads.
pub fn thread_pool(task: &Task) -> Result<ThreadPool, StageError> {
    Ok(pool_of(task.runtime_environment().threads)?)
}

/// A pool of so many threads; of as many as the machine has for 0.
///
/// # Errors
/// [`ModelError::Threads`] where the system starts no more threads.
pub fn pool_of(threads: usize) -> Result<ThreadPool, ModelError> {
    Ok(ThreadPoolBuilder::new().num_threads(threads).build()?)
}
