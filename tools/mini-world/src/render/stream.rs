//! The random numbers behind every image: one stream per seed and purpose, the same on every
//! machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::lane::{self, LANES, Lane};

/// What a stream's numbers are for. One seed gives unrelated numbers for each purpose.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Stranger = 1,
    Studio = 2,
    Snapshot = 3,
    Noise = 4,
    Landscape = 5,
}

pub(super) struct Stream(ChaCha8Rng);

impl Stream {
    pub(super) fn new(seed: u64, purpose: Purpose) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8] = purpose as u8;
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Uniform in [0, 1), a multiple of 2⁻²⁴.
    pub(super) fn unit(&mut self) -> f32 {
        unit_from_bits(self.0.next_u32())
    }

    /// Three uniform numbers in [0, 1).
    pub(super) fn units(&mut self) -> [f32; 3] {
        [self.unit(), self.unit(), self.unit()]
    }

    /// Uniform in [`low`, `low + width`).
    pub(super) fn between(&mut self, low: f32, width: f32) -> f32 {
        low + width * self.unit()
    }

    /// True with this probability.
    pub(super) fn chance(&mut self, share: f32) -> bool {
        self.unit() < share
    }

    /// One of the choices, each equally often.
    pub(super) fn choose<T: Copy, const N: usize>(&mut self, choices: [T; N]) -> T {
        let index = (u64::from(self.0.next_u32()) * N as u64) >> 32;
        choices[index as usize]
    }

    /// Normally distributed.
    pub(super) fn normal(&mut self, mean: f32, deviation: f32) -> f32 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        mean + deviation * radius * (std::f32::consts::TAU * self.unit()).cos()
    }

    /// A tile of numbers, normally distributed around 0 with deviation 1.
    pub(super) fn normals(&mut self) -> Lane {
        let mut bits = [0; LANES];
        for bits in &mut bits {
            *bits = self.0.next_u32();
        }
        let (radii, angles) = bits.split_at(LANES / 2);
        let mut out = [0.0; LANES];
        let (left, right) = out.split_at_mut(LANES / 2);
        for i in 0..LANES / 2 {
            let logarithm = lane::log2(1.0 - unit_from_bits(radii[i])) * std::f32::consts::LN_2;
            // The logarithm of a number just below 1 may come out a hair above 0.
            let radius = (-2.0 * logarithm).max(0.0).sqrt();
            let angle = std::f32::consts::TAU * unit_from_bits(angles[i]);
            left[i] = radius * lane::cosine(angle);
            right[i] = radius * lane::sine(angle);
        }
        out
    }
}

#[inline(always)]
fn unit_from_bits(bits: u32) -> f32 {
    // Through i32, for which every processor has a vector conversion.
    (bits >> 8) as i32 as f32 * (1.0 / 16_777_216.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_and_deviation(values: &[f32]) -> (f32, f32) {
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len() as f32;
        (mean, variance.sqrt())
    }

    #[test]
    fn distributions_have_their_moments() {
        let mut stream = Stream::new(7, Purpose::Noise);
        let many: Vec<f32> = (0..1000).flat_map(|_| stream.normals()).collect();
        let single: Vec<f32> = (0..20_000).map(|_| stream.normal(2.0, 3.0)).collect();
        let uniform: Vec<f32> = (0..20_000).map(|_| stream.unit()).collect();
        for (values, mean, deviation) in [
            (many, 0.0, 1.0),
            (single, 2.0, 3.0),
            (uniform, 0.5, 1.0 / 12f32.sqrt()),
        ] {
            let (found_mean, found_deviation) = mean_and_deviation(&values);
            assert!(
                (found_mean - mean).abs() < 0.03 * deviation,
                "{found_mean} {mean}"
            );
            assert!(
                (found_deviation / deviation - 1.0).abs() < 0.03,
                "{found_deviation} {deviation}"
            );
        }
    }

    #[test]
    fn choose_takes_every_choice_equally_often() {
        let mut stream = Stream::new(1, Purpose::Stranger);
        let mut counts = [0; 5];
        for _ in 0..5000 {
            counts[stream.choose([0, 1, 2, 3, 4])] += 1;
        }
        assert!(
            counts.iter().all(|&n| (850..1150).contains(&n)),
            "{counts:?}"
        );
    }

    #[test]
    fn purposes_have_different_numbers() {
        let first = |purpose| Stream::new(9, purpose).unit();
        assert_ne!(first(Purpose::Studio), first(Purpose::Snapshot));
    }
}
