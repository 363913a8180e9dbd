//! How a download failed: the class that goes into `dropped`, and whether asking again may help.

use std::error::Error;
use std::time::Duration;

use laioncele_core::DropReason;

use crate::address::AddressError;

/// A failed try.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub reason: DropReason,
    pub detail: Option<String>,
    /// Whether another try may end otherwise, and how long the server asked us to wait.
    pub retry: Retry,
}

/// Whether another try may help.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Retry {
    Never,
    AfterBackoff,
    After(Duration),
}

impl Failure {
    pub fn last(reason: DropReason, detail: impl Into<Option<String>>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            retry: Retry::Never,
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

    /// What the HTTP client reports, by the most telling error in its chain of causes.
    pub fn client(error: &reqwest::Error) -> Self {
        if error.is_builder() {
            return Self::last(DropReason::BadUrl, error.to_string());
        }
        let mut next: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(cause) = next {
            if let Some(found) = classify(cause) {
                return found;
            }
            next = cause.source();
        }
        let reason = if error.is_timeout() {
            DropReason::Timeout
        } else {
            DropReason::Connect
        };
        Self {
            reason,
            detail: Some(innermost(error)),
            retry: Retry::AfterBackoff,
        }
    }
}

fn classify(cause: &(dyn Error + 'static)) -> Option<Failure> {
    if let Some(address) = cause.downcast_ref::<AddressError>() {
        let reason = match address {
            AddressError::NoAddress(_) => DropReason::Dns,
            AddressError::Blocked { .. } => DropReason::BlockedAddress,
        };
        return Some(Failure::last(reason, address.to_string()));
    }
    if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
        return Some(Failure::last(DropReason::Tls, tls.to_string()));
    }
    if let Some(hyper) = cause.downcast_ref::<hyper::Error>() {
        return hyper
            .is_parse()
            .then(|| Failure::last(DropReason::BadResponse, hyper.to_string()));
    }
    let io = cause.downcast_ref::<std::io::Error>()?;
    io.get_ref().and_then(|inner| classify(inner))
}

fn innermost(error: &dyn Error) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}
