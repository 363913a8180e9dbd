//! Which examples a step sees and the noise on them: functions of (run seed, step number), so that
//! a resumed run continues with the same data.

use laioncele_core::KeyHasher;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::examples::Examples;
use crate::network::Batch;

/// A random stream of its own for `purpose` and `number`.
pub(crate) fn stream(seed: u64, purpose: &str, number: u64) -> ChaCha8Rng {
    let key = KeyHasher::new("train-encoder")
        .number("seed", seed)
        .text("purpose", purpose)
        .number("number", number);
    ChaCha8Rng::from_seed(key.finish().0)
}

/// A number below `limit` (at least 1).
fn below(rng: &mut ChaCha8Rng, limit: usize) -> usize {
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
fn normals(rng: &mut ChaCha8Rng) -> [f32; 2] {
    let radius = (-2.0 * unit(rng).ln()).sqrt();
    let (sin, cos) = (std::f64::consts::TAU * unit(rng)).sin_cos();
    [(radius * cos) as f32, (radius * sin) as f32]
}

/// Fills `batch` with `size` examples of the training people: a person, then one of their photos;
/// noise of deviation `noise` on the standardized features.
pub(crate) fn sample(
    examples: &Examples,
    seed: u64,
    step: u64,
    size: usize,
    noise: f32,
    batch: &mut Batch,
) {
    let mut rng = stream(seed, "batch", step);
    let rows: Vec<_> = (0..size)
        .map(|_| {
            let person = below(&mut rng, examples.training.len());
            let photos = &examples.training[person].photos;
            (person, photos.start + below(&mut rng, photos.len()))
        })
        .collect();
    fill(
        examples,
        rows.iter()
            .map(|&(person, row)| (&examples.training[person].name[..], row)),
        batch,
    );
    if noise > 0.0 {
        for pair in batch.inputs.chunks_mut(2) {
            for (value, normal) in pair.iter_mut().zip(normals(&mut rng)) {
                *value += noise * normal;
            }
        }
    }
}

/// Fills `batch` with given (name embedding, row of features) pairs.
pub(crate) fn fill<'a>(
    examples: &Examples,
    rows: impl ExactSizeIterator<Item = (&'a [half::f16], usize)>,
    batch: &mut Batch,
) {
    let (size, width) = (rows.len(), examples.width);
    batch.size = size;
    batch.inputs.resize(width * size, 0.0);
    batch.targets.resize(examples.output * size, 0.0);
    for (example, (name, row)) in rows.enumerate() {
        let features = &examples.features[row * width..][..width];
        for (k, value) in features.iter().enumerate() {
            batch.inputs[k * size + example] = value * examples.scale[k].0 + examples.scale[k].1;
        }
        for (k, value) in name.iter().enumerate() {
            batch.targets[k * size + example] = value.to_f32();
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
}
