//! Which examples a step sees and the noise on them: functions of (run seed, step number), so that
//! a resumed run continues with the same data.

use std::ops::Range;

use laioncele_encoder::standardized;

use crate::choices::Order;
use crate::examples::{Examples, Pick};
use crate::random::{below, normals, permuted, stream};
use crate::settings::Settings;
use crate::tensors::Batch;

/// The examples of a step.
pub(crate) fn picks<'a>(
    examples: &'a Examples,
    settings: &Settings,
    seed: u64,
    step: u64,
) -> Vec<Pick<'a>> {
    match settings.order {
        Order::People => {
            let mut rng = stream(seed, "batch", step);
            let people = &examples.training;
            let mut pick = || {
                let person = &people[below(&mut rng, people.len())];
                let photo = below(&mut rng, person.photos.len());
                (person, examples.row(person.photos.start + photo))
            };
            (0..settings.batch).map(|_| pick()).collect()
        }
        Order::Epochs => {
            let (size, count) = (settings.batch as u64, examples.training_photos() as u64);
            let places = step * size..(step + 1) * size;
            let photo = |place: u64| permuted(seed, place / count, place % count, count);
            places
                .map(|place| examples.training_photo(photo(place) as usize))
                .collect()
        }
    }
}

/// Fills `batch` with a range of a step's picks, with the settings' noise: each example's is its
/// own, whatever slice it is in.
pub(crate) fn fill_slice(
    examples: &Examples,
    (settings, seed, step): (&Settings, u64, u64),
    picks: &[Pick<'_>],
    range: Range<usize>,
    batch: &mut Batch,
) {
    let size = range.len();
    fill(examples, settings, &picks[range.clone()], batch);
    if settings.noise <= 0.0 {
        return;
    }
    for (column, example) in range.enumerate() {
        let number = step * settings.batch as u64 + example as u64;
        let mut rng = stream(seed, "noise", number);
        for feature in (0..examples.width).step_by(2) {
            for (k, normal) in normals(&mut rng).into_iter().enumerate() {
                if let Some(value) = batch.inputs.get_mut((feature + k) * size + column)
                    && feature + k < examples.width
                {
                    *value += settings.noise * normal;
                }
            }
        }
    }
}

/// Fills `batch` with given examples.
pub(crate) fn fill(
    examples: &Examples,
    settings: &Settings,
    picks: &[Pick<'_>],
    batch: &mut Batch,
) {
    let size = picks.len();
    batch.size = size;
    examples.fill_inputs(picks, &mut batch.inputs);
    batch.targets.resize(examples.output * size, 0.0);
    let target = examples.target_scale(settings.targets);
    for (column, (person, _)) in picks.iter().enumerate() {
        for (k, value) in person.name.iter().enumerate() {
            batch.targets[k * size + column] = match target {
                Some((mean, std)) => standardized(value.to_f32(), mean[k], std[k]),
                None => value.to_f32(),
            };
        }
    }
}
