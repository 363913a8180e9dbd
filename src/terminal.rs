//! The progress bars on the terminal, and writing around them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::{MultiProgress, ProgressBar};

/// The bars that are shown now, by name. Global, because log lines from any thread must be written around them.
static BARS: Mutex<Option<Bars>> = Mutex::new(None);

struct Bars {
    all: MultiProgress,
    shown: Vec<(String, ProgressBar)>,
}

fn bars() -> MutexGuard<'static, Option<Bars>> {
    BARS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The bar called `name`, if it is shown now.
pub(crate) fn bar(name: &str) -> Option<ProgressBar> {
    let bars = bars();
    let mut shown = bars.as_ref()?.shown.iter();
    let found = shown.find(|(found, _)| found == name);
    found.map(|(_, bar)| bar.clone())
}

/// Shows `bar` as `name`, below those that are shown.
pub(crate) fn show_bar(name: &str, bar: ProgressBar) {
    clear_bar(name);
    let mut bars = bars();
    let bars = bars.get_or_insert_with(|| Bars {
        all: MultiProgress::new(),
        shown: Vec::new(),
    });
    let bar = bars.all.add(bar);
    bars.shown.push((name.to_owned(), bar));
}

/// Takes the bar called `name` away.
pub(crate) fn clear_bar(name: &str) {
    if let Some(bars) = &mut *bars() {
        for (_, bar) in bars.shown.extract_if(.., |(found, _)| found == name) {
            bar.finish_and_clear();
        }
    }
}

/// Runs `write`, which writes to the terminal, while the bars are hidden.
pub(crate) fn suspend_bar(write: impl FnOnce()) {
    let all = bars().as_ref().map(|bars| bars.all.clone());
    match all {
        Some(all) => all.suspend(write),
        None => write(),
    }
}
