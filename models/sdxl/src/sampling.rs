//! Between the pipeline and the model: what a batch is sampled with, and the two halves of the
//! work.

use std::sync::Arc;

use image::RgbImage;

use crate::error::Result;
use crate::name::PromptEmbedding;
use crate::recorder::Recorder;
use crate::request::{Job, StepCounter};
use crate::scheduler::Schedule;
use crate::unet::{Conditioning, ImageAttention, StepBiases, TimeIds};

/// [`crate::SamplingSettings`] checked against a model and resolved: what a call's images share.
pub(crate) struct SamplingParams {
    pub schedule: Schedule,
    /// Latent height and width.
    pub height: usize,
    pub width: usize,
    pub time_ids: TimeIds,
    pub guidance: f32,
    pub steps_done: Option<StepCounter>,
}

impl SamplingParams {
    /// Whether the U-Net also sees the negative prompt.
    pub(crate) fn guided(&self) -> bool {
        self.guidance > 1.0
    }
}

/// A batch's texts as the U-Net takes them: kept for the batches that follow, if theirs are the
/// same.
pub(crate) struct TextConditioning {
    /// With their names.
    pub prompts: Vec<PromptEmbedding>,
    pub negative: PromptEmbedding,
    pub conditioning: Conditioning,
    /// What takes its place in the later steps.
    pub later: Option<LaterTexts>,
    /// What the images see of photos; it is in the conditionings.
    pub image: Option<Arc<ImageAttention>>,
    /// For each step.
    pub biases: Vec<StepBiases>,
}

/// The texts of the later steps.
pub(crate) struct LaterTexts {
    /// The step that begins with them.
    pub first_step: usize,
    pub prompts: Vec<PromptEmbedding>,
    pub conditioning: Conditioning,
}

impl TextConditioning {
    /// What step `i` is conditioned on.
    pub(crate) fn at(&self, i: usize) -> &Conditioning {
        match &self.later {
            Some(later) if i >= later.first_step => &later.conditioning,
            _ => &self.conditioning,
        }
    }
}

/// An image's last latents [channels × height × width], or why there are none.
pub(crate) type Latents = Result<Vec<f32>>;

/// A latent diffusion model: denoising and decoding, which may run for two batches at once.
pub(crate) trait DiffusionModel: Sync {
    /// The texts of a batch with one negative prompt, computed anew only if they differ from those
    /// of the batch before.
    fn condition<'t>(
        &self,
        batch: &[Job<'_>],
        params: &SamplingParams,
        last: &'t mut Option<TextConditioning>,
    ) -> Result<&'t TextConditioning>;

    /// Noise → each image's last latents.
    fn denoise(
        &self,
        batch: &[Job<'_>],
        texts: &TextConditioning,
        params: &SamplingParams,
        recorder: Option<&mut Recorder>,
    ) -> Result<Vec<Latents>>;

    /// One image's latents → its bytes, and its pixels around [-1, 1].
    fn decode(&self, latents: &[f32], params: &SamplingParams) -> Result<(RgbImage, Vec<f32>)>;
}
