//! What a corpus knows about words: how often each stands in a mention, at which place, and
//! elsewhere in the captions.
//!
//! The lists in `data/` say what people are called and which words are ordinary; the counts of a
//! corpus are added to them, so that a name that no list has is learnt where many captions have it,
//! and a word that only ever follows names (`Photoshoot`) is known for what it is.

use std::collections::HashMap;

/// How often a word stands where. A mention of one word counts as `first` only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// As the first word of a mention.
    pub first: u64,
    /// Between the first and the last word of a mention.
    pub middle: u64,
    /// As the last of a mention's two or more words.
    pub last: u64,
    /// Outside of mentions, with a capital.
    pub elsewhere_capital: u64,
    /// Outside of mentions, in small letters.
    pub elsewhere_lower: u64,
}

impl Counts {
    /// How often the word was seen.
    pub fn total(&self) -> u64 {
        self.in_mentions()
            .saturating_add(self.elsewhere_capital)
            .saturating_add(self.elsewhere_lower)
    }

    /// How often the word was seen in mentions.
    pub fn in_mentions(&self) -> u64 {
        self.first
            .saturating_add(self.middle)
            .saturating_add(self.last)
    }

    fn add(&mut self, other: Self) {
        for (sum, more) in [
            (&mut self.first, other.first),
            (&mut self.middle, other.middle),
            (&mut self.last, other.last),
            (&mut self.elsewhere_capital, other.elsewhere_capital),
            (&mut self.elsewhere_lower, other.elsewhere_lower),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// The words of a corpus with their counts.
///
/// The order in which words are added does not matter.
#[derive(Clone, Debug, Default)]
pub struct WordCounts(HashMap<Box<str>, Counts>);

impl WordCounts {
    /// A word that was seen less often says nothing, and need not be added: most distinct words of
    /// a large corpus are misspellings that stand in it once.
    pub const LEAST_SEEN: u64 = 20;

    /// Adds what was counted of `word`, in the form of [`WordCounts::key`].
    pub fn add(&mut self, word: &str, counts: Counts) {
        match self.0.get_mut(word) {
            Some(sum) => sum.add(counts),
            None => {
                self.0.insert(word.into(), counts);
            }
        }
    }

    /// Counts the words of `times` equal mentions.
    pub fn add_mention(&mut self, mention: &str, times: u64) {
        let keys: Vec<String> = mention
            .split_whitespace()
            .map(Self::key)
            .filter(|key| !key.is_empty())
            .collect();
        for (i, key) in keys.iter().enumerate() {
            let mut counts = Counts::default();
            match i {
                0 => counts.first = times,
                _ if i + 1 == keys.len() => counts.last = times,
                _ => counts.middle = times,
            }
            self.add(key, counts);
        }
    }

    /// The form in which a written word is counted: in small letters, without the signs around it
    /// and without dots. Empty where nothing is left.
    pub fn key(written: &str) -> String {
        crate::normalize::bare(written).into_string()
    }

    /// What was counted of a word, given in the form of [`WordCounts::key`].
    pub fn get(&self, key: &str) -> Counts {
        self.0.get(key).copied().unwrap_or_default()
    }

    /// All words with their counts, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Counts)> {
        self.0.iter().map(|(word, counts)| (&**word, *counts))
    }

    /// The sums of all words' counts.
    pub fn totals(&self) -> Counts {
        let mut sum = Counts::default();
        for (_, counts) in self.iter() {
            sum.add(counts);
        }
        sum
    }

    /// Distinct words.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no word was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mentions_are_counted_by_place() {
        let mut words = WordCounts::default();
        words.add_mention("Emma Watson", 3);
        words.add_mention("EMMA Charlotte \"Duerre\" Watson,", 1);
        words.add_mention("Watson", 2);
        words.add_mention(" . - ", 9);
        let watson = words.get("watson");
        assert_eq!((watson.first, watson.middle, watson.last), (2, 0, 4));
        assert_eq!(words.get("emma").first, 4);
        assert_eq!(words.get("duerre").middle, 1);
        assert_eq!(words.get("nobody"), Counts::default());
        assert_eq!((words.len(), watson.total()), (4, 6));
    }
}
