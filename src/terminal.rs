//! The progress bars on the terminal, writing around them, and how wide it is.

use std::io::{self, IsTerminal};
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::{MultiProgress, ProgressBar};

/// Columns that fewer than which are not believed.
const NARROWEST: usize = 20;

/// Columns of what is written to standard output: those of the terminal; else of the variable `COLUMNS`; none where lines may be of any length,
/// as in a pipe.
pub(crate) fn columns() -> Option<usize> {
    let terminal = io::stdout()
        .is_terminal()
        .then(terminal_size::terminal_size);
    columns_of(terminal.flatten())
}

/// Columns of standard error, as [`columns`].
pub(crate) fn error_columns() -> Option<usize> {
    let terminal = io::stderr().is_terminal();
    columns_of(
        terminal
            .then(|| terminal_size::terminal_size_of(io::stderr()))
            .flatten(),
    )
}

fn columns_of(terminal: Option<(terminal_size::Width, terminal_size::Height)>) -> Option<usize> {
    let said = || std::env::var("COLUMNS").ok()?.parse().ok();
    let columns = terminal
        .map(|(width, _)| usize::from(width.0))
        .or_else(said);
    columns.map(|columns| columns.max(NARROWEST))
}

/// Whether colours are wanted on `stream`, as <https://no-color.org> and <https://bixense.com/clicolors> say.
pub(crate) fn has_colours(stream: &impl IsTerminal) -> bool {
    let said = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let forced = said("CLICOLOR_FORCE").is_some_and(|value| value != "0");
    let off = said("CLICOLOR").is_some_and(|value| value == "0");
    let dumb = said("TERM").is_some_and(|value| value == "dumb");
    match said("NO_COLOR") {
        Some(_) => false,
        None => forced || (stream.is_terminal() && !off && !dumb),
    }
}

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
