//! Counts the words of a shard's mentions and captions: what [`crate::evidence`] is made of.

use std::cmp::Reverse;
use std::collections::HashMap;

use laioncele_core::table::WordCount;

use crate::evidence::{Counts, WordCounts};

/// Distinct words of a shard that are kept: the most frequent ones.
pub(crate) const MOST_WORDS: usize = 1_000_000;

/// How often each word stands where.
#[derive(Default)]
pub(crate) struct WordTally {
    words: HashMap<Box<str>, Counts>,
}

impl WordTally {
    /// Counts the words of `times` equal mentions.
    pub(crate) fn add_mention(&mut self, mention: &str, times: u64) {
        let keys: Vec<String> = keys(mention).map(|(key, _)| key).collect();
        for (at, key) in keys.iter().enumerate() {
            let counts = self.counts(key);
            let place = match at {
                0 => &mut counts.first,
                _ if at + 1 == keys.len() => &mut counts.last,
                _ => &mut counts.middle,
            };
            *place = place.saturating_add(times);
        }
        self.bound();
    }

    /// Counts the words of a caption outside `spans`, the byte ranges of its mentions.
    pub(crate) fn add_caption(&mut self, caption: &str, spans: &mut [(usize, usize)]) {
        spans.sort_unstable();
        let mut from = 0;
        for &mut (start, end) in spans {
            self.add_elsewhere(caption.get(from..start).unwrap_or_default());
            from = from.max(end);
        }
        self.add_elsewhere(caption.get(from..).unwrap_or_default());
        self.bound();
    }

    fn add_elsewhere(&mut self, text: &str) {
        for (key, capital) in keys(text) {
            let counts = self.counts(&key);
            let place = match capital {
                true => &mut counts.elsewhere_capital,
                false => &mut counts.elsewhere_lower,
            };
            *place = place.saturating_add(1);
        }
    }

    fn counts(&mut self, key: &str) -> &mut Counts {
        if !self.words.contains_key(key) {
            self.words.insert(key.into(), Counts::default());
        }
        self.words.entry(key.into()).or_default()
    }

    /// Keeps memory bounded: of twice as many words as are kept the rarer half goes. What was counted
    /// of those is lost; a word that is frequent in the shard stays.
    fn bound(&mut self) {
        if self.words.len() >= 2 * MOST_WORDS {
            self.keep(MOST_WORDS);
        }
    }

    /// Keeps the `most` most frequent words; of equally frequent ones the first.
    fn keep(&mut self, most: usize) {
        if self.words.len() <= most {
            return;
        }
        let mut words: Vec<_> = std::mem::take(&mut self.words).into_iter().collect();
        words.select_nth_unstable_by(most, |(a, x), (b, y)| {
            (Reverse(x.total()), a).cmp(&(Reverse(y.total()), b))
        });
        words.truncate(most);
        self.words = words.into_iter().collect();
    }

    /// The counts, sorted by word.
    pub(crate) fn into_rows(mut self) -> Vec<WordCount> {
        self.keep(MOST_WORDS);
        let row = |(word, counts): (Box<str>, Counts)| WordCount {
            word: word.into(),
            first: counts.first,
            middle: counts.middle,
            last: counts.last,
            elsewhere_capital: counts.elsewhere_capital,
            elsewhere_lower: counts.elsewhere_lower,
        };
        let mut rows: Vec<_> = self.words.into_iter().map(row).collect();
        rows.sort_unstable_by(|a, b| a.word.cmp(&b.word));
        rows
    }

    /// Adds what was counted in a shard.
    pub(crate) fn add_rows(&mut self, rows: Vec<WordCount>) {
        for row in rows {
            let counts = self.counts(&row.word);
            for (sum, more) in [
                (&mut counts.first, row.first),
                (&mut counts.middle, row.middle),
                (&mut counts.last, row.last),
                (&mut counts.elsewhere_capital, row.elsewhere_capital),
                (&mut counts.elsewhere_lower, row.elsewhere_lower),
            ] {
                *sum = sum.saturating_add(more);
            }
            self.bound();
        }
    }

    /// The words that were seen often enough to say something.
    pub(crate) fn evidence(self) -> WordCounts {
        let mut words = WordCounts::default();
        for (word, counts) in self.words {
            if counts.total() >= WordCounts::LEAST_SEEN {
                words.add(&word, counts);
            }
        }
        words
    }
}

/// The words of a text in the form that they are counted in, and whether each begins with a capital.
fn keys(text: &str) -> impl Iterator<Item = (String, bool)> {
    text.split_whitespace().filter_map(|word| {
        let key = WordCounts::key(word);
        let capital = word.chars().find(|c| c.is_alphabetic());
        (!key.is_empty()).then(|| (key, capital.is_some_and(char::is_uppercase)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(rows: &[WordCount], word: &str) -> [u64; 5] {
        let row = rows.iter().find(|row| row.word == word).expect("a word");
        [
            row.first,
            row.middle,
            row.last,
            row.elsewhere_capital,
            row.elsewhere_lower,
        ]
    }

    #[test]
    fn words_are_counted_by_place() {
        let mut tally = WordTally::default();
        tally.add_mention("Mira Anna Castellan", 3);
        tally.add_mention("Mira", 2);
        let caption = "Photo of Mira Anna Castellan and mira in Paris, a photo";
        tally.add_caption(caption, &mut [(9, 28)]);
        // Spans beyond the text or over each other count nothing twice.
        tally.add_caption("Anna Anna", &mut [(5, 99), (5, 9), (0, 4)]);
        let rows = tally.into_rows();
        assert!(rows.is_sorted_by(|a, b| a.word < b.word));
        assert_eq!(row(&rows, "mira"), [5, 0, 0, 0, 1]);
        assert_eq!(row(&rows, "anna"), [0, 3, 0, 0, 0]);
        assert_eq!(row(&rows, "castellan"), [0, 0, 3, 0, 0]);
        assert_eq!(row(&rows, "photo"), [0, 0, 0, 1, 1]);
        assert_eq!(row(&rows, "paris"), [0, 0, 0, 1, 0]);
    }

    #[test]
    fn the_most_frequent_words_stay_whatever_their_order() {
        let kept = |order: &[(&str, u64)]| {
            let mut tally = WordTally::default();
            order
                .iter()
                .for_each(|(word, times)| tally.add_mention(word, *times));
            tally.keep(2);
            let rows = tally.into_rows();
            rows.into_iter().map(|row| row.word).collect::<Vec<_>>()
        };
        assert_eq!(kept(&[("c", 1), ("b", 1), ("a", 7)]), ["a", "b"]);
        assert_eq!(kept(&[("b", 1), ("a", 7), ("c", 1)]), ["a", "b"]);
    }

    #[test]
    fn evidence_is_what_was_seen_often_over_all_shards() {
        let mut tally = WordTally::default();
        for _ in 0..2 {
            let mut shard = WordTally::default();
            shard.add_mention("Mira", WordCounts::LEAST_SEEN / 2);
            shard.add_mention("Rare", 1);
            tally.add_rows(shard.into_rows());
        }
        let words = tally.evidence();
        assert_eq!(words.get("mira").first, WordCounts::LEAST_SEEN);
        assert_eq!(words.len(), 1);
    }
}
