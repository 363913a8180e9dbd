//! What a caller asks of the pipeline: one image each, and the settings that all of a call's images
//! share.

use crate::name::{NameTensor, PromptEmbedding};
use crate::noise::Noise;
use crate::scheduler::SchedulerKind;

/// One image to generate. It depends on this alone, never on what is generated before or beside it:
/// to the byte where images are generated one at a time, within rounding in a batch.
#[derive(Debug, Clone)]
pub struct ImageRequest<'a> {
    /// The prompt.
    pub prompt: &'a PromptEmbedding,
    /// A name to prepend to it.
    pub name: Option<&'a NameTensor>,
    /// What to guide away from: a negative prompt's embedding, or the unconditional one.
    pub negative: &'a PromptEmbedding,
    /// Where its randomness comes from.
    pub noise: Noise,
}

/// The sizes that SDXL is conditioned on, in pixels, each height first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeConditioning {
    /// Height and width of the imagined original.
    pub original: [u32; 2],
    /// Top and left of the imagined crop.
    pub crop: [u32; 2],
    /// Height and width of the imagined target.
    pub target: [u32; 2],
}

/// How images are sampled.
#[derive(Debug, Clone)]
pub struct SamplingSettings {
    /// Which scheduler; `None` takes the one that the folder names.
    pub scheduler: Option<SchedulerKind>,
    /// Denoising steps.
    pub steps: usize,
    /// γ of classifier-free guidance; at 1 and below the negative prompt is not used.
    pub guidance: f32,
    /// Height in pixels; `None` takes the model's own.
    pub height: Option<usize>,
    /// Width in pixels; `None` takes the model's own.
    pub width: Option<usize>,
    /// The sizes that the U-Net is conditioned on; `None` is the image's own size, uncropped.
    pub sizes: Option<SizeConditioning>,
}

impl Default for SamplingSettings {
    /// The paper's: DDIM, 100 steps, γ = 7.
    fn default() -> Self {
        Self {
            scheduler: Some(SchedulerKind::Ddim),
            steps: 100,
            guidance: 7.0,
            height: None,
            width: None,
            sizes: None,
        }
    }
}
