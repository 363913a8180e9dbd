//! The plainest mentions, taken apart without a copy of any word: words of Latin letters in one case, parted by
//! single spaces, and perhaps a possessive or a number at the end.

/// Bytes of the longest mention that is tried.
const LONGEST: usize = 48;
/// A name's words and one before it.
const MOST_WORDS: usize = 4;

/// How the words of a mention are written, all in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Letters {
    /// `Emma Watson`
    Name,
    /// `EMMA WATSON`
    Large,
    /// `emma watson`
    Small,
}

/// A mention in small letters, and where its words end.
pub(super) struct Shape {
    lower: [u8; LONGEST],
    len: usize,
    ends: [usize; MOST_WORDS],
    count: usize,
    pub(super) letters: Letters,
}

impl Shape {
    /// `mention` taken apart; `None` where it is not of two words at least, or holds something else.
    pub(super) fn of(mention: &str) -> Option<Self> {
        let bytes = mention.as_bytes();
        if bytes.len() > LONGEST {
            return None;
        }
        let (mut lower, mut ends, mut count, mut letters) =
            ([b' '; LONGEST], [0; MOST_WORDS], 0, None);
        let (mut at, mut len) = (0, bytes.len());
        loop {
            let (end, written) = word_at(bytes, at, &mut lower)?;
            if *letters.get_or_insert(written) != written {
                return None;
            }
            *ends.get_mut(count)? = end;
            count += 1;
            match tail_at(bytes, end)? {
                Tail::Word => at = end + 1,
                Tail::None => break,
                // Beside a number, small letters say what the words are.
                Tail::Number if written == Letters::Small => return None,
                Tail::Number => {
                    lower[end..len].copy_from_slice(&bytes[end..]);
                    break;
                }
                Tail::Possessive => {
                    lower[end..end + 2].copy_from_slice(b"'s");
                    len = end + 2;
                    break;
                }
            }
        }
        (count > 1).then_some(Self {
            lower,
            len,
            ends,
            count,
            letters: letters?,
        })
    }

    /// How many words there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Where word `i` is.
    pub(super) fn range(&self, i: usize) -> std::ops::Range<usize> {
        let start = i.checked_sub(1).map_or(0, |before| self.ends[before] + 1);
        start..self.ends[i]
    }

    /// Word `i` in small letters.
    pub(super) fn word(&self, i: usize) -> &str {
        self.text(self.range(i))
    }

    /// The words from `first` on, without what follows them.
    pub(super) fn words_from(&self, first: usize) -> &str {
        self.text(self.range(first).start..self.ends[self.count - 1])
    }

    /// All of the mention in small letters.
    pub(super) fn whole(&self) -> &str {
        self.text(0..self.len)
    }

    /// Whether something follows the words.
    pub(super) fn has_tail(&self) -> bool {
        self.len > self.ends[self.count - 1]
    }

    fn text(&self, range: std::ops::Range<usize>) -> &str {
        // All of it is ASCII.
        std::str::from_utf8(&self.lower[range]).unwrap_or_default()
    }
}

/// Where the word of two letters at least that begins at `start` ends, and its case.
fn word_at(bytes: &[u8], start: usize, lower: &mut [u8; LONGEST]) -> Option<(usize, Letters)> {
    let mut end = start;
    let (mut large, mut small) = (0, 0);
    for (byte, lower) in bytes[start..].iter().zip(&mut lower[start..]) {
        match byte {
            b'a'..=b'z' => small += 1,
            // Capitals inside a word are no plain case.
            b'A'..=b'Z' if small == 0 => large += 1,
            b'A'..=b'Z' => return None,
            _ => break,
        }
        *lower = byte.to_ascii_lowercase();
        end += 1;
    }
    let letters = match (large, small) {
        (0, 2..) => Letters::Small,
        (1, 1..) => Letters::Name,
        (2.., 0) => Letters::Large,
        _ => return None,
    };
    Some((end, letters))
}

/// What follows a word.
enum Tail {
    /// Another one.
    Word,
    None,
    Number,
    Possessive,
}

fn tail_at(bytes: &[u8], end: usize) -> Option<Tail> {
    match &bytes[end..] {
        [] => Some(Tail::None),
        [b' ', digits @ ..] if digits.first().is_some_and(u8::is_ascii_digit) => digits
            .iter()
            .all(u8::is_ascii_digit)
            .then_some(Tail::Number),
        [b' ', ..] => Some(Tail::Word),
        [b'\'', b's' | b'S'] | [0xe2, 0x80, 0x99, b's' | b'S'] => Some(Tail::Possessive),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_mentions_are_taken_apart() {
        for (mention, whole, words, letters) in [
            ("Emma Watson", "emma watson", "emma watson", Letters::Name),
            (
                "EMMA WATSON'S",
                "emma watson's",
                "emma watson",
                Letters::Large,
            ),
            (
                "emma watson’s",
                "emma watson's",
                "emma watson",
                Letters::Small,
            ),
            (
                "Emma Watson 2019",
                "emma watson 2019",
                "emma watson",
                Letters::Name,
            ),
        ] {
            let shape = Shape::of(mention);
            let found = shape
                .as_ref()
                .map(|s| (s.whole(), s.words_from(0), s.letters));
            assert_eq!(found, Some((whole, words, letters)));
        }
        let shape = Shape::of("Actor Emma Watson");
        assert_eq!(
            shape.as_ref().map(|s| (s.words_from(1), s.word(0))),
            Some(("emma watson", "actor"))
        );
        for other in [
            "",
            "Emma",
            "Emma  Watson",
            "Emma Watson ",
            "Emma watson",
            "EMMA Watson",
            "E Watson",
            "Emma McWatson",
            "Emma Watson 2019a",
            "Emma Watson's 2019",
            "Emma-Watson",
            "One Two Three Four Five",
            "Emma Wätson",
        ] {
            assert!(Shape::of(other).is_none(), "{other}");
        }
        assert!(Shape::of(&format!("Emma W{}", "a".repeat(48))).is_none());
    }
}
