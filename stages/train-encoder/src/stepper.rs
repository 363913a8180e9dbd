//! One step: a batch in slices, their gradients added in one order, the optimizer.

use std::ops::Range;

use laioncele_encoder::EncoderConfig;

use crate::choices::{Precision, Reduction};
use crate::network::Workspace;
use crate::optimizer::Adam;
use crate::settings::Settings;
use crate::tensors::{Batch, Tensors, bf16};

/// Gives the examples of a range of the batch, with their inputs standardized.
pub type Fill<'a> = dyn FnMut(Range<usize>, &mut Batch) + 'a;

/// Takes steps with one set of settings; holds the room that they need. Results do not depend on
/// the number of threads.
pub struct Stepper<'a> {
    settings: &'a Settings,
    config: &'a EncoderConfig,
    work: Workspace,
    batch: Batch,
    /// The weights as products see them, in bfloat16's precision.
    rounded: Option<Tensors>,
    /// Gradients of one way down the tree of slices. The first is the whole batch's.
    gradients: Vec<Tensors>,
}

impl<'a> Stepper<'a> {
    /// A stepper for checked `settings` ([`Settings::problem`]) and a checked network.
    pub fn new(settings: &'a Settings, config: &'a EncoderConfig) -> Self {
        let size = settings.batch / settings.slices.max(1);
        let bf16 = settings.precision == Precision::Bf16;
        Self {
            settings,
            config,
            work: Workspace::new(config, size, settings.precision, settings.reduction),
            batch: Batch::default(),
            rounded: bf16.then(|| Tensors::zeros(config)),
            gradients: Vec::new(),
        }
    }

    /// One step of `parameters`. Returns the loss of the batch before it.
    pub fn step(&mut self, parameters: &mut Tensors, adam: &mut Adam, fill: &mut Fill<'_>) -> f64 {
        if self.settings.slices > 1 || self.settings.clip.is_some() {
            let (loss, _) = self.gradient(parameters, fill);
            let update = adam.next(self.settings);
            adam.apply(update, parameters, &self.gradients[0]);
            return loss;
        }
        self.round(parameters);
        self.fill(0..self.settings.batch, fill);
        let update = adam.next(self.settings);
        let rounded = self.rounded.as_ref();
        self.work
            .gradient_step(parameters, rounded, &self.batch, (adam, update))
    }

    /// The loss of a batch, and its gradient by every parameter as the optimizer sees it: a mean
    /// over slices, clipped where the settings say so.
    pub fn gradient(&mut self, parameters: &Tensors, fill: &mut Fill<'_>) -> (f64, &Tensors) {
        self.round(parameters);
        let slices = self.settings.slices;
        let levels = slices.next_power_of_two().ilog2() as usize + 1;
        while self.gradients.len() < levels {
            self.gradients.push(Tensors::zeros(self.config));
        }
        let loss = self.add_slices(0..slices, 0, parameters, fill) / slices as f64;
        if let Some(clip) = self.settings.clip {
            let factor = (clip / (self.gradients[0].norm() + 1e-6)).min(1.0);
            self.gradients[0].scale(factor as f32);
        }
        (loss, &self.gradients[0])
    }

    fn round(&mut self, parameters: &Tensors) {
        if let Some(rounded) = &mut self.rounded {
            rounded.round_from(parameters);
        }
    }

    fn fill(&mut self, range: Range<usize>, fill: &mut Fill<'_>) {
        fill(range, &mut self.batch);
        if self.rounded.is_some() {
            self.batch.inputs.iter_mut().for_each(|x| *x = bf16(*x));
        }
    }

    /// Leaves the sum of the gradients of `slices` at `level`, left half plus right half, and
    /// returns the sum of their losses.
    fn add_slices(
        &mut self,
        slices: Range<usize>,
        level: usize,
        parameters: &Tensors,
        fill: &mut Fill<'_>,
    ) -> f64 {
        let Range { start, end } = slices;
        if end - start > 1 {
            let middle = start + (end - start) / 2;
            let left = self.add_slices(start..middle, level, parameters, fill);
            let right = self.add_slices(middle..end, level + 1, parameters, fill);
            let (sums, addends) = self.gradients.split_at_mut(level + 1);
            sums[level].add(&addends[0]);
            return left + right;
        }
        let size = self.settings.batch / self.settings.slices;
        self.fill(start * size..end * size, fill);
        let weights = self.rounded.as_ref().unwrap_or(parameters);
        let share = 1.0 / self.settings.slices as f64;
        let into = &mut self.gradients[level];
        self.work.gradient(weights, &self.batch, share, into)
    }
}

/// The mean over `batches` of their losses, each with the weight of its examples, in float32.
pub fn loss(
    config: &EncoderConfig,
    reduction: Reduction,
    parameters: &Tensors,
    batches: impl Iterator<Item = Batch>,
) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    for batch in batches {
        let mut work = Workspace::new(config, batch.size, Precision::F32, reduction);
        sum += work.loss(parameters, &batch) * batch.size as f64;
        count += batch.size;
    }
    sum / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    use laioncele_encoder::Activation;

    use super::*;

    fn config() -> EncoderConfig {
        EncoderConfig {
            input: 5,
            hidden: [7, 6],
            output_tokens: 2,
            output_channels: 3,
            activation: Activation::Gelu,
        }
    }

    fn wave(count: usize, by: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * by + 0.3).sin()).collect()
    }

    /// Examples that depend on their place in the batch only.
    fn fill(range: Range<usize>, batch: &mut Batch) {
        let size = range.len();
        batch.size = size;
        let columns = |rows: usize, by: f32| {
            let mut all = vec![0.0; rows * size];
            for (column, example) in range.clone().enumerate() {
                for row in 0..rows {
                    all[row * size + column] = ((example * 31 + row) as f32 * by).sin();
                }
            }
            all
        };
        (batch.inputs, batch.targets) = (columns(5, 1.3), columns(6, 0.9));
    }

    fn parameters() -> Tensors {
        let mut parameters = Tensors::zeros(&config());
        for (k, tensor) in parameters.0.iter_mut().enumerate() {
            *tensor = wave(tensor.len(), 0.7 + k as f32 * 0.13);
        }
        parameters
    }

    fn gradient(settings: &Settings) -> (f64, Tensors) {
        let config = config();
        let mut stepper = Stepper::new(settings, &config);
        let (loss, gradient) = stepper.gradient(&parameters(), &mut fill);
        (loss, gradient.clone())
    }

    fn difference(a: &Tensors, b: &Tensors) -> f32 {
        let numbers = a.0.iter().flatten().zip(b.0.iter().flatten());
        numbers.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn slices_have_the_whole_batchs_gradient() {
        let settings = |slices| Settings {
            batch: 12,
            slices,
            ..Settings::default()
        };
        let (loss, whole) = gradient(&settings(1));
        for slices in [2, 3, 4, 6, 12] {
            let (sliced_loss, sliced) = gradient(&settings(slices));
            assert!((loss - sliced_loss).abs() < 1e-6 * loss);
            assert!(difference(&whole, &sliced) < 1e-5, "{slices}");
        }
    }

    #[test]
    fn long_gradients_are_clipped_and_short_ones_stay() {
        let settings = |clip| Settings {
            batch: 12,
            clip,
            ..Settings::default()
        };
        let (_, free) = gradient(&settings(None));
        assert_eq!(gradient(&settings(Some(1e3))).1, free);
        let (_, clipped) = gradient(&settings(Some(0.01)));
        assert!((clipped.norm() - 0.01).abs() < 1e-6);
        let mut expected = free.clone();
        expected.scale((0.01 / (free.norm() + 1e-6)) as f32);
        assert_eq!(clipped, expected);
    }

    /// The gradient that is never held whole moves the weights as the one that is.
    #[test]
    fn a_step_is_its_gradient_and_the_optimizer() {
        for precision in [Precision::F32, Precision::Bf16] {
            let settings = Settings {
                batch: 12,
                learning_rate: 0.1,
                precision,
                ..Settings::default()
            };
            let config = config();
            let mut stepper = Stepper::new(&settings, &config);
            let (mut at_once, mut moments) = (parameters(), Adam::new(&config));
            let loss = stepper.step(&mut at_once, &mut moments, &mut fill);
            let (mut apart, mut adam) = (parameters(), Adam::new(&config));
            let (same_loss, gradient) = stepper.gradient(&apart, &mut fill);
            let gradient = gradient.clone();
            let update = adam.next(&settings);
            adam.apply(update, &mut apart, &gradient);
            assert_eq!((loss, at_once, moments), (same_loss, apart, adam));
        }
    }

    /// Rounding changes numbers, by about the precision of bfloat16.
    #[test]
    fn bf16_is_near_f32() {
        let settings = |precision| Settings {
            batch: 12,
            precision,
            ..Settings::default()
        };
        let (_, exact) = gradient(&settings(Precision::F32));
        let (_, rounded) = gradient(&settings(Precision::Bf16));
        let off = difference(&exact, &rounded);
        assert!(off > 1e-5 && off < 0.02, "{off}");
    }
}
