//! Between the pipeline and the model: what a batch is sampled with, and the two halves of the
//! work.

use image::RgbImage;

use crate::error::Result;
use crate::name::PromptEmbedding;
use crate::recorder::Recorder;
use crate::request::ImageRequest;
use crate::scheduler::Schedule;
use crate::unet::{Conditioning, StepBiases, TimeIds};

/// [`crate::SamplingSettings`] checked against a model and resolved: what a call's images share.
pub(crate) struct SamplingParams {
    pub schedule: Schedule,
    /// Latent height and width.
    pub height: usize,
    pub width: usize,
    pub time_ids: TimeIds,
    pub guidance: f32,
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
    /// For each step.
    pub biases: Vec<StepBiases>,
}

/// An image's last latents [channels × height × width], or why there are none.
pub(crate) type Latents = Result<Vec<f32>>;

/// A latent diffusion model: denoising and decoding, which may run for two batches at once.
pub(crate) trait DiffusionModel: Sync {
    /// The texts of a batch with one negative prompt, computed anew only if they differ from those
    /// of the batch before.
    fn condition<'t>(
        &self,
        batch: &[ImageRequest<'_>],
        params: &SamplingParams,
        last: &'t mut Option<TextConditioning>,
    ) -> Result<&'t TextConditioning>;

    /// Noise → each image's last latents.
    fn denoise(
        &self,
        batch: &[ImageRequest<'_>],
        texts: &TextConditioning,
        params: &SamplingParams,
        recorder: Option<&mut Recorder>,
    ) -> Result<Vec<Latents>>;

    /// One image's latents → its bytes, and its pixels around [-1, 1].
    fn decode(&self, latents: &[f32], params: &SamplingParams) -> Result<(RgbImage, Vec<f32>)>;
}
