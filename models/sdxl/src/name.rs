//! The N space: name embeddings, how a prompt takes one, and the arithmetic of Equations 4 and 5.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use crate::error::{Error, Result};

/// Rows of a name embedding: the prompt positions 1 to 8 (paper, section 3).
pub const NAME_TOKENS: usize = 8;

/// How a name goes into a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Naming {
    /// Name Prepending ([`PromptEmbedding::prepend`]): what the paper does.
    #[default]
    Prepend,
    /// Name substitution ([`PromptEmbedding::substitute`]): what the paper compares it with.
    Substitute,
    /// The name before the prompt's token of this position ([`PromptEmbedding::insert`]): Name
    /// Prepending at another place. 0 is the start token, before which there is no place.
    Insert(usize),
}

/// How settings begin [`Naming::Insert`].
const AT: &str = "at:";

impl fmt::Display for Naming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prepend => f.write_str("prepend"),
            Self::Substitute => f.write_str("substitute"),
            Self::Insert(position) => write!(f, "{AT}{position}"),
        }
    }
}

impl FromStr for Naming {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "prepend" => Ok(Self::Prepend),
            "substitute" => Ok(Self::Substitute),
            other => {
                let position = other.strip_prefix(AT).and_then(|at| at.parse().ok());
                let position = position.filter(|position| *position > 0);
                let expected = "prepend, substitute, or at: and a position from 1";
                let wrong = || Error::setting("naming", other, expected);
                position.map(Self::Insert).ok_or_else(wrong)
            }
        }
    }
}

/// A name as SDXL's text encoders see it: rows 1…8 of the name's own prompt embedding, [8 × width]
/// float32 in row-major order (width 2048 for SDXL). Names of fewer tokens keep the end token and
/// padding rows.
#[derive(Debug, Clone, PartialEq)]
pub struct NameTensor {
    rows: Vec<f32>,
    width: usize,
    token_count: Option<usize>,
}

impl NameTensor {
    /// From [8 × width] numbers.
    ///
    /// # Errors
    /// [`Error::Size`]
    pub fn new(rows: Vec<f32>, width: usize) -> Result<Self> {
        Error::check_size("a name embedding", rows.len(), NAME_TOKENS * width)?;
        Ok(Self {
            rows,
            width,
            token_count: None,
        })
    }

    /// The same with the number of tokens that the name needs, before truncation.
    pub fn with_token_count(mut self, token_count: usize) -> Self {
        self.token_count = Some(token_count);
        self
    }

    /// The [8 × width] numbers.
    pub fn rows(&self) -> &[f32] {
        &self.rows
    }

    /// Width of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Tokens of the name before truncation; `None` for an embedding that no name was encoded to.
    pub fn token_count(&self) -> Option<usize> {
        self.token_count
    }

    /// Whether the name needs more than the eight tokens kept.
    pub fn truncated(&self) -> bool {
        self.token_count.is_some_and(|count| count > NAME_TOKENS)
    }

    /// ‖N‖₂ over the whole tensor.
    pub fn norm(&self) -> f32 {
        self.rows
            .iter()
            .map(|v| f64::from(*v).powi(2))
            .sum::<f64>()
            .sqrt() as f32
    }

    /// Equation 4: M + δ (F − M), with M the mean over names.
    ///
    /// # Errors
    /// [`Error::Size`] of another width.
    pub fn recentre(&self, mean: &Self, delta: f32) -> Result<Self> {
        self.combine(mean, |f, m| m + delta * (f - m))
    }

    /// Equation 5: η F / ‖F‖₂ over the whole tensor; a zero tensor stays zero.
    pub fn rescale(&self, eta: f32) -> Self {
        let norm = self.norm();
        let factor = if norm > 0.0 { eta / norm } else { 0.0 };
        let rows = self.rows.iter().map(|v| v * factor).collect();
        Self {
            rows,
            width: self.width,
            token_count: None,
        }
    }

    /// (1 − α) self + α other.
    ///
    /// # Errors
    /// [`Error::Size`] of another width.
    pub fn interpolate(&self, other: &Self, alpha: f32) -> Result<Self> {
        self.combine(other, |a, b| (1.0 - alpha) * a + alpha * b)
    }

    /// The mean over names; an error if there are none.
    ///
    /// # Errors
    /// [`Error::Setting`] without names, [`Error::Size`] of names of several widths.
    pub fn mean<'a>(names: impl IntoIterator<Item = &'a Self>) -> Result<Self> {
        let mut names = names.into_iter();
        let first = names
            .next()
            .ok_or_else(|| Error::setting("names", 0, "at least one to take the mean of"))?;
        let mut sums: Vec<f64> = first.rows.iter().map(|v| f64::from(*v)).collect();
        let mut count = 1f64;
        for name in names {
            Error::check_size("a name embedding", name.rows.len(), sums.len())?;
            sums.iter_mut()
                .zip(&name.rows)
                .for_each(|(sum, v)| *sum += f64::from(*v));
            count += 1.0;
        }
        let rows = sums.into_iter().map(|sum| (sum / count) as f32).collect();
        Ok(Self {
            rows,
            width: first.width,
            token_count: None,
        })
    }

    fn combine(&self, other: &Self, f: impl Fn(f32, f32) -> f32) -> Result<Self> {
        Error::check_size("a name embedding", other.rows.len(), self.rows.len())?;
        let rows = self
            .rows
            .iter()
            .zip(&other.rows)
            .map(|(a, b)| f(*a, *b))
            .collect();
        Ok(Self {
            rows,
            width: self.width,
            token_count: None,
        })
    }
}

/// A text as SDXL's U-Net is conditioned on it.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptEmbedding {
    /// Penultimate states of both text encoders side by side, [tokens × width] row by row.
    pub embeds: Vec<f32>,
    /// Columns of `embeds`: 2048 for SDXL.
    pub width: usize,
    /// The second encoder's pooled, projected vector: 1280 numbers for SDXL.
    pub pooled: Vec<f32>,
    /// Token ids of both tokenizers; empty if no text was encoded.
    pub ids: [Vec<u32>; 2],
    /// Tokens of the text before truncation.
    pub token_count: usize,
    /// Whether the end of the text was cut off.
    pub truncated: bool,
}

impl PromptEmbedding {
    /// Rows of `embeds`: 77.
    pub fn tokens(&self) -> usize {
        self.embeds.len().checked_div(self.width).unwrap_or(0)
    }

    /// All zeros, of the same shape: diffusers' negative embedding if none is given.
    pub fn zeros_like(&self) -> Self {
        Self {
            embeds: vec![0.0; self.embeds.len()],
            pooled: vec![0.0; self.pooled.len()],
            width: self.width,
            ids: [Vec::new(), Vec::new()],
            token_count: 0,
            truncated: false,
        }
    }

    /// Rows 1…8: the text as a name embedding.
    ///
    /// # Errors
    /// [`Error::Size`] of fewer than nine tokens.
    pub fn name(&self) -> Result<NameTensor> {
        let rows = self.embeds.get(self.width..(1 + NAME_TOKENS) * self.width);
        let rows = rows.ok_or(Error::Size {
            what: "a prompt embedding",
            found: self.embeds.len(),
            expected: (1 + NAME_TOKENS) * self.width,
        })?;
        Ok(NameTensor::new(rows.to_vec(), self.width)?.with_token_count(self.token_count))
    }

    /// Name Prepending: [P₀, N₁…N₈, P₁…P₆₈]. The last eight rows fall off, positions are not
    /// encoded again, and the pooled vector stays the prompt's.
    ///
    /// # Errors
    /// [`Error::Size`] of a name of another width, or a prompt of eight tokens or fewer.
    pub fn prepend(&self, name: &NameTensor) -> Result<Self> {
        let (found, expected) = (self.embeds.len(), (1 + NAME_TOKENS) * self.width);
        if self.tokens() <= NAME_TOKENS {
            return Err(Error::Size {
                what: "a prompt embedding",
                found,
                expected,
            });
        }
        self.insert(name, 1)
    }

    /// The name between the prompt's rows: [P₀…Pₖ₋₁, N₁…N₈, Pₖ…P₆₈] with k the `position`; as
    /// [`PromptEmbedding::prepend`] where that is 1.
    ///
    /// # Errors
    /// [`Error::Size`] of a name of another width, [`Error::Setting`] of a position outside the
    /// prompt.
    pub fn insert(&self, name: &NameTensor, position: usize) -> Result<Self> {
        Error::check_size("a row of the name embedding", name.width, self.width)?;
        let kept = self.tokens().saturating_sub(NAME_TOKENS);
        if position == 0 || position > kept {
            let expected = format!("a position from 1 to {kept}");
            return Err(Error::setting(
                "naming",
                format!("{AT}{position}"),
                expected,
            ));
        }
        let mut embeds = Vec::with_capacity(self.embeds.len());
        embeds.extend_from_slice(&self.embeds[..position * self.width]);
        embeds.extend_from_slice(&name.rows);
        embeds.extend_from_slice(&self.embeds[position * self.width..kept * self.width]);
        Ok(Self {
            embeds,
            ..self.clone()
        })
    }

    /// Name substitution: the name's rows in place of those of `placeholder` ("a person"), whose
    /// positions are given. A name of known length brings as many rows as it has tokens, another
    /// all eight. What comes after moves up or down with its values as they are; a gap at the end
    /// repeats the last row, an overhang falls off. The pooled vector stays the prompt's.
    ///
    /// # Errors
    /// [`Error::Size`] of a name of another width, [`Error::Setting`] of positions outside the
    /// prompt.
    pub fn substitute(&self, name: &NameTensor, placeholder: Range<usize>) -> Result<Self> {
        Error::check_size("a row of the name embedding", name.width, self.width)?;
        let (tokens, width) = (self.tokens(), self.width);
        if placeholder.is_empty() || placeholder.start == 0 || placeholder.end >= tokens {
            let given = format!("{placeholder:?}");
            let expected = format!("positions after the start token and before {tokens}");
            return Err(Error::setting("placeholder", given, expected));
        }
        let rows = name.token_count.unwrap_or(NAME_TOKENS).min(NAME_TOKENS);
        let mut embeds = Vec::with_capacity(self.embeds.len() + NAME_TOKENS * width);
        embeds.extend_from_slice(&self.embeds[..placeholder.start * width]);
        embeds.extend_from_slice(&name.rows[..rows * width]);
        embeds.extend_from_slice(&self.embeds[placeholder.end * width..]);
        let last = &self.embeds[(tokens - 1) * width..];
        while embeds.len() < self.embeds.len() {
            embeds.extend_from_slice(last);
        }
        embeds.truncate(self.embeds.len());
        Ok(Self {
            embeds,
            ..self.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twelve tokens of width 1, numbered.
    fn prompt() -> PromptEmbedding {
        PromptEmbedding {
            embeds: (0..12u8).map(f32::from).collect(),
            width: 1,
            pooled: vec![7.0],
            ids: [Vec::new(), Vec::new()],
            token_count: 6,
            truncated: false,
        }
    }

    fn name() -> NameTensor {
        let rows = (0..8u8).map(|i| 100.0 + f32::from(i)).collect();
        NameTensor::new(rows, 1).expect("a name")
    }

    #[test]
    fn a_name_is_prepended_after_the_start_token() {
        let named = prompt().prepend(&name()).expect("prepended");
        let expected = [
            0.0, 100.0, 101.0, 102.0, 103.0, 104.0, 105.0, 106.0, 107.0, 1.0, 2.0, 3.0,
        ];
        assert_eq!(named.embeds, expected);
        assert_eq!(named.pooled, [7.0]);
    }

    #[test]
    fn a_name_is_inserted_at_a_position() {
        let named = prompt().insert(&name(), 3).expect("inserted");
        let expected = [
            0.0, 1.0, 2.0, 100.0, 101.0, 102.0, 103.0, 104.0, 105.0, 106.0, 107.0, 3.0,
        ];
        assert_eq!(named.embeds, expected);
        let first = prompt().insert(&name(), 1).expect("inserted");
        assert_eq!(first, prompt().prepend(&name()).expect("prepended"));
        for wrong in [0, 5, 99] {
            assert!(prompt().insert(&name(), wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_long_name_pushes_the_end_out() {
        let named = prompt().substitute(&name(), 3..5).expect("substituted");
        let expected = [
            0.0, 1.0, 2.0, 100.0, 101.0, 102.0, 103.0, 104.0, 105.0, 106.0, 107.0, 5.0,
        ];
        assert_eq!(named.embeds, expected);
        assert_eq!(named.pooled, [7.0]);
    }

    #[test]
    fn a_short_name_leaves_a_gap_that_the_last_row_fills() {
        let one = name().with_token_count(1);
        let named = prompt().substitute(&one, 3..5).expect("substituted");
        let expected = [
            0.0, 1.0, 2.0, 100.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 11.0,
        ];
        assert_eq!(named.embeds, expected);
    }

    #[test]
    fn substitute_rejects_positions_outside_the_prompt() {
        for wrong in [0..2, 4..4, 10..12] {
            assert!(prompt().substitute(&name(), wrong).is_err());
        }
    }

    #[test]
    fn naming_parses_and_rejects_unknown_words() {
        assert_eq!("prepend".parse::<Naming>().ok(), Some(Naming::default()));
        for text in ["prepend", "substitute", "at:7"] {
            let naming = text.parse::<Naming>().expect("a naming");
            assert_eq!(naming.to_string(), text);
        }
        assert!("at:0".parse::<Naming>().is_err());
        let wrong = "replace".parse::<Naming>().expect_err("unknown");
        assert!(wrong.to_string().contains("substitute"), "{wrong}");
    }
}
