//! Which frequent forms share a block hash with a rare one: a sorted array with a directory.

use std::hint::black_box;

use rayon::prelude::*;

use super::blocks::{self, Reach, hashes};
use super::forms::Forms;

/// Forms of one hash that are looked at, the most frequent ones: more of them are names too common
/// for any to be meant.
const MOST_OF_A_HASH: usize = 24;

/// The block hashes of the most frequent forms that lie in a range: hash and rank, sorted, with a
/// directory over the hash's leading bits.
pub(super) struct BlockIndex {
    /// Upper half: the hash; lower half: the form's rank.
    entries: Vec<u64>,
    /// First entry of each value of the leading `bits` of the hash.
    starts: Vec<u32>,
    bits: u32,
    /// A bit for each value of the leading bits of the hash, many more than entries: most hashes of
    /// a rare form are no frequent one's, and end here.
    known: Vec<u64>,
    part: Part,
}

/// Bits of [`BlockIndex::known`] for each entry.
const BITS_OF_ENTRY: usize = 16;

/// One of several equal ranges of all hashes.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) number: u32,
    pub(super) of: u32,
}

impl Part {
    fn holds(self, hash: u32) -> bool {
        (u64::from(hash) * u64::from(self.of)) >> 32 == u64::from(self.number)
    }
}

/// About how many entries the first `targets` forms have.
pub(super) fn estimated_entries(forms: &Forms, targets: u32) -> usize {
    (0..targets).map(|t| forms.text(t).len() + 12).sum()
}

impl BlockIndex {
    /// An index over the first `targets` forms.
    pub(super) fn new(forms: &Forms, targets: u32, part: Part) -> Self {
        let chunks: Vec<Vec<u64>> = (0..targets)
            .into_par_iter()
            .fold(
                || (Vec::new(), blocks::Scratch::default(), Vec::new()),
                |(mut entries, mut scratch, mut found), rank| {
                    hashes(forms.text(rank), Reach::OneSound, &mut scratch, &mut found);
                    let held = found.iter().filter(|h| part.holds(**h));
                    entries.extend(held.map(|h| u64::from(*h) << 32 | u64::from(rank)));
                    (entries, scratch, found)
                },
            )
            .map(|(entries, ..)| entries)
            .collect();
        let mut entries = Vec::with_capacity(chunks.iter().map(Vec::len).sum());
        for chunk in chunks {
            entries.extend_from_slice(&chunk);
        }
        entries.par_sort_unstable();
        // A name may have a hash twice.
        entries.dedup();
        // About two entries for each slot of the directory.
        let bits = (entries.len() / 2).max(2).ilog2().clamp(1, 28);
        let mut starts = vec![0; (1 << bits) + 1];
        for entry in &entries {
            starts[(entry >> (64 - bits)) as usize + 1] += 1;
        }
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        let words = (entries.len() * BITS_OF_ENTRY / 64).next_power_of_two();
        let mut known = vec![0u64; words.min(1 << 26)];
        for entry in &entries {
            let bit = bit_of((entry >> 32) as u32, known.len());
            known[bit / 64] |= 1 << (bit % 64);
        }
        Self {
            entries,
            starts,
            bits,
            known,
            part,
        }
    }

    /// Whether it holds all hashes.
    pub(super) fn is_whole(&self) -> bool {
        self.part.of == 1
    }

    /// Whether a form may have this hash.
    fn knows(&self, hash: u32) -> bool {
        let bit = bit_of(hash, self.known.len());
        self.known[bit / 64] >> (bit % 64) & 1 == 1
    }

    /// The forms below rank `end` that share one of `hashes`, sorted. Hashes that no form has are
    /// taken out.
    pub(super) fn near(
        &self,
        hashes: &mut Vec<u32>,
        buckets: &mut Vec<(u32, u32)>,
        end: u32,
        found: &mut Vec<u32>,
    ) {
        found.clear();
        // In loops of their own, and without a branch on what is read, the processor waits for all of them together.
        let mut kept = 0;
        for at in 0..hashes.len() {
            let hash = hashes[at];
            hashes[kept] = hash;
            kept += usize::from(self.part.holds(hash) & self.knows(hash));
        }
        hashes.truncate(kept);
        buckets.clear();
        buckets.extend(hashes.iter().map(|hash| {
            let slot = (u64::from(*hash) << 32 >> (64 - self.bits)) as usize;
            (self.starts[slot], self.starts[slot + 1])
        }));
        let first = |bucket: &(u32, u32)| self.entries.get(bucket.0 as usize).copied();
        black_box(buckets.iter().filter_map(first).fold(0, |all, e| all ^ e));
        for (&hash, &(start, stop)) in hashes.iter().zip(buckets.iter()) {
            let bucket = &self.entries[start as usize..stop as usize];
            let first = bucket.partition_point(|e| *e >> 32 < u64::from(hash));
            let of_hash = bucket[first..]
                .iter()
                .take_while(|e| *e >> 32 == u64::from(hash))
                .map(|e| (e & u64::from(u32::MAX)) as u32);
            found.extend(of_hash.take_while(|rank| *rank < end).take(MOST_OF_A_HASH));
        }
        found.sort_unstable();
        found.dedup();
    }
}

/// The bit of a hash among so many words of 64, a power of 2.
fn bit_of(hash: u32, words: usize) -> usize {
    (u64::from(hash) << 32 >> (64 - 6 - words.ilog2())) as usize
}
