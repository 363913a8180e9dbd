//! What the corpus itself says about words: one that stands in several names that are nobody's
//! misspelling is a name of its own, whether or not a list has it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};

use rayon::prelude::*;

use super::blocks::hash_bytes;
use super::forms::Forms;
use super::judge::{RIVAL, THRESHOLD, log2, rarity};
use super::pairs::Pair;
use super::shares::{Place, of_word, places};

/// Names of a word that may be chance.
const CHANCE: u32 = 2;
/// The lists speak for as many names: a small corpus hardly changes what they say.
const LISTED: u64 = 100_000;

/// The words of suspects with the number of names, by what the number's hash already is.
type Words = HashMap<u64, AtomicU32, BuildHasherDefault<IsHash>>;

#[derive(Default)]
struct IsHash(u64);

impl Hasher for IsHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash_bytes(bytes.iter().copied());
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Takes from the scores of `pairs` what the corpus says for a rare name of its own: its words stand
/// in other names too. Pairs that are no longer of interest go.
pub(super) fn weigh(forms: &Forms, pairs: &mut Vec<Pair>) {
    let words = count(forms, pairs);
    let number = forms.len() as u64 + LISTED;
    let weighed: Vec<Pair> = pairs
        .par_chunk_by(|a, b| a.rare == b.rare)
        .flat_map_iter(|of_rare| {
            let known = rarity_of(forms.text(of_rare[0].rare), &words, number);
            of_rare.iter().filter_map(move |pair| {
                let score = i32::from(pair.score) - known;
                let score = (score >= RIVAL).then_some(score as i16)?;
                Some(Pair { score, ..*pair })
            })
        })
        .collect();
    *pairs = weighed;
}

/// How many names that are nobody's misspelling have each of the suspects' words at its place.
fn count(forms: &Forms, pairs: &[Pair]) -> Words {
    // Of each form the words that a frequent name explains.
    let mut explained = vec![0u8; forms.len()];
    let mut words = Words::default();
    for pair in pairs {
        if i32::from(pair.score) > THRESHOLD {
            explained[pair.rare as usize] |= pair.differing;
        }
    }
    for of_rare in pairs.chunk_by(|a, b| a.rare == b.rare) {
        for (word, place) in places(forms.text(of_rare[0].rare)) {
            if let Some(hash) = hash(word, place) {
                words.entry(hash).or_default();
            }
        }
    }
    if words.is_empty() {
        return words;
    }
    explained
        .par_iter()
        .enumerate()
        .for_each(|(rank, explained)| {
            for (i, (word, place)) in places(forms.text(rank as u32)).enumerate() {
                let own = explained.checked_shr(i as u32).unwrap_or(0) & 1 == 0;
                let counter = hash(word, place).and_then(|hash| words.get(&hash));
                if let Some(counter) = counter.filter(|_| own) {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    words
}

/// Given names and surnames are counted.
fn hash(word: &str, place: Place) -> Option<u64> {
    let place = match place {
        Place::First => b'1',
        Place::Last => b'2',
        Place::Only | Place::Middle | Place::Marker => return None,
    };
    Some(hash_bytes(std::iter::once(place).chain(word.bytes())))
}

/// How much less rare the words of a name are than the lists say, as a score.
fn rarity_of(text: &str, words: &Words, number: u64) -> i32 {
    let less = |(word, place)| {
        let counter = hash(word, place).and_then(|hash| words.get(&hash));
        let names = counter.map_or(0, |c| c.load(Ordering::Relaxed));
        let own = names.saturating_sub(CHANCE);
        if own == 0 {
            return 0;
        }
        // −10 ln(share), from log₂ in sixteenths.
        let here = (log2(number) - log2(u64::from(own))) * 69 / 160;
        (of_word(word, place) - here).max(0)
    };
    rarity(places(text).map(less).sum())
}
