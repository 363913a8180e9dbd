//! How long one try may still take. Waiting for what is not the server's fault stops the clock.

use std::pin::Pin;
use std::time::Duration;

use laioncele_core::DropReason;
use tokio::time::{Instant, Sleep};

use crate::failure::Failure;

/// The clock of one try.
pub(crate) struct Patience {
    whole: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Patience {
    /// A clock that runs from now on.
    pub(crate) fn new(whole: Duration) -> Self {
        let sleep = Box::pin(tokio::time::sleep(whole));
        Self { whole, sleep }
    }

    /// What `work` gives, if it ends in time.
    ///
    /// # Errors
    /// `timeout`, with `doing` in the detail.
    pub(crate) async fn bound<T>(
        &mut self,
        doing: &str,
        work: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = self.sleep.as_mut() => Err(timeout(doing, self.whole)),
        }
    }

    /// What `work` gives, however long it takes: the clock stands still meanwhile.
    pub(crate) async fn pause<T>(&mut self, work: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let done = work.await;
        let end = self.sleep.deadline() + begun.elapsed();
        self.sleep.as_mut().reset(end);
        done
    }
}

/// The failure of what took longer than `limit`.
pub(crate) fn timeout(doing: &str, limit: Duration) -> Failure {
    Failure::passing(
        DropReason::Timeout,
        format!("{doing}: more than {:.1} s", limit.as_secs_f64()),
    )
}
