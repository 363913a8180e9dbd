//! Both text encoders of an SDXL folder: texts to prompt embeddings and name embeddings.

use std::ops::Range;
use std::path::Path;

use laioncele_clip::{TextEncoder, Tokenizer};
use laioncele_nn::{LoadOptions, finite_numbers};

use crate::error::{Error, Result};
use crate::files::SdxlFiles;
use crate::name::{NAME_TOKENS, NameTensor, Naming, PromptEmbedding};
use crate::sources::Sources;

/// What a name may stand for in a prompt, tried in this order.
const PLACEHOLDERS: [&str; 6] = ["a person", "a man", "a woman", "person", "man", "woman"];

/// What the image is guided away from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum NegativePrompt {
    /// As diffusers without a negative prompt: zeros if the folder's `force_zeros_for_empty_prompt`
    /// is true, else the encoded empty text.
    #[default]
    Model,
    /// Zeros.
    Zeros,
    /// The encoded empty text, which is not zero.
    Empty,
    /// Some text.
    Text(String),
}

impl From<&str> for NegativePrompt {
    /// The setting's form: `model`, `zeros`, `empty`, or the text itself.
    fn from(setting: &str) -> Self {
        match setting {
            "model" => Self::Model,
            "zeros" => Self::Zeros,
            "empty" => Self::Empty,
            text => Self::Text(text.into()),
        }
    }
}

/// The two text encoders with their tokenizers.
#[derive(Debug)]
pub struct TextEncoders {
    encoders: [TextEncoder; 2],
    zeros_for_empty: bool,
}

impl TextEncoders {
    /// Loads `tokenizer`, `tokenizer_2`, `text_encoder` and `text_encoder_2` of an SDXL folder.
    ///
    /// # Errors
    /// A folder of another kind, parts that are missing, damaged or do not fit each other.
    pub fn load(folder: &Path, options: &LoadOptions) -> Result<Self> {
        let files = SdxlFiles {
            folder: folder.to_owned(),
            ..SdxlFiles::default()
        };
        let load = || Self::load_sources(&Sources::open(&files)?, options);
        load().map_err(|error: Error| error.of_loading(folder))
    }

    /// Loads the tokenizers and text encoders of a model, whatever it is made of, with its LoRAs and
    /// inversions.
    ///
    /// # Errors
    /// As [`TextEncoders::load`]; files that are not what they are given as.
    pub fn load_files(files: &SdxlFiles) -> Result<Self> {
        let load = || Self::load_sources(&Sources::open(files)?, &files.text_options()?);
        load().map_err(|error| error.of_loading(files.path()))
    }

    pub(crate) fn load_sources(sources: &Sources, options: &LoadOptions) -> Result<Self> {
        let index = sources.base.index()?;
        let encoders = sources.load_texts(options)?;
        let lengths = [
            encoders[0].tokenizer().length(),
            encoders[1].tokenizer().length(),
        ];
        if lengths[0] != lengths[1] || lengths[0] <= NAME_TOKENS {
            let reason = format!(
                "the tokenizers' model_max_length are {} and {}",
                lengths[0], lengths[1]
            );
            return Err(Error::Mismatch {
                folder: sources.base.name().into(),
                reason,
            });
        }
        Ok(Self {
            encoders,
            zeros_for_empty: index.force_zeros_for_empty_prompt,
        })
    }

    /// Width of a prompt's or name's token: both encoders' together (2048 for SDXL).
    pub fn name_width(&self) -> usize {
        self.encoders
            .iter()
            .map(|encoder| encoder.model().config().hidden_size)
            .sum()
    }

    /// Whether the encoders compute on the processor, where texts may be encoded beside each other.
    pub fn on_cpu(&self) -> bool {
        self.encoders[0].model().device().is_cpu()
    }

    /// Width of the pooled vector (1280 for SDXL).
    pub fn pooled_width(&self) -> usize {
        self.encoders[1].model().pooled_width()
    }

    /// Tokens of a prompt (77).
    pub fn tokens(&self) -> usize {
        self.encoders[0].tokenizer().length()
    }

    /// The encoder with a projection: its texts compare with its own image tower's images.
    pub fn projected(&self) -> &TextEncoder {
        &self.encoders[1]
    }

    /// Encodes one text. Texts are encoded one by one, so that an embedding depends on its text
    /// alone.
    ///
    /// # Errors
    /// Numbers that are not finite.
    pub fn encode_prompt(&self, text: &str) -> Result<PromptEmbedding> {
        let [one, two] = self.tokenizers().map(|tokenizer| tokenizer.encode(text));
        let truncated = (self.tokenizers().iter().zip([&one, &two]))
            .any(|(tokenizer, encoding)| tokenizer.is_truncated(encoding.token_count));
        if truncated {
            let (tokens, kept) = (one.token_count, self.tokens() - 2);
            let beginning: String = text.chars().take(60).collect();
            tracing::warn!("a text of {tokens} tokens was cut to {kept}: {beginning:?}…");
        }
        let encoded = self.encode_ids([one.ids, two.ids], one.token_count)?;
        Ok(PromptEmbedding {
            truncated,
            ..encoded
        })
    }

    /// Both tokenizers.
    pub fn tokenizers(&self) -> [&Tokenizer; 2] {
        [self.encoders[0].tokenizer(), self.encoders[1].tokenizer()]
    }

    /// Encodes a text of which each tokenizer made these ids, ends and padding included;
    /// `token_count` is the text's own before truncation.
    ///
    /// # Errors
    /// Ids that the encoders have no embeddings for; numbers that are not finite.
    pub fn encode_ids(&self, ids: [Vec<u32>; 2], token_count: usize) -> Result<PromptEmbedding> {
        let [first, second] = &self.encoders;
        let states_1 = first.model().forward(std::slice::from_ref(&ids[0]))?;
        let states_2 = second.model().forward(std::slice::from_ref(&ids[1]))?;
        let left = finite_numbers(states_1.penultimate(), "a text embedding")?;
        let right = finite_numbers(states_2.penultimate(), "a text embedding")?;
        let widths = self.widths();
        let rows = left
            .chunks_exact(widths[0])
            .zip(right.chunks_exact(widths[1]));
        Ok(PromptEmbedding {
            embeds: rows
                .flat_map(|(left, right)| left.iter().chain(right))
                .copied()
                .collect(),
            width: widths[0] + widths[1],
            pooled: finite_numbers(&states_2.pooled, "a pooled text embedding")?,
            ids,
            token_count,
            truncated: false,
        })
    }

    /// Width of a token of either encoder (768 and 1280 for SDXL).
    pub fn widths(&self) -> [usize; 2] {
        let width = |encoder: &TextEncoder| encoder.model().config().hidden_size;
        [width(&self.encoders[0]), width(&self.encoders[1])]
    }

    /// Rows 1…8 of the name's own prompt embedding, with the name's token count before truncation.
    ///
    /// # Errors
    /// As [`TextEncoders::encode_prompt`].
    pub fn encode_name(&self, name: &str) -> Result<NameTensor> {
        self.encode_prompt(name)?.name()
    }

    /// `prompt` with `name` in it: prepended, or in place of the first of "a person", "a man", "a
    /// woman", "person", "man" and "woman" that the prompt has.
    ///
    /// # Errors
    /// A name of another width; for a substitution, a prompt without such words.
    pub fn named(
        &self,
        prompt: &PromptEmbedding,
        name: &NameTensor,
        naming: Naming,
    ) -> Result<PromptEmbedding> {
        match naming {
            Naming::Prepend => return prompt.prepend(name),
            Naming::Insert(position) => return prompt.insert(name, position),
            Naming::Substitute => {}
        }
        let place = PLACEHOLDERS
            .iter()
            .find_map(|words| self.locate(prompt, words));
        let place = place.ok_or_else(|| {
            let expected = format!("a prompt with one of: {}", PLACEHOLDERS.join(", "));
            Error::setting("naming", "substitute", expected)
        })?;
        prompt.substitute(name, place)
    }

    /// The positions of `words` in a prompt: the first place where the first tokenizer's ids are
    /// theirs.
    fn locate(&self, prompt: &PromptEmbedding, words: &str) -> Option<Range<usize>> {
        let words = self.encoders[0].tokenizer().encode(words);
        let wanted = words.ids.get(1..=words.token_count)?;
        let places = prompt.ids[0].windows(wanted.len());
        let start = places.into_iter().position(|ids| ids == wanted)?;
        Some(start..start + wanted.len())
    }

    /// The embedding to guide away from.
    ///
    /// # Errors
    /// A text that cannot be encoded.
    pub fn encode_negative(&self, negative: &NegativePrompt) -> Result<PromptEmbedding> {
        let text = match negative {
            NegativePrompt::Text(text) => text.as_str(),
            _ => "",
        };
        let encoded = self.encode_prompt(text)?;
        let zeros = *negative == NegativePrompt::Zeros
            || (*negative == NegativePrompt::Model && self.zeros_for_empty);
        Ok(if zeros { encoded.zeros_like() } else { encoded })
    }
}
