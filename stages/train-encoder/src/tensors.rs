//! The numbers of a network in training, and of a batch.

use laioncele_encoder::EncoderConfig;
use rayon::prelude::*;

/// Numbers that one job works on; fixed, so that sums do not depend on the number of threads.
const BLOCK: usize = 1 << 16;

/// Weight and bias of each layer: W₀ `[out × in]`, b₀ `[out]`, W₁, b₁, W₂, b₂. Parameters, gradients
/// and moments alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensors(pub [Vec<f32>; 6]);

impl Tensors {
    /// Zeros in the shape of `config`.
    pub fn zeros(config: &EncoderConfig) -> Self {
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

    /// Adds `other`, number by number.
    pub(crate) fn add(&mut self, other: &Self) {
        for (into, from) in self.0.iter_mut().zip(&other.0) {
            let blocks = into.par_chunks_mut(BLOCK).zip(from.par_chunks(BLOCK));
            blocks.for_each(|(into, from)| into.iter_mut().zip(from).for_each(|(x, y)| *x += y));
        }
    }

    /// Multiplies all numbers.
    pub(crate) fn scale(&mut self, by: f32) {
        for tensor in &mut self.0 {
            let blocks = tensor.par_chunks_mut(BLOCK);
            blocks.for_each(|block| block.iter_mut().for_each(|x| *x *= by));
        }
    }

    /// The length of all numbers as one vector.
    pub(crate) fn norm(&self) -> f64 {
        let square = |x: &f32| f64::from(*x).powi(2);
        let of_tensor = |tensor: &Vec<f32>| {
            let blocks = tensor.par_chunks(BLOCK);
            let sums: Vec<f64> = blocks.map(|b| b.iter().map(square).sum()).collect();
            sums.iter().sum::<f64>()
        };
        self.0.iter().map(of_tensor).sum::<f64>().sqrt()
    }

    /// Copies `other` as bfloat16 has it.
    pub(crate) fn round_from(&mut self, other: &Self) {
        for (into, from) in self.0.iter_mut().zip(&other.0) {
            let blocks = into.par_chunks_mut(BLOCK).zip(from.par_chunks(BLOCK));
            blocks.for_each(|(into, from)| {
                into.iter_mut().zip(from).for_each(|(x, y)| *x = bf16(*y));
            });
        }
    }
}

/// A batch's inputs and targets, [features × batch] and [outputs × batch].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Number of examples.
    pub size: usize,
    /// Standardized features, [width × size].
    pub inputs: Vec<f32>,
    /// Name embeddings, [outputs × size].
    pub targets: Vec<f32>,
}

/// The nearest bfloat16, ties to even.
pub(crate) fn bf16(x: f32) -> f32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) & 0xffff_0000;
    if x.is_nan() {
        x
    } else {
        f32::from_bits(rounded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn bf16_rounds_as_half_does(bits: u32) {
            let (x, expected) = (f32::from_bits(bits), half::bf16::from_f32(f32::from_bits(bits)));
            let same = bf16(x).to_bits() == expected.to_f32().to_bits();
            proptest::prop_assert!(same || x.is_nan() && bf16(x).is_nan());
        }
    }

    #[test]
    fn norm_is_over_all_tensors() {
        let tensors = Tensors(std::array::from_fn(|k| vec![k as f32, 1.0]));
        assert!((tensors.norm() - (55.0f64 + 6.0).sqrt()).abs() < 1e-12);
    }
}
