//! How many people are called so: the shares of given names and surnames in a census.

use std::collections::HashMap;
use std::sync::LazyLock;

use foldhash::fast::FixedState;

use super::words::{is_initials, is_marker, parts};

const GIVEN_NAMES: &str = include_str!("../../data/given-name-shares.txt");
const SURNAMES: &str = include_str!("../../data/surname-shares.txt");

/// The shares of the census, each as −10 ln(share): a word in one tenth of all names has 23.
static SHARES: LazyLock<HashMap<u128, Share, FixedState>> = LazyLock::new(|| {
    let mut shares: HashMap<u128, Share, FixedState> = HashMap::default();
    for (words, surname) in [(GIVEN_NAMES, false), (SURNAMES, true)] {
        for line in words.lines().filter(|l| !l.starts_with('#')) {
            let mut fields = line.split(' ');
            let Some(rarity) = fields.next().and_then(|f| f.parse::<u8>().ok()) else {
                continue;
            };
            for word in fields.filter_map(packed) {
                let share = shares.entry(word).or_default();
                *(if surname {
                    &mut share.surname
                } else {
                    &mut share.given
                }) = Some(rarity);
            }
        }
    }
    shares
});

/// A word of at most 15 bytes with its length, as a number: no name in the census is longer, and none is looked for in
/// another place of the memory.
fn packed(word: &str) -> Option<u128> {
    let mut bytes = [0; 16];
    bytes[..15]
        .get_mut(..word.len())?
        .copy_from_slice(word.as_bytes());
    bytes[15] = word.len() as u8;
    Some(u128::from_le_bytes(bytes))
}

#[derive(Clone, Copy, Default)]
struct Share {
    given: Option<u8>,
    surname: Option<u8>,
}

/// −10 ln(share) of a word that the census does not have as a given name, as a surname.
const UNKNOWN_GIVEN: i32 = 131;
const UNKNOWN_SURNAME: i32 = 145;
/// The same of short words: nearly every short syllable is somebody's name.
const UNKNOWN_SHORT: [i32; 6] = [23, 46, 69, 92, 108, 124];
/// The same of words in other letters than Latin ones, of whose names no list is at hand.
const UNKNOWN_SCRIPT: i32 = 80;
/// The same of an initial, of a suffix such as `Jr.`
const INITIAL: i32 = 30;
const SUFFIX: i32 = 46;
/// A middle name is chosen from fewer than there are people: so much is taken from its rarity.
const MIDDLE: i32 = 30;

fn unknown(word: &str, long: i32) -> i32 {
    let letters = word.chars().count();
    let most = if word.is_ascii() {
        long
    } else {
        UNKNOWN_SCRIPT
    };
    UNKNOWN_SHORT
        .get(letters)
        .map_or(most, |short| most.min(*short))
}

/// −10 ln(share of people with this given name).
pub(super) fn given(word: &str) -> i32 {
    let listed = packed(word)
        .and_then(|word| SHARES.get(&word))
        .and_then(|s| s.given);
    listed.map_or_else(|| unknown(word, UNKNOWN_GIVEN), i32::from)
}

/// −10 ln(share of people with this surname).
pub(super) fn surname(word: &str) -> i32 {
    let listed = packed(word)
        .and_then(|word| SHARES.get(&word))
        .and_then(|s| s.surname);
    listed.map_or_else(|| unknown(word, UNKNOWN_SURNAME), i32::from)
}

/// Where a word stands in its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The only word besides initials and suffixes.
    Only,
    /// The given name.
    First,
    /// Between given name and surname.
    Middle,
    /// The surname.
    Last,
    /// Initials, suffix.
    Marker,
}

/// The words of `text` (separated by a space) and their places.
pub(super) fn places(text: &str) -> impl Iterator<Item = (&str, Place)> {
    let names = parts(text).filter(|w| !is_marker(w)).count();
    let mut seen = 0;
    parts(text).map(move |word| {
        if is_marker(word) {
            return (word, Place::Marker);
        }
        seen += 1;
        let place = match seen {
            _ if names == 1 => Place::Only,
            1 => Place::First,
            _ if seen == names => Place::Last,
            _ => Place::Middle,
        };
        (word, place)
    })
}

/// −10 ln(share of people who are called by `word` at `place`).
pub(super) fn of_word(word: &str, place: Place) -> i32 {
    match place {
        Place::First => given(word),
        Place::Last => surname(word),
        Place::Only => given(word).min(surname(word)),
        Place::Middle => (given(word).min(surname(word)) - MIDDLE).max(0),
        Place::Marker if is_initials(word) => INITIAL * word.chars().count() as i32,
        Place::Marker => SUFFIX,
    }
}

/// −10 ln(share of people who are called `text`): given names and surnames go together by chance.
pub(super) fn of_name(text: &str) -> i32 {
    places(text).map(|(word, place)| of_word(word, place)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_those_of_the_census() {
        assert_eq!(surname("smith"), 46);
        assert_eq!(surname("schwarzenegger"), UNKNOWN_SURNAME);
        assert!(given("michael") < given("micheal"));
        assert!(given("na") < UNKNOWN_GIVEN && surname("петров") < UNKNOWN_SURNAME);
        assert!(SHARES.len() > 90_000);
        let lists =
            [GIVEN_NAMES, SURNAMES].map(|list| list.lines().filter(|line| !line.starts_with('#')));
        let mut words = lists
            .into_iter()
            .flatten()
            .flat_map(|line| line.split(' ').skip(1));
        assert!(words.all(|word| packed(word).is_some()));
        assert_eq!(packed("abcdefghijklmnop"), None);
        assert_ne!(packed("a"), packed("a\0"));
    }

    #[test]
    fn a_rare_name_is_rarer_than_a_common_one() {
        assert!(of_name("marc ruffalo") > of_name("mark ruffalo"));
        assert!(of_name("mark ruffalo") > of_name("mark smith"));
        assert!(of_name("mark b smith") > of_name("mark smith"));
        assert!(of_name("mark smith jr") > of_name("mark smith"));
        assert_eq!(
            places("george hw bush").map(|(_, p)| p).collect::<Vec<_>>(),
            [Place::First, Place::Marker, Place::Last]
        );
    }
}
