//! Tokens that a user adds behind the vocabulary: the names of textual inversions.

use std::ops::Range;

use laioncele_nn::{Error, Result};

/// The added tokens, the longest first.
#[derive(Debug, Default)]
pub(super) struct OwnTokens {
    tokens: Vec<OwnToken>,
    /// Ids that they have together.
    count: usize,
}

#[derive(Debug)]
struct OwnToken {
    text: Vec<char>,
    ids: Range<u32>,
}

/// A part of a text.
pub(super) enum Piece<'a> {
    /// What an added token stands for.
    Ids(Range<u32>),
    Text(&'a str),
}

/// The error of a token that cannot be added.
pub(super) fn refused(token: &str, reason: &str) -> Error {
    Error::OwnToken {
        token: token.into(),
        reason: reason.into(),
    }
}

impl OwnTokens {
    /// Adds `token` with `count` ids behind a vocabulary of `vocabulary` entries; the first of them.
    pub(super) fn add(&mut self, token: &str, vocabulary: usize, count: usize) -> Result<usize> {
        let text: Vec<char> = token.chars().collect();
        if text.is_empty() {
            return Err(refused(token, "empty"));
        }
        let same = |own: &OwnToken| length_of(token, &own.text) == Some(token.len());
        if self.tokens.iter().any(same) {
            return Err(refused(token, "the token of another file too"));
        }
        let first = vocabulary + self.count;
        let ids = first as u32..(first + count) as u32;
        self.count += count;
        self.tokens.push(OwnToken { text, ids });
        self.tokens
            .sort_by_key(|own| std::cmp::Reverse(own.text.len()));
        Ok(first)
    }

    /// Cuts the tokens out of a raw text, leftmost first, of two at one place the longer, in any
    /// letter case and inside words.
    pub(super) fn cut<'a>(&self, text: &'a str) -> Vec<Piece<'a>> {
        let mut pieces = Vec::new();
        let (mut start, mut at) = (0, 0);
        while let Some(first) = text[at..].chars().next() {
            let found = self.tokens.iter().find_map(|own| {
                let length = length_of(&text[at..], &own.text)?;
                Some((length, own.ids.clone()))
            });
            let Some((length, ids)) = found else {
                at += first.len_utf8();
                continue;
            };
            if start < at {
                pieces.push(Piece::Text(&text[start..at]));
            }
            pieces.push(Piece::Ids(ids));
            at += length;
            start = at;
        }
        if start < text.len() {
            pieces.push(Piece::Text(&text[start..]));
        }
        pieces
    }
}

/// The bytes of `text` that are `token` in some letter case, if it begins so.
fn length_of(text: &str, token: &[char]) -> Option<usize> {
    let mut chars = text.chars();
    let mut length = 0;
    for wanted in token {
        let found = chars.next()?;
        if found != *wanted && !found.to_lowercase().eq(wanted.to_lowercase()) {
            return None;
        }
        length += found.len_utf8();
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(own: &OwnTokens, text: &str) -> Vec<String> {
        let shown = |piece: Piece<'_>| match piece {
            Piece::Ids(ids) => format!("{}..{}", ids.start, ids.end),
            Piece::Text(text) => text.to_owned(),
        };
        own.cut(text).into_iter().map(shown).collect()
    }

    #[test]
    fn tokens_are_found_anywhere_the_longer_first() {
        let mut own = OwnTokens::default();
        assert_eq!(own.add("zefyr", 100, 1).expect("added"), 100);
        assert_eq!(own.add("<mira>", 100, 3).expect("added"), 101);
        assert_eq!(own.add("zefyr-x", 100, 2).expect("added"), 104);
        assert_eq!(
            cut(&own, "A ZEFYR and <Mira>, zefyrs, zefyr-X"),
            [
                "A ", "100..101", " and ", "101..104", ", ", "100..101", "s, ", "104..106"
            ]
        );
        assert_eq!(cut(&own, "näher"), ["näher"]);
        assert!(cut(&own, "").is_empty());
        assert!(own.add("ZEFYR", 100, 1).is_err() && own.add("", 100, 1).is_err());
    }
}
