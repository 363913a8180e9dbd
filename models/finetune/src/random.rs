//! Draws that depend on nothing but the run's seed, what is drawn, whose it is and the epoch: never
//! on which worker comes first, nor on how much was drawn before.

/// A stream of random numbers: SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Debug, Clone)]
pub struct Stream {
    state: u64,
}

/// SplitMix64's step.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's finalizer.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Stream {
    /// The stream of one `what` (such as `"noise"`) of one `key` (such as a photo's) in one
    /// `epoch`.
    pub fn new(seed: u64, what: &str, key: &str, epoch: u64) -> Self {
        let mut state = mix(seed.wrapping_add(GAMMA));
        let mut absorb = |word: u64| state = mix(state.wrapping_add(GAMMA) ^ word);
        for text in [what, key] {
            absorb(text.len() as u64);
            for block in text.as_bytes().chunks(8) {
                let mut word = [0; 8];
                word[..block.len()].copy_from_slice(block);
                absorb(u64::from_le_bytes(word));
            }
        }
        absorb(epoch);
        Self { state }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GAMMA);
        mix(self.state)
    }

    /// Uniform in [0, 1), in steps of 2⁻⁵³.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in 0…count − 1; 0 of no count.
    pub fn below(&mut self, count: u64) -> u64 {
        if count == 0 {
            return 0;
        }
        // Bits beyond the last whole multiple of `count` would favour small numbers.
        let whole = u64::MAX - u64::MAX % count;
        loop {
            let bits = self.bits();
            if bits < whole {
                return bits % count;
            }
        }
    }

    /// Fills a slice with standard normal numbers (Box and Muller 1958, in float64).
    pub fn normals(&mut self, values: &mut [f32]) {
        for pair in values.chunks_mut(2) {
            // 1 − u lies in (0, 1], whose logarithm is finite.
            let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
            let angle = std::f64::consts::TAU * self.uniform();
            let both = [radius * angle.cos(), radius * angle.sin()];
            pair.iter_mut()
                .zip(both)
                .for_each(|(value, drawn)| *value = drawn as f32);
        }
    }

    /// 0…count − 1 in random order (Fisher and Yates).
    pub fn permutation(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for i in (1..count).rev() {
            order.swap(i, self.below(i as u64 + 1) as usize);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_split_mixes() {
        // Vigna's splitmix64.c from state 0 begins with these.
        let mut stream = Stream { state: 0 };
        let expected = [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4];
        assert_eq!([stream.bits(), stream.bits()], expected);
    }

    #[test]
    fn streams_differ_in_every_part_of_their_key() {
        let first = |seed, what, key, epoch| Stream::new(seed, what, key, epoch).bits();
        let mut all = vec![
            first(1, "noise", "a", 0),
            first(2, "noise", "a", 0),
            first(1, "time", "a", 0),
            first(1, "noise", "b", 0),
            first(1, "noise", "a", 1),
            first(1, "nois", "ea", 0),
            first(1, "noise", "a\0", 0),
        ];
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 7);
        assert_eq!(first(1, "noise", "a", 0), first(1, "noise", "a", 0));
    }

    #[test]
    fn normals_have_mean_zero_and_deviation_one() {
        let mut values = vec![0f32; 100_001];
        Stream::new(7, "noise", "a", 0).normals(&mut values);
        let count = values.len() as f64;
        let moment = |power: i32| {
            values
                .iter()
                .map(|v| f64::from(*v).powi(power))
                .sum::<f64>()
        };
        let moments = [1, 2, 3, 4].map(|power| moment(power) / count);
        for (found, (expected, within)) in
            moments
                .into_iter()
                .zip([(0.0, 0.02), (1.0, 0.02), (0.0, 0.05), (3.0, 0.1)])
        {
            assert!((found - expected).abs() < within, "{moments:?}");
        }
    }

    #[test]
    fn permutations_hold_everything_once() {
        let mut order = Stream::new(7, "order", "", 3).permutation(1000);
        assert_ne!(order, (0..1000).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..1000).collect::<Vec<_>>());
        assert!(Stream::new(7, "order", "", 3).permutation(0).is_empty());
    }

    #[test]
    fn below_reaches_both_ends_evenly() {
        let mut stream = Stream::new(7, "timestep", "a", 0);
        let mut counts = [0u32; 10];
        (0..10_000).for_each(|_| counts[stream.below(10) as usize] += 1);
        assert!(counts.iter().all(|n| (900..1100).contains(n)), "{counts:?}");
    }
}
