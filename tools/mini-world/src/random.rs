//! Random choices. Each depends on the world's seed, on its purpose and on a number, and on no
//! choice made before it.
//!
//! The purposes are part of every world's bytes: a renamed purpose gives another world.

use laioncele_core::KeyHasher;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The generator for `purpose` number `index` in the world of `seed`.
pub(crate) fn generator(seed: u64, purpose: &str, index: u64) -> ChaCha8Rng {
    ChaCha8Rng::from_seed(hasher(seed, purpose, index).finish().0)
}

/// A number for `purpose` number `index` in the world of `seed`.
pub(crate) fn number(seed: u64, purpose: &str, index: u64) -> u64 {
    hasher(seed, purpose, index).finish().low_u64()
}

fn hasher(seed: u64, purpose: &str, index: u64) -> KeyHasher {
    KeyHasher::new("mini-world")
        .number("seed", seed)
        .text("purpose", purpose)
        .number("index", index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_depends_on_every_argument() {
        let one = number(1, "names", 0);
        assert_eq!(one, number(1, "names", 0));
        for other in [
            number(2, "names", 0),
            number(1, "photos", 0),
            number(1, "names", 1),
        ] {
            assert_ne!(one, other);
        }
    }
}
