//! What a worker keeps between tasks: loaded models, by key.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Loaded = Option<Arc<dyn Any + Send + Sync>>;

/// Loaded things by key (a label and what it was loaded from), shared by the tasks of one worker.
#[derive(Default)]
pub struct Resources {
    places: Mutex<HashMap<String, Arc<Mutex<Loaded>>>>,
}

impl Resources {
    /// The resource at `key`, loaded by `load` if it is not there yet. Of tasks that ask at the same time one loads it,
    /// the others wait; `load` must not ask for the same key.
    ///
    /// # Errors
    /// What `load` returns; nothing is kept then.
    pub fn get_or_load<T: Send + Sync + 'static, E>(
        &self,
        key: &str,
        load: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let place = lock(&self.places)
            .entry(key.to_owned())
            .or_default()
            .clone();
        let mut loaded = lock(&place);
        let hit = loaded.as_ref().map(|any| any.clone().downcast::<T>());
        if let Some(Ok(hit)) = hit {
            return Ok(hit);
        }
        let fresh = Arc::new(load()?);
        *loaded = Some(fresh.clone());
        Ok(fresh)
    }
}

/// A load that panicked has left nothing half-done behind: its place is as empty as before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn tasks_at_the_same_time_share_one_load() {
        let (resources, loads) = (Resources::default(), AtomicUsize::new(0));
        let barrier = std::sync::Barrier::new(8);
        let load = || {
            barrier.wait();
            resources.get_or_load("engine", || {
                std::thread::yield_now();
                Ok::<_, ()>(loads.fetch_add(1, Ordering::SeqCst))
            })
        };
        let got: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(load)).collect();
            threads.into_iter().map(|t| t.join().ok()).collect()
        });
        assert!(got.iter().all(|g| *g == Some(Ok(Arc::new(0)))), "{got:?}");
        assert_eq!(loads.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_failed_load_leaves_nothing_behind() {
        let resources = Resources::default();
        assert_eq!(resources.get_or_load::<u8, _>("x", || Err("no")), Err("no"));
        let again = resources.get_or_load::<u8, &str>("x", || Ok(3));
        assert_eq!(again, Ok(Arc::new(3)));
    }
}
