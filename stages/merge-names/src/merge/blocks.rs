//! The hashes under which a name is found by its misspellings.
//!
//! Two names are compared only where they share one of these: all words but one, and that one with
//! at most a letter deleted (a symmetric-delete neighbourhood, word by word); all words but one, and
//! what that one sounds like, with at most one sound deleted; or what the whole sounds like, words
//! run together. A name has some twenty.

use super::misspelling::{LONGEST_WORD, is_vowel};
use super::words::parts;

/// Names of more words have no near ones.
const MOST_WORDS: usize = 6;
/// Fewer sounds say too little for one of them to be left out.
const SOUNDS_TO_DELETE: usize = 4;

/// How unlike names are that share a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// A letter of one word is another, or it sounds the same.
    SameSounds,
    /// A sound of one word is another, too.
    OneSound,
}

/// The base of the polynomial hashes: odd, without pattern.
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;
/// What times [`BASE`] is 1.
const INVERSE: u64 = 0xf1de_83e1_9937_733d;

fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ (hash >> 32)
}

fn add(hash: u64, letter: u32) -> u64 {
    hash.wrapping_mul(BASE).wrapping_add(u64::from(letter) + 1)
}

/// A 64-bit hash of bytes.
pub(super) fn hash_bytes(bytes: impl Iterator<Item = u8>) -> u64 {
    mix(bytes.fold(0, |hash, b| add(hash, u32::from(b))))
}

/// Reused memory of [`hashes`].
#[derive(Default)]
pub(super) struct Scratch {
    letters: Vec<char>,
    /// Where each word of `letters` ends.
    ends: Vec<usize>,
    sounds: Vec<char>,
    whole: Vec<u64>,
    suffixes: Vec<u64>,
}

/// The hashes of a name given by its folded words, into `found`, some of them twice; none for a name that is too long.
pub(super) fn hashes(text: &str, reach: Reach, scratch: &mut Scratch, found: &mut Vec<u32>) {
    found.clear();
    let Scratch {
        letters,
        ends,
        sounds,
        whole,
        suffixes,
    } = scratch;
    letters.clear();
    ends.clear();
    for word in parts(text) {
        letters.extend(word.chars());
        ends.push(letters.len());
    }
    let starts = |i: usize| if i == 0 { 0 } else { ends[i - 1] };
    let longest = (0..ends.len()).map(|i| ends[i] - starts(i)).max();
    if ends.len() > MOST_WORDS || longest.is_none_or(|l| l > LONGEST_WORD) {
        return;
    }
    whole.clear();
    whole.extend((0..ends.len()).map(|i| {
        let word = &letters[starts(i)..ends[i]];
        mix(word.iter().fold(i as u64 + 1, |h, c| add(h, u32::from(*c))))
    }));
    let all = whole.iter().fold(0u64, |sum, h| sum.wrapping_add(*h));
    for i in 0..ends.len() {
        let others = mix(all.wrapping_sub(whole[i]) ^ (i as u64 + 1));
        let word = &letters[starts(i)..ends[i]];
        without_one(word, others ^ 1, suffixes, found);
        sound(word, sounds);
        if sounds.len() >= SOUNDS_TO_DELETE && reach == Reach::OneSound {
            without_one(sounds, others ^ 2, suffixes, found);
        } else {
            found.push(fold_hash(others ^ 2, poly(sounds)));
        }
    }
    sound(letters, sounds);
    found.push(fold_hash(3, poly(sounds)));
}

fn poly(letters: &[char]) -> u64 {
    letters.iter().fold(0, |h, c| add(h, u32::from(*c)))
}

/// A 32-bit hash of both.
fn fold_hash(others: u64, word: u64) -> u32 {
    (mix(others ^ word.wrapping_mul(0xff51_afd7_ed55_8ccd)) >> 32) as u32
}

/// The hashes of `word` whole and with any one letter deleted, beside `others`.
fn without_one(word: &[char], others: u64, suffixes: &mut Vec<u64>, found: &mut Vec<u32>) {
    // suffixes[i]: the polynomial of the letters from i on; the power of the base for as many.
    suffixes.clear();
    suffixes.resize(word.len() + 1, 0);
    let mut power = 1u64;
    for (i, c) in word.iter().enumerate().rev() {
        let letter = u64::from(u32::from(*c)) + 1;
        suffixes[i] = suffixes[i + 1].wrapping_add(letter.wrapping_mul(power));
        power = power.wrapping_mul(BASE);
    }
    found.push(fold_hash(others, suffixes[0]));
    // Without letter i: what comes before it moves one place down.
    let (mut before, mut last) = (0u64, None);
    let mut place = power;
    for (i, c) in word.iter().enumerate() {
        place = place.wrapping_mul(INVERSE);
        // Deleting either of two equal letters leaves the same.
        if last != Some(*c) {
            let rest = before.wrapping_mul(place).wrapping_add(suffixes[i + 1]);
            found.push(fold_hash(others, rest));
        }
        last = Some(*c);
        before = add(before, u32::from(*c));
    }
}

/// What letters sound like, roughly: consonants only, those that are mixed up as one, no doubles.
/// A vowel at the beginning is kept, as `a`.
fn sound(letters: &[char], sounds: &mut Vec<char>) {
    sounds.clear();
    if letters.first().is_some_and(|c| is_vowel(*c)) {
        sounds.push('a');
    }
    let mut i = 0;
    while i < letters.len() {
        let (taken, heard) = heard_at(&letters[i..]);
        i += taken;
        for c in heard.iter().filter(|c| **c != '-') {
            if sounds.last() != Some(c) {
                sounds.push(*c);
            }
        }
    }
}

/// How many letters are heard together, and as what; `-` is nothing.
fn heard_at(letters: &[char]) -> (usize, [char; 2]) {
    match letters {
        ['g', 'h', 't', ..] => (3, ['t', '-']),
        ['t', 'c', 'h', ..] => (3, ['k', '-']),
        ['t', 's' | 'z', ..] => (2, ['s', '-']),
        ['p', 'h', ..] => (2, ['f', '-']),
        ['x', ..] => (1, ['k', 's']),
        ['c' | 'q', ..] => (1, ['k', '-']),
        ['z', ..] => (1, ['s', '-']),
        ['w', ..] => (1, ['v', '-']),
        ['j', ..] => (1, ['g', '-']),
        ['d', ..] => (1, ['t', '-']),
        ['b', ..] => (1, ['p', '-']),
        ['h', ..] => (1, ['-', '-']),
        [c, ..] if is_vowel(*c) => (1, ['-', '-']),
        [c, ..] => (1, [*c, '-']),
        [] => (1, ['-', '-']),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Vec<u32> {
        let mut found = Vec::new();
        hashes(text, Reach::OneSound, &mut Scratch::default(), &mut found);
        found
    }

    fn meet(one: &str, other: &str) -> bool {
        let other = of(other);
        of(one).iter().any(|hash| other.contains(hash))
    }

    #[test]
    fn misspellings_share_a_hash_and_other_names_do_not() {
        for (one, other) in [
            ("arnold swartzenegger", "arnold schwarzenegger"),
            ("jimmy hendricks", "jimi hendrix"),
            ("bob dillon", "bob dylan"),
            ("mary ann evans", "maryann evans"),
            ("yo yo mah", "yo yo ma"),
            ("beyonse", "beyonce"),
            ("иван петров", "иван петорв"),
        ] {
            assert!(meet(one, other), "{one}, {other}");
        }
        for (one, other) in [
            ("john smith", "john stone"),
            ("anna holt", "vera holt"),
            ("karl", "vera"),
        ] {
            assert!(!meet(one, other), "{one}, {other}");
        }
    }

    #[test]
    fn names_of_many_or_endless_words_have_no_hash() {
        assert!(of("a b c d e f g").is_empty());
        assert!(of(&"a".repeat(33)).is_empty());
        assert!(!of("a b c d e f").is_empty());
        assert!(!of("").is_empty());
    }

    proptest! {
        /// The rolling hashes are those of the letters that are left.
        #[test]
        fn without_one_hashes_each_deletion(word in "[a-c]{0,12}") {
            let letters: Vec<char> = word.chars().collect();
            let (mut found, mut direct) = (Vec::new(), vec![fold_hash(7, poly(&letters))]);
            without_one(&letters, 7, &mut Vec::new(), &mut found);
            for i in 0..letters.len() {
                let mut rest = letters.clone();
                rest.remove(i);
                direct.push(fold_hash(7, poly(&rest)));
            }
            for list in [&mut found, &mut direct] {
                list.sort_unstable();
                list.dedup();
            }
            prop_assert_eq!(found, direct);
        }

        /// One letter more, less, other or in the wrong place, in one word: a hash is shared.
        #[test]
        fn names_one_edit_apart_meet(one in "[a-z]{2,9}", word in "[a-z]{3,9}", at in 0usize..9, c in "[a-z]", kind in 0..4) {
            let mut letters: Vec<char> = word.chars().collect();
            let at = at % letters.len();
            let c = c.chars().next().unwrap_or('a');
            match kind {
                0 => letters.insert(at, c),
                1 => drop(letters.remove(at)),
                2 => letters[at] = c,
                _ => letters.swap(at, at.saturating_sub(1)),
            }
            let other: String = letters.into_iter().collect();
            let (this, that) = (format!("{one} {word}"), format!("{one} {other}"));
            prop_assert!(meet(&this, &that));
            let (this, that) = (format!("{word} {one}"), format!("{other} {one}"));
            prop_assert!(meet(&this, &that));
        }
    }
}
