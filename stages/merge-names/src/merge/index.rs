//! Which frequent fold keys are within a small edit distance of a rare one: a symmetric-delete
//! index.
//!
//! Two texts within Damerau–Levenshtein distance `d` become equal when at most `d` letters are
//! deleted from each. So every target is entered under the hashes of all its forms with up to two
//! letters deleted, and a query looks up its own such forms; what a bucket holds is verified. The
//! cost grows with the number of keys, never with its square.

use rayon::prelude::*;

/// Letters from which on two edits are allowed; below it is one.
const LONG_KEY: usize = 12;
/// Keys shorter than this have neighbours by chance: no edit is allowed.
const SHORTEST_KEY: usize = 6;
/// Keys longer than this have too many forms; no name is that long.
const LONGEST_KEY: usize = 40;

/// Edits that are allowed between keys of `one` and `other` letters.
pub(super) fn allowed_edits(one: usize, other: usize) -> usize {
    match one.min(other) {
        _ if one.max(other) > LONGEST_KEY => 0,
        0..SHORTEST_KEY => 0,
        SHORTEST_KEY..LONG_KEY => 1,
        _ => 2,
    }
}

/// A target's deletion forms: hash and target, sorted by hash, with a directory over the hash's
/// leading bits.
pub(super) struct DeletionIndex {
    /// Upper half: the form's hash; lower half: the target's number.
    entries: Vec<u64>,
    /// First entry of each value of the leading `bits` of the hash.
    starts: Vec<usize>,
    bits: u32,
}

impl DeletionIndex {
    /// An index over `targets`: each one's number and fold key.
    pub(super) fn new(targets: &[(u32, &str)]) -> Self {
        let mut entries: Vec<u64> = targets
            .par_iter()
            .flat_map_iter(|&(number, key)| {
                forms(key)
                    .into_iter()
                    .map(move |hash| u64::from(hash) << 32 | u64::from(number))
            })
            .collect();
        entries.par_sort_unstable();
        entries.dedup();
        // About eight entries for each slot of the directory.
        let bits = (entries.len() / 8).max(2).ilog2().clamp(1, 28);
        let slot = |entry: &u64| (entry >> (64 - bits)) as usize;
        let mut starts = vec![0; (1 << bits) + 1];
        for entry in &entries {
            starts[slot(entry) + 1] += 1;
        }
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        Self {
            entries,
            starts,
            bits,
        }
    }

    /// The targets that share a deletion form with `key`, sorted: all within the allowed edits, and
    /// a few others.
    pub(super) fn near(&self, key: &str) -> Vec<u32> {
        let mut found = Vec::new();
        for hash in forms(key) {
            let slot = (u64::from(hash) << 32 >> (64 - self.bits)) as usize;
            let bucket = &self.entries[self.starts[slot]..self.starts[slot + 1]];
            let of_hash = bucket.iter().filter(|e| *e >> 32 == u64::from(hash));
            found.extend(of_hash.map(|e| (e & u64::from(u32::MAX)) as u32));
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// Hashes of `key` with up to two letters deleted (one for short keys); none for keys that allow no
/// edit.
fn forms(key: &str) -> Vec<u32> {
    let letters: Vec<char> = key.chars().collect();
    let length = letters.len();
    let mut hashes = Vec::new();
    if !(SHORTEST_KEY..=LONGEST_KEY).contains(&length) {
        return hashes;
    }
    // One letter more than allowed: a key of 12 may meet one of 11, which deletes one letter only,
    // in any order.
    let deletions = if length < LONG_KEY { 1 } else { 2 };
    hashes.push(hash_without(&letters, length, length));
    for i in 0..length {
        hashes.push(hash_without(&letters, i, length));
        if deletions == 2 {
            hashes.extend((i + 1..length).map(|k| hash_without(&letters, i, k)));
        }
    }
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

/// FNV-1a over the letters but those at `i` and `k`, folded to 32 bits.
fn hash_without(letters: &[char], i: usize, k: usize) -> u32 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for (at, c) in letters.iter().enumerate() {
        if at != i && at != k {
            hash = (hash ^ u64::from(u32::from(*c))).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash = (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The index finds what comparing all pairs finds.
        #[test]
        fn index_finds_all_keys_within_the_allowed_edits(keys in proptest::collection::vec("[abc]{4,15}", 1..40), query in "[abc]{4,15}") {
            let targets: Vec<_> = keys.iter().enumerate().map(|(i, k)| (i as u32, k.as_str())).collect();
            let found = DeletionIndex::new(&targets).near(&query);
            for (number, key) in &targets {
                let allowed = allowed_edits(key.len(), query.len());
                if allowed > 0 && strsim::damerau_levenshtein(key, &query) <= allowed {
                    prop_assert!(found.contains(number), "{key} is near {query}");
                }
            }
        }
    }

    #[test]
    fn index_finds_few_keys_that_are_far() {
        let names: Vec<String> = (0..2000u32)
            .map(|i| format!("{}{}", "person", i.wrapping_mul(2_654_435_761)))
            .collect();
        let targets: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(i, k)| (i as u32, k.as_str()))
            .collect();
        let index = DeletionIndex::new(&targets);
        let found: usize = names.iter().map(|n| index.near(n).len()).sum();
        assert!(
            found < 2 * names.len(),
            "{found} found for {} names",
            names.len()
        );
    }
}
