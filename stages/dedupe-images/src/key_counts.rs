//! Keys that come often, among more than memory can hold.

/// Counts keys in so many places that few share one: a count is never too low. Memory is fixed by the number of keys
/// expected, 64 MB at most.
pub(crate) struct KeyCounts {
    places: Vec<u8>,
}

/// Places at most. At 2 × 10⁸ keys three share one, and twenty by chance nowhere.
const MOST: usize = 1 << 26;
/// Places at least.
const FEWEST: usize = 1 << 12;

impl KeyCounts {
    /// For about so many keys.
    pub(crate) fn new(keys: u64) -> Self {
        let places = usize::try_from(keys.saturating_mul(2)).unwrap_or(MOST);
        let places = places.clamp(FEWEST, MOST).next_power_of_two();
        Self {
            places: vec![0; places],
        }
    }

    /// Counts a key, which must be well mixed.
    pub(crate) fn add(&mut self, key: u64) {
        let place = key as usize & (self.places.len() - 1);
        self.places[place] = self.places[place].saturating_add(1);
    }

    /// Whether the key may have been added at least `times` times; no if it was not. From 255 on always maybe where it
    /// was added so often.
    pub(crate) fn may_reach(&self, key: u64, times: u64) -> bool {
        let place = key as usize & (self.places.len() - 1);
        u64::from(self.places[place]) >= times.min(255)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_never_too_low() {
        let mut counts = KeyCounts::new(10);
        (0..300).for_each(|_| counts.add(7));
        counts.add(8);
        assert!(counts.may_reach(7, 20) && counts.may_reach(7, 300));
        assert!(counts.may_reach(8, 1) && !counts.may_reach(8, 2));
        assert!(!counts.may_reach(9, 1));
    }
}
