//! The methods that the paper compares itself with.

use std::sync::Arc;

use laioncele_baselines::{AdapterPhotos, PhotoMaker, PhotoTokens, TriggerPrompt};
use laioncele_nn::finite_numbers;
use laioncele_sdxl::{
    Conditions, ImageAttention, LaterPrompt, PromptEmbedding, TextEncoders, Trace, TraceValues,
};

use super::method::{ConditionedPrompt, Likeness, Method, Reference};
use super::seen::Seen;
use super::words::{PERSON_WORDS, with_name, with_trigger};
use crate::generation::{GenerationError, Result};

/// SDXL by name: the person's name stands in the prompt.
pub(super) struct SdxlByName {
    pub(super) texts: Arc<TextEncoders>,
}

struct Name<'a> {
    texts: &'a TextEncoders,
    name: String,
}

impl Method for SdxlByName {
    fn likeness(&self, person: &Reference<'_>) -> Result<Box<dyn Likeness + '_>> {
        Ok(Box::new(Name {
            texts: &self.texts,
            name: person.name.to_owned(),
        }))
    }
}

impl Likeness for Name<'_> {
    fn conditions(&self, prompt: &str) -> Result<ConditionedPrompt> {
        let named = with_name(prompt, &self.name).ok_or_else(|| no_word(prompt, "sdxl-name"))?;
        Ok(self.texts.encode_prompt(&named)?.into())
    }
}

fn no_word(prompt: &str, method: &'static str) -> GenerationError {
    GenerationError::NoPersonWord {
        prompt: prompt.to_owned(),
        words: PERSON_WORDS,
        method,
    }
}

/// IP-Adapter: the cross-attentions see the photos beside the text.
pub(super) struct IpAdapterMethod {
    pub(super) texts: Arc<TextEncoders>,
    pub(super) adapter: Arc<AdapterPhotos>,
    pub(super) seen: Seen,
    pub(super) scale: f64,
}

struct SeenByAttention<'a> {
    texts: &'a TextEncoders,
    tokens: PhotoTokens,
    image: Arc<ImageAttention>,
}

impl Method for IpAdapterMethod {
    fn likeness(&self, person: &Reference<'_>) -> Result<Box<dyn Likeness + '_>> {
        let photos = self.seen.of(person.photos)?;
        let tokens = self.adapter.tokens(&photos)?;
        let adapter = self.adapter.adapter();
        let image = adapter.attention(&tokens.null, &tokens.person, self.scale)?;
        Ok(Box::new(SeenByAttention {
            texts: &self.texts,
            image: Arc::new(image),
            tokens,
        }))
    }
}

impl Likeness for SeenByAttention<'_> {
    fn conditions(&self, prompt: &str) -> Result<ConditionedPrompt> {
        Ok(ConditionedPrompt {
            prompt: self.texts.encode_prompt(prompt)?,
            conditions: Conditions {
                image: Some(self.image.clone()),
                later: None,
            },
        })
    }

    /// `image_embeds` and `null_image_embeds` as the encoder gives them, `image_tokens` and `null_image_tokens` as the
    /// cross-attentions take them.
    fn record(&self, _: &str, trace: &mut Trace) -> Result<()> {
        let PhotoTokens {
            seen,
            null_seen,
            person,
            null,
        } = &self.tokens;
        for (name, tensor) in [
            ("image_embeds", seen),
            ("null_image_embeds", null_seen),
            ("image_tokens", person),
            ("null_image_tokens", null),
        ] {
            let values = finite_numbers(tensor, name)?;
            trace.record(name, tensor.dims(), TraceValues::F32(values));
        }
        Ok(())
    }
}

/// PhotoMaker V1: the photos are fused into the word for the person, from some step on.
pub(super) struct PhotoMakerMethod {
    pub(super) texts: Arc<TextEncoders>,
    pub(super) maker: Arc<PhotoMaker>,
    pub(super) seen: Seen,
    pub(super) trigger: String,
    /// The last step that knows only the text; -1 for none.
    pub(super) start_merge_step: i64,
}

struct FusedWord<'a> {
    method: &'a PhotoMakerMethod,
    vectors: Vec<Vec<f32>>,
}

impl Method for PhotoMakerMethod {
    fn likeness(&self, person: &Reference<'_>) -> Result<Box<dyn Likeness + '_>> {
        let photos = self.seen.of(person.photos)?;
        Ok(Box::new(FusedWord {
            method: self,
            vectors: self.maker.vectors(&photos)?,
        }))
    }
}

impl FusedWord<'_> {
    /// The prompt's ids, and its embedding without the photos and with them.
    fn fuse(&self, prompt: &str) -> Result<(TriggerPrompt, PromptEmbedding, PromptEmbedding)> {
        let PhotoMakerMethod { texts, trigger, .. } = self.method;
        let prompt = with_trigger(prompt, trigger).ok_or_else(|| no_word(prompt, "photomaker"))?;
        let photos = self.vectors.len();
        let ids = TriggerPrompt::new(texts.tokenizers(), &prompt, trigger, photos)?;
        let [expanded, plain] = ids.encode(texts)?;
        let fused = (self.method.maker).fuse(&expanded, ids.first_row, &self.vectors)?;
        Ok((ids, plain, fused))
    }
}

impl Likeness for FusedWord<'_> {
    fn conditions(&self, prompt: &str) -> Result<ConditionedPrompt> {
        let (_, plain, fused) = self.fuse(prompt)?;
        let first_step = self.method.start_merge_step.saturating_add(1);
        Ok(ConditionedPrompt {
            prompt: plain,
            conditions: Conditions {
                image: None,
                later: Some(LaterPrompt {
                    first_step: usize::try_from(first_step).unwrap_or(0),
                    prompt: fused,
                }),
            },
        })
    }

    /// `id_embeds`, a row for each photo; `expanded_ids_1` and `_2`, the class word once per photo; `fused` and
    /// `fused_pooled`, what the later steps are conditioned on.
    fn record(&self, prompt: &str, trace: &mut Trace) -> Result<()> {
        let (ids, _, fused) = self.fuse(prompt)?;
        let vectors = TraceValues::F32(self.vectors.concat());
        trace.record("id_embeds", &[self.vectors.len(), fused.width], vectors);
        for (name, ids) in ["expanded_ids_1", "expanded_ids_2"]
            .into_iter()
            .zip(&ids.expanded)
        {
            let values = ids.iter().map(|id| *id as i32).collect();
            trace.record(name, &[1, ids.len()], TraceValues::I32(values));
        }
        let (tokens, pooled) = (fused.tokens(), fused.pooled.len());
        trace.record(
            "fused",
            &[1, tokens, fused.width],
            TraceValues::F32(fused.embeds),
        );
        trace.record("fused_pooled", &[1, pooled], TraceValues::F32(fused.pooled));
        Ok(())
    }
}
