//! The progress bar on the terminal, and writing around it.

use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;

/// The bar that is shown now. Global, because log lines from any thread must be written around it.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// The bar that is shown now, if any.
pub(crate) fn bar() -> Option<ProgressBar> {
    BAR.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Shows `bar` in place of the current one, which is cleared.
pub(crate) fn show_bar(bar: Option<ProgressBar>) {
    let mut shown = BAR.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(old) = std::mem::replace(&mut *shown, bar) {
        old.finish_and_clear();
    }
}

/// Runs `write`, which writes to the terminal, while the bar is hidden.
pub(crate) fn suspend_bar(write: impl FnOnce()) {
    match bar() {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}
