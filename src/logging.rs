//! Where log lines go.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::Verbosity;
use crate::executor::MessageSender;
use crate::executor::wire_log::WireLog;
use crate::terminal;

/// Logs to standard error, around the progress bar.
pub(crate) fn to_stderr(verbosity: &Verbosity) {
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(|| LogLine(Vec::new()))
        .with_target(false)
        .with_ansi(terminal::has_colours(&io::stderr()))
        .without_time();
    tracing_subscriber::registry()
        .with(EnvFilter::new(verbosity.filter()))
        .with(layer)
        .init();
}

/// Logs to the coordinator, as protocol messages.
pub(crate) fn to_coordinator(verbosity: &Verbosity, sender: MessageSender) {
    tracing_subscriber::registry()
        .with(EnvFilter::new(verbosity.filter()))
        .with(WireLog(move |level, text| sender.log(level, text)))
        .init();
}

/// Collects one log line and writes it at once, around the progress bar.
struct LogLine(Vec<u8>);

impl io::Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        terminal::suspend_bar(|| {
            let _ = io::Write::write_all(&mut io::stderr().lock(), &self.0);
        });
    }
}
