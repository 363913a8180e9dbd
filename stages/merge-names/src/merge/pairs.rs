//! The pairs of a rare form and a frequent one that it may be a misspelling of.

use rayon::prelude::*;

use super::blocks::{self, hashes};
use super::forms::Forms;
use super::index::{BlockIndex, Part, estimated_entries};
use super::judge::{
    self, DOUBTFUL, LEAST_MENTIONS, RIVAL, Suspect, THRESHOLD, count_penalty, least_in_crowd,
};
use super::shares::of_name;

/// A rare form and a frequent one, by rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pair {
    pub(super) rare: u32,
    pub(super) frequent: u32,
    /// How likely it is that the frequent one is meant: [`judge`].
    pub(super) score: i16,
    /// The words that differ, one bit each; all bits where they are divided differently.
    pub(super) differing: u8,
}

/// Entries of the index that are held at a time: 1 GiB.
pub(super) const INDEX_ENTRIES: usize = 1 << 27;

/// All pairs with a score of at least [`RIVAL`] whose counts differ by `ratio`, sorted. The index is
/// made in as many parts as `entries` demands; the result is the same.
pub(super) fn near_pairs(forms: &Forms, ratio: f64, entries: usize) -> Vec<Pair> {
    let rarest = forms
        .len()
        .checked_sub(1)
        .map_or(0, |last| forms.mentions(last as u32));
    let targets = forms.at_least(least_meant(ratio, rarest));
    let parts = estimated_entries(forms, targets)
        .div_ceil(entries.max(1))
        .max(1) as u32;
    let mut pairs = Vec::new();
    for number in 0..parts {
        let index = BlockIndex::new(forms, targets, Part { number, of: parts });
        let found: Vec<Vec<Pair>> = (0..forms.len() as u32)
            .into_par_iter()
            .fold(Search::default, |mut search, rare| {
                search.add(forms, &index, rare, ratio);
                search
            })
            .map(|search| search.pairs)
            .collect();
        found.into_iter().for_each(|part| pairs.extend(part));
    }
    pairs.par_sort_unstable();
    pairs.dedup();
    // What two parts found of one form is seen together here only.
    let interesting: Vec<Pair> = pairs
        .par_chunk_by(|a, b| a.rare == b.rare)
        .filter(|of_rare| {
            let (rare, first) = (of_rare[0].rare, of_rare[0].frequent);
            let share = of_name(forms.text(rare));
            let least = least_of_interest(forms, share, forms.mentions(rare), first);
            of_rare.iter().any(|pair| i32::from(pair.score) >= least)
        })
        .flat_map_iter(|of_rare| of_rare.iter().copied())
        .collect();
    interesting
}

/// The least mentions of a name that a form with `mentions` may be a misspelling of.
fn least_meant(ratio: f64, mentions: u64) -> f64 {
    (ratio * mentions as f64).max(LEAST_MENTIONS as f64)
}

/// The least score of one pair of a rare form, of which `first` is the most frequent name, for the form
/// to be filed or doubtful.
fn least_of_interest(forms: &Forms, share: i32, mentions: u64, first: u32) -> i32 {
    let least = least_in_crowd(forms.len(), share, mentions, forms.mentions(first));
    (least - THRESHOLD + DOUBTFUL).max(THRESHOLD)
}

#[derive(Default)]
struct Search {
    pairs: Vec<Pair>,
    /// Mentions, and how many forms have enough for a form with these to be a misspelling of them: the next
    /// form mostly has as many.
    meant: Option<(u64, u32)>,
    hashes: Vec<u32>,
    buckets: Vec<(u32, u32)>,
    found: Vec<u32>,
    blocks: blocks::Scratch,
    judge: judge::Scratch,
}

impl Search {
    /// Adds the pairs of one rare form.
    fn add(&mut self, forms: &Forms, index: &BlockIndex, rare: u32, ratio: f64) {
        let mentions = forms.mentions(rare);
        if self.meant.is_none_or(|(of, _)| of != mentions) {
            self.meant = Some((mentions, forms.at_least(least_meant(ratio, mentions))));
        }
        let end = self.meant.map_or(0, |(_, end)| end.min(rare));
        if end == 0 {
            return;
        }
        let suspect = Suspect::new(forms.text(rare));
        let Some(reach) = suspect.reach() else {
            return;
        };
        hashes(forms.text(rare), reach, &mut self.blocks, &mut self.hashes);
        index.near(&mut self.hashes, &mut self.buckets, end, &mut self.found);
        forms.fetch(&self.found);
        // Rivals matter only where there is a name that is likely meant.
        let Some(&first) = self.found.first() else {
            return;
        };
        if index.is_whole() {
            let least = least_of_interest(forms, suspect.share, mentions, first);
            let mut likely = |frequent: &u32| {
                let verdict = suspect.judge(forms.text(*frequent), least, &mut self.judge);
                verdict.is_some()
            };
            if !self.found.iter().any(&mut likely) {
                return;
            }
        }
        for &frequent in &self.found {
            let Some(verdict) = suspect.judge(forms.text(frequent), RIVAL, &mut self.judge) else {
                continue;
            };
            let score = verdict.score - count_penalty(mentions, forms.mentions(frequent), ratio);
            if score >= RIVAL {
                self.pairs.push(Pair {
                    rare,
                    frequent,
                    score: score.min(i32::from(i16::MAX)) as i16,
                    differing: verdict.differing,
                });
            }
        }
    }
}
