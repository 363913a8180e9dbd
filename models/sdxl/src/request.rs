//! What a caller asks of the pipeline: one image each, and the settings that all of a call's images
//! share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::name::{NameTensor, PromptEmbedding};
use crate::noise::Noise;
use crate::scheduler::SchedulerKind;
use crate::unet::ImageAttention;

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

/// An image that is conditioned on more than its prompt and name.
#[derive(Debug, Clone)]
pub struct ConditionedRequest<'a> {
    /// Prompt, name, noise.
    pub request: ImageRequest<'a>,
    /// What else it is conditioned on.
    pub conditions: &'a Conditions,
}

/// An image to generate, conditioned or not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job<'a> {
    pub request: &'a ImageRequest<'a>,
    pub conditions: Option<&'a Conditions>,
}

impl<'a> Job<'a> {
    /// Images that are conditioned on prompts and names alone.
    pub(crate) fn plain(requests: &'a [ImageRequest<'a>]) -> Vec<Self> {
        let job = |request| Self {
            request,
            conditions: None,
        };
        requests.iter().map(job).collect()
    }

    pub(crate) fn conditioned(requests: &'a [ConditionedRequest<'a>]) -> Vec<Self> {
        let job = |request: &'a ConditionedRequest<'a>| Self {
            request: &request.request,
            conditions: Some(request.conditions),
        };
        requests.iter().map(job).collect()
    }

    /// Whether both can be images of one batch: all but prompts and noise must be the same.
    pub(crate) fn shares_batch(&self, other: &Self) -> bool {
        let first_step = |job: &Self| job.later().map(|later| later.first_step);
        self.request.negative == other.request.negative
            && first_step(self) == first_step(other)
            && same_image(self.image(), other.image())
    }

    /// What it sees of photos.
    pub(crate) fn image(&self) -> Option<&'a Arc<ImageAttention>> {
        self.conditions.and_then(|c| c.image.as_ref())
    }

    /// The prompt of its later steps.
    pub(crate) fn later(&self) -> Option<&'a LaterPrompt> {
        self.conditions.and_then(|c| c.later.as_ref())
    }
}

/// Whether both see the same photos: the very same computed keys.
pub(crate) fn same_image(a: Option<&Arc<ImageAttention>>, b: Option<&Arc<ImageAttention>>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        _ => false,
    }
}

/// What an image is conditioned on besides its prompt and name: the methods that the paper compares
/// itself with.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// Photos that the cross-attentions see (IP-Adapter).
    pub image: Option<Arc<ImageAttention>>,
    /// Another prompt for the later steps (PhotoMaker).
    pub later: Option<LaterPrompt>,
}

/// A prompt that takes the first one's place during a run.
#[derive(Debug, Clone, PartialEq)]
pub struct LaterPrompt {
    /// The step from which on it counts, from 0: 0 is all of them, the number of steps none.
    pub first_step: usize,
    /// As long as the first prompt. No name is prepended to it.
    pub prompt: PromptEmbedding,
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
    /// Where steps are counted as they are done, for who shows progress; no image depends on it.
    pub steps_done: Option<StepCounter>,
}

/// Counts denoising steps as they are done, one for each image of a batch. Clones share one count,
/// which any thread may read.
#[derive(Debug, Clone, Default)]
pub struct StepCounter(Arc<AtomicU64>);

impl StepCounter {
    /// Steps done so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, images: usize) {
        self.0.fetch_add(images as u64, Ordering::Relaxed);
    }
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
            steps_done: None,
        }
    }
}
