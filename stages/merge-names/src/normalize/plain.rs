//! The short way for most mentions: two or three words in name case and nothing else, none of which
//! a rule is about. Answers as the long way does, and says so where it cannot.

use super::knowledge::Knowledge;
use super::lexicon::{LEXICON, stems};
use super::score::{self, Case};
use super::spelling::{Rejection, Spelling};
use super::vocabulary::{Entry, VOCABULARY, list};
use super::word::is_suffix;

/// Bytes of the longest mention that is tried.
const LONGEST: usize = 48;
const MOST_WORDS: usize = 3;
/// Lists of words that no rule but the score looks at.
const FREE: u32 = list::GIVEN | list::SURNAME | list::ROLE | list::KOREAN | list::KOREAN_SURNAME;

/// The answer for `mention`; `None` where the long way is needed.
pub(super) fn read(mention: &str, knowledge: &Knowledge) -> Option<Result<Spelling, Rejection>> {
    let found = judge(mention, knowledge)?;
    Some(if found {
        Ok(Spelling {
            name: mention.to_owned(),
            mononym: false,
            recased: false,
        })
    } else {
        Err(Rejection::NotAName)
    })
}

/// Whether `text` is a name for sure, as it is written.
pub(super) fn is_name(text: &str, knowledge: &Knowledge) -> bool {
    judge(text, knowledge) == Some(true)
}

/// Whether `mention` is a name as it is written; `None` where the long way is needed.
fn judge(mention: &str, knowledge: &Knowledge) -> Option<bool> {
    let mut buffer = [0u8; LONGEST];
    let (lower, ends, count) = split(mention, &mut buffer)?;
    let mut words = [("", Entry::default()); MOST_WORDS];
    let mut start = 0;
    for (word, end) in words.iter_mut().zip(&ends[..count]) {
        let bare = lower.get(start..*end)?;
        let entry = knowledge.entry(bare);
        if entry.is(!FREE) || is_suffix(bare) {
            return None;
        }
        *word = (bare, entry);
        start = end + 1;
    }
    let words = &words[..count];
    if words[0].1.is(list::KOREAN_SURNAME) && words[1].1.is(list::KOREAN) {
        return None;
    }
    let whole = VOCABULARY.get(lower);
    if whole.is(list::NO_NAME) || score::leads(words[0], words[1]) {
        return None;
    }
    if count == 3 && (is_common(words[2]) || score::trails(words[1], words[2])) {
        return None;
    }
    let case = Case {
        foreign: false,
        initials: false,
        things: is_everyday(words),
        whole_thing: whole.is(list::WHOLE_THING),
    };
    Some(score::log_odds(&case, words[0], words[count - 1]) > knowledge.least_odds)
}

/// The mention in small letters and where its words end, if it is two or three words of a capital
/// and small letters each, parted by single spaces.
fn split<'a>(
    mention: &str,
    buffer: &'a mut [u8; LONGEST],
) -> Option<(&'a str, [usize; MOST_WORDS], usize)> {
    let bytes = mention.as_bytes();
    let buffer = buffer.get_mut(..bytes.len())?;
    let (mut ends, mut count, mut start) = ([0; MOST_WORDS], 0, 0);
    for (i, byte) in bytes.iter().enumerate() {
        let fits = match byte {
            b'a'..=b'z' => i > start,
            b'A'..=b'Z' => i == start,
            b' ' => i > start + 1,
            _ => false,
        };
        if !fits || (*byte == b' ' && count + 1 >= MOST_WORDS) {
            return None;
        }
        buffer[i] = byte.to_ascii_lowercase();
        if *byte == b' ' {
            ends[count] = i;
            count += 1;
            start = i + 1;
        }
    }
    if count == 0 || bytes.len() < start + 2 {
        return None;
    }
    ends[count] = bytes.len();
    Some((std::str::from_utf8(buffer).ok()?, ends, count + 1))
}

fn is_common((bare, entry): (&str, Entry)) -> bool {
    !entry.is_name_word() && stems(bare, |stem| LEXICON.is(stem, list::COMMON))
}

/// Whether common words stand where a name has none of the known given names to open it.
fn is_everyday(words: &[(&str, Entry)]) -> bool {
    let [first, second, ..] = words else {
        return false;
    };
    !first.1.is(list::GIVEN)
        && ((is_common(*first) && !second.1.is_name_word()) || is_common(*second))
}
