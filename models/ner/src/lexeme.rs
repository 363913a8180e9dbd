//! What the network sees of a token: the ids of its norm, prefix, suffix and shape.

use std::collections::HashMap;

use crate::chars::TABLES;
use crate::hash::{CONSTANTS, string_id};

/// Ids of norm, prefix, suffix and shape, in the network's order.
pub(crate) type Features = [u64; 4];

/// The package's norms: string id of a text → id of its norm.
pub(crate) type Norms = HashMap<u64, u64>;

/// The features of a token's text, which is not empty.
pub(crate) fn features(text: &str, norms: &Norms) -> Features {
    let prefix = text.chars().next().map_or(0, char::len_utf8);
    let suffix = text.char_indices().rev().nth(2).map_or(0, |(at, _)| at);
    [
        norm(text, norms),
        string_id(&text[..prefix]),
        string_id(&text[suffix..]),
        string_id(&shape(text)),
    ]
}

/// Whether every character is white space.
pub(crate) fn is_space(text: &str) -> bool {
    text.chars().all(|c| TABLES.is_space.has(c))
}

fn norm(text: &str, norms: &Norms) -> u64 {
    if let Some(id) = norms.get(&string_id(text)) {
        return *id;
    }
    match CONSTANTS.base_norms.get(text) {
        Some(norm) => string_id(norm),
        None => string_id(&lower(text)),
    }
}

/// `str.lower()` of CPython with Unicode 14.
fn lower(text: &str) -> String {
    if !text.chars().any(|c| TABLES.never_lowered.has(c)) {
        return text.to_lowercase();
    }
    // Letters newer than that stay; what is between them is lowered in one piece for the final
    // sigma's sake.
    text.split_inclusive(|c| TABLES.never_lowered.has(c))
        .map(|piece| match piece.chars().next_back() {
            Some(last) if TABLES.never_lowered.has(last) => {
                let head = &piece[..piece.len() - last.len_utf8()];
                format!("{}{last}", head.to_lowercase())
            }
            _ => piece.to_lowercase(),
        })
        .collect()
}

/// spaCy's word shape: `X`, `x` and `d` for letters and digits, runs cut to four.
fn shape(text: &str) -> String {
    if text.chars().nth(99).is_some() {
        return "LONG".to_owned();
    }
    let (mut shape, mut last, mut run) = (String::with_capacity(text.len()), None, 0);
    for c in text.chars() {
        let kind = match c {
            _ if TABLES.is_alpha.has(c) && TABLES.is_upper.has(c) => 'X',
            _ if TABLES.is_alpha.has(c) => 'x',
            _ if TABLES.is_digit.has(c) => 'd',
            _ => c,
        };
        run = if last == Some(kind) { run + 1 } else { 1 };
        last = Some(kind);
        if run <= 4 {
            shape.push(kind);
        }
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_cut_and_long_words_are_long() {
        let shapes = ["Castellan", "USA", "12345-67", "²x", "don’t"].map(shape);
        assert_eq!(shapes, ["Xxxxx", "XXX", "dddd-dd", "dx", "xxx’x"]);
        assert_eq!(shape(&"a".repeat(100)), "LONG");
        assert_eq!(shape(&"a".repeat(99)), "xxxx");
    }
}
