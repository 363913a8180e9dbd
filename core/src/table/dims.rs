//! Lengths of embeddings in tables.

use serde::{Deserialize, Serialize};

/// Lengths of embeddings, which the models decide: `[embedding_dims]` of the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbeddingDims {
    /// Tokens of a name embedding (8 in the paper).
    pub name_tokens: usize,
    /// Channels of a name embedding: both text encoders' hidden sizes together (2048 for SDXL).
    pub name_channels: usize,
    /// Numbers of a face embedding (512 for the default recognizer).
    pub face: usize,
    /// Numbers of both CLIP image encoders' features together (2048 in SDXL's pairing).
    pub features: usize,
}

/// Small lengths, all different, for the tests of this crate.
#[cfg(test)]
pub(crate) const TEST_DIMS: EmbeddingDims = EmbeddingDims {
    name_tokens: 8,
    name_channels: 4,
    face: 3,
    features: 5,
};
