//! Cutting text: special tokens out of it, and the rest into the words that pair encoding sees.

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Special(u32),
    Text(&'a str),
}

/// Splits off special tokens, leftmost first; of two at one place the earlier in `tokens`.
pub(super) fn cut<'a>(text: &'a str, tokens: &[(String, u32)]) -> Vec<Piece<'a>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    loop {
        let found = tokens
            .iter()
            .filter_map(|(content, id)| Some((rest.find(content.as_str())?, content.len(), *id)));
        let Some((at, length, id)) = found.min_by_key(|(at, ..)| *at) else {
            break;
        };
        if at > 0 {
            pieces.push(Piece::Text(&rest[..at]));
        }
        pieces.push(Piece::Special(id));
        rest = &rest[at + length..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    pieces
}

/// Texts of special tokens that stay one word in the first split, if nothing cut them out before.
const SPECIAL_WORDS: [&str; 2] = ["<|startoftext|>", "<|endoftext|>"];

/// English endings that are words of their own.
const ENDINGS: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Space,
    Letter,
    Number,
    Other,
}

fn class(c: char) -> Class {
    if c.is_ascii_alphabetic() {
        return Class::Letter;
    }
    if c.is_whitespace() {
        return Class::Space;
    }
    match c.general_category_group() {
        GeneralCategoryGroup::Letter => Class::Letter,
        GeneralCategoryGroup::Number => Class::Number,
        _ => Class::Other,
    }
}

/// Calls `visit` with every word of a normalized text: endings, runs of letters, single digits,
/// runs of anything else but white space.
pub(super) fn words(text: &str, mut visit: impl FnMut(&str)) {
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(special) = SPECIAL_WORDS.iter().find(|word| rest.starts_with(**word)) {
            // The byte-level split that follows in transformers takes it apart again.
            let inner = &special[2..special.len() - 2];
            ["<|", inner, "|>"].into_iter().for_each(&mut visit);
            rest = &rest[special.len()..];
            continue;
        }
        let length = match class(first) {
            Class::Space => {
                rest = &rest[first.len_utf8()..];
                continue;
            }
            Class::Number => first.len_utf8(),
            run => match ENDINGS.iter().find(|ending| rest.starts_with(**ending)) {
                Some(ending) => ending.len(),
                None => rest.find(|c| class(c) != run).unwrap_or(rest.len()),
            },
        };
        visit(&rest[..length]);
        rest = &rest[length..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<String> {
        let mut out = Vec::new();
        words(text, |word| out.push(word.to_string()));
        out
    }

    #[test]
    fn words_are_cut_as_the_pattern_says() {
        assert_eq!(
            split("it's 2048x1536!? o'brien"),
            [
                "it", "'s", "2", "0", "4", "8", "x", "1", "5", "3", "6", "!?", "o", "'", "brien"
            ]
        );
        assert_eq!(
            split("a<|endoftext|>!!"),
            ["a", "<|", "endoftext", "|>", "!!"]
        );
        assert_eq!(split("!<|endoftext|>"), ["!<|", "endoftext", "|>"]);
        // A combining mark is no letter.
        assert_eq!(split("e\u{323}x"), ["e", "\u{323}", "x"]);
    }

    #[test]
    fn special_tokens_are_cut_leftmost_first() {
        let tokens = [("!".to_string(), 0), ("<|e|>".to_string(), 9)];
        let pieces = cut("a!<|e|>b", &tokens);
        assert_eq!(
            pieces,
            [
                Piece::Text("a"),
                Piece::Special(0),
                Piece::Special(9),
                Piece::Text("b")
            ]
        );
        assert!(cut("", &tokens).is_empty());
    }
}
