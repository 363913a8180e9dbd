//! Words without what does not count when they are looked up.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// A word in small letters without the signs around it.
pub(crate) fn bare(word: &str) -> String {
    let trimmed = word.trim_matches(|c: char| !c.is_alphanumeric());
    if trimmed.is_ascii() {
        let mut out = String::with_capacity(trimmed.len());
        out.extend(
            trimmed
                .chars()
                .filter(|c| *c != '.')
                .map(|c| c.to_ascii_lowercase()),
        );
        out
    } else {
        trimmed.replace('.', "").to_lowercase()
    }
}

/// Without combining marks (NFD).
pub(super) fn without_marks(text: &str) -> String {
    text.nfd().filter(|c| !is_combining_mark(*c)).collect()
}
