//! Whether a rare name near a frequent one is likely that person, or somebody else: the evidence
//! for and against, added up.
//!
//! The score is the logarithm of odds, in hundredths of what one vowel for another costs. For a misspelling speak how rare
//! the rare name is as a name of its own (the shares of its given name and surname among people: a
//! second `Marc Ruffalo` is less likely than a second `Michele Williams`) and how long the word is that
//! differs; against it, how unlike the words are, that two of them differ, and counts that are close.
//! The weights are a logistic regression over labelled spellings: `docs/merging.md`.

use super::blocks::Reach;
use super::misspelling::{self, CHEAPEST, cost};
use super::shares::{Place, of_name, places};
use super::words::{is_marker, parts};

/// What the score must exceed.
pub(super) const THRESHOLD: i32 = 0;
/// Between this and the threshold it is worth a question.
pub(super) const DOUBTFUL: i32 = -63;
/// Below it a frequent name is not even a rival of a better one.
pub(super) const RIVAL: i32 = -190;
/// How much more likely than any other the best name must be.
pub(super) const MARGIN: i32 = 63;

const BIAS: i32 = -710;
/// For each tenth of −ln(share of people with the rare name), in tenths.
const RARITY: i32 = 38;
/// For each letter of the words that differ, in tenths; further letters say nothing.
const LENGTH: i32 = 327;
const LONG: usize = 12;
const SECOND_WORD: i32 = 203;
/// Against a spelling that is at least twice as frequent as the settings' least ratio allows.
const CLOSE_COUNTS: f64 = 126.0;
/// Where a frequent name has fewer mentions than this, few of them are expected to be misspelt.
const EXPECTS_MISSPELLINGS: u64 = 128;
/// A name with fewer mentions than this is misspelt too seldom for its neighbours to be told from it.
pub(super) const LEAST_MENTIONS: u64 = 10;
/// For twice the mentions.
const DOUBLE: i32 = 44;
/// More than any evidence for a misspelling.
const PROHIBITIVE: i32 = 10_000;
/// What a score must exceed in a crowd of so many names, before the rest is counted. These weights
/// are a logistic regression over invented crowds, where chance neighbours are as frequent as they are.
const CROWD: u64 = 1 << 20;
const CROWD_BIAS: i32 = 829;
/// For twice the names.
const CROWD_DOUBLE: i32 = 100;
/// For twice the mentions of the rare spelling, up to so many.
const RARE_DOUBLE: i32 = 163;
const MANY: u64 = 3;
/// For twice the mentions of the name.
const FREQUENT_DOUBLE: i32 = 37;
/// For each tenth of −ln(share of people with the rare name), in tenths; up to so many.
const CROWD_RARITY: i32 = 31;
const RAREST: i32 = 250;
/// No misspelling costs more, however rare the name.
const DEAREST: i32 = 400;
/// The least that a consonant costs that no longer sounds the same; and one letter more.
const OTHER_CONSONANT: i32 = 200;
/// The most bytes that such a misspelling adds.
const MOST_LETTERS: usize = 8;

/// A rare name before it is compared.
pub(super) struct Suspect<'a> {
    text: &'a str,
    /// The rarity: [`of_name`].
    pub(super) share: i32,
    /// The score of a word of no letters that costs nothing.
    base: i32,
    longest: usize,
    words: usize,
    /// Whether it has a word that may be misspelt.
    has_name: bool,
}

impl<'a> Suspect<'a> {
    /// The name with the folded words `text`.
    pub(super) fn new(text: &'a str) -> Self {
        let longest = parts(text).map(|w| w.chars().count()).max();
        let share = of_name(text);
        Self {
            text,
            share,
            base: BIAS + rarity(share),
            longest: longest.unwrap_or(0),
            words: words(text),
            has_name: parts(text).any(|w| !is_marker(w)),
        }
    }

    /// How unlike a frequent name may be that is meant; none where no frequent name can be.
    pub(super) fn reach(&self) -> Option<Reach> {
        let left = self.base + length(2 * self.longest) - THRESHOLD;
        if left <= CHEAPEST {
            None
        } else if left <= OTHER_CONSONANT {
            Some(Reach::SameSounds)
        } else {
            Some(Reach::OneSound)
        }
    }

    /// The score of the frequent name `text`, and which words differ (one bit each); none where
    /// the score is not at least `least`.
    pub(super) fn judge(&self, text: &str, least: i32, scratch: &mut Scratch) -> Option<Verdict> {
        if self.text.len().abs_diff(text.len()) > MOST_LETTERS || !self.has_name {
            return None;
        }
        if self.words == words(text) {
            self.judge_words(text, least, scratch)
        } else {
            if !same_markers(self.text, text) {
                return None;
            }
            let Scratch { one, other, costs } = scratch;
            load(one, &mut self.text.chars().filter(|c| *c != ' '));
            load(other, &mut text.chars().filter(|c| *c != ' '));
            let letters = one.len().max(other.len());
            let best = self.base + length(letters);
            let score = best - cost(one, other, (best - least).min(DEAREST), costs)?;
            Some(Verdict {
                score,
                differing: u8::MAX,
            })
        }
    }

    /// [`Self::judge`] of a name with as many words.
    fn judge_words(&self, text: &str, least: i32, scratch: &mut Scratch) -> Option<Verdict> {
        let Scratch { one, other, costs } = scratch;
        let both = || parts(self.text).zip(parts(text));
        // At most so many letters, in words that cost at least so much.
        let (mut most, mut others) = (0, -1);
        for (a, b) in both().filter(|(a, b)| a != b) {
            most += a.len().max(b.len());
            others += 1;
        }
        let best = self.base + length(most) - least - others.max(0) * (SECOND_WORD + CHEAPEST);
        if others >= 0 && best < CHEAPEST {
            return None;
        }
        let (mut differing, mut letters, mut spent, mut left) = (0u8, 0, 0, best);
        let mut dear = DEAREST;
        for (i, (a, b)) in both().enumerate() {
            if a == b {
                continue;
            }
            // The words that tell people of one name apart are the same.
            if is_marker(a) || is_marker(b) {
                return None;
            }
            load(one, &mut a.chars());
            load(other, &mut b.chars());
            letters += one.len().max(other.len());
            let of_word = cost(one, other, left.min(dear), costs)?;
            spent += of_word + if differing == 0 { 0 } else { SECOND_WORD };
            // The others' least is counted already.
            left -= of_word - CHEAPEST;
            dear -= of_word;
            differing |= 1u8.checked_shl(i as u32).unwrap_or(0);
        }
        // Words that are written in two ways are the same word, however short.
        let letters = if differing == 0 { LONG } else { letters };
        let score = self.base + length(letters) - spent;
        (score >= least).then_some(Verdict { score, differing })
    }
}

/// How likely it is that a frequent name is meant.
pub(super) struct Verdict {
    pub(super) score: i32,
    /// The words that differ; all bits where the names are divided into words differently.
    pub(super) differing: u8,
}

/// Reused memory of [`Suspect::judge`].
#[derive(Default)]
pub(super) struct Scratch {
    one: Vec<char>,
    other: Vec<char>,
    costs: misspelling::Scratch,
}

fn load(letters: &mut Vec<char>, from: &mut dyn Iterator<Item = char>) {
    letters.clear();
    letters.extend(from);
}

/// The words that tell people of one name apart are the same.
fn same_markers(one: &str, other: &str) -> bool {
    let markers = |text| places(text).filter(|(_, p)| *p == Place::Marker);
    let words = |text| markers(text).map(|(w, _)| w);
    words(one).eq(words(other))
}

fn words(text: &str) -> usize {
    text.bytes().filter(|b| *b == b' ').count() + 1
}

/// What −10 ln(share) is worth.
pub(super) fn rarity(share: i32) -> i32 {
    share * RARITY / 10
}

fn length(letters: usize) -> i32 {
    letters.min(LONG) as i32 * LENGTH / 10
}

/// What is taken from the score for counts that do not look like a name and its misspelling.
/// `least_ratio` is at least 1, and the ratio at least that.
pub(super) fn count_penalty(rare: u64, frequent: u64, least_ratio: f64) -> i32 {
    if frequent < LEAST_MENTIONS {
        return PROHIBITIVE;
    }
    let ratio = frequent as f64 / rare.max(1) as f64;
    let close = (2.0 - ratio / least_ratio).clamp(0.0, 1.0) * CLOSE_COUNTS;
    let few = (log2(EXPECTS_MISSPELLINGS) - log2(frequent)).max(0) * DOUBLE;
    close as i32 + few / 16
}

/// What the score must exceed in a crowd of `names`, for a spelling with the rarity `share` and
/// `rare` mentions: the more people there are, the likelier is it that one of them is called so.
/// People have several mentions, new misspellings one; names with many mentions have many misspellings.
pub(super) fn least_in_crowd(names: usize, share: i32, rare: u64, frequent: u64) -> i32 {
    let doublings = (log2(names as u64) - log2(CROWD)) * CROWD_DOUBLE
        + log2(rare.min(MANY)) * RARE_DOUBLE
        - log2(frequent) * FREQUENT_DOUBLE;
    let rarity = share.min(RAREST) * CROWD_RARITY / 10;
    (CROWD_BIAS + doublings / 16 - rarity).max(THRESHOLD)
}

/// How much likelier it is that a name with `mentions` is misspelt than one with a single mention.
pub(super) fn frequency(mentions: u64) -> i32 {
    log2(mentions) * DOUBLE / 16
}

/// log₂ in sixteenths, by straight lines between the powers of 2.
pub(super) fn log2(number: u64) -> i32 {
    let number = number.max(1);
    let whole = number.ilog2();
    let part = (u128::from(number) << 4 >> whole) as i32 - 16;
    whole as i32 * 16 + part
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merges(rare: &str, frequent: &str) -> bool {
        let suspect = Suspect::new(rare);
        suspect.reach().is_some()
            && suspect
                .judge(frequent, RIVAL, &mut Scratch::default())
                .is_some_and(|v| v.score > THRESHOLD)
    }

    #[test]
    fn a_misspelling_is_told_from_another_name() {
        for (rare, frequent) in [
            ("marc ruffalo", "mark ruffalo"),
            ("kate blanchett", "cate blanchett"),
            ("arnold swartzenegger", "arnold schwarzenegger"),
            ("scarlet johanson", "scarlett johansson"),
            ("jurgen klinsman", "jurgen klinsmann"),
            ("dale earnhart sr", "dale earnhardt sr"),
            ("pyotr ilyich tchaikowsky", "pyotr ilyich tchaikovsky"),
        ] {
            assert!(merges(rare, frequent), "{rare} is {frequent}");
        }
        for (rare, frequent) in [
            ("jon stewart", "john stewart"),
            ("paul walter", "paul walker"),
            ("robert hansen", "robert hanssen"),
            ("george w bush", "george hw bush"),
            ("george bush", "george w bush"),
            ("dale earnhardt jr", "dale earnhardt sr"),
            ("mick jones", "nick jones"),
            ("sarah smith", "sara smith"),
            ("michele williams", "michelle williams"),
            ("zhang wei", "zhang wen"),
            ("li na", "li nan"),
            ("jr", "sr"),
        ] {
            assert!(!merges(rare, frequent), "{rare} is not {frequent}");
        }
    }

    #[test]
    fn count_penalty_is_for_close_counts_and_rare_names() {
        assert_eq!(count_penalty(10, 100_000, 5.0), 0);
        assert_eq!(count_penalty(10, 1000, 5.0), 0);
        assert!(count_penalty(100, 500, 5.0) > count_penalty(100, 900, 5.0));
        assert!(count_penalty(1, 16, 5.0) > count_penalty(1, 64, 5.0));
        assert_eq!(count_penalty(1, 9, 5.0), PROHIBITIVE);
        assert_eq!((log2(1), log2(2), log2(3), log2(1024)), (0, 16, 24, 160));
        assert!(log2(u64::MAX) < 1024);
    }
}
