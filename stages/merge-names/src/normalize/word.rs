//! One word of a mention, and what its form and the lists say.

use compact_str::CompactString;

use super::bare::bare;
use super::case::{is_mixed, is_numeral};
use super::knowledge::Knowledge;
use super::lexicon::LEXICON;
use super::vocabulary::{Entry, list};

/// A word as written, and bare in small letters.
#[derive(Clone)]
pub(super) struct Word {
    pub(super) written: CompactString,
    pub(super) bare: CompactString,
    pub(super) entry: Entry,
}

impl Word {
    pub(super) fn new(written: &str, knowledge: &Knowledge) -> Self {
        let bare = bare(written);
        let entry = knowledge.entry(&bare);
        Self {
            written: CompactString::new(written),
            bare,
            entry,
        }
    }

    /// The bare word and its entry.
    pub(super) fn pair(&self) -> (&str, Entry) {
        (&self.bare, self.entry)
    }

    /// A sign that joins people.
    pub(super) fn joiner(written: &str) -> Self {
        Self {
            written: CompactString::new(written),
            bare: CompactString::const_new("&"),
            entry: Entry::default(),
        }
    }

    pub(super) fn is_small(&self) -> bool {
        !self.written.chars().any(char::is_uppercase)
            && self.written.chars().any(char::is_lowercase)
    }

    pub(super) fn has_digit(&self) -> bool {
        self.written.chars().any(char::is_numeric)
    }

    pub(super) fn is_initial(&self) -> bool {
        let mut chars = self.bare.chars();
        matches!((chars.next(), chars.next()), (Some(c), None) if c.is_alphabetic() && (c.is_uppercase() || c.is_lowercase()))
    }

    /// Initials written together (`J.R.R.`, but not `JRR`).
    pub(super) fn are_initials(&self) -> bool {
        self.is_initial()
            || (self.written.ends_with('.')
                && self.written.matches('.').count() == self.bare.chars().count())
    }

    /// Two capitals before a word in name case (`HG Wells`).
    pub(super) fn are_capital_initials(&self, next: &Self) -> bool {
        self.written.len() == 2
            && self.written.bytes().all(|b| b.is_ascii_uppercase())
            && next.written.bytes().any(|b| b.is_ascii_lowercase())
    }

    pub(super) fn is(&self, lists: u32) -> bool {
        self.entry.is(lists)
    }

    pub(super) fn is_given_name(&self) -> bool {
        self.is(list::GIVEN)
    }

    pub(super) fn is_surname(&self) -> bool {
        self.is(list::SURNAME)
    }

    pub(super) fn is_name_word(&self) -> bool {
        self.entry.is_name_word()
    }

    pub(super) fn is_thing(&self) -> bool {
        self.is(list::THING)
    }

    pub(super) fn is_only_thing(&self) -> bool {
        LEXICON.is_only_thing_by(&self.bare, self.entry)
    }

    pub(super) fn is_common(&self) -> bool {
        LEXICON.is_common(&self.bare)
    }

    pub(super) fn is_leading(&self) -> bool {
        self.is(list::LEADING) && !self.is_spelled_out()
    }

    /// Initials that would be a title without the dot between them: `M.S.` is no `Ms.`.
    fn is_spelled_out(&self) -> bool {
        matches!(self.bare.as_str(), "ms" | "mr" | "dr" | "st")
            && self.written.matches('.').count() == 2
    }

    /// Two or three capitals that are no suffix.
    pub(super) fn is_code(&self) -> bool {
        (2..=3).contains(&self.written.len())
            && self.written.bytes().all(|b| b.is_ascii_uppercase())
            && !is_suffix(&self.bare)
    }

    /// Whether it has both capitals and small letters.
    pub(super) fn is_mixed(&self) -> bool {
        is_mixed(&self.written)
    }

    /// An abbreviation that is no name's: consonants alone and a dot (`Pt.`, `Msgr.`), but for `Wm.`
    /// and `St.`.
    pub(super) fn is_abbreviated_title(&self) -> bool {
        self.bare.len() > 1
            && self.written.ends_with('.')
            && self.written.matches('.').count() == 1
            && self
                .bare
                .bytes()
                .all(|b| b.is_ascii_lowercase() && !b"aeiouy".contains(&b))
            && !matches!(self.bare.as_str(), "wm" | "st")
    }

    pub(super) fn is_lasting_title(&self) -> bool {
        self.is(list::LASTING_TITLE)
    }

    pub(super) fn is_particle(&self) -> bool {
        self.is(list::PARTICLE)
    }

    pub(super) fn is_credential(&self) -> bool {
        self.is(list::CREDENTIAL)
    }

    pub(super) fn is_institution(&self) -> bool {
        self.is(list::INSTITUTION)
    }
}

/// `jr`, `sr`, `ii`, … (a bare word).
pub(super) fn is_suffix(bare: &str) -> bool {
    matches!(bare, "jr" | "jnr" | "junior" | "sr" | "snr")
        || (bare != "v" && bare != "x" && is_numeral(bare))
}
