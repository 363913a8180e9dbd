//! What `verify` found: every problem with its kind and place.

use std::collections::BTreeSet;

use laioncele_core::Digest;
use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::words::{count, size};

/// Most problems printed; the JSON has them all.
const SHOWN_PROBLEMS: usize = 20;

/// What was checked and found.
#[derive(Debug, Default, Serialize)]
pub(super) struct Findings {
    /// Parts that records name.
    pub parts: usize,
    /// Bytes of those that are as they should be.
    pub bytes: u64,
    /// Published files.
    pub published: usize,
    /// Identities of the dataset that were checked.
    pub identities: usize,
    /// Files that were searched for who was taken down; none where nobody was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub searched: Option<usize>,
    /// Whether names, photos and portraits were compared with each other: not while parts of them
    /// are damaged.
    pub tables_compared: bool,
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
    /// Keys of the records that cannot count.
    #[serde(skip)]
    pub lost: BTreeSet<Digest>,
    /// What `--repair` did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repaired: Option<Repaired>,
}

/// What is wrong, and where.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Problem {
    /// Of what.
    pub kind: Kind,
    /// Path in the run's folder.
    pub path: String,
    /// What is wrong, with the path.
    pub text: String,
}

/// What is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// A record of the ledger.
    Record,
    /// A part of a table.
    Part,
    /// A list of parts.
    List,
    /// A published file.
    Published,
    /// A recorded manifest.
    Manifest,
    /// Tables that do not match.
    Tables,
    /// A file with somebody in it who was taken down.
    Forgotten,
}

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Repaired {
    /// Records that were taken out of the ledger: their tasks run again.
    pub records: usize,
    /// Lists of parts that were written again.
    pub lists: usize,
    /// Published files that were deleted, to be published again.
    pub published: usize,
    /// Problems that are left.
    pub left: usize,
}

impl Findings {
    /// Adds a problem of the object at `path`.
    pub(super) fn add(&mut self, kind: Kind, path: &str, what: &str) {
        self.problems.push(Problem {
            kind,
            path: path.to_owned(),
            text: format!("{path}: {what}"),
        });
    }

    /// Adds a problem whose text names its place.
    pub(super) fn add_text(&mut self, kind: Kind, path: &str, text: String) {
        let path = path.to_owned();
        self.problems.push(Problem { kind, path, text });
    }

    /// What was checked, in a line, and what was repaired, in another.
    pub(super) fn render(&self) -> String {
        let mut text = format!(
            "{} ({}), {} and {} checked",
            count(self.parts, "part"),
            size(self.bytes),
            count(self.published, "published file"),
            count(self.identities, "identity")
        );
        if let Some(searched) = self.searched {
            text.push_str(&format!(
                "; {} searched for who was taken down",
                count(searched, "file")
            ));
        }
        if !self.tables_compared {
            text.push_str("; names, photos and portraits not compared, for parts are damaged");
        }
        if let Some(repaired) = &self.repaired {
            text.push_str(&format!(
                "\nrepaired: {} taken out of the ledger, {} written again, {} deleted; `laioncele run` makes them again",
                count(repaired.records, "record"),
                count(repaired.lists, "list"),
                count(repaired.published, "published file"),
            ));
        }
        text
    }

    /// # Errors
    /// [`Exit::Damage`] if anything is wrong and was not repaired.
    pub(super) fn outcome(&self) -> Result<(), Failure> {
        let left = match &self.repaired {
            Some(repaired) => repaired.left,
            None => self.problems.len(),
        };
        if left == 0 {
            return Ok(());
        }
        let mut text = count(self.problems.len(), "problem");
        for problem in self.problems.iter().take(SHOWN_PROBLEMS) {
            text.push_str(&format!("\n  {}", problem.text));
        }
        if self.problems.len() > SHOWN_PROBLEMS {
            text.push_str(&format!(
                "\n  and {} more",
                self.problems.len() - SHOWN_PROBLEMS
            ));
        }
        let failure = Failure::new(Exit::Damage, text);
        Err(match self.repaired {
            None => failure.hint(
                "`laioncele verify --repair`, then `laioncele run`: what is damaged is made again, and what depends on it if its bytes change",
            ),
            Some(_) => failure.hint(format!("{} cannot be repaired this way", count(left, "problem"))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_count_and_some_are_shown() {
        let mut findings = Findings::default();
        assert!(findings.outcome().is_ok());
        for k in 0..25 {
            findings.add(Kind::Part, &format!("tables/{k}"), "is gone");
        }
        let failure = findings.outcome().expect_err("damage");
        assert_eq!(failure.exit, Exit::Damage);
        assert!(
            failure
                .message
                .starts_with("25 problems\n  tables/0: is gone")
        );
        assert!(failure.message.ends_with("and 5 more"));
        findings.repaired = Some(Repaired {
            records: 25,
            ..Repaired::default()
        });
        assert!(findings.outcome().is_ok());
    }
}
