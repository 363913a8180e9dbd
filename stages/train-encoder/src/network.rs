//! The three layers with their gradients. Activations lie feature by feature, [features × batch],
//! so that every product is cut into rows of its result: each row is summed in one order, whatever
//! the number of threads.

use laioncele_encoder::{Activation, EncoderConfig};
use laioncele_nn::kernels::{Matrix, MatrixMut, erf, matmul};
use rayon::prelude::*;

/// Rows of a result that one job computes; fixed, so that results do not depend on the number of
/// threads.
const PANEL: usize = 128;

/// Weight and bias of each layer: W₀ `[out × in]`, b₀ `[out]`, W₁, b₁, W₂, b₂. Parameters, gradients
/// and moments alike.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tensors(pub [Vec<f32>; 6]);

impl Tensors {
    /// Zeros in the shape of `config`.
    pub(crate) fn zeros(config: &EncoderConfig) -> Self {
        let layers = config.layers();
        Self(std::array::from_fn(|k| {
            let (inputs, outputs) = layers[k / 2];
            vec![
                0.0;
                if k % 2 == 0 {
                    inputs * outputs
                } else {
                    outputs
                }
            ]
        }))
    }

    /// Weight and bias of `layer`.
    pub(crate) fn layer(&self, layer: usize) -> (&[f32], &[f32]) {
        (&self.0[2 * layer], &self.0[2 * layer + 1])
    }
}

/// A batch's inputs and targets, [features × batch] and [outputs × batch].
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Batch {
    /// Number of examples.
    pub size: usize,
    /// Standardized features, [width × size].
    pub inputs: Vec<f32>,
    /// Name embeddings, [outputs × size].
    pub targets: Vec<f32>,
}

/// Room for one batch's activations and gradients, kept from step to step.
pub(crate) struct Workspace {
    config: EncoderConfig,
    /// Before the activation, layer by layer; the last one's become ∂loss/∂output.
    sums: [Vec<f32>; 3],
    /// After the activation.
    active: [Vec<f32>; 2],
    /// ∂loss/∂sums of the hidden layers.
    back: [Vec<f32>; 2],
}

impl Workspace {
    /// Room for batches of `size`.
    pub(crate) fn new(config: &EncoderConfig, size: usize) -> Self {
        let [first, second] = config.hidden.map(|width| vec![0.0; width * size]);
        Self {
            config: config.clone(),
            sums: [
                first.clone(),
                second.clone(),
                vec![0.0; config.output() * size],
            ],
            active: [first.clone(), second.clone()],
            back: [first, second],
        }
    }

    /// The mean squared error of a batch (Eq. 3, as a mean over all numbers).
    pub(crate) fn loss(&mut self, parameters: &Tensors, batch: &Batch) -> f64 {
        self.forward(parameters, batch);
        let parts = self.sums[2]
            .par_chunks(4096)
            .zip(batch.targets.par_chunks(4096));
        let squares: Vec<f64> = parts
            .map(|(y, t)| y.iter().zip(t).map(|(y, t)| f64::from(y - t).powi(2)).sum())
            .collect();
        squares.iter().sum::<f64>() / self.sums[2].len().max(1) as f64
    }

    /// The mean squared error of a batch and its gradient by every parameter.
    pub(crate) fn gradient(
        &mut self,
        parameters: &Tensors,
        batch: &Batch,
        gradient: &mut Tensors,
    ) -> f64 {
        let loss = self.loss(parameters, batch);
        let scale = 2.0 / self.sums[2].len().max(1) as f32;
        let pairs = self.sums[2].par_iter_mut().zip(&batch.targets);
        pairs.for_each(|(y, t)| *y = (*y - t) * scale);
        let size = batch.size;
        for layer in (0..3).rev() {
            let (inputs, outputs) = self.config.layers()[layer];
            let (left, right) = gradient.0.split_at_mut(2 * layer + 1);
            let (by_weight, by_bias) = (&mut left[2 * layer], &mut right[0]);
            let errors = if layer == 2 {
                &self.sums[2]
            } else {
                &self.back[layer]
            };
            let below = if layer == 0 {
                &batch.inputs
            } else {
                &self.active[layer - 1]
            };
            let errors = Matrix::new(errors, outputs, size);
            product(
                by_weight,
                inputs,
                errors,
                Matrix::new(below, inputs, size).transposed(),
            );
            for (bias, row) in by_bias.iter_mut().zip(errors.data.chunks_exact(size)) {
                *bias = row.iter().sum();
            }
            if layer > 0 {
                let (weight, _) = parameters.layer(layer);
                self.propagate(layer, Matrix::new(weight, outputs, inputs), size);
            }
        }
        loss
    }

    /// ∂loss/∂sums of the layer below `layer`.
    fn propagate(&mut self, layer: usize, weight: Matrix<'_>, size: usize) {
        let activation = self.config.activation;
        let (lower, upper) = self.back.split_at_mut(1);
        let (errors, into) = if layer == 2 {
            (&self.sums[2], &mut upper[0])
        } else {
            (&upper[0], &mut lower[0])
        };
        let errors = Matrix::new(errors, weight.rows, size);
        product(into, size, weight.transposed(), errors);
        let pairs = into.par_iter_mut().zip(&self.sums[layer - 1]);
        pairs.for_each(|(error, sum)| *error *= slope(activation, *sum));
    }

    fn forward(&mut self, parameters: &Tensors, batch: &Batch) {
        let (size, activation) = (batch.size, self.config.activation);
        for (layer, (inputs, outputs)) in self.config.layers().into_iter().enumerate() {
            let (weight, bias) = parameters.layer(layer);
            let below = if layer == 0 {
                &batch.inputs
            } else {
                &self.active[layer - 1]
            };
            let below = Matrix::new(below, inputs, size);
            let sums = &mut self.sums[layer];
            product(sums, size, Matrix::new(weight, outputs, inputs), below);
            let rows = sums.par_chunks_exact_mut(size).zip(bias);
            rows.for_each(|(row, bias)| row.iter_mut().for_each(|sum| *sum += bias));
            if layer < 2 {
                let pairs = self.active[layer].par_iter_mut().zip(&self.sums[layer]);
                pairs.for_each(|(active, sum)| *active = activation.apply(*sum));
            }
        }
    }
}

/// result [rows × cols] = lhs · rhs, in panels of rows.
fn product(result: &mut [f32], cols: usize, lhs: Matrix<'_>, rhs: Matrix<'_>) {
    result
        .par_chunks_mut(PANEL * cols)
        .enumerate()
        .for_each(|(panel, result)| {
            let rows = result.len() / cols;
            let start = panel * PANEL * lhs.row_stride;
            let lhs = Matrix {
                data: &lhs.data[start..],
                rows,
                ..lhs
            };
            matmul(MatrixMut::new(result, rows, cols), lhs, rhs, 1.0, false);
        });
}

/// The activation's derivative.
fn slope(activation: Activation, x: f32) -> f32 {
    match activation {
        Activation::Gelu => {
            let below = 0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2));
            let density = (-0.5 * x * x).exp()
                * (0.5 * std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2);
            below + x * density
        }
        Activation::Relu => f32::from(u8::from(x > 0.0)),
        Activation::None => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, by: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * by + 0.3).sin()).collect()
    }

    fn setup(activation: Activation, size: usize) -> (EncoderConfig, Tensors, Batch) {
        let config = EncoderConfig {
            input: 5,
            hidden: [7, 6],
            output_tokens: 2,
            output_channels: 3,
            activation,
        };
        let mut parameters = Tensors::zeros(&config);
        for (k, tensor) in parameters.0.iter_mut().enumerate() {
            *tensor = numbers(tensor.len(), 0.7 + k as f32 * 0.13);
        }
        let batch = Batch {
            size,
            inputs: numbers(5 * size, 1.3),
            targets: numbers(6 * size, 0.9),
        };
        (config, parameters, batch)
    }

    /// The analytic gradient is the difference quotient, parameter by parameter.
    #[test]
    fn gradients_equal_finite_differences() {
        for activation in [Activation::Gelu, Activation::Relu, Activation::None] {
            let (config, parameters, batch) = setup(activation, 4);
            let mut work = Workspace::new(&config, 4);
            let mut gradient = Tensors::zeros(&config);
            work.gradient(&parameters, &batch, &mut gradient);
            for tensor in 0..6 {
                for at in 0..parameters.0[tensor].len() {
                    let mut loss_at = |by: f32| {
                        let mut moved = parameters.clone();
                        moved.0[tensor][at] += by;
                        work.loss(&moved, &batch)
                    };
                    let slope = (loss_at(1e-2) - loss_at(-1e-2)) / 2e-2;
                    let found = f64::from(gradient.0[tensor][at]);
                    assert!(
                        (slope - found).abs() < 2e-3 + 0.02 * slope.abs(),
                        "{activation:?} {tensor} {at}: {slope} {found}"
                    );
                }
            }
        }
    }

    /// The same network as the one that is shipped.
    #[test]
    fn forward_pass_equals_the_encoder() {
        let (config, parameters, batch) = setup(Activation::Gelu, 3);
        let layer = |k: usize| laioncele_encoder::Layer {
            weight: parameters.0[2 * k].clone(),
            bias: parameters.0[2 * k + 1].clone(),
        };
        let encoder = laioncele_encoder::Encoder {
            config: config.clone(),
            input_mean: vec![0.0; 5],
            input_std: vec![1.0; 5],
            layers: [layer(0), layer(1), layer(2)],
        };
        let mut work = Workspace::new(&config, 3);
        work.forward(&parameters, &batch);
        for example in 0..3 {
            let features: Vec<f32> = (0..5).map(|f| batch.inputs[f * 3 + example]).collect();
            let expected = encoder.predict(&features).expect("five features");
            for (output, expected) in expected.iter().enumerate() {
                assert!((work.sums[2][output * 3 + example] - expected).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn gradients_are_independent_of_threads() {
        let config = EncoderConfig {
            input: 300,
            hidden: [700, 260],
            output_tokens: 8,
            output_channels: 70,
            activation: Activation::Gelu,
        };
        let mut parameters = Tensors::zeros(&config);
        for (k, tensor) in parameters.0.iter_mut().enumerate() {
            *tensor = numbers(tensor.len(), 0.7 + k as f32 * 0.13);
        }
        let batch = Batch {
            size: 50,
            inputs: numbers(300 * 50, 1.3),
            targets: numbers(560 * 50, 0.9),
        };
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .expect("a pool");
            let mut gradient = Tensors::zeros(&config);
            let loss = pool.install(|| {
                Workspace::new(&config, 50).gradient(&parameters, &batch, &mut gradient)
            });
            (loss.to_bits(), gradient)
        };
        let one = on(1);
        assert!(one == on(2) && one == on(5));
    }
}
