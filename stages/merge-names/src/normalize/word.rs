//! One word of a mention, and what its form says.

use super::case::is_numeral;

/// A word as written, and bare in small letters.
#[derive(Clone)]
pub(super) struct Word {
    pub(super) written: String,
    pub(super) bare: String,
}

impl Word {
    pub(super) fn new(written: &str) -> Self {
        Self {
            written: written.to_owned(),
            bare: bare(written),
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
}

/// `jr`, `sr`, `ii`, … (a bare word).
pub(super) fn is_suffix(bare: &str) -> bool {
    matches!(bare, "jr" | "jnr" | "junior" | "sr" | "snr")
        || (bare != "v" && bare != "x" && is_numeral(bare))
}

/// A word in small letters without the signs around it.
pub(crate) fn bare(word: &str) -> String {
    word.trim_matches(|c: char| !c.is_alphanumeric())
        .replace('.', "")
        .to_lowercase()
}
