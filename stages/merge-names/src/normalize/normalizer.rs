//! The normalizer: what the lists know, a corpus's own counts, and what becomes of two people.

use serde::{Deserialize, Serialize};

use super::knowledge::Knowledge;
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
    knowledge: Knowledge,
    several_people: SeveralPeople,
}

impl Normalizer {
    /// A normalizer that rejects mentions of several people.
    pub fn new(evidence: Evidence) -> Self {
        Self {
            knowledge: Knowledge::new(&evidence.words),
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
        let found = super::normalize_by(mention, &self.knowledge);
        if self.several_people == SeveralPeople::Split && found == Err(Rejection::SeveralPeople) {
            let people = people_in(mention, &self.knowledge);
            return if people.is_empty() {
                Err(Rejection::SeveralPeople)
            } else {
                Ok(people)
            };
        }
        found.map(|spelling| vec![spelling])
    }

    /// The name in a mention that is only just rejected.
    pub(crate) fn doubtful(&self, mention: &str) -> Option<Spelling> {
        let sure = super::normalize_by(mention, &self.knowledge);
        let found = super::normalize_by(mention, &self.knowledge.doubting()).ok()?;
        (sure == Err(Rejection::NotAName) && !found.mononym).then_some(found)
    }
}

/// The full names in a mention of several people, each once, in their order. What is no full name
/// (`Brad and Angelina`) is none.
fn people_in(mention: &str, knowledge: &Knowledge) -> Vec<Spelling> {
    let repaired = super::repair::repair(mention);
    let mut people: Vec<Spelling> = Vec::new();
    for piece in people_apart(&repaired) {
        if let Ok(spelling) = super::normalize_by(&piece, knowledge)
            && !spelling.mononym
            && people.iter().all(|p| p.name != spelling.name)
        {
            people.push(spelling);
        }
    }
    people
}

/// The text cut at the signs and words that part people.
fn people_apart(text: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for word in text.split_whitespace() {
        if super::words::joins_people(word.trim_matches(',')) {
            pieces.push(String::new());
            continue;
        }
        for (i, part) in word.split([',', '/', '|', ';', '&', '+']).enumerate() {
            if i > 0 {
                pieces.push(String::new());
            }
            if let Some(piece) = pieces.last_mut()
                && !part.is_empty()
            {
                piece.push_str(if piece.is_empty() { "" } else { " " });
                piece.push_str(part);
            }
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_doubtful_is_rejected_and_little_is() {
        let normalizer = Normalizer::default();
        for mention in [
            "Emma Watson",
            "wooden kitchen table",
            "Photoshoot",
            "Brad and Angelina",
        ] {
            assert_eq!(normalizer.doubtful(mention), None, "{mention}");
        }
        let labels = include_str!("../../tests/fixtures/normalize-fresh.jsonl");
        let (mut all, mut doubtful) = (0, 0);
        for line in labels.lines() {
            let label: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            let raw = label["raw"].as_str().unwrap_or_default();
            all += 1;
            if let Some(reading) = normalizer.doubtful(raw) {
                assert_eq!(normalizer.normalize(raw), Err(Rejection::NotAName), "{raw}");
                assert!(!reading.name.is_empty());
                doubtful += 1;
            }
        }
        assert!(doubtful > 0 && doubtful * 5 < all, "{doubtful} of {all}");
    }

    fn split(mention: &str) -> Result<Vec<String>, Rejection> {
        let normalizer = Normalizer::default().with_several_people(SeveralPeople::Split);
        let found = normalizer.normalize(mention)?;
        Ok(found.into_iter().map(|s| s.name).collect())
    }

    #[test]
    fn several_people_are_split_into_their_full_names_where_that_is_wanted() {
        for (mention, wanted) in [
            (
                "Brad Pitt and Angelina Jolie",
                &["Brad Pitt", "Angelina Jolie"][..],
            ),
            (
                "BRAD PITT & ANGELINA JOLIE",
                &["Brad Pitt", "Angelina Jolie"],
            ),
            (
                "Serena Williams vs. Naomi Osaka",
                &["Serena Williams", "Naomi Osaka"],
            ),
            ("Idris Elba, Kate Winslet", &["Idris Elba", "Kate Winslet"]),
            ("Idris Elba/Kate Winslet", &["Idris Elba", "Kate Winslet"]),
            ("Brad Pitt and Angelina", &["Brad Pitt"]),
            ("Emma Watson", &["Emma Watson"]),
        ] {
            let found = split(mention).unwrap_or_default();
            assert_eq!(found, wanted, "{mention}");
        }
        assert_eq!(split("Brad and Angelina"), Err(Rejection::SeveralPeople));
        assert_eq!(split("wooden kitchen table"), Err(Rejection::NotAName));
        let rejecting = Normalizer::default();
        assert_eq!(
            rejecting.normalize("Brad Pitt and Angelina Jolie"),
            Err(Rejection::SeveralPeople)
        );
    }
}
