//! Whether a rare spelling near a frequent one is likely that person, or somebody else.

use std::collections::HashMap;

use crate::fold::fold_key;
use crate::normalize::LEXICON;

/// A word that stands in at least this many names …
const ORDINARY: u32 = 3;
/// … and in at least one for so many of the word it would be a misspelling of, is a name of its
/// own.
const MISSPELLING_SHARE: u32 = 10;
/// An ordinary word that sounds the same is another spelling only where the frequent name has at
/// least this share of all mentions of one of the words that both have: of the Mayers in captions
/// most are John, of the Smiths few are Sara.
const DOMINANT: f64 = 0.3;

#[derive(Clone, Copy, Default)]
struct Use {
    names: u32,
    mentions: u64,
}

/// How many names each word stands in, and how often.
pub(super) struct WordUse {
    words: HashMap<String, Use>,
}

impl WordUse {
    /// Counts the words of all names (spelling, mentions).
    pub(super) fn of<'a>(names: impl Iterator<Item = (&'a str, u64)>) -> Self {
        let mut counted: HashMap<String, Use> = HashMap::new();
        for (spelling, mentions) in names {
            let mut distinct = words(spelling);
            distinct.sort_unstable();
            distinct.dedup();
            for word in distinct {
                let entry = counted.entry(word).or_default();
                entry.names += 1;
                entry.mentions += mentions;
            }
        }
        Self { words: counted }
    }

    /// Whether `rare` may be a misspelling of `frequent` (with its mentions), whose fold key is
    /// near.
    pub(super) fn may_be_same(&self, rare: &str, frequent: (&str, u64)) -> bool {
        let (one, other) = (words(rare), words(frequent.0));
        if one.len() != other.len() {
            return markers(&one) == markers(&other);
        }
        let dominant = || {
            one.iter()
                .zip(&other)
                .any(|(a, b)| a == b && self.share(a, frequent.1) >= DOMINANT)
        };
        let differing = one.iter().zip(&other).filter(|(a, b)| a != b);
        differing.into_iter().all(|(a, b)| {
            let worded = a.chars().count() > 2 && b.chars().count() > 2;
            worded && (!self.is_ordinary(a, b) || (sound(a) == sound(b) && dominant()))
        })
    }

    /// Whether `word` is a name of its own rather than a misspelling of `meant`.
    fn is_ordinary(&self, word: &str, meant: &str) -> bool {
        let names = |w: &str| self.words.get(w).map_or(0, |u| u.names);
        LEXICON.is_name_word(word)
            || (names(word) >= ORDINARY && names(word) >= names(meant) / MISSPELLING_SHARE)
    }

    /// The share that a name with `mentions` has of all mentions of `word`, in [0, 1]; an initial
    /// says nothing.
    fn share(&self, word: &str, mentions: u64) -> f64 {
        let all = self.words.get(word).map_or(0, |u| u.mentions);
        if all == 0 || word.chars().count() < 2 {
            0.0
        } else {
            mentions as f64 / all as f64
        }
    }
}

/// The words that tell people of one name apart: initials and suffixes.
fn markers(words: &[String]) -> Vec<&str> {
    let marker =
        |w: &&str| w.chars().count() == 1 || matches!(*w, "jr" | "sr" | "ii" | "iii" | "iv");
    words.iter().map(String::as_str).filter(marker).collect()
}

/// The folded words of a spelling.
fn words(spelling: &str) -> Vec<String> {
    spelling
        .split([' ', '-', '.'])
        .map(fold_key)
        .filter(|w| !w.is_empty())
        .collect()
}

/// What groups of letters sound like in the names of captions, longest first; applied in this
/// order.
const SOUNDS: [(&str, &str); 21] = [
    ("ght", "t"),
    ("ph", "f"),
    ("ck", "k"),
    ("ae", "e"),
    ("ea", "e"),
    ("ie", "i"),
    ("ei", "i"),
    ("ey", "i"),
    ("ee", "i"),
    ("ai", "e"),
    ("ay", "e"),
    ("h", ""),
    ("c", "k"),
    ("q", "k"),
    ("z", "s"),
    ("y", "i"),
    ("w", "v"),
    ("x", "ks"),
    ("j", "g"),
    ("ou", "u"),
    ("ia", "a"),
];

/// A key that is equal for words that sound nearly the same (`sean`, `shawn` are not; `carey`,
/// `cary` are).
fn sound(word: &str) -> String {
    let mut text = word.to_owned();
    for (letters, instead) in SOUNDS {
        if text.contains(letters) {
            text = text.replace(letters, instead);
        }
    }
    let mut key = String::with_capacity(text.len());
    for c in text.chars() {
        if !key.ends_with(c) {
            key.push(c);
        }
    }
    if key.len() > 1 && key.ends_with('e') {
        key.pop();
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_key_is_equal_for_words_that_sound_alike() {
        for (one, other) in [
            ("carey", "cary"),
            ("jon", "john"),
            ("rachael", "rachel"),
            ("philip", "phillip"),
            ("bonny", "bonnie"),
            ("byrn", "byrne"),
        ] {
            assert_eq!(sound(one), sound(other));
        }
        for (one, other) in [("joan", "john"), ("dan", "don"), ("james", "jamie")] {
            assert_ne!(sound(one), sound(other));
        }
    }

    #[test]
    fn initials_suffixes_and_common_words_keep_people_apart() {
        let names = [
            ("Michael Jordan", 900),
            ("John Mayer", 800),
            ("Paul Walker", 700),
            ("Sara Smith", 10),
            ("Will Smith", 900),
        ];
        let usage = WordUse::of(names.into_iter());
        assert!(
            usage.may_be_same("Micheal Jordan", ("Michael Jordan", 900))
                || LEXICON.is_name_word("micheal")
        );
        assert!(usage.may_be_same("Jon Mayer", ("John Mayer", 800)));
        assert!(usage.may_be_same("Paul Wallker", ("Paul Walker", 700)));
        assert!(!usage.may_be_same("Paul Walter", ("Paul Walker", 700)));
        assert!(!usage.may_be_same("Michael B. Jordan", ("Michael Jordan", 900)));
        assert!(!usage.may_be_same("Sarah Smith", ("Sara Smith", 10)));
    }
}
