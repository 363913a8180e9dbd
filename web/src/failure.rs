//! How a download failed: the class that goes into `dropped`, and whether asking again may help.

use std::time::Duration;

use laioncele_core::DropReason;

/// A failed try.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The class.
    pub reason: DropReason,
    /// What happened, for people.
    pub detail: Option<String>,
    /// Whether another try may end otherwise, and how long the server asked us to wait.
    pub retry: Retry,
}

/// Whether another try may help.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Retry {
    /// It would end the same.
    Never,
    /// It may, after a pause of the caller's choice.
    AfterBackoff,
    /// It may, after the pause that the server asks for.
    After(Duration),
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

impl Failure {
    /// A failure that another try would not change.
    pub fn last(reason: DropReason, detail: impl Into<Option<String>>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            retry: Retry::Never,
        }
    }

    /// A failure that may have passed a little later.
    pub fn passing(reason: DropReason, detail: impl Into<Option<String>>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            retry: Retry::AfterBackoff,
        }
    }

    /// A status code above 399.
    pub fn status(code: u16, retry_after: Option<Duration>) -> Self {
        let reason = if code >= 500 {
            DropReason::Http5xx
        } else {
            DropReason::Http4xx
        };
        let retry = match (code, retry_after) {
            (429 | 500.., Some(wait)) => Retry::After(wait),
            (408 | 425 | 429 | 500.., None) => Retry::AfterBackoff,
            _ => Retry::Never,
        };
        Self {
            reason,
            detail: Some(code.to_string()),
            retry,
        }
    }

    /// A connection that was refused, reset or closed.
    pub(crate) fn cut_off(detail: impl Into<String>) -> Self {
        Self::passing(DropReason::Connect, detail.into())
    }

    /// A body that says that it has so many bytes.
    pub(crate) fn too_large(length: u64) -> Self {
        Self::last(DropReason::TooLarge, format!("{length} bytes"))
    }

    /// A body that turns out to have more bytes than are wanted.
    pub(crate) fn more_than(bytes: usize) -> Self {
        Self::last(DropReason::TooLarge, format!("more than {bytes} bytes"))
    }

    /// An answer that is no HTTP, or not as it says itself.
    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::last(DropReason::BadResponse, detail.into())
    }

    /// What the failure says of its host; none where it says nothing, because the host was not reached for.
    pub(crate) fn verdict(&self, answered: bool) -> Option<Verdict> {
        match self.reason {
            DropReason::Dns | DropReason::BlockedAddress | DropReason::BadUrl => None,
            DropReason::Timeout | DropReason::Tls => Some(Verdict::Silent),
            DropReason::Connect if !answered => Some(Verdict::Silent),
            _ => Some(Verdict::Answered),
        }
    }
}
