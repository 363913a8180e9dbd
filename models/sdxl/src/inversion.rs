//! Textual inversions: words of the user's own, each with embeddings for both text encoders.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use laioncele_clip::TextEncoder;
use laioncele_nn::TensorFile;

use crate::error::{Error, Result};

/// A file of embeddings and the word that stands for them in prompts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inversion {
    /// A safetensors file with `clip_l` [n, 768] and `clip_g` [n, 1280].
    pub file: PathBuf,
    /// The word, in any letter case.
    pub token: String,
}

impl Inversion {
    /// The file's word: its name without its ending.
    pub fn of_file(file: &Path) -> Self {
        let token = file.file_stem().unwrap_or_default().to_string_lossy();
        Self {
            file: file.to_owned(),
            token: token.into_owned(),
        }
    }

    /// Gives the word and its embeddings to both encoders.
    ///
    /// # Errors
    /// A file that cannot be read; [`Error::Inversion`] of one for other encoders, or of a word that
    /// cannot be added.
    pub(crate) fn add_to(&self, encoders: &mut [TextEncoder; 2]) -> Result<()> {
        let refuse = |reason: String| Error::Inversion {
            path: self.file.clone(),
            reason,
        };
        let file = TensorFile::open(&self.file)?;
        let widths = encoders.each_ref().map(|e| e.model().config().hidden_size);
        let rows = [
            rows(&file, "clip_l", widths[0]).map_err(refuse)?,
            rows(&file, "clip_g", widths[1]).map_err(refuse)?,
        ];
        let counts = rows.each_ref().map(Vec::len);
        if counts[0] != counts[1] || counts[0] == 0 {
            return Err(refuse(format!(
                "has {} vectors in clip_l and {} in clip_g",
                counts[0], counts[1]
            )));
        }
        for (encoder, rows) in encoders.iter_mut().zip(rows) {
            encoder
                .add_token(&self.token, &rows)
                .map_err(|error| refuse(format!("cannot be used: {error}")))?;
        }
        Ok(())
    }
}

impl FromStr for Inversion {
    type Err = String;

    /// `FILE`, or `FILE:WORD`.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if text.is_empty() {
            return Err("an embedding is a file, or a file, a colon and a word".into());
        }
        Ok(match text.rsplit_once(':') {
            Some((file, token))
                if !token.is_empty() && !token.contains('/') && !file.is_empty() =>
            {
                Self {
                    file: file.into(),
                    token: token.into(),
                }
            }
            _ => Self::of_file(Path::new(text)),
        })
    }
}

/// The vectors of one encoder.
fn rows(file: &TensorFile, key: &str, width: usize) -> std::result::Result<Vec<Vec<f32>>, String> {
    if file.tensors().contains_key("emb_params") {
        return Err(
            "is an embedding for Stable Diffusion 1 or 2 (emb_params), not for SDXL".into(),
        );
    }
    let Some(tensor) = file.tensors().get(key) else {
        return Err(format!(
            "has no {key}: an embedding for SDXL has clip_l and clip_g"
        ));
    };
    let fits = match tensor.shape.as_slice() {
        [found] | [_, found] => *found == width,
        _ => false,
    };
    if !fits {
        let shape = &tensor.shape;
        return Err(format!("has {key} of {shape:?}; {width} wide was expected"));
    }
    let numbers = file.numbers(key).map_err(|error| error.to_string())?;
    Ok(numbers.chunks_exact(width).map(<[f32]>::to_vec).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_embedding_is_a_file_and_perhaps_a_word() {
        let read = |text: &str| text.parse::<Inversion>().map(|i| (i.file, i.token));
        let own = |file: &str, word: &str| Ok((PathBuf::from(file), word.to_owned()));
        assert_eq!(
            read("a/mira.safetensors"),
            own("a/mira.safetensors", "mira")
        );
        assert_eq!(read("a.safetensors:<m>"), own("a.safetensors", "<m>"));
        assert_eq!(
            read("c:/mira.safetensors"),
            own("c:/mira.safetensors", "mira")
        );
        assert!(read("").is_err());
    }
}
