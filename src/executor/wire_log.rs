//! A worker's log lines as protocol messages, so that the coordinator prints them around its
//! progress bar.

use std::fmt::Write;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Longest log text in characters; a line must stay far below the protocol's limit.
const MAX_TEXT: usize = 4096;

/// A layer that passes every event's level and text to the function.
pub(crate) struct WireLog<F>(pub F);

impl<S: Subscriber, F: Fn(String, String) + 'static> Layer<S> for WireLog<F> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        let text = format!("{}{}", text.message, text.fields);
        let text = text.chars().take(MAX_TEXT).collect();
        (self.0)(level, text);
    }
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}

/// Logs a line of a worker.
pub(crate) fn relay(worker: usize, level: &str, text: &str) {
    match level.parse().unwrap_or(Level::INFO) {
        Level::ERROR => tracing::error!(worker, "{text}"),
        Level::WARN => tracing::warn!(worker, "{text}"),
        Level::INFO => tracing::info!(worker, "{text}"),
        _ => tracing::debug!(worker, "{text}"),
    }
}
