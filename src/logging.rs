//! Log lines: how much is said, and where it goes.

use std::io;

use clap::Args;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::executor::Voice;
use crate::executor::wire_log::WireLog;
use crate::progress;

/// How much the program says beside its results.
#[derive(Args, Clone, Debug)]
pub struct Talk {
    /// Say more: -v what happens, -vv details
    #[arg(short, long, action = clap::ArgAction::Count, global = true, display_order = 900)]
    verbose: u8,
    /// Say nothing but errors, and show no progress
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        display_order = 901
    )]
    pub quiet: bool,
}

impl Talk {
    /// Log directives: `RUST_LOG` where it is set, else by the flags.
    pub fn filter(&self) -> String {
        match std::env::var("RUST_LOG") {
            Ok(directives) if !directives.trim().is_empty() => directives,
            _ => by_flags(self.verbose, self.quiet).to_owned(),
        }
    }
}

fn by_flags(verbose: u8, quiet: bool) -> &'static str {
    match (quiet, verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, _) => "debug",
    }
}

/// Logs to standard error, around the progress bar.
pub fn to_stderr(talk: &Talk) {
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(|| Around(Vec::new()))
        .with_target(false)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
        .without_time();
    tracing_subscriber::registry()
        .with(EnvFilter::new(talk.filter()))
        .with(layer)
        .init();
}

/// Sends log lines to the coordinator.
pub fn over_the_wire(talk: &Talk, voice: Voice) {
    tracing_subscriber::registry()
        .with(EnvFilter::new(talk.filter()))
        .with(WireLog(move |line| voice.say(&line)))
        .init();
}

/// Collects one log line and writes it in one go when the progress bar is out of the way.
struct Around(Vec<u8>);

impl io::Write for Around {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Around {
    fn drop(&mut self) {
        progress::around_the_bar(|| {
            let _ = io::Write::write_all(&mut io::stderr().lock(), &self.0);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_choose_the_level_and_every_level_parses() {
        let chosen = [(0, true), (0, false), (1, false), (2, false), (9, false)]
            .map(|(verbose, quiet)| by_flags(verbose, quiet));
        assert_eq!(chosen, ["error", "warn", "info", "debug", "debug"]);
        assert!(chosen.iter().all(|c| EnvFilter::try_new(c).is_ok()));
    }
}
