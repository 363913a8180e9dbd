//! The short way for most mentions: two or three words and little else, none of which a rule is
//! about. Answers as the long way does, and says so where it cannot.

use super::knowledge::Knowledge;
use super::lexicon::{LEXICON, stems};
use super::score::{self, Case};
use super::shape::{Letters, Shape};
use super::spelling::{Rejection, Spelling};
use super::vocabulary::{Entry, VOCABULARY, list};
use super::word::is_suffix;

const MOST_WORDS: usize = 3;
/// Lists of words that no rule but the score looks at.
const FREE: u32 = list::GIVEN | list::SURNAME | list::ROLE | list::KOREAN | list::KOREAN_SURNAME;
/// Lists that a title or role before a name may stand in.
const OF_LEADING: u32 = list::LEADING | list::ROLE | list::COMMON | list::THING;

/// A word in small letters and its entry.
type Known<'a> = (&'a str, Entry);

/// The answer for `mention`; `None` where the long way is needed.
pub(super) fn read(mention: &str, knowledge: &Knowledge) -> Option<Result<Spelling, Rejection>> {
    let shape = Shape::of(mention)?;
    let opens = knowledge.entry(shape.word(0));
    let first = usize::from(opens.is(list::LEADING));
    let leads = first == 1;
    if leads && (opens.is(!OF_LEADING) || shape.count() < 3) {
        return None;
    }
    if (leads || shape.has_tail()) && VOCABULARY.get(shape.whole()).is(list::NO_NAME) {
        return None;
    }
    Some(if judge(&shape, first, knowledge)? {
        write(mention, &shape, first).map(Ok)?
    } else {
        Err(Rejection::NotAName)
    })
}

/// Whether `text` is a name for sure, as it is written.
pub(super) fn is_name(text: &str, knowledge: &Knowledge) -> bool {
    let shape = Shape::of(text).filter(|s| s.letters == Letters::Name && !s.has_tail());
    shape.is_some_and(|shape| judge(&shape, 0, knowledge) == Some(true))
}

/// The words from `first` on as a name; `None` where its case has rules of its own.
fn write(mention: &str, shape: &Shape, first: usize) -> Option<Spelling> {
    let start = shape.range(first).start;
    let recased = shape.letters != Letters::Name;
    let name = if recased {
        let mut name = shape.words_from(first).to_owned();
        for i in first..shape.count() {
            if shape.word(i).starts_with("mc") {
                return None;
            }
            let at = shape.range(i).start - start;
            name[at..=at].make_ascii_uppercase();
        }
        name
    } else {
        mention[start..start + shape.words_from(first).len()].to_owned()
    };
    Some(Spelling {
        name,
        mononym: false,
        recased,
    })
}

/// Whether the words from `first` on are a name; `None` where the long way is needed.
fn judge(shape: &Shape, first: usize, knowledge: &Knowledge) -> Option<bool> {
    let count = shape.count() - first;
    if count > MOST_WORDS {
        return None;
    }
    let mut words: [Known<'_>; MOST_WORDS] = [("", Entry::default()); MOST_WORDS];
    for (i, word) in words.iter_mut().enumerate().take(count) {
        let bare = shape.word(first + i);
        let entry = knowledge.entry(bare);
        if entry.is(!FREE) || is_suffix(bare) {
            return None;
        }
        *word = (bare, entry);
    }
    let words = &words[..count];
    if words[0].1.is(list::KOREAN_SURNAME) && words[1].1.is(list::KOREAN) {
        return None;
    }
    let whole = VOCABULARY.get(shape.words_from(first));
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

fn is_common((bare, entry): Known<'_>) -> bool {
    !entry.is_name_word() && stems(bare, |stem| LEXICON.is(stem, list::COMMON))
}

/// Whether common words stand where a name has none of the known given names to open it.
fn is_everyday(words: &[Known<'_>]) -> bool {
    let [first, second, ..] = words else {
        return false;
    };
    !first.1.is(list::GIVEN)
        && ((is_common(*first) && !second.1.is_name_word()) || is_common(*second))
}
