//! What a stage reports when a model fails. This is the only place that decides it.

use laioncele_core::StageError;

/// Why a model does not load, does not fit the manifest, or fails at work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// SDXL.
    #[error(transparent)]
    Sdxl(#[from] laioncele_sdxl::Error),
    /// A CLIP tower: its files, or its computation.
    #[error(transparent)]
    Clip(#[from] laioncele_nn::Error),
    /// The image → name encoder.
    #[error(transparent)]
    Encoder(#[from] laioncele_encoder::Error),
    /// IP-Adapter or PhotoMaker.
    #[error(transparent)]
    Baseline(#[from] laioncele_baselines::Error),
    /// The face networks.
    #[error(transparent)]
    Face(#[from] laioncele_face::FaceError),
    /// Names of SDXL are of another size than the manifest says.
    #[error(
        "[embedding_dims] has name_tokens = {tokens} and name_channels = {channels}, but names of [models.sdxl] are {found_tokens} x {found_channels}"
    )]
    NameDims {
        /// Tokens of a name, as the manifest says.
        tokens: usize,
        /// Channels of a token, as the manifest says.
        channels: usize,
        /// Tokens of the model's names.
        found_tokens: usize,
        /// Channels of the model's tokens.
        found_channels: usize,
    },
    /// The recognizer's embeddings are of another length than the manifest says.
    #[error(
        "[embedding_dims] has face = {expected}, but the recognizer of [models.face] gives {found} numbers"
    )]
    FaceDims {
        /// Numbers in an embedding, as the manifest says.
        expected: usize,
        /// Numbers that the recognizer gives.
        found: usize,
    },
    /// The image encoders' features are of another length than the manifest says.
    #[error(
        "[embedding_dims] has features = {expected}, but the encoders of [models.image_encoders] give {found}"
    )]
    FeatureDims {
        /// Numbers in a photo's features, as the manifest says.
        expected: usize,
        /// Numbers that both encoders give together.
        found: usize,
    },
    /// An image cannot be written as PNG.
    #[error(transparent)]
    Png(#[from] image::ImageError),
    /// The system starts no more threads.
    #[error(transparent)]
    Threads(#[from] rayon::ThreadPoolBuildError),
}

impl ModelError {
    /// Whether the device's memory did not suffice: worth one more try with less at a time.
    pub fn is_out_of_memory(&self) -> bool {
        match self {
            Self::Sdxl(error) | Self::Baseline(laioncele_baselines::Error::Sdxl(error)) => {
                error.is_out_of_memory()
            }
            _ => false,
        }
    }
}

impl From<ModelError> for StageError {
    /// Out of memory is [`StageError::Memory`], all else is the environment's fault: inputs that a model cannot take are
    /// dropped by the stages before they get here.
    fn from(error: ModelError) -> Self {
        if error.is_out_of_memory() {
            Self::Memory(error.into())
        } else {
            Self::environment(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lack_of_memory_is_told_apart_from_a_wrong_environment() {
        let cause = || laioncele_sdxl::Error::Size {
            what: "noise",
            found: 1,
            expected: 2,
        };
        let full = laioncele_sdxl::Error::OutOfMemory {
            images: 4,
            source: Box::new(cause()),
        };
        let stage_error = |error: laioncele_sdxl::Error| StageError::from(ModelError::from(error));
        assert!(matches!(stage_error(full), StageError::Memory(_)));
        assert!(matches!(stage_error(cause()), StageError::Environment(_)));
    }

    #[test]
    fn dims_errors_name_both_sides() {
        let error = ModelError::FaceDims {
            expected: 4,
            found: 512,
        };
        let text = error.to_string();
        assert!(text.contains("face = 4") && text.contains("512"), "{text}");
    }
}
