//! Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019) in PyTorch's arithmetic: β₁ = 0.9,
//! β₂ = 0.999, ε = 1e-8. Numbers are float32, scalars float64, each rounded once where it meets
//! them.

use laioncele_encoder::EncoderConfig;
use rayon::prelude::*;

use crate::choices::Optimizer;
use crate::schedule::learning_rate;
use crate::settings::Settings;
use crate::tensors::Tensors;

const BETA: [f64; 2] = [0.9, 0.999];
const EPSILON: f32 = 1e-8;
/// Numbers that one job updates.
const BLOCK: usize = 8192;

/// The optimizer's memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Adam {
    /// Steps taken.
    pub steps: u64,
    /// Running mean of the gradients.
    pub mean: Tensors,
    /// Running mean of their squares.
    pub square: Tensors,
}

impl Adam {
    /// Before the first step.
    pub fn new(config: &EncoderConfig) -> Self {
        Self {
            steps: 0,
            mean: Tensors::zeros(config),
            square: Tensors::zeros(config),
        }
    }

    /// Counts a step, and says what it does to each number.
    pub(crate) fn next(&mut self, settings: &Settings) -> Update {
        let rate = learning_rate(settings, self.steps);
        self.steps += 1;
        let left = |beta: f64| 1.0 - beta.powf(self.steps as f64);
        let decay = match settings.optimizer {
            Optimizer::Adam => 0.0,
            Optimizer::Adamw => settings.weight_decay,
        };
        Update {
            decay: (1.0 - rate * decay) as f32,
            rate: (rate / left(BETA[0])) as f32,
            root: left(BETA[1]).sqrt() as f32,
        }
    }

    /// Applies `update` to all of `parameters`, against `gradient`.
    pub(crate) fn apply(&mut self, update: Update, parameters: &mut Tensors, gradient: &Tensors) {
        let tensors = parameters.0.iter_mut().zip(&gradient.0);
        let moments = self.mean.0.iter_mut().zip(&mut self.square.0);
        for ((values, gradient), (mean, square)) in tensors.zip(moments) {
            let blocks = values.par_chunks_mut(BLOCK).zip(gradient.par_chunks(BLOCK));
            let moments = mean.par_chunks_mut(BLOCK).zip(square.par_chunks_mut(BLOCK));
            blocks
                .zip(moments)
                .for_each(|((values, gradient), (mean, square))| {
                    update.apply(values, gradient, mean, square);
                });
        }
    }
}

/// One step's scalars.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Update {
    /// What each weight is multiplied by: 1 − lr · λ.
    decay: f32,
    /// lr / (1 − β₁ᵗ)
    rate: f32,
    /// √(1 − β₂ᵗ)
    root: f32,
}

impl Update {
    /// Moves `values` and both moments; all of one length.
    pub(crate) fn apply(
        self,
        values: &mut [f32],
        gradient: &[f32],
        mean: &mut [f32],
        square: &mut [f32],
    ) {
        const FIRST: f32 = (1.0 - BETA[0]) as f32;
        const SECOND: f32 = (1.0 - BETA[1]) as f32;
        const KEPT: f32 = BETA[1] as f32;
        for (((x, g), m), v) in values.iter_mut().zip(gradient).zip(mean).zip(square) {
            *m += FIRST * (g - *m);
            *v = KEPT * *v + SECOND * g * g;
            *x = *x * self.decay - self.rate * (*m / (v.sqrt() / self.root + EPSILON));
        }
    }
}

#[cfg(test)]
mod tests {
    use laioncele_encoder::Activation;

    use super::*;

    fn config() -> EncoderConfig {
        EncoderConfig {
            input: 1,
            hidden: [1, 1],
            output_tokens: 1,
            output_channels: 1,
            activation: Activation::Relu,
        }
    }

    fn stepped(settings: &Settings, gradients: [f64; 3]) -> f32 {
        let mut parameters = Tensors(std::array::from_fn(|_| vec![1.0]));
        let mut adam = Adam::new(&config());
        for g in gradients {
            let gradient = Tensors(std::array::from_fn(|_| vec![g as f32]));
            let update = adam.next(settings);
            adam.apply(update, &mut parameters, &gradient);
        }
        assert_eq!(adam.steps, 3);
        let first = parameters.0[0][0];
        assert!(parameters.0.iter().all(|tensor| tensor == &[first]));
        first
    }

    /// Three steps by the published algorithm, in float64.
    fn by_the_paper(gradients: [f64; 3], rate: f64, decay: f64) -> f64 {
        let (mut x, mut m, mut v) = (1.0f64, 0.0, 0.0);
        for (t, g) in gradients.into_iter().enumerate() {
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            let t = t as i32 + 1;
            x *= 1.0 - rate * decay;
            x -= rate * (m / (1.0 - 0.9f64.powi(t)))
                / ((v / (1.0 - 0.999f64.powi(t))).sqrt() + 1e-8);
        }
        x
    }

    #[test]
    fn steps_equal_the_papers_formula() {
        let gradients = [0.5, -2.0, 0.25];
        let mut settings = Settings {
            learning_rate: 0.1,
            ..Settings::default()
        };
        let off = |settings: &Settings, decay| {
            (f64::from(stepped(settings, gradients)) - by_the_paper(gradients, 0.1, decay)).abs()
        };
        assert!(off(&settings, 0.0) < 2e-7);
        (settings.optimizer, settings.weight_decay) = (Optimizer::Adamw, 0.3);
        assert!(off(&settings, 0.3) < 2e-7);
        assert!(off(&settings, 0.0) > 1e-2);
    }
}
