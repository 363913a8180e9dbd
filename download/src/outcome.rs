//! What is kept of how an item ended: the head of its entry in a [`crate::Journal`].

use std::time::SystemTime;

use laioncele_core::DropReason;
use serde::{Deserialize, Serialize};

use crate::photo::{Checked, Original};
use crate::{Attempt, Done};

/// How an item ended, without the photo's bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// A photo, or why there is none.
    pub end: End,
    /// Every try, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tries: Vec<Tried>,
    /// Where redirects led.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirected_to: Option<String>,
}

/// A photo, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// A photo, whose bytes are the entry's.
    Photo {
        /// SHA-256 of the file as it came, in hexadecimal digits.
        sha256: String,
        /// The usual extension of the bytes' format.
        extension: String,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// What it was before it was made smaller.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        original: Option<Original>,
    },
    /// No photo.
    Dropped {
        /// The class.
        reason: DropReason,
        /// What was the matter, in words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
}

/// One try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// When it began, in milliseconds since 1970.
    pub at: u64,
    /// How long it took, in milliseconds.
    pub took: u64,
    /// Its class; none for a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<DropReason>,
    /// The status of its last answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

impl Outcome {
    /// What is kept of `done`, and the photo's bytes (none of a drop).
    pub fn of(done: Done<Checked>) -> (Self, Vec<u8>) {
        let (end, bytes) = match done.result {
            Ok(photo) => {
                let end = End::Photo {
                    sha256: photo.sha256,
                    extension: photo.extension,
                    width: photo.width,
                    height: photo.height,
                    original: photo.original,
                };
                (end, photo.bytes)
            }
            Err(failure) => {
                let (reason, detail) = (failure.reason, failure.detail);
                (End::Dropped { reason, detail }, Vec::new())
            }
        };
        let outcome = Self {
            end,
            tries: done.attempts.iter().map(Tried::of).collect(),
            redirected_to: done.redirected_to,
        };
        (outcome, bytes)
    }
}

impl Tried {
    fn of(attempt: &Attempt) -> Self {
        let at = attempt.at.duration_since(SystemTime::UNIX_EPOCH);
        let milliseconds =
            |d: std::time::Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        Self {
            at: milliseconds(at.unwrap_or_default()),
            took: milliseconds(attempt.took),
            class: attempt.class,
            status: attempt.status,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use laioncele_web::Failure;

    use super::*;

    #[test]
    fn an_outcome_comes_back_from_its_json() -> serde_json::Result<()> {
        let attempts = vec![Attempt {
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(7),
            took: Duration::from_millis(30),
            class: Some(DropReason::Http5xx),
            status: Some(503),
        }];
        let photo = Checked {
            bytes: vec![1, 2],
            sha256: "ab".to_owned(),
            extension: "jpg".to_owned(),
            width: 3,
            height: 4,
            original: None,
        };
        let failure = Failure::last(DropReason::Http5xx, "503".to_owned());
        for (result, bytes) in [(Ok(photo), vec![1, 2]), (Err(failure), Vec::new())] {
            let done = Done {
                id: 5,
                result,
                attempts: attempts.clone(),
                redirected_to: Some("http://b.example/".to_owned()),
            };
            let (outcome, found) = Outcome::of(done);
            assert_eq!(found, bytes);
            assert_eq!((outcome.tries[0].at, outcome.tries[0].took), (7000, 30));
            let text = serde_json::to_string(&outcome)?;
            assert_eq!(serde_json::from_str::<Outcome>(&text)?, outcome);
        }
        Ok(())
    }
}
