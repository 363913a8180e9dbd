//! Randomness as a function of (run seed, purpose, number): no generator's state is kept anywhere,
//! so that a resumed run, or another worker, continues with the same numbers.

use laioncele_core::KeyHasher;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A random stream of its own for `purpose` and `number`.
pub(crate) fn stream(seed: u64, purpose: &str, number: u64) -> ChaCha8Rng {
    let key = KeyHasher::new("train-encoder")
        .number("seed", seed)
        .text("purpose", purpose)
        .number("number", number);
    ChaCha8Rng::from_seed(key.finish().0)
}

/// A number below `limit` (at least 1).
pub(crate) fn below(rng: &mut ChaCha8Rng, limit: usize) -> usize {
    ((u128::from(rng.next_u64()) * limit as u128) >> 64) as usize
}

/// A number in (0, 1].
fn unit(rng: &mut ChaCha8Rng) -> f64 {
    ((rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
}

/// A number in [-bound, bound).
pub(crate) fn uniform(rng: &mut ChaCha8Rng, bound: f32) -> f32 {
    ((2.0 * unit(rng) - 1.0) * f64::from(bound)) as f32
}

/// Two standard normal numbers (Box–Muller).
pub(crate) fn normals(rng: &mut ChaCha8Rng) -> [f32; 2] {
    let radius = (-2.0 * unit(rng).ln()).sqrt();
    let (sin, cos) = (std::f64::consts::TAU * unit(rng)).sin_cos();
    [(radius * cos) as f32, (radius * sin) as f32]
}

/// Where `place` goes in a permutation of the numbers below `count` that `seed` and `round` choose:
/// a Feistel network over the next power of four, walked until it ends below `count`, so that any
/// worker finds its rows without a shuffled list.
pub(crate) fn permuted(seed: u64, round: u64, place: u64, count: u64) -> u64 {
    let bits = u64::BITS - count.saturating_sub(1).leading_zeros();
    let half = bits.div_ceil(2).max(1);
    let mask = (1u64 << half) - 1;
    let mut at = place;
    loop {
        let (mut left, mut right) = (at >> half, at & mask);
        for turn in 0..4 {
            let key = KeyHasher::new("train-encoder")
                .number("seed", seed)
                .text("purpose", "permutation")
                .number("round", round)
                .number("turn", turn)
                .number("half", right);
            (left, right) = (right, left ^ (key.finish().low_u64() & mask));
        }
        at = (left << half) | right;
        if at < count {
            return at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normals_have_mean_zero_and_deviation_one() {
        let mut rng = stream(1, "test", 0);
        let all: Vec<f64> = (0..20_000)
            .flat_map(|_| normals(&mut rng))
            .map(f64::from)
            .collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        let square = all.iter().map(|x| x * x).sum::<f64>() / all.len() as f64;
        assert!(
            mean.abs() < 0.02 && (square - 1.0).abs() < 0.03,
            "{mean} {square}"
        );
    }

    #[test]
    fn below_reaches_every_number_evenly() {
        let mut rng = stream(1, "test", 1);
        let mut seen = [0; 7];
        (0..7000).for_each(|_| seen[below(&mut rng, 7)] += 1);
        assert!(
            seen.iter().all(|count| (800..1200).contains(count)),
            "{seen:?}"
        );
    }

    #[test]
    fn a_permutation_reaches_each_place_once() {
        for count in [1, 2, 3, 4, 5, 17, 64, 65, 1000] {
            let mut places: Vec<u64> = (0..count).map(|p| permuted(7, 3, p, count)).collect();
            let moved = places.iter().zip(0..).filter(|(to, from)| *to != from);
            assert!(count < 60 || moved.count() as u64 > count / 2);
            places.sort_unstable();
            assert!(places.into_iter().eq(0..count), "{count}");
        }
        let order = |round| {
            (0..50)
                .map(|p| permuted(7, round, p, 50))
                .collect::<Vec<_>>()
        };
        assert_ne!(order(0), order(1));
    }
}
