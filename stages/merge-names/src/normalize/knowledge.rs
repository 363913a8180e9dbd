//! What is known of words: the lists, corrected by what a corpus counted.

use std::collections::HashMap;
use std::sync::Arc;

use super::vocabulary::{Entry, VOCABULARY};
use crate::evidence::{Counts, WordCounts};

/// How many words of a corpus weigh as much as the lists.
const WEIGHT_OF_LISTS: f64 = 1e6;
/// The frequency that a word has in a list that lacks it.
const UNLISTED: f64 = 1e-8;

/// Log odds of a name that are low enough for a rejection, and too high for a sure one.
const DOUBTFUL: f32 = -1.5;

/// What a mention is judged by.
#[derive(Clone, Debug, Default)]
pub(super) struct Knowledge {
    /// The entries of words that the corpus corrects; all others have that of the lists.
    entries: Arc<HashMap<Box<str>, Entry, foldhash::fast::FixedState>>,
    /// What the log odds of a name must exceed.
    pub(super) least_odds: f32,
}

impl Knowledge {
    /// The lists, corrected by the counts of a corpus. Words that it saw seldom stay as they are.
    pub(super) fn new(words: &WordCounts) -> Self {
        let totals = words.totals();
        let corrected = words
            .iter()
            .filter(|(_, counts)| counts.total() >= WordCounts::LEAST_SEEN)
            .map(|(word, counts)| {
                let entry = corrected(VOCABULARY.get(word), &counts, &totals);
                (word.into(), entry)
            });
        Self {
            entries: Arc::new(corrected.collect()),
            least_odds: 0.0,
        }
    }

    /// The same, satisfied with what is only just no name.
    pub(super) fn doubting(&self) -> Self {
        Self {
            entries: self.entries.clone(),
            least_odds: DOUBTFUL,
        }
    }

    /// What is known of a word in small letters.
    pub(super) fn entry(&self, lower: &str) -> Entry {
        if !self.entries.is_empty()
            && let Some(entry) = self.entries.get(lower)
        {
            return *entry;
        }
        VOCABULARY.get(lower)
    }
}

/// The entry with each frequency a mean of the lists' and the corpus's own.
fn corrected(entry: Entry, counts: &Counts, totals: &Counts) -> Entry {
    let mean = |digit: u8, count: u64, total: u64| {
        if digit == 0 && count == 0 {
            return 0;
        }
        let listed = if digit == 0 {
            UNLISTED
        } else {
            10f64.powf(f64::from(digit) / 4.0 - 9.0)
        };
        let frequency =
            (listed * WEIGHT_OF_LISTS + count as f64) / (WEIGHT_OF_LISTS + total as f64);
        ((frequency.log10() + 9.0) * 4.0).round().clamp(1.0, 35.0) as u8
    };
    Entry {
        lists: entry.lists,
        given: mean(entry.given, counts.first, totals.first),
        surname: mean(entry.surname, counts.last, totals.last),
        ordinary: mean(
            entry.ordinary,
            counts.elsewhere_lower,
            totals.elsewhere_lower,
        ),
        place: mean(
            entry.place,
            counts.elsewhere_capital,
            totals.elsewhere_capital,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> WordCounts {
        let mut words = WordCounts::default();
        let filler = Counts {
            first: 100_000,
            middle: 0,
            last: 100_000,
            elsewhere_capital: 500_000,
            elsewhere_lower: 5_000_000,
        };
        words.add("filler", filler);
        let mut seen = |word: &str, first, last, elsewhere_lower| {
            let counts = Counts {
                first,
                last,
                elsewhere_lower,
                ..Counts::default()
            };
            words.add(word, counts);
        };
        seen("vosk", 0, 500, 0);
        seen("qoral", 700, 0, 0);
        seen("zorbing", 0, 300, 9000);
        seen("emma", 3, 0, 1);
        words
    }

    #[test]
    fn a_corpus_teaches_names_and_ordinary_words_that_no_list_has() {
        let knowledge = Knowledge::new(&words());
        let (name, word) = (knowledge.entry("vosk"), knowledge.entry("zorbing"));
        assert!(name.surname > name.ordinary + 4);
        assert!(word.ordinary > word.surname);
        assert!(knowledge.entry("qoral").given > 15);
        // Seen too seldom to say anything.
        assert_eq!(knowledge.entry("emma"), VOCABULARY.get("emma"));
    }
}
