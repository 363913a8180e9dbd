//! Who decides when a host may be asked.

use std::time::Duration;

use futures::future::BoxFuture;

use crate::failure::Failure;

/// Decides when a host may be asked: limits per host, rates, circuit breakers.
pub trait Gate: Send + Sync {
    /// Waits until `host` (lower case, without a port) may be asked. Every hop of a redirect asks for its own host.
    ///
    /// # Errors
    /// The host is not to be asked at all now: its circuit is open.
    fn enter<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Box<dyn Pass>, Failure>>;
}

/// The leave to ask a host once. Dropped without a verdict (a cancelled request), it says nothing of the host.
pub trait Pass: Send {
    /// Gives the leave back and tells how the host behaved.
    fn leave(self: Box<Self>, verdict: Verdict);
}

/// How a host behaved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It answered, whatever the status.
    Answered,
    /// It answered that it wants to be left alone for so long (429, 503 with Retry-After).
    Busy(Duration),
    /// It did not answer: no connection, no TLS, no head in time.
    Silent,
}

/// Lets everybody in at once.
pub struct Open;

impl Gate for Open {
    fn enter<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Box<dyn Pass>, Failure>> {
        Box::pin(async { Ok(Box::new(Open) as Box<dyn Pass>) })
    }
}

impl Pass for Open {
    fn leave(self: Box<Self>, _: Verdict) {}
}
