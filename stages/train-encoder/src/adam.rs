//! Adam (Kingma and Ba 2015) with PyTorch's defaults: β₁ = 0.9, β₂ = 0.999, ε = 1e-8, no weight
//! decay.

use laioncele_encoder::EncoderConfig;
use rayon::prelude::*;

use crate::network::Tensors;

const BETA: [f32; 2] = [0.9, 0.999];
const EPSILON: f32 = 1e-8;
/// Numbers that one job updates.
const BLOCK: usize = 8192;

/// The optimizer's memory.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Adam {
    /// Steps taken.
    pub steps: u64,
    /// Running mean of the gradients.
    pub mean: Tensors,
    /// Running mean of their squares.
    pub square: Tensors,
}

impl Adam {
    /// Before the first step.
    pub(crate) fn new(config: &EncoderConfig) -> Self {
        Self {
            steps: 0,
            mean: Tensors::zeros(config),
            square: Tensors::zeros(config),
        }
    }

    /// One step against `gradient`.
    pub(crate) fn step(
        &mut self,
        parameters: &mut Tensors,
        gradient: &Tensors,
        learning_rate: f32,
    ) {
        self.steps += 1;
        let power = |beta: f32| f64::from(beta).powf(self.steps as f64);
        let rate = (f64::from(learning_rate) / (1.0 - power(BETA[0]))) as f32;
        let root = ((1.0 - power(BETA[1])).sqrt().recip()) as f32;
        let tensors = parameters.0.iter_mut().zip(&gradient.0);
        let moments = self.mean.0.iter_mut().zip(&mut self.square.0);
        for ((values, gradient), (mean, square)) in tensors.zip(moments) {
            let blocks = values.par_chunks_mut(BLOCK).zip(gradient.par_chunks(BLOCK));
            let moments = mean.par_chunks_mut(BLOCK).zip(square.par_chunks_mut(BLOCK));
            blocks
                .zip(moments)
                .for_each(|((values, gradient), (mean, square))| {
                    for (((x, g), m), v) in values.iter_mut().zip(gradient).zip(mean).zip(square) {
                        *m += (1.0 - BETA[0]) * (g - *m);
                        *v = BETA[1] * *v + (1.0 - BETA[1]) * g * g;
                        *x -= rate * *m / (v.sqrt() * root + EPSILON);
                    }
                });
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

    /// Three steps by the published algorithm, in float64.
    #[test]
    fn steps_equal_the_papers_formula() {
        let mut parameters = Tensors(std::array::from_fn(|_| vec![1.0]));
        let mut adam = Adam::new(&config());
        let (mut x, mut m, mut v) = (1.0f64, 0.0, 0.0);
        for (t, g) in [0.5f64, -2.0, 0.25].into_iter().enumerate() {
            adam.step(
                &mut parameters,
                &Tensors(std::array::from_fn(|_| vec![g as f32])),
                0.1,
            );
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            let t = t as i32 + 1;
            x -=
                0.1 * (m / (1.0 - 0.9f64.powi(t))) / ((v / (1.0 - 0.999f64.powi(t))).sqrt() + 1e-8);
            assert!(
                parameters
                    .0
                    .iter()
                    .all(|p| (f64::from(p[0]) - x).abs() < 1e-5),
                "{parameters:?} {x}"
            );
        }
        assert_eq!(adam.steps, 3);
    }
}
