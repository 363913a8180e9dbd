//! Rows that take for ever. Who looks at a row says so here; one thread of the process watches over the rows of all tasks, and
//! tells of one that takes longer than it may. Nothing can end a thread that computes: what follows is the coordinator's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::ProgressReporter;

/// Time between two looks at what is under way.
const INTERVAL: Duration = Duration::from_millis(200);

/// The tasks that are watched.
static WATCHED: Mutex<Vec<Weak<Looks>>> = Mutex::new(Vec::new());
static WATCH: Once = Once::new();

/// The rows that a task looks at.
pub(super) struct Looks {
    limit: Duration,
    reporter: Arc<dyn ProgressReporter>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    /// The row, where it is one and not several, and since when.
    under_way: BTreeMap<u64, (Option<u64>, Instant)>,
    told: bool,
}

impl Looks {
    /// Looks of which each may take `limit`, and as long as it wants where that is zero.
    pub(super) fn new(limit: Duration, reporter: Arc<dyn ProgressReporter>) -> Arc<Self> {
        let looks = Arc::new(Self {
            limit,
            reporter,
            state: Mutex::default(),
        });
        if limit > Duration::ZERO {
            lock(&WATCHED).push(Arc::downgrade(&looks));
            WATCH.call_once(watch);
        }
        looks
    }

    /// Notes that a row is looked at, or several (`None`), for as long as what is returned lives.
    pub(super) fn begin(&self, row: Option<u64>) -> Option<Look<'_>> {
        if self.limit.is_zero() {
            return None;
        }
        let mut state = lock(&self.state);
        let number = state.next;
        state.next += 1;
        state.under_way.insert(number, (row, Instant::now()));
        Some(Look {
            looks: self,
            number,
        })
    }

    /// Tells of the first row that takes too long, once.
    fn check(&self, now: Instant) {
        let mut state = lock(&self.state);
        let late = |since: &Instant| now.saturating_duration_since(*since) > self.limit;
        let mut under_way = state.under_way.values();
        let Some((row, _)) = under_way.find(|(_, since)| late(since)).copied() else {
            return;
        };
        if !std::mem::replace(&mut state.told, true) {
            drop(state);
            self.reporter.overdue(row, self.limit);
        }
    }
}

/// A row that is looked at.
pub(super) struct Look<'a> {
    looks: &'a Looks,
    number: u64,
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        lock(&self.looks.state).under_way.remove(&self.number);
    }
}

/// Starts the thread that watches. Where there is none, rows take as long as they want.
fn watch() {
    let thread = std::thread::Builder::new().name("deadlines".to_owned());
    let spawned = thread.spawn(|| {
        loop {
            std::thread::sleep(INTERVAL);
            let mut watched = lock(&WATCHED);
            watched.retain(|looks| looks.strong_count() > 0);
            let looks: Vec<_> = watched.iter().filter_map(Weak::upgrade).collect();
            drop(watched);
            let now = Instant::now();
            looks.iter().for_each(|looks| looks.check(now));
        }
    });
    if let Err(error) = spawned {
        tracing::warn!("no thread that watches over rows: {error}");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Progress;

    #[derive(Default)]
    struct Told(Mutex<Vec<Option<u64>>>);

    impl ProgressReporter for Told {
        fn progress(&self, _: Progress) {}

        fn overdue(&self, row: Option<u64>, _: Duration) {
            lock(&self.0).push(row);
        }
    }

    #[test]
    fn a_row_that_takes_too_long_is_told_of_once() {
        let told = Arc::new(Told::default());
        let looks = Looks::new(Duration::from_hours(1), told.clone());
        let later = Instant::now() + Duration::from_hours(2);
        drop(looks.begin(Some(1)));
        let second = looks.begin(Some(2));
        looks.check(Instant::now());
        assert!(lock(&told.0).is_empty());
        looks.check(later);
        looks.check(later);
        drop(second);
        assert_eq!(*lock(&told.0), [Some(2)]);
        let (told, at_once) = (Arc::new(Told::default()), None);
        let looks = Looks::new(Duration::from_hours(1), told.clone());
        let _several = looks.begin(at_once);
        looks.check(later);
        assert_eq!(*lock(&told.0), [None]);
    }

    #[test]
    fn without_a_limit_nothing_is_watched() {
        let looks = Looks::new(Duration::ZERO, Arc::new(Told::default()));
        assert!(looks.begin(Some(1)).is_none());
    }
}
