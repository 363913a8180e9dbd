//! What merging reads and what it answers: arrays over all distinct spellings, no allocation for
//! each.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hint::black_box;

use laioncele_core::table::Alias;

use super::{Counted, MergedName};

/// Distinct normalized spellings with their counts: one arena of text and three arrays. The order
/// is the caller's; no result depends on it.
#[derive(Clone, Debug, Default)]
pub struct SpellingTable {
    text: String,
    ends: Vec<u64>,
    mentions: Vec<u64>,
    recased: Vec<u64>,
}

impl SpellingTable {
    /// An empty table with room for `spellings` of together `bytes`.
    pub fn with_capacity(spellings: usize, bytes: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
            ends: Vec::with_capacity(spellings),
            mentions: Vec::with_capacity(spellings),
            recased: Vec::with_capacity(spellings),
        }
    }

    /// Adds a spelling, as [`crate::normalize::normalize`] writes it: its mentions, and those of
    /// them whose case had to be made.
    pub fn push(&mut self, spelling: &str, mentions: u64, recased: u64) {
        self.text.push_str(spelling);
        self.ends.push(self.text.len() as u64);
        self.mentions.push(mentions);
        self.recased.push(recased);
    }

    /// Adds to the counts of spelling `at`.
    pub fn add(&mut self, at: usize, mentions: u64, recased: u64) {
        self.mentions[at] = self.mentions[at].saturating_add(mentions);
        self.recased[at] = self.recased[at].saturating_add(recased);
    }

    /// The number of spellings.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no spelling.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The text of spelling `at`.
    pub fn spelling(&self, at: usize) -> &str {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start as usize..self.ends[at] as usize]
    }

    /// [`fetch`] of the texts of some spellings.
    pub(super) fn fetch(&self, spellings: impl Iterator<Item = u32>) {
        fetch(&self.text, &self.ends, spellings);
    }

    /// The mentions of spelling `at`.
    pub fn mentions(&self, at: usize) -> u64 {
        self.mentions[at]
    }

    /// The mentions of spelling `at` that somebody wrote with these capitals.
    pub fn written(&self, at: usize) -> u64 {
        self.mentions[at].saturating_sub(self.recased[at])
    }

    /// All spellings with their mentions.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        (0..self.len()).map(|at| (self.spelling(at), self.mentions[at]))
    }
}

/// Reads a little of some of the texts that stand in `text` up to each of `ends`, so that the processor waits for all of them
/// together.
pub(super) fn fetch(text: &str, ends: &[u64], which: impl Iterator<Item = u32>) {
    let start = |at: u32| match at {
        0 => 0,
        at => ends[at as usize - 1] as usize,
    };
    let letters = which.filter_map(|at| text.as_bytes().get(start(at)));
    black_box(letters.fold(0, |all, letter| all ^ letter));
}

impl<'a> FromIterator<&'a Counted> for SpellingTable {
    fn from_iter<I: IntoIterator<Item = &'a Counted>>(spellings: I) -> Self {
        let mut table = Self::default();
        for s in spellings {
            table.push(&s.spelling, s.mentions, s.recased);
        }
        table
    }
}

/// Why a spelling is filed under its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MergedBy {
    /// It is the name.
    Canonical,
    /// It differs in case, diacritics, hyphens, dots, apostrophes and spaces only.
    Folded,
    /// It is a rare spelling a few letters away.
    EditDistance,
    /// A language model says so: [`crate::second_opinion`].
    SecondOpinion,
    /// A person says so, in a review.
    Review,
}

impl MergedBy {
    /// As [`Alias::merged_by`] has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Canonical => "canonical",
            Self::Folded => "folded",
            Self::EditDistance => "edit_distance",
            Self::SecondOpinion => "second_opinion",
            Self::Review => "review",
        }
    }
}

/// For each spelling of a [`SpellingTable`] the one that it is filed under, and why.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Merged {
    /// The canonical spelling's number; that one is filed under itself.
    pub filed: Vec<u32>,
    /// Why.
    pub why: Vec<MergedBy>,
}

impl Merged {
    /// Names with their aliases, sorted by name; aliases are sorted by count, most frequent first.
    pub fn names(&self, table: &SpellingTable) -> Vec<MergedName> {
        let mut names: HashMap<u32, MergedName> = HashMap::new();
        for (at, (&target, why)) in self.filed.iter().zip(&self.why).enumerate() {
            let name = names.entry(target).or_insert_with(|| MergedName {
                name: table.spelling(target as usize).to_owned(),
                aliases: Vec::new(),
                mentions: 0,
            });
            name.mentions += table.mentions(at);
            name.aliases.push(Alias {
                spelling: table.spelling(at).to_owned(),
                mentions: table.mentions(at),
                merged_by: why.as_str().to_owned(),
            });
        }
        let mut names: Vec<_> = names.into_values().collect();
        for name in &mut names {
            name.aliases.sort_by(|a, b| {
                (Reverse(a.mentions), &a.spelling).cmp(&(Reverse(b.mentions), &b.spelling))
            });
        }
        names.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        names
    }
}
