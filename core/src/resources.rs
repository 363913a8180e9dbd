//! What a worker keeps between tasks: loaded models, by key.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Loaded things by key (a label and what it was loaded from), shared by the tasks of one worker.
#[derive(Default)]
pub struct Resources {
    loaded: Mutex<HashMap<String, Arc<dyn Any + Send + Sync>>>,
}

impl Resources {
    /// The resource at `key`, loaded by `load` if it is not there yet.
    ///
    /// # Errors
    /// What `load` returns; nothing is kept then.
    pub fn get_or_load<T: Send + Sync + 'static, E>(
        &self,
        key: &str,
        load: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let lock = || self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hit) = lock()
            .get(key)
            .and_then(|any| any.clone().downcast::<T>().ok())
        {
            return Ok(hit);
        }
        let fresh = Arc::new(load()?);
        lock().insert(key.to_owned(), fresh.clone());
        Ok(fresh)
    }
}
