//! What an encoder looks like: the widths of its layers and what stands between them.

use laioncele_nn::kernels::gelu;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The largest width that is believed; real ones are 2048, a few thousand, and 8 × 2048.
const LIMIT: usize = 1 << 20;

/// What stands between two layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x Φ(x), with the error function.
    #[default]
    Gelu,
    /// max(x, 0).
    Relu,
    /// x: the three layers are one linear map, which a few dozen people can teach.
    None,
}

impl Activation {
    /// The activation of one number.
    pub fn apply(self, x: f32) -> f32 {
        match self {
            Self::Gelu => gelu(x),
            Self::Relu => x.max(0.0),
            Self::None => x,
        }
    }
}

/// `encoder.json`: three fully connected layers, input → hidden₀ → hidden₁ → tokens × channels,
/// activated after the first two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderConfig {
    /// Features of a photo: both CLIP image encoders' widths together (2048 in SDXL's pairing).
    pub input: usize,
    /// Widths between the layers.
    pub hidden: [usize; 2],
    /// Tokens of a name embedding (8).
    pub output_tokens: usize,
    /// Channels of a name embedding (2048 for SDXL).
    pub output_channels: usize,
    /// What stands between the layers.
    pub activation: Activation,
}

impl EncoderConfig {
    /// Numbers that the encoder predicts: tokens × channels.
    pub fn output(&self) -> usize {
        self.output_tokens.saturating_mul(self.output_channels)
    }

    /// (inputs, outputs) of the three layers.
    pub fn layers(&self) -> [(usize, usize); 3] {
        let [first, second] = self.hidden;
        [
            (self.input, first),
            (first, second),
            (second, self.output()),
        ]
    }

    /// Refuses widths of zero and absurd ones.
    ///
    /// # Errors
    /// [`Error::Range`].
    pub fn check(&self) -> Result<()> {
        let widths = [
            ("input", self.input),
            ("hidden[0]", self.hidden[0]),
            ("hidden[1]", self.hidden[1]),
            ("output_tokens", self.output_tokens),
            ("output_channels", self.output_channels),
            ("output_tokens x output_channels", self.output()),
        ];
        match widths
            .into_iter()
            .find(|(_, value)| !(1..=LIMIT).contains(value))
        {
            Some((key, value)) => Err(Error::Range {
                key,
                value,
                limit: LIMIT,
            }),
            None => Ok(()),
        }
    }
}
