//! The maps of image tokens to keys and values, one pair for each cross-attention.

use candle_core::Tensor;
use laioncele_nn::Weights;
use laioncele_nn::layers::Linear;
use laioncele_sdxl::{CrossAttention, ImageKeyValue, ImageLayer};

use crate::error::Result;

/// In the order of the U-Net's forward pass.
#[derive(Debug)]
pub(super) struct Layers(Vec<(Linear, Linear)>);

impl Layers {
    pub(super) fn load(w: &Weights, attentions: &[CrossAttention], context: usize) -> Result<Self> {
        let numbers = numbers(attentions);
        let load = |(attention, number): (&CrossAttention, usize)| {
            let w = w.pp(number);
            let map = |name| Linear::load_without_bias(&w.pp(name), context, attention.channels);
            Ok((map("to_k_ip")?, map("to_v_ip")?))
        };
        let layers = attentions.iter().zip(numbers).map(load);
        Ok(Self(layers.collect::<Result<_>>()?))
    }

    /// Keys and values of tokens [1, tokens, context], for each cross-attention.
    pub(super) fn key_values(&self, null: &Tensor, person: &Tensor) -> Result<Vec<ImageLayer>> {
        let one = |(key, value): &(Linear, Linear), tokens: &Tensor| -> Result<ImageKeyValue> {
            let (key, value) = (key.forward(tokens)?, value.forward(tokens)?);
            Ok((key.squeeze(0)?, value.squeeze(0)?))
        };
        let layer = |maps| {
            Ok(ImageLayer {
                null: one(maps, null)?,
                person: one(maps, person)?,
            })
        };
        self.0.iter().map(layer).collect()
    }
}

/// The number that the files give each cross-attention: they count all attentions, a
/// self-attention before each, in the order down, up, middle.
fn numbers(attentions: &[CrossAttention]) -> Vec<usize> {
    let rank = |attention: &CrossAttention| match attention.name.as_str() {
        name if name.starts_with("down_") => 0,
        name if name.starts_with("up_") => 1,
        _ => 2,
    };
    let mut order: Vec<usize> = (0..attentions.len()).collect();
    // Stable: within the blocks as they are.
    order.sort_by_key(|at| rank(&attentions[*at]));
    let mut numbers = vec![0; attentions.len()];
    for (place, at) in order.into_iter().enumerate() {
        numbers[at] = 2 * place + 1;
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_numbered_after_the_up_blocks() {
        let names = [
            "down_blocks.1.a",
            "down_blocks.2.a",
            "mid_block.a",
            "up_blocks.0.a",
        ];
        let attentions = names.map(|name| CrossAttention {
            name: name.to_owned(),
            channels: 8,
        });
        assert_eq!(numbers(&attentions), [1, 3, 7, 5]);
    }
}
