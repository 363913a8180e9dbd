//! Distinct texts with their counts, found by text: a table in one arena and four bytes a slot, where a
//! map of strings takes a hundred bytes for each.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use crate::merge::SpellingTable;

/// Most distinct texts: codes above say something else of a spelling.
pub(crate) const MOST_TEXTS: u32 = 0x7fff_0000;

/// A slot without a text.
const FREE: u32 = u32::MAX;

/// A table of distinct texts that grows.
#[derive(Default)]
pub(crate) struct Interner {
    table: SpellingTable,
    /// Numbers of texts at their hashes: a power of two, at most three quarters full.
    slots: Vec<u32>,
    /// Seeded at random, for texts that were written to collide. Numbers do not depend on it.
    hasher: RandomState,
}

impl Interner {
    /// The number of `text`, to whose mentions are added `mentions`, and `recased` of these. `None`
    /// where the table is full.
    pub(crate) fn add(&mut self, text: &str, mentions: u64, recased: u64) -> Option<u32> {
        if self.table.len() * 4 >= self.slots.len() * 3 {
            self.grow();
        }
        let slot = self.find(text);
        if self.slots[slot] != FREE {
            let number = self.slots[slot];
            self.table.add(number as usize, mentions, recased);
            return Some(number);
        }
        let number = u32::try_from(self.table.len()).ok()?;
        if number >= MOST_TEXTS {
            return None;
        }
        self.slots[slot] = number;
        self.table.push(text, mentions, recased);
        Some(number)
    }

    /// The texts so far.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// The table, in the order in which texts came.
    pub(crate) fn into_table(self) -> SpellingTable {
        self.table
    }

    /// The slot of `text`, or the free one where it belongs.
    fn find(&self, text: &str) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = self.hash(text) & mask;
        while self.slots[slot] != FREE && self.table.spelling(self.slots[slot] as usize) != text {
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn hash(&self, text: &str) -> usize {
        self.hasher.hash_one(text) as usize
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(1 << 10);
        // Freed before the larger one is made: the texts say where each belongs.
        self.slots = Vec::new();
        self.slots = vec![FREE; size];
        let mask = size - 1;
        for number in 0..self.table.len() {
            let mut slot = self.hash(self.table.spelling(number)) & mask;
            while self.slots[slot] != FREE {
                slot = (slot + 1) & mask;
            }
            self.slots[slot] = number as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn counts_are_those_of_a_map(texts in proptest::collection::vec("[ab]{0,10}", 0..3000)) {
            let (mut interner, mut map) = (Interner::default(), BTreeMap::<&str, (u64, u64)>::new());
            for (k, text) in (0..).zip(&texts) {
                let number = interner.add(text, k, k % 2).expect("room");
                let counts = map.entry(text).or_default();
                *counts = (counts.0 + k, counts.1 + k % 2);
                prop_assert!((number as usize) < interner.len());
            }
            let table = interner.into_table();
            prop_assert_eq!(table.len(), map.len());
            for at in 0..table.len() {
                let (mentions, recased) = map[table.spelling(at)];
                prop_assert_eq!(table.mentions(at), mentions);
                prop_assert_eq!(table.written(at), mentions - recased);
            }
        }
    }
}
