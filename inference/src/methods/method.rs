//! What a method is: a person's photos and name, and prompts, to what SDXL is conditioned on.

use image::RgbImage;
use laioncele_sdxl::{Conditions, PromptEmbedding, Trace};

use crate::generation::{GenerationPipeline, PersonName, Result};

/// Who is to be shown.
#[derive(Clone, Copy, Debug)]
pub struct Reference<'a> {
    /// What the person is called.
    pub name: &'a str,
    /// Photos of the person, in the order of their files' names.
    pub photos: &'a [RgbImage],
}

/// A way to generate images of a person. Noise, sizes, scheduler and decoding are the same for all of them.
pub trait Method: Send + Sync {
    /// What is made of a person once, whatever the prompts. Called for one person after the other, from any thread.
    ///
    /// # Errors
    /// [`crate::generation::GenerationError::NoFace`] and the like for photos that cannot be used, a network's error.
    fn likeness(&self, person: &Reference<'_>) -> Result<Box<dyn Likeness + '_>>;
}

/// A person, as a method keeps it.
pub trait Likeness: Send + Sync {
    /// What an image of the person under this prompt is conditioned on.
    ///
    /// # Errors
    /// A prompt that the method cannot take, texts that cannot be encoded.
    fn conditions(&self, prompt: &str) -> Result<ConditionedPrompt>;

    /// Records what is computed on the way there, for comparison with another implementation; nothing by default.
    ///
    /// # Errors
    /// As [`Likeness::conditions`].
    fn record(&self, _prompt: &str, _trace: &mut Trace) -> Result<()> {
        Ok(())
    }
}

/// What an image is conditioned on.
#[derive(Clone, Debug)]
pub struct ConditionedPrompt {
    /// The prompt; with LaionCele the name is in it.
    pub prompt: PromptEmbedding,
    /// What else.
    pub conditions: Conditions,
}

impl From<PromptEmbedding> for ConditionedPrompt {
    fn from(prompt: PromptEmbedding) -> Self {
        Self {
            prompt,
            conditions: Conditions::default(),
        }
    }
}

/// LaionCele: the name that the encoder predicts from photos is prepended.
impl Method for GenerationPipeline {
    fn likeness(&self, person: &Reference<'_>) -> Result<Box<dyn Likeness + '_>> {
        let name = self.name_from_photos(person.photos)?;
        Ok(Box::new(Named {
            pipeline: self,
            name,
        }))
    }
}

/// A name in the N space.
struct Named<'a> {
    pipeline: &'a GenerationPipeline,
    name: PersonName,
}

impl Likeness for Named<'_> {
    fn conditions(&self, prompt: &str) -> Result<ConditionedPrompt> {
        Ok(self.pipeline.prompt(&self.name, prompt)?.into())
    }
}
