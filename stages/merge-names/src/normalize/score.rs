//! Whether words are a person's name: what is known of each word in its place, weighed together.
//!
//! For each word the lists and the corpus tell how frequent it is as a given name, as a surname, in
//! ordinary text, and in names of places and brands (see [`Entry`]). The differences of these
//! logarithms are the evidence; a logistic regression on labelled mentions gave their weights
//! (`tools/name-evidence/README.md`).

use super::bare::without_marks;
use super::lexicon::{LEXICON, stems};
use super::spelling::Rejection;
use super::vocabulary::{Entry, LETTERS, VOCABULARY, list};
use super::word::{Word, is_suffix};

/// The digit that stands for a word that a list has not: 10^-6.5.
const UNLISTED: i32 = 10;
/// Digits that a surname in a given name's place, or the other way round, counts less.
const OUT_OF_PLACE: (i32, i32) = (4, 3);
/// A word below this digit is rare: 10^-5.5.
const RARE: i32 = 14;
/// Weights, in nats; those of frequencies are per decade.
const BIAS: f32 = -1.40;
const FIRST_AGAINST_ORDINARY: f32 = 0.70;
const LAST_AGAINST_ORDINARY: f32 = 0.59;
const FIRST_KNOWN: f32 = 0.97;
const LAST_KNOWN: f32 = 0.56;
const WEAKER_OF_BOTH: f32 = -0.36;
const FIRST_UNKNOWN: f32 = 0.45;
const LAST_UNKNOWN: f32 = -0.28;
const INITIALS_FIRST: f32 = 2.61;
const WHOLE_THING: f32 = -2.20;
const THINGS: f32 = -1.66;
const LASTING_TITLE: f32 = 2.06;
/// Of an institution or a building after a word that is hardly a given name (`Eltz Castle`).
const INSTITUTION: f32 = -1.5;
/// Against a name of which one word has a capital and one has none (`Akkus können`).
const UNEVEN: f32 = 1.5;
/// Of a Korean surname before syllables of Korean given names.
const KOREAN_ORDER: f32 = 1.0;
/// Of an unknown word, and of a rare one.
const LETTERS_OF_FIRST: (f32, f32) = (0.30, 0.0);
const LETTERS_OF_LAST: (f32, f32) = (0.43, 0.46);
const ROLE_FIRST: f32 = 1.53;
/// Of the first word and of the last one.
const PLACE: (f32, f32) = (-0.62, -0.30);
const NOT_ORDINARY: (f32, f32) = (1.01, 1.70);
const LISTED_GIVEN: (f32, f32) = (0.78, 0.71);
/// Of the first word where it is no given name.
const LISTED_SURNAME: (f32, f32) = (-0.46, 0.67);
const LISTED_THING: (f32, f32) = (-0.48, -1.41);
const LISTED_COMMON: (f32, f32) = (0.64, -0.34);
/// Of the first word as a surname, of the last one as a given name.
const ELSEWHERE: (f32, f32) = (-0.15, -0.56);

/// How frequent a word is in each of its uses; quarters of a decade.
#[derive(Clone, Copy)]
struct Uses {
    /// As a given name, and as a surname counted as one.
    first: i32,
    /// As a surname, and as a given name counted as one.
    last: i32,
    ordinary: i32,
    place: i32,
    /// Nothing is known of the word.
    unknown: bool,
}

/// The uses of a word; of a hyphenated word that no list has, those of its parts.
fn uses(bare: &str, mut e: Entry) -> Uses {
    if e.is_unknown()
        && let Some((before, after)) = bare.rsplit_once('-')
    {
        e = joined(VOCABULARY.get(before), VOCABULARY.get(after));
    }
    if e.ordinary == 0 && i32::from(e.given.max(e.surname)) < RARE {
        stems(bare, |stem| {
            let ordinary = VOCABULARY.get(stem).ordinary.saturating_sub(2);
            e.ordinary = e.ordinary.max(ordinary);
            false
        });
    }
    // `Reisekoffer`: German writes two ordinary words as one.
    if e.is_unknown() && bare.len() >= LEAST_OF_COMPOUND {
        let ordinary = |end| {
            let e = VOCABULARY.get(end);
            i32::from(e.ordinary) > UNLISTED && i32::from(e.surname.max(e.given)) < RARE
        };
        if endings(bare, LEAST_OF_ORDINARY).any(ordinary) {
            e.ordinary = UNLISTED as u8 + 1;
        }
    }
    let [given, surname, ordinary, place] =
        [e.given, e.surname, e.ordinary, e.place].map(i32::from);
    Uses {
        first: given.max(surname - OUT_OF_PLACE.0).max(UNLISTED),
        last: surname.max(given - OUT_OF_PLACE.1).max(UNLISTED),
        ordinary: ordinary.max(UNLISTED),
        place: place.max(UNLISTED),
        unknown: given.max(surname).max(ordinary).max(place) == 0,
    }
}

/// `Jean-Luc`, `Waller-Bridge`: a name if a part is, ordinary or a place only if both are.
fn joined(one: Entry, other: Entry) -> Entry {
    Entry {
        lists: 0,
        given: one.given.max(other.given.saturating_sub(4)),
        surname: other.surname.max(one.surname.saturating_sub(4)),
        ordinary: one.ordinary.min(other.ordinary),
        place: one.place.min(other.place),
    }
}

/// Digits to decades.
fn decades(digits: i32) -> f32 {
    digits as f32 / 4.0
}

/// What the letters of a word say, in nats.
fn letters(bare: &str) -> f32 {
    let evidence = if bare.is_ascii() {
        LETTERS.evidence(bare)
    } else {
        LETTERS.evidence(&without_marks(bare))
    };
    (evidence as f32 * 0.15).clamp(-6.0, 6.0)
}

/// Refuses two words and more that are rather something else than a name. `things` says that words
/// stand in it that the lists of things have.
pub(super) fn check(words: &[Word], things: bool, least_odds: f32) -> Result<(), Rejection> {
    let named = |w: &&Word| !is_suffix(&w.bare);
    let (Some(first), Some(last)) = (words.iter().find(named), words.iter().rev().find(named))
    else {
        return Ok(());
    };
    let likely = if std::ptr::eq(first, last) {
        !things
    } else {
        let foreign = !words
            .iter()
            .any(|w| w.bare.bytes().any(|b| b.is_ascii_lowercase()));
        let case = Case {
            foreign,
            initials: first.are_initials() || first.are_capital_initials(last),
            things,
            whole_thing: LEXICON.is_whole_thing(words.iter().map(|w| w.bare.as_str())),
        };
        let small = first.is_small() != last.is_small() && !first.is_particle();
        let least_odds = least_odds + if small { UNEVEN } else { 0.0 };
        log_odds(&case, first.pair(), last.pair()) > least_odds
            // `Park Shin Hye`: read as Shin Hye Park.
            || (is_korean_order(words)
                && log_odds(&case.of_people(), last.pair(), first.pair()) + KOREAN_ORDER > least_odds)
    };
    if likely {
        Ok(())
    } else {
        Err(Rejection::NotAName)
    }
}

/// Whether a surname stands before one or two words of Korean syllables.
fn is_korean_order(words: &[Word]) -> bool {
    let [surname, given @ ..] = words else {
        return false;
    };
    let korean = |part: &str| {
        let entry = VOCABULARY.get(part);
        entry.is(list::KOREAN) && entry.given >= entry.ordinary
    };
    (1..=2).contains(&given.len())
        && surname.is(list::KOREAN_SURNAME)
        && given.iter().all(|w| w.bare.split('-').all(korean))
}

/// What is known of a name but its words.
#[derive(Clone, Copy)]
pub(super) struct Case {
    /// It is written in other than Latin letters: the lists know nothing of it.
    pub(super) foreign: bool,
    /// It begins with initials.
    pub(super) initials: bool,
    /// It holds words that the lists of things have.
    pub(super) things: bool,
    /// The lists have all of it as a thing.
    pub(super) whole_thing: bool,
}

impl Case {
    /// The same, without what the lists of things say.
    fn of_people(self) -> Self {
        Self {
            things: false,
            whole_thing: false,
            ..self
        }
    }
}

/// The logarithm of how much likelier a name is than anything else, by its first and last word:
/// each in small letters and with its entry.
pub(super) fn log_odds(case: &Case, first: (&str, Entry), last: (&str, Entry)) -> f32 {
    let (f, l) = (uses(first.0, first.1), uses(last.0, last.1));
    let last_margin = (l.last - l.ordinary).clamp(-12, 12);
    let mut sum = BIAS + LAST_AGAINST_ORDINARY * decades(last_margin);
    sum += LAST_KNOWN * decades(l.last - UNLISTED);
    let mut weaker = last_margin.min(0);
    if case.initials {
        sum += INITIALS_FIRST;
    } else {
        let margin = (f.first - f.ordinary).clamp(-12, 12);
        weaker = weaker.min(margin);
        sum += FIRST_AGAINST_ORDINARY * decades(margin);
        sum += FIRST_KNOWN * decades(f.first - UNLISTED);
    }
    sum += WEAKER_OF_BOTH * decades(weaker);
    if !case.foreign {
        if !case.initials {
            sum += by_letters(first.0, &f, f.first, FIRST_UNKNOWN, LETTERS_OF_FIRST);
        }
        sum += by_letters(last.0, &l, l.last, LAST_UNKNOWN, LETTERS_OF_LAST);
    }
    sum += PLACE.0 * decades(f.place - UNLISTED) + PLACE.1 * decades(l.place - UNLISTED);
    let beyond = |digit: u8| decades(i32::from(digit).max(UNLISTED) - UNLISTED);
    sum += ELSEWHERE.0 * beyond(first.1.surname) + ELSEWHERE.1 * beyond(last.1.given);
    sum + total([
        (WHOLE_THING, case.whole_thing),
        (THINGS, case.things),
        (
            INSTITUTION,
            last.1.is(list::INSTITUTION) && is_no_given_name(first),
        ),
        (NOT_ORDINARY.0, f.ordinary <= UNLISTED),
        (NOT_ORDINARY.1, l.ordinary <= UNLISTED),
    ]) + by_lists(first.1, last.1)
}

/// What the lists that the first and the last word stand in say, whatever their frequencies.
fn by_lists(first: Entry, last: Entry) -> f32 {
    let first_as_surname = first.is(list::SURNAME) && !first.is(list::GIVEN);
    total([
        (LASTING_TITLE, first.is(list::LASTING_TITLE)),
        (ROLE_FIRST, first.is(list::ROLE)),
        (LISTED_GIVEN.0, first.is(list::GIVEN)),
        (LISTED_GIVEN.1, last.is(list::GIVEN)),
        (LISTED_SURNAME.0, first_as_surname),
        (LISTED_SURNAME.1, last.is(list::SURNAME)),
        (LISTED_THING.0, first.is(list::THING)),
        (LISTED_THING.1, last.is(list::THING)),
        (LISTED_COMMON.0, first.is(list::COMMON)),
        (LISTED_COMMON.1, last.is(list::COMMON)),
    ])
}

/// The sum of the weights of what holds.
fn total<const N: usize>(evidence: [(f32, bool); N]) -> f32 {
    let holding = evidence.into_iter().filter(|(_, holds)| *holds);
    holding.map(|(weight, _)| weight).sum()
}

/// What the letters of a word say where the lists know nothing or little of it; `weights` are for
/// these two.
fn by_letters(word: &str, uses: &Uses, digit: i32, unknown: f32, weights: (f32, f32)) -> f32 {
    if uses.unknown {
        unknown + weights.0 * letters(word)
    } else if digit < RARE {
        weights.1 * letters(word)
    } else {
        0.0
    }
}

/// Whether a long unknown word ends in a role, as German makes them (`Kanzleramtsminister`).
fn is_compound_role((bare, entry): (&str, Entry)) -> bool {
    entry == Entry::default()
        && bare.len() >= LEAST_OF_COMPOUND
        && endings(bare, LEAST_OF_ROLE).any(|end| VOCABULARY.get(end).is(list::ROLE))
}

/// What a word ends in, from all but three bytes of it down to `least` bytes.
fn endings(word: &str, least: usize) -> impl Iterator<Item = &str> {
    (3..=word.len().saturating_sub(least)).filter_map(|at| word.get(at..))
}

/// Whether a word is hardly a given name.
pub(super) fn is_no_given_name(word: (&str, Entry)) -> bool {
    !word.1.is(list::GIVEN) && i32::from(word.1.given) <= UNLISTED + 2
}

/// Whether a word is ten times as frequent as a given name than as a surname.
pub(super) fn is_rather_given(word: (&str, Entry)) -> bool {
    word.1.given >= word.1.surname.saturating_add(4)
}

/// Whether a word before a name is a role rather than the name's first: each in small letters and
/// with its entry. A role of another language than English is no ordinary word of the lists.
pub(super) fn leads(word: (&str, Entry), next: (&str, Entry)) -> bool {
    if !word.1.is(list::ROLE) && !is_compound_role(word) {
        return false;
    }
    let (one, other) = (uses(word.0, word.1), uses(next.0, next.1));
    let role = one.ordinary - one.first >= ROLE_MARGIN || word.1.given.max(word.1.surname) == 0;
    role && other.first - other.ordinary >= NAME_MARGIN
}

/// Whether a word after two name words is no third one; `before` is the word before it. After a
/// word that is a surname rather than a given name, that is likelier.
pub(super) fn trails(before: (&str, Entry), word: (&str, Entry)) -> bool {
    let (one, other) = (uses(before.0, before.1), uses(word.0, word.1));
    let surname = one.last - i32::from(before.1.given).max(UNLISTED) >= NAME_MARGIN;
    if other.unknown {
        return surname && letters(word.0) < UNLIKE_NAMES;
    }
    // `Audrey Tautou Amelie`: a given name and no surname, where the surname was.
    let [given, as_surname] = [word.1.given, word.1.surname].map(i32::from);
    if surname && !word.1.is(list::SURNAME) && given - as_surname.max(UNLISTED) >= NAME_MARGIN {
        return true;
    }
    let margin = other.ordinary.max(other.place - OUT_OF_PLACE.0) - other.last;
    margin
        >= if surname {
            AFTER_SURNAME
        } else {
            AFTER_GIVEN_NAME
        }
}

/// Bytes of a word that may be two, and of the role and the ordinary word that it may end in.
const LEAST_OF_COMPOUND: usize = 10;
const LEAST_OF_ROLE: usize = 6;
const LEAST_OF_ORDINARY: usize = 5;
/// Digits by which a role is an ordinary word rather than a name.
const ROLE_MARGIN: i32 = 3;
/// Digits by which a word is a name for sure.
const NAME_MARGIN: i32 = 4;
/// Digits by which a third word is ordinary.
const AFTER_SURNAME: i32 = 1;
const AFTER_GIVEN_NAME: i32 = 6;
/// What the letters of an unknown third word say of it, in nats.
const UNLIKE_NAMES: f32 = -0.5;
