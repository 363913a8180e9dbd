//! A prompt in which a trigger word stands behind a class word: "a man img in the snow".

use laioncele_clip::Tokenizer;
use laioncele_sdxl::{PromptEmbedding, TextEncoders};

use crate::error::{Error, Result};

/// The ids of a prompt whose class word stands once for each photo, and of the prompt alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriggerPrompt {
    /// Of both tokenizers: the class word's last token once per photo, the trigger word gone. What
    /// is too long is cut off with the end token.
    pub expanded: [Vec<u32>; 2],
    /// Of both tokenizers, without the trigger word.
    pub plain: [Vec<u32>; 2],
    /// The first of the class word's rows; there is one for each photo.
    pub first_row: usize,
    /// Tokens of the plain prompt, before truncation.
    token_count: usize,
}

impl TriggerPrompt {
    /// Splits `prompt` at `trigger`, which must stand in it once, behind a word, in this letter
    /// case; inside a word it counts too.
    ///
    /// # Errors
    /// [`Error::Trigger`]: no trigger word, several, none before it, or no room for the photos.
    pub fn new(
        tokenizers: [&Tokenizer; 2],
        prompt: &str,
        trigger: &str,
        photos: usize,
    ) -> Result<Self> {
        let fail = |reason: String| Error::Trigger {
            prompt: prompt.to_owned(),
            reason,
        };
        if trigger.trim().is_empty() {
            return Err(fail(
                "cannot be split: the trigger word is empty".to_owned(),
            ));
        }
        let (before, after) = match prompt.matches(trigger).count() {
            1 => prompt.split_once(trigger).unwrap_or((prompt, "")),
            0 => {
                let text = format!(
                    "lacks the trigger word {trigger:?}: put it behind the word for the person, as in \"a man {trigger}\""
                );
                return Err(fail(text));
            }
            more => {
                let text =
                    format!("has the trigger word {trigger:?} {more} times; once is expected");
                return Err(fail(text));
            }
        };
        let halves = tokenizers.map(|tokenizer| {
            (
                tokenizer,
                [tokenizer.text_ids(before), tokenizer.text_ids(after)],
            )
        });
        let places = halves.each_ref().map(|(_, [before, _])| before.len());
        if places.contains(&0) {
            let text = format!(
                "begins with the trigger word {trigger:?}; a word for the person must stand before it"
            );
            return Err(fail(text));
        }
        if places[0] != places[1] {
            return Err(fail(
                "is cut into other tokens by the second tokenizer".to_owned(),
            ));
        }
        // The start token comes before the text's own.
        let first_row = places[0];
        if first_row + photos > tokenizers[0].length() {
            let text = format!(
                "leaves no room for {photos} photos: its word for the person is token {first_row} of {}",
                tokenizers[0].length()
            );
            return Err(fail(text));
        }
        let token_count = halves[0].1.concat().len();
        let plain = halves
            .each_ref()
            .map(|(tokenizer, parts)| tokenizer.enclose(parts.concat()).ids);
        let expanded = halves.map(|(tokenizer, [mut ids, after])| {
            let word = ids[first_row - 1];
            ids.resize(first_row - 1 + photos, word);
            ids.extend(after);
            tokenizer.enclose_and_cut(ids)
        });
        Ok(Self {
            expanded,
            plain,
            first_row,
            token_count,
        })
    }

    /// The embeddings of the expanded and of the plain prompt.
    ///
    /// # Errors
    /// Numbers that are not finite.
    pub fn encode(&self, texts: &TextEncoders) -> Result<[PromptEmbedding; 2]> {
        Ok([
            texts.encode_ids(self.expanded.clone(), self.token_count)?,
            texts.encode_ids(self.plain.clone(), self.token_count)?,
        ])
    }
}
