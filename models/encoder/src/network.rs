//! The network itself, and its forward pass.

use crate::config::EncoderConfig;
use crate::error::{Error, Result};

/// Lanes in which a dot product is summed, so that it vectorizes in a fixed order.
const LANES: usize = 16;

/// One fully connected layer: y = W x + b.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// W, [outputs × inputs] row by row.
    pub weight: Vec<f32>,
    /// b, `[outputs]`.
    pub bias: Vec<f32>,
}

/// An encoder: its input is standardized by the training set's mean and deviation, then goes
/// through three layers. The output is a name embedding in the N space as it is (a trainer that
/// scales its targets folds that into the last layer).
#[derive(Clone, Debug, PartialEq)]
pub struct Encoder {
    /// The architecture.
    pub config: EncoderConfig,
    /// Mean of each feature over the training photos, `[input]`.
    pub input_mean: Vec<f32>,
    /// What each feature is divided by after its mean is taken off, `[input]`; positive.
    pub input_std: Vec<f32>,
    /// The three layers.
    pub layers: [Layer; 3],
}

/// A feature as the first layer sees it, (x − mean) / std: the one expression of training and of
/// inference.
#[inline]
pub fn standardized(x: f32, mean: f32, std: f32) -> f32 {
    (x - mean) / std
}

impl Encoder {
    /// The name embedding [tokens × channels, row by row] of a photo's features `[input]`.
    ///
    /// # Errors
    /// [`Error::Width`].
    pub fn predict(&self, features: &[f32]) -> Result<Vec<f32>> {
        if features.len() != self.config.input {
            return Err(Error::Width {
                found: features.len(),
                expected: self.config.input,
            });
        }
        let mut values: Vec<f32> = features
            .iter()
            .zip(self.input_mean.iter().zip(&self.input_std))
            .map(|(x, (mean, std))| standardized(*x, *mean, *std))
            .collect();
        for (index, layer) in self.layers.iter().enumerate() {
            values = layer.forward(&values);
            if index < 2 {
                for x in &mut values {
                    *x = self.config.activation.apply(*x);
                }
            }
        }
        Ok(values)
    }

    /// Checks every size, that all numbers are finite and that the deviations are positive.
    ///
    /// # Errors
    /// [`Error::Range`] or [`Error::Tensor`].
    pub fn check(&self) -> Result<()> {
        self.config.check()?;
        for (name, values, shape) in self.tensors() {
            let expected: usize = shape.iter().product();
            let problem = if values.len() != expected {
                format!("has {} numbers; {expected} were expected", values.len())
            } else if !values.iter().all(|v| v.is_finite()) {
                "holds numbers that are not finite".to_owned()
            } else {
                continue;
            };
            return Err(Error::Tensor {
                tensor: name,
                problem,
            });
        }
        if self.input_std.iter().any(|std| *std <= 0.0) {
            return Err(Error::Tensor {
                tensor: "input_std".to_owned(),
                problem: "holds a deviation that is not positive".to_owned(),
            });
        }
        Ok(())
    }

    /// All tensors with their names in the file and their shapes by the configuration.
    pub(crate) fn tensors(&self) -> Vec<(String, &[f32], Vec<usize>)> {
        let input = vec![self.config.input];
        let mut tensors = vec![
            (
                "input_mean".to_owned(),
                self.input_mean.as_slice(),
                input.clone(),
            ),
            ("input_std".to_owned(), self.input_std.as_slice(), input),
        ];
        for (index, (layer, (inputs, outputs))) in
            self.layers.iter().zip(self.config.layers()).enumerate()
        {
            let name = |part: &str| format!("layers.{index}.{part}");
            tensors.push((name("weight"), &layer.weight, vec![outputs, inputs]));
            tensors.push((name("bias"), &layer.bias, vec![outputs]));
        }
        tensors
    }
}

impl Layer {
    fn forward(&self, x: &[f32]) -> Vec<f32> {
        let rows = self.weight.chunks_exact(x.len());
        rows.zip(&self.bias)
            .map(|(row, bias)| dot(row, x) + bias)
            .collect()
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Activation;

    fn tiny() -> Encoder {
        let layer = |weight: &[f32], bias: &[f32]| Layer {
            weight: weight.to_vec(),
            bias: bias.to_vec(),
        };
        Encoder {
            config: EncoderConfig {
                input: 2,
                hidden: [2, 1],
                output_tokens: 1,
                output_channels: 2,
                activation: Activation::Relu,
            },
            input_mean: vec![1.0, 0.0],
            input_std: vec![2.0, 1.0],
            layers: [
                layer(&[1.0, 2.0, -1.0, 0.5], &[0.5, 0.0]),
                layer(&[2.0, 3.0], &[-1.0]),
                layer(&[1.0, -1.0], &[0.25, 0.0]),
            ],
        }
    }

    #[test]
    fn a_forward_pass_by_hand() {
        // (3, 1) → standardized (1, 1) → (3.5, max(-0.5, 0)) → 2 · 3.5 - 1 = 6 → (6.25, -6)
        assert_eq!(
            tiny().predict(&[3.0, 1.0]).expect("two features"),
            [6.25, -6.0]
        );
    }

    #[test]
    fn wrong_numbers_are_errors() {
        assert!(matches!(
            tiny().predict(&[1.0]),
            Err(Error::Width {
                found: 1,
                expected: 2
            })
        ));
        let mut encoder = tiny();
        encoder.layers[1].bias[0] = f32::NAN;
        assert!(
            matches!(encoder.check(), Err(Error::Tensor { tensor, .. }) if tensor == "layers.1.bias")
        );
        let mut encoder = tiny();
        encoder.input_std[1] = 0.0;
        assert!(encoder.check().is_err());
        let mut encoder = tiny();
        encoder.config.output_tokens = usize::MAX;
        assert!(matches!(encoder.check(), Err(Error::Range { .. })));
    }

    #[test]
    fn a_long_dot_product_sums_everything() {
        let a: Vec<f32> = (0..37).map(|i| i as f32).collect();
        assert_eq!(dot(&a, &a), (0..37).map(|i| (i * i) as f32).sum::<f32>());
    }
}
