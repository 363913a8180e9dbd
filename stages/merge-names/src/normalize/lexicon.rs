//! What the lists in `data/` say of words and of whole texts.

use compact_str::CompactString;

use super::vocabulary::{Entry, VOCABULARY, list};

/// Which words are names, and which are none. All words are given in small letters.
pub(crate) struct Lexicon;

pub(crate) static LEXICON: Lexicon = Lexicon;

impl Entry {
    /// A word that people are called by, first or last.
    pub(super) fn is_name_word(self) -> bool {
        self.is(list::GIVEN | list::SURNAME)
    }
}

impl Lexicon {
    pub(super) fn is_given_name(&self, lower: &str) -> bool {
        VOCABULARY.get(lower).is(list::GIVEN)
    }

    /// A word that people are called by, first or last.
    pub(crate) fn is_name_word(&self, lower: &str) -> bool {
        VOCABULARY.get(lower).is_name_word()
    }

    /// A word that is never part of a name. A hyphenated word is what its last piece is
    /// (`Self-Portrait`).
    pub(super) fn is_only_thing(&self, lower: &str) -> bool {
        self.is_only_thing_by(lower, VOCABULARY.get(lower))
    }

    pub(super) fn is_only_thing_by(&self, lower: &str, entry: Entry) -> bool {
        match lower.rsplit_once('-') {
            Some(_) if entry.is(list::THING) => true,
            Some((before, last)) => self.is_only_thing(last) && !self.is_name_word(before),
            None => entry.is(list::THING) && !entry.is_name_word(),
        }
    }

    /// A word of everyday English that nobody is called, also with an ending; says less than
    /// [`Lexicon::is_only_thing`].
    pub(super) fn is_common(&self, lower: &str) -> bool {
        let entry = VOCABULARY.get(lower);
        !entry.is_name_word()
            && (self.is_only_thing_by(lower, entry)
                || entry.is(list::COMMON)
                || stems(lower, |stem| VOCABULARY.get(stem).is(list::COMMON)))
    }

    /// Whether the whole text is a place, brand or band.
    pub(super) fn is_no_name(&self, lower: &str) -> bool {
        VOCABULARY.get(lower).is(list::NO_NAME)
    }

    /// Whether the whole text is a place, thing or brand of two words or more.
    pub(super) fn is_whole_thing<'a>(&self, words: impl ExactSizeIterator<Item = &'a str>) -> bool {
        if !(2..=3).contains(&words.len()) {
            return false;
        }
        let mut text = String::with_capacity(48);
        for (i, word) in words.enumerate() {
            text.push_str(if i > 0 { " " } else { "" });
            text.push_str(word);
        }
        VOCABULARY.get(&text).is(list::WHOLE_THING)
    }

    pub(super) fn is(&self, lower: &str, lists: u32) -> bool {
        VOCABULARY.get(lower).is(lists)
    }
}

/// Endings, and what the stem has instead.
const ENDINGS: [(&str, &str); 8] = [
    ("s", ""),
    ("es", ""),
    ("ies", "y"),
    ("ing", ""),
    ("ing", "e"),
    ("ed", ""),
    ("ed", "e"),
    ("ly", ""),
];

/// Whether one of the words that `word` may come from by an ending is as asked.
pub(super) fn stems(word: &str, mut asked: impl FnMut(&str) -> bool) -> bool {
    // Most words end otherwise.
    if !word.ends_with(['s', 'g', 'd', 'y']) {
        return false;
    }
    let mut stem = CompactString::default();
    ENDINGS.iter().any(|(ending, instead)| {
        let Some(start) = word.strip_suffix(ending).filter(|start| start.len() >= 3) else {
            return false;
        };
        if instead.is_empty() {
            return asked(start);
        }
        stem.clear();
        stem.push_str(start);
        stem.push_str(instead);
        asked(&stem)
    })
}
