//! What cross-attentions look at besides the text: keys and values that were made of photos
//! (IP-Adapter, arXiv 2308.06721).

use candle_core::{DType, Tensor};
use laioncele_nn::ops;

use crate::error::{Error, Result};

/// Keys and values for one attention, each [rows, tokens, channels].
#[derive(Debug, Clone)]
pub(super) struct KeyValue {
    pub(super) key: Tensor,
    pub(super) value: Tensor,
}

impl KeyValue {
    /// Row `rows[i]` as row i.
    pub(super) fn select(&self, rows: &Tensor) -> Result<Self> {
        Ok(Self {
            key: self.key.index_select(rows, 0)?,
            value: self.value.index_select(rows, 0)?,
        })
    }
}

/// A cross-attention of a U-Net, as what attends beside the text must fit it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrossAttention {
    /// `down_blocks.1.attentions.0.transformer_blocks.0.attn2`, …: its name in the weight files.
    pub name: String,
    /// Width of its keys and values.
    pub channels: usize,
}

/// Key and value of one cross-attention, each [tokens, channels].
pub type ImageKeyValue = (Tensor, Tensor);

/// What one cross-attention sees of photos.
#[derive(Debug, Clone)]
pub struct ImageLayer {
    /// Of no photo: for the rows of the negative prompt.
    pub null: ImageKeyValue,
    /// Of the person's photos: for the prompt's rows.
    pub person: ImageKeyValue,
}

/// Image tokens as a U-Net's cross-attentions take them: computed once per person, whatever the
/// prompts and steps. The attention's output is A(q, text) + scale · A(q, image), two softmaxes of
/// the same heads and scale, before its one output projection.
#[derive(Debug, Clone)]
pub struct ImageAttention {
    layers: Vec<Layer>,
    scale: f64,
}

#[derive(Debug, Clone)]
pub(super) struct Layer {
    null: KeyValue,
    person: KeyValue,
}

impl ImageAttention {
    /// One layer for each cross-attention, in the order of [`super::UNet::cross_attentions`], of
    /// the U-Net's type and on its device. With a scale of 0 photos change nothing.
    ///
    /// # Errors
    /// [`Error::Setting`] of a scale that is not finite, tensors that are no matrices.
    pub fn new(layers: Vec<ImageLayer>, scale: f64) -> Result<Self> {
        if !scale.is_finite() {
            return Err(Error::setting("scale", scale, "a finite number"));
        }
        let rows = |(key, value): &ImageKeyValue| {
            Ok::<_, Error>(KeyValue {
                key: key.unsqueeze(0)?,
                value: value.unsqueeze(0)?,
            })
        };
        let layer = |layer: &ImageLayer| {
            Ok(Layer {
                null: rows(&layer.null)?,
                person: rows(&layer.person)?,
            })
        };
        Ok(Self {
            layers: layers.iter().map(layer).collect::<Result<_>>()?,
            scale,
        })
    }

    /// How much the photos count beside the text.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Checks that there is a layer for each of `attentions`, as wide as it and of `dtype`.
    pub(super) fn check(&self, attentions: &[CrossAttention], dtype: DType) -> Result<()> {
        Error::check_size(
            "the list of image keys",
            self.layers.len(),
            attentions.len(),
        )?;
        for (layer, attention) in self.layers.iter().zip(attentions) {
            for KeyValue { key, value } in [&layer.null, &layer.person] {
                for tensor in [key, value] {
                    let (_, _, channels) = tensor.dims3()?;
                    Error::check_size("a row of image keys", channels, attention.channels)?;
                    if tensor.dtype() != dtype {
                        let text = format!("image keys of {:?}, not {dtype:?}", tensor.dtype());
                        return Err(candle_core::Error::Msg(text).into());
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn rows(&self, null_rows: usize) -> ImageRows<'_> {
        ImageRows {
            layers: &self.layers,
            null_rows,
            scale: self.scale,
        }
    }
}

/// The layers that are still to come in a forward pass, and which rows see no photo.
#[derive(Debug, Clone, Copy)]
pub(super) struct ImageRows<'a> {
    layers: &'a [Layer],
    /// The first rows are the negative prompt's.
    null_rows: usize,
    scale: f64,
}

impl<'a> ImageRows<'a> {
    /// The next `count` layers, which are used up.
    pub(super) fn take(&mut self, count: usize) -> Self {
        let (taken, rest) = self.layers.split_at(count.min(self.layers.len()));
        self.layers = rest;
        Self {
            layers: taken,
            ..*self
        }
    }

    /// Layer `i` of them.
    pub(super) fn layer(&self, i: usize) -> Option<ImageKeys<'a>> {
        Some(ImageKeys {
            layer: self.layers.get(i)?,
            null_rows: self.null_rows,
            scale: self.scale,
        })
    }
}

/// What one cross-attention sees of photos in a pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct ImageKeys<'a> {
    layer: &'a Layer,
    null_rows: usize,
    scale: f64,
}

impl ImageKeys<'_> {
    /// scale · A(q, image): queries [rows, tokens, channels] → the same.
    pub(super) fn attend(&self, q: &Tensor, heads: usize) -> Result<Tensor> {
        let (rows, tokens, channels) = q.dims3()?;
        let null_rows = self.null_rows.min(rows);
        // Rows that see the same keys are one long row of queries.
        let part = |first: usize, count: usize, seen: &KeyValue| {
            let q = q.narrow(0, first, count)?.contiguous()?;
            let q = q.reshape((1, count * tokens, channels))?;
            let attended = ops::attention(&q, &seen.key, &seen.value, heads, false)?;
            attended.reshape((count, tokens, channels))
        };
        let attended = match (null_rows, rows - null_rows) {
            (0, _) => part(0, rows, &self.layer.person)?,
            (_, 0) => part(0, rows, &self.layer.null)?,
            (null, person) => Tensor::cat(
                &[
                    part(0, null, &self.layer.null)?,
                    part(null, person, &self.layer.person)?,
                ],
                0,
            )?,
        };
        Ok((attended * self.scale)?)
    }
}
