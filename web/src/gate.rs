//! Who decides when a host may be asked.

use futures::future::BoxFuture;

use crate::failure::{Failure, Verdict};

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
