//! The three layers with their gradients. Activations lie feature by feature, [features × batch],
//! so that every product is cut into rows of its result: each row is summed in one order, whatever
//! the number of threads.

use laioncele_encoder::{Activation, EncoderConfig};
use laioncele_nn::kernels::{Matrix, MatrixMut, erf, matmul};
use rayon::prelude::*;

use crate::choices::{Precision, Reduction};
use crate::optimizer::{Adam, Update};
use crate::tensors::{Batch, Tensors, bf16};

/// Rows of a result that one job computes; fixed, so that results do not depend on the number of
/// threads.
const PANEL: usize = 128;

/// Room for one slice's activations and gradients, kept from step to step.
pub(crate) struct Workspace {
    config: EncoderConfig,
    precision: Precision,
    reduction: Reduction,
    /// Before the activation, of the hidden layers.
    sums: [Vec<f32>; 2],
    /// After the activation.
    active: [Vec<f32>; 2],
    /// ∂loss/∂sums; the last are the outputs until the loss is known.
    errors: [Vec<f32>; 3],
}

impl Workspace {
    /// Room for batches of `size`.
    pub(crate) fn new(
        config: &EncoderConfig,
        size: usize,
        precision: Precision,
        reduction: Reduction,
    ) -> Self {
        let [first, second] = config.hidden.map(|width| vec![0.0; width * size]);
        let output = vec![0.0; config.output() * size];
        Self {
            config: config.clone(),
            precision,
            reduction,
            sums: [first.clone(), second.clone()],
            active: [first.clone(), second.clone()],
            errors: [first, second, output],
        }
    }

    /// The squared error of a batch (Eq. 3), a mean over examples and, by [`Reduction::Mean`],
    /// numbers. With [`Precision::Bf16`], `weights` and the batch's inputs are rounded already.
    pub(crate) fn loss(&mut self, weights: &Tensors, batch: &Batch) -> f64 {
        self.forward(weights, batch);
        let outputs = self.errors[2].par_chunks(4096);
        let parts = outputs.zip(batch.targets.par_chunks(4096));
        let squares: Vec<f64> = parts
            .map(|(y, t)| y.iter().zip(t).map(|(y, t)| f64::from(y - t).powi(2)).sum())
            .collect();
        squares.iter().sum::<f64>() / self.divisor(batch)
    }

    fn divisor(&self, batch: &Batch) -> f64 {
        let numbers = match self.reduction {
            Reduction::Mean => batch.size * self.config.output(),
            Reduction::Sum => batch.size,
        };
        numbers.max(1) as f64
    }

    /// The error of a slice, and `share` of its gradient by every parameter.
    pub(crate) fn gradient(
        &mut self,
        weights: &Tensors,
        batch: &Batch,
        share: f64,
        gradient: &mut Tensors,
    ) -> f64 {
        let loss = self.loss(weights, batch);
        self.begin_back(batch, share);
        for layer in (0..3).rev() {
            if layer > 0 {
                self.propagate(layer, weights.layer(layer).0, batch.size);
            }
            let (inputs, _) = self.config.layers()[layer];
            let panels = gradient.0[2 * layer].par_chunks_mut(PANEL * inputs);
            let panels = panels.enumerate();
            panels.for_each(|(panel, rows)| self.weight_gradient(layer, batch, panel, rows));
            self.bias_gradient(layer, batch.size, &mut gradient.0[2 * layer + 1]);
        }
        loss
    }

    /// The error of a batch, whose gradient moves `parameters` at once: it is never held whole.
    /// `rounded` are the parameters that products see, where they are others.
    pub(crate) fn gradient_step(
        &mut self,
        parameters: &mut Tensors,
        rounded: Option<&Tensors>,
        batch: &Batch,
        (adam, update): (&mut Adam, Update),
    ) -> f64 {
        let loss = self.loss(rounded.unwrap_or(parameters), batch);
        self.begin_back(batch, 1.0);
        for layer in (0..3).rev() {
            if layer > 0 {
                let (weight, _) = rounded.unwrap_or(parameters).layer(layer);
                self.propagate(layer, weight, batch.size);
            }
            let (inputs, outputs) = self.config.layers()[layer];
            let length = PANEL * inputs;
            let values = parameters.0[2 * layer].par_chunks_mut(length);
            let mean = adam.mean.0[2 * layer].par_chunks_mut(length);
            let square = adam.square.0[2 * layer].par_chunks_mut(length);
            let panels = values.zip(mean.zip(square)).enumerate();
            panels.for_each_init(
                || vec![0.0; length.min(inputs * outputs)],
                |room, (panel, (values, (mean, square)))| {
                    let gradient = &mut room[..values.len()];
                    self.weight_gradient(layer, batch, panel, gradient);
                    update.apply(values, gradient, mean, square);
                },
            );
            let mut gradient = vec![0.0; outputs];
            self.bias_gradient(layer, batch.size, &mut gradient);
            let k = 2 * layer + 1;
            let moments = (&mut adam.mean.0[k], &mut adam.square.0[k]);
            update.apply(&mut parameters.0[k], &gradient, moments.0, moments.1);
        }
        loss
    }

    /// Turns outputs into `share` of ∂loss/∂outputs.
    fn begin_back(&mut self, batch: &Batch, share: f64) {
        let scale = (2.0 * share / self.divisor(batch)) as f32;
        let precision = self.precision;
        let pairs = self.errors[2].par_iter_mut().zip(&batch.targets);
        pairs.for_each(|(y, t)| *y = low(precision, (*y - t) * scale));
    }

    /// ∂loss/∂sums of the layer below `layer`.
    fn propagate(&mut self, layer: usize, weight: &[f32], size: usize) {
        let (activation, precision) = (self.config.activation, self.precision);
        let (inputs, outputs) = self.config.layers()[layer];
        let (lower, upper) = self.errors.split_at_mut(layer);
        let into = &mut lower[layer - 1];
        let weight = Matrix::new(weight, outputs, inputs).transposed();
        product(into, size, weight, Matrix::new(&upper[0], outputs, size));
        let pairs = into.par_iter_mut().zip(&self.sums[layer - 1]);
        pairs.for_each(|(error, sum)| {
            *error = low(precision, low(precision, *error) * slope(activation, *sum));
        });
    }

    /// Rows of ∂loss/∂W of `layer`: those of a panel.
    fn weight_gradient(&self, layer: usize, batch: &Batch, panel: usize, rows: &mut [f32]) {
        let (inputs, outputs) = self.config.layers()[layer];
        let below = match layer {
            0 => &batch.inputs,
            _ => &self.active[layer - 1],
        };
        let below = Matrix::new(below, inputs, batch.size).transposed();
        let errors = Matrix::new(&self.errors[layer], outputs, batch.size);
        product_panel(rows, inputs, panel, errors, below);
        if self.precision == Precision::Bf16 {
            rows.iter_mut().for_each(|value| *value = bf16(*value));
        }
    }

    fn bias_gradient(&self, layer: usize, size: usize, into: &mut [f32]) {
        let rows = self.errors[layer].chunks_exact(size);
        for (bias, row) in into.iter_mut().zip(rows) {
            *bias = low(self.precision, row.iter().sum());
        }
    }

    fn forward(&mut self, weights: &Tensors, batch: &Batch) {
        let (size, activation, precision) = (batch.size, self.config.activation, self.precision);
        for (layer, (inputs, outputs)) in self.config.layers().into_iter().enumerate() {
            let (weight, bias) = weights.layer(layer);
            let below = match layer {
                0 => &batch.inputs,
                _ => &self.active[layer - 1],
            };
            let below = Matrix::new(below, inputs, size);
            let sums = match layer {
                2 => &mut self.errors[2],
                _ => &mut self.sums[layer],
            };
            product(sums, size, Matrix::new(weight, outputs, inputs), below);
            let rows = sums.par_chunks_exact_mut(size).zip(bias);
            rows.for_each(|(row, bias)| {
                row.iter_mut()
                    .for_each(|sum| *sum = low(precision, *sum + bias));
            });
            if layer < 2 {
                let pairs = self.active[layer].par_iter_mut().zip(&self.sums[layer]);
                pairs.for_each(|(active, sum)| *active = low(precision, activation.apply(*sum)));
            }
        }
    }
}

/// What the network of `parameters` makes of `size` photos' standardized features, [outputs × size],
/// in float32.
pub(crate) fn predictions(
    config: &EncoderConfig,
    parameters: &Tensors,
    inputs: Vec<f32>,
    size: usize,
) -> Vec<f32> {
    let batch = Batch {
        size,
        inputs,
        targets: Vec::new(),
    };
    let mut work = Workspace::new(config, size, Precision::F32, Reduction::Mean);
    work.forward(parameters, &batch);
    let [_, _, outputs] = work.errors;
    outputs
}

fn low(precision: Precision, x: f32) -> f32 {
    match precision {
        Precision::F32 => x,
        Precision::Bf16 => bf16(x),
    }
}

/// result [rows × cols] = lhs · rhs, in panels of rows.
fn product(result: &mut [f32], cols: usize, lhs: Matrix<'_>, rhs: Matrix<'_>) {
    let panels = result.par_chunks_mut(PANEL * cols).enumerate();
    panels.for_each(|(panel, result)| product_panel(result, cols, panel, lhs, rhs));
}

/// One panel of it.
fn product_panel(result: &mut [f32], cols: usize, panel: usize, lhs: Matrix<'_>, rhs: Matrix<'_>) {
    let rows = result.len() / cols;
    let start = panel * PANEL * lhs.row_stride;
    let lhs = Matrix {
        data: &lhs.data[start..],
        rows,
        ..lhs
    };
    matmul(MatrixMut::new(result, rows, cols), lhs, rhs, 1.0, false);
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
mod tests;
