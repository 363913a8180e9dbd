//! What goes in and what comes out.

use std::time::{Duration, SystemTime};

use laioncele_core::DropReason;
use laioncele_web::Failure;

/// A url to ask for.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The caller's number for it.
    pub id: u64,
    /// As the source wrote it.
    pub url: String,
}

/// One try at a url.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// When it began.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// Its class; none for a success.
    pub class: Option<DropReason>,
    /// The status of its last answer.
    pub status: Option<u16>,
}

/// How an item ended.
#[derive(Debug)]
pub struct Done<T> {
    /// The item's number.
    pub id: u64,
    /// What the caller made of the bytes, or why there are none.
    pub result: Result<T, Failure>,
    /// Every try, in order. Empty for a url that was never asked for.
    pub attempts: Vec<Attempt>,
    /// Where redirects led.
    pub redirected_to: Option<String>,
}
