//! Rows that a stage cannot digest: such a row costs itself, not the run.
//!
//! A panic is caught where it happens. What ends the whole process (a signal, an abort, the kernel when memory runs out)
//! costs the task an attempt. When it has cost two, the coordinator asks for the rows one by one ([`RowCare`]) and is told of
//! each before it is looked at, so that it knows at which row the next worker dies; a row at which two have died is left
//! out from then on. A row that takes for ever is told of by the worker itself, whose coordinator ends it.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::ProgressReporter;
use super::looks::Looks;
use crate::fail_point;
use crate::spec::RowCare;

/// Why a row was not digested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poison {
    /// The step, and what became of it there: the panic's message, or how the worker ended.
    pub detail: String,
}

/// Through which a stage looks at its rows. Cheap to clone, and shared by its threads.
#[derive(Clone)]
pub struct Rows {
    step: Arc<str>,
    poison: Arc<BTreeMap<u64, String>>,
    one_by_one: bool,
    reporter: Arc<dyn ProgressReporter>,
    looks: Arc<Looks>,
}

impl Rows {
    /// Rows each of which may take `deadline`; zero is no deadline.
    pub(super) fn new(
        step: &str,
        care: &RowCare,
        deadline: Duration,
        reporter: Arc<dyn ProgressReporter>,
    ) -> Self {
        Self {
            step: step.into(),
            poison: Arc::new(care.poison.iter().cloned().collect()),
            one_by_one: care.one_by_one,
            looks: Looks::new(deadline, reporter.clone()),
            reporter,
        }
    }

    /// Whether a stage that takes several rows at once must take one at a time, on one thread.
    pub fn one_by_one(&self) -> bool {
        self.one_by_one
    }

    /// Why the row must not be looked at, if it killed workers.
    pub fn poison(&self, id: u64) -> Option<Poison> {
        self.poison.get(&id).map(|how| self.because(how))
    }

    /// What `work` makes of the row `id` (of a caption, name or image).
    ///
    /// # Errors
    /// [`Poison`] where the row killed workers before, or `work` panics.
    pub fn look<T>(&self, id: u64, work: impl FnOnce() -> T) -> Result<T, Poison> {
        if let Some(poison) = self.poison(id) {
            return Err(poison);
        }
        let _leaves = self.one_by_one.then(|| AtRow::begin(&*self.reporter, id));
        let _ends = self.looks.begin(Some(id));
        self.caught(|| {
            // An armed place kills, or panics; an error would mean nothing here.
            drop(fail_point::reach(|| format!("row.{}.{id}", self.step)));
            work()
        })
    }

    /// What `work` makes of several rows at once, of which none is poison: not for rows that are looked at one by one.
    ///
    /// # Errors
    /// [`Poison`] where `work` panics: look at each row to know which it is.
    pub fn together<T>(
        &self,
        ids: impl IntoIterator<Item = u64>,
        work: impl FnOnce() -> T,
    ) -> Result<T, Poison> {
        let _ends = self.looks.begin(None);
        self.caught(|| {
            for id in ids {
                drop(fail_point::reach(|| format!("row.{}.{id}", self.step)));
            }
            work()
        })
    }

    fn caught<T>(&self, work: impl FnOnce() -> T) -> Result<T, Poison> {
        // What a panic leaves half done is of this row, and is dropped with it.
        catch_unwind(AssertUnwindSafe(work))
            .map_err(|panic| self.because(&format!("panicked: {}", panic_text(&*panic))))
    }

    fn because(&self, how: &str) -> Poison {
        let step = &self.step;
        Poison {
            detail: format!("{step}: {how}"),
        }
    }
}

/// Tells that a row is looked at, for as long as this lives.
struct AtRow<'a>(&'a dyn ProgressReporter);

impl<'a> AtRow<'a> {
    fn begin(reporter: &'a dyn ProgressReporter, id: u64) -> Self {
        reporter.at_row(Some(id));
        Self(reporter)
    }
}

impl Drop for AtRow<'_> {
    fn drop(&mut self) {
        self.0.at_row(None);
    }
}

/// The message of a panic.
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::spec::Progress;

    #[derive(Default)]
    struct Told(Mutex<Vec<Option<u64>>>);

    impl ProgressReporter for Told {
        fn progress(&self, _: Progress) {}

        fn at_row(&self, row: Option<u64>) {
            self.0.lock().expect("no panic holds it").push(row);
        }
    }

    fn rows(one_by_one: bool) -> (Rows, Arc<Told>) {
        let told = Arc::new(Told::default());
        let care = RowCare {
            one_by_one,
            poison: vec![(7, "was ended by signal 11".to_owned())],
        };
        (
            Rows::new("a-step", &care, Duration::ZERO, told.clone()),
            told,
        )
    }

    #[test]
    fn a_panic_and_a_row_that_killed_workers_cost_that_row() {
        let (rows, told) = rows(false);
        assert_eq!(rows.look(1, || 2), Ok(2));
        let panicked = rows.look(2, || -> u64 { panic!("row {} is too much", 2) });
        let detail = |row: Result<u64, Poison>| row.expect_err("poison").detail;
        assert_eq!(detail(panicked), "a-step: panicked: row 2 is too much");
        let killed = rows.look(7, || unreachable!("it must not be looked at"));
        assert_eq!(detail(killed), "a-step: was ended by signal 11");
        assert!(told.0.lock().expect("free").is_empty(), "not one by one");
    }

    #[test]
    fn rows_that_are_looked_at_one_by_one_are_told_of() {
        let (rows, told) = rows(true);
        assert!(rows.look(1, || ()).is_ok() && rows.look(2, || panic!("so")).is_err());
        assert!(rows.look(7, || ()).is_err());
        let told = told.0.lock().expect("free");
        assert_eq!(*told, [Some(1), None, Some(2), None]);
    }
}
