//! Whether a rare spelling near a frequent one may be that person, or is more likely somebody else.

use std::collections::HashMap;

use crate::fold::fold_key;
use crate::normalize::LEXICON;

/// How many names each word stands in: a word of many names is a name of its own, not a misspelling.
pub(super) struct WordUse {
    names: HashMap<String, u32>,
}

/// A word of at least this many names is an ordinary one.
const ORDINARY: u32 = 3;

impl WordUse {
    /// Counts the words of all spellings.
    pub(super) fn of<'a>(spellings: impl Iterator<Item = (&'a str, u64)>) -> Self {
        let mut names: HashMap<String, u32> = HashMap::new();
        for (spelling, _) in spellings {
            for word in words(spelling) {
                *names.entry(word).or_default() += 1;
            }
        }
        Self { names }
    }

    fn is_ordinary(&self, word: &str) -> bool {
        LEXICON.is_name_word(word) || self.names.get(word).is_some_and(|n| *n >= ORDINARY)
    }

    /// Whether `rare` (spelling, mentions) may be a misspelling of `frequent`, whose key is near.
    pub(super) fn may_be_same(&self, rare: (&str, u64), frequent: (&str, u64)) -> bool {
        let (one, other) = (words(rare.0), words(frequent.0));
        if one.len() != other.len() {
            return !has_more_initials(&one, &other);
        }
        let differing: Vec<_> = one.iter().zip(&other).filter(|(a, b)| a != b).collect();
        differing.iter().all(|(a, b)| a.chars().count() > 2 && b.chars().count() > 2 && !self.is_ordinary(a))
    }
}

/// An initial more or less tells people apart.
fn has_more_initials(one: &[String], other: &[String]) -> bool {
    let initials = |list: &[String]| list.iter().filter(|w| w.chars().count() == 1).count();
    initials(one) != initials(other)
}

/// The folded words of a spelling.
fn words(spelling: &str) -> Vec<String> {
    spelling.split([' ', '-', '.']).map(fold_key).filter(|w| !w.is_empty()).collect()
}
