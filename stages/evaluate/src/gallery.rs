//! Pictures, looked at once: what the figures are made of.

use std::borrow::Cow;
use std::collections::BTreeMap;

use image::RgbImage;
use laioncele_clip::cosine;
use laioncele_image::{Limits, Orientation, decode};
use rayon::prelude::*;

use crate::error::Result;
use crate::networks::Networks;
use crate::statistics::pixel_difference;

/// Whose pictures the plain model's are.
pub const PLAIN: &str = "";

/// Pictures that are decoded at once: about 100 MB of 1024 × 1024.
const BLOCK: usize = 32;

/// The largest picture that is decoded, in pixels.
const MAX_PIXELS: u64 = 4096 * 4096;

/// A picture to look at.
#[derive(Clone, Debug)]
pub struct Picture<'a> {
    /// Who it is of; [`PLAIN`] for the plain model's.
    pub person: &'a str,
    /// The prompt's group.
    pub group: &'a str,
    /// What it was drawn from, where that is known.
    pub prompt: Option<&'a str>,
    /// The file, or why there is none.
    pub file: std::result::Result<Cow<'a, [u8]>, String>,
}

impl Picture<'_> {
    /// What pictures of different seeds have in common: person and prompt. Nobody in particular has no seeds to compare.
    fn cell(&self) -> Option<(&str, &str)> {
        self.prompt
            .filter(|_| self.person != PLAIN)
            .map(|prompt| (self.person, prompt))
    }
}

/// What was seen in a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Who it is of; [`PLAIN`] for the plain model's.
    pub person: String,
    /// The prompt's group.
    pub group: String,
    /// CLIP's embedding, not of unit length.
    pub embedding: Vec<f32>,
    /// Its cosine to that of the prompt, where there is a prompt and a text tower.
    pub prompt_cosine: Option<f32>,
    /// The embedding of the most prominent face, of unit length.
    pub face: Option<Vec<f32>>,
}

/// All that was seen.
#[derive(Default)]
pub struct Gallery {
    /// In the order in which they were shown.
    pub seen: Vec<Seen>,
    /// (group, mean absolute difference over the whole range of a pixel) of pairs of pictures of one person and prompt.
    pub seed_differences: Vec<(String, f32)>,
    prompts: BTreeMap<String, Vec<f32>>,
}

/// A decoded picture and its face.
struct Decoded {
    pixels: RgbImage,
    face: Option<Vec<f32>>,
}

impl Gallery {
    /// Looks at pictures; returns for each that was not decoded its place and why. Pictures of one person and prompt
    /// should be neighbours in one call, see [`blocks`].
    ///
    /// # Errors
    /// A network's error.
    pub fn add(
        &mut self,
        networks: &Networks,
        block: &[Picture<'_>],
    ) -> Result<Vec<(usize, String)>> {
        let decoded: Result<Vec<_>> = block.par_iter().map(|p| look(networks, p)).collect();
        let mut undecoded = Vec::new();
        let mut pictures = Vec::with_capacity(block.len());
        for (place, (picture, result)) in block.iter().zip(decoded?).enumerate() {
            match result {
                Ok(decoded) => pictures.push((picture, decoded)),
                Err(reason) => undecoded.push((place, reason)),
            }
        }
        self.seed_differences.extend(seed_differences(&pictures));
        self.encode_prompts(networks, block)?;
        let pixels: Vec<&RgbImage> = pictures.iter().map(|(_, d)| &d.pixels).collect();
        let embeddings = networks.image_embeddings(&pixels)?;
        for ((picture, decoded), embedding) in pictures.into_iter().zip(embeddings) {
            let prompt = picture.prompt.and_then(|prompt| self.prompts.get(prompt));
            self.seen.push(Seen {
                person: picture.person.to_owned(),
                group: picture.group.to_owned(),
                prompt_cosine: prompt.map(|prompt| cosine(&embedding, prompt)),
                embedding,
                face: decoded.face,
            });
        }
        Ok(undecoded)
    }

    fn encode_prompts(&mut self, networks: &Networks, block: &[Picture<'_>]) -> Result<()> {
        let prompts = block.iter().filter_map(|p| p.prompt);
        let mut new: Vec<&str> = prompts.filter(|p| !self.prompts.contains_key(*p)).collect();
        new.sort_unstable();
        new.dedup();
        let embeddings = networks.text_embeddings(&new)?;
        let named = new.into_iter().map(str::to_owned).zip(embeddings);
        self.prompts.extend(named);
        Ok(())
    }
}

/// Decodes a picture and finds its face; the inner error says why it does not decode.
fn look(
    networks: &Networks,
    picture: &Picture<'_>,
) -> Result<std::result::Result<Decoded, String>> {
    let bytes = match &picture.file {
        Ok(bytes) => bytes,
        Err(reason) => return Ok(Err(reason.clone())),
    };
    let limits = Limits {
        max_pixels: MAX_PIXELS,
    };
    match decode(bytes, &limits, Orientation::Upright) {
        Ok(pixels) => Ok(Ok(Decoded {
            face: networks.face(&pixels)?,
            pixels,
        })),
        Err(error) => Ok(Err(error.to_string())),
    }
}

/// Of neighbours of one person and prompt each pair of one size.
fn seed_differences(pictures: &[(&Picture<'_>, Decoded)]) -> Vec<(String, f32)> {
    let mut pairs = Vec::new();
    for cell in pictures.chunk_by(|(a, _), (b, _)| a.cell().is_some() && a.cell() == b.cell()) {
        for (k, (picture, a)) in cell.iter().enumerate() {
            let others = cell[k + 1..].iter().map(|(_, b)| b);
            let same_size = others.filter(|b| b.pixels.dimensions() == a.pixels.dimensions());
            pairs.extend(same_size.map(|b| (picture.group, &a.pixels, &b.pixels)));
        }
    }
    let compare = |(group, a, b): &(&str, &RgbImage, &RgbImage)| {
        (
            (*group).to_owned(),
            pixel_difference(a.as_raw(), b.as_raw()),
        )
    };
    pairs.par_iter().map(compare).collect()
}

/// Cuts pictures into blocks of at most [`BLOCK`] that are looked at together, between people or prompts wherever that
/// is possible: where a person and prompt have more pictures than a block, pairs across the cut are not compared.
pub fn blocks<T>(items: &[T], picture: impl Fn(&T) -> Picture<'_>) -> Vec<&[T]> {
    let (mut blocks, mut start, mut end) = (Vec::new(), 0, 0);
    let same = |a: &T, b: &T| {
        let (a, b) = (picture(a), picture(b));
        a.cell().is_some() && a.cell() == b.cell()
    };
    for cell in items.chunk_by(same) {
        if end > start && end - start + cell.len() > BLOCK {
            blocks.push(&items[start..end]);
            start = end;
        }
        end += cell.len();
        while end - start > BLOCK {
            blocks.push(&items[start..start + BLOCK]);
            start += BLOCK;
        }
    }
    if end > start {
        blocks.push(&items[start..end]);
    }
    blocks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn picture<'a>(person: &'a str, prompt: &'a str) -> Picture<'a> {
        Picture {
            person,
            group: "g",
            prompt: Some(prompt),
            file: Ok(Cow::Borrowed(&[])),
        }
    }

    proptest! {
        #[test]
        fn blocks_are_small_and_lose_nothing(cells in prop::collection::vec((0u8..3, 1usize..70), 0..12)) {
            let people: Vec<String> = cells.iter().flat_map(|(who, count)| vec![who.to_string(); *count]).collect();
            let blocks = blocks(&people, |person| picture(person, "p"));
            prop_assert_eq!(blocks.concat(), people.clone());
            prop_assert!(blocks.iter().all(|b| !b.is_empty() && b.len() <= BLOCK));
            for pair in blocks.windows(2) {
                let cut = pair[0].last() == pair[1].first();
                prop_assert!(!cut || pair[0].len() == BLOCK || people.iter().filter(|p| pair[0].last() == Some(*p)).count() > BLOCK);
            }
        }
    }

    fn decoded(value: u8, edge: u32) -> Decoded {
        Decoded {
            pixels: RgbImage::from_pixel(edge, edge, image::Rgb([value; 3])),
            face: None,
        }
    }

    #[test]
    fn seeds_are_compared_within_person_and_prompt() {
        let (a, b, plain) = (
            picture("ada", "p"),
            picture("bea", "p"),
            picture(PLAIN, "p"),
        );
        let other = picture("ada", "q");
        let pictures = [
            (&a, decoded(0, 4)),
            (&a, decoded(51, 4)),
            (&a, decoded(255, 5)),
            (&b, decoded(255, 4)),
            (&other, decoded(0, 4)),
            (&plain, decoded(0, 4)),
            (&plain, decoded(255, 4)),
        ];
        assert_eq!(seed_differences(&pictures), [("g".to_owned(), 0.2)]);
    }
}
