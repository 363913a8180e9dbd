//! Words without what does not count when they are looked up.

use compact_str::CompactString;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// A word in small letters without the signs around it.
pub(crate) fn bare(word: &str) -> CompactString {
    let trimmed = word.trim_matches(|c: char| !c.is_alphanumeric());
    if trimmed.is_ascii() {
        let mut out = CompactString::new(trimmed);
        if trimmed.contains('.') {
            out.retain(|c| c != '.');
        }
        out.make_ascii_lowercase();
        out
    } else {
        small(&trimmed.replace('.', ""))
    }
}

/// `text` in small letters.
pub(super) fn small(text: &str) -> CompactString {
    if text.is_ascii() {
        let mut out = CompactString::new(text);
        out.make_ascii_lowercase();
        out
    } else {
        CompactString::from(text.to_lowercase())
    }
}

/// Without combining marks (NFD).
pub(super) fn without_marks(text: &str) -> String {
    text.nfd().filter(|c| !is_combining_mark(*c)).collect()
}
