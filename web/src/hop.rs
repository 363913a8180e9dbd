//! What each hop has in common, be it to a photo or to a site's rules: where it leads, and what its host is told to be.

use std::time::Duration;

use crate::failure::{Failure, Verdict};
use crate::gate::Pass;
use crate::head::Head;
use crate::retry_after::retry_after;
use crate::target::Target;

/// Where a redirect leads. 304 is none: we have nothing that it could mean.
///
/// # Errors
/// There is no `Location`, or what [`Target::redirect`] says.
pub(crate) fn redirect(target: &Target, head: &Head) -> Result<Target, Failure> {
    let location = head.first("location").filter(|l| !l.is_empty());
    match location {
        Some(location) if head.status != 304 => target.redirect(location),
        _ => Err(Failure::malformed(format!(
            "{} without Location",
            head.status
        ))),
    }
}

/// How far a hop got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    Nothing,
    Answer,
    /// An answer that asks to be left alone for so long.
    Busy(Duration),
}

impl Reached {
    pub(crate) fn by(head: &Head) -> Self {
        match (head.status, retry_after(head)) {
            (429 | 503, Some(wait)) => Self::Busy(wait),
            _ => Self::Answer,
        }
    }
}

/// Gives a pass back with what the hop has shown. A hop that says nothing of its host gives it back without a word.
pub(crate) fn leave<T>(pass: Box<dyn Pass>, reached: Reached, done: &Result<T, Failure>) {
    let verdict = match (reached, done) {
        (Reached::Busy(wait), _) => Some(Verdict::Busy(wait)),
        (_, Ok(_)) => Some(Verdict::Answered),
        (reached, Err(failure)) => failure.verdict(reached == Reached::Answer),
    };
    if let Some(verdict) = verdict {
        pass.leave(verdict);
    }
}
