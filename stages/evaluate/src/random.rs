//! Random numbers that any language makes again in five lines: SplitMix64.

/// SplitMix64. The seed is the first state; two generators of one seed give the same numbers everywhere.
#[derive(Clone, Debug)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// A generator that begins with `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number, any of 2⁶⁴.
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = self.state;
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from 0 to `count` − 1: the upper half of the product of the next number and `count`. 0 for a `count`
    /// of 0.
    pub fn below(&mut self, count: usize) -> usize {
        let wide = u128::from(self.number()) * count as u128;
        (wide >> 64) as usize
    }

    /// A number in [0, 1) of 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.number() >> 11) as f64 * 2f64.powi(-53)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of the recording (`scores.json`, `splitmix64_first`).
    #[test]
    fn the_first_numbers_are_the_recorded_ones() {
        let mut random = SplitMix64::new(20_251_107);
        let first = [0; 2].map(|_| random.number());
        assert_eq!(
            first,
            [15_350_055_652_643_109_348, 17_867_957_976_594_200_451]
        );
        let mut again = SplitMix64::new(404);
        assert!((0..100).all(|_| (0.0..1.0).contains(&again.unit())));
        assert!((0..100).all(|_| again.below(7) < 7));
        assert_eq!(SplitMix64::new(1).below(0), 0);
    }
}
