//! What each hop has in common, be it to a photo or to a site's rules: where it leads, and what its host is told to be.

use std::time::Duration;

use crate::failure::Failure;
use crate::gate::{Pass, Verdict};
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

/// How long a host wants to be left alone.
pub(crate) fn busy_for(head: &Head) -> Option<Duration> {
    matches!(head.status, 429 | 503)
        .then(|| retry_after(head))
        .flatten()
}

/// Gives a pass back with what the hop has shown: `head` where there was one. A hop that says nothing of its host gives
/// it back without a word.
pub(crate) fn leave<T>(
    pass: Box<dyn Pass>,
    head: Option<Option<Duration>>,
    done: &Result<T, Failure>,
) {
    let verdict = match (head, done) {
        (Some(Some(wait)), _) => Some(Verdict::Busy(wait)),
        (_, Ok(_)) => Some(Verdict::Answered),
        (head, Err(failure)) => failure.verdict(head.is_some()),
    };
    if let Some(verdict) = verdict {
        pass.leave(verdict);
    }
}
