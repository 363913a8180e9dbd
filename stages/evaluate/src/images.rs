//! What is measured in each image: CLIP embedding, prompt cosine, face embedding. All metrics are
//! computed from it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use image::RgbImage;
use laioncele_clip::cosine;
use laioncele_image::{Limits, Orientation, decode};
use rayon::prelude::*;

use crate::error::Result;
use crate::networks::Networks;
use crate::statistics::pixel_difference;

/// The person of the base model's images: nobody.
pub(crate) const BASE_MODEL: &str = "";

/// Images that are decoded at once: about 100 MB of 1024 × 1024.
const BLOCK: usize = 32;

/// The largest image that is decoded, in pixels.
const MAX_PIXELS: u64 = 4096 * 4096;

/// An image to measure.
#[derive(Clone, Debug)]
pub struct ImageInput<'a> {
    /// Who it is of; [`BASE_MODEL`] for the base model's.
    pub person: &'a str,
    /// The prompt's group.
    pub group: &'a str,
    /// Its prompt, where that is known.
    pub prompt: Option<&'a str>,
    /// The file, or why there is none.
    pub file: std::result::Result<Cow<'a, [u8]>, String>,
}

impl ImageInput<'_> {
    /// Person and prompt, which images of different seeds have in common. Images of the base model
    /// have no person.
    fn cell(&self) -> Option<(&str, &str)> {
        self.prompt
            .filter(|_| self.person != BASE_MODEL)
            .map(|prompt| (self.person, prompt))
    }
}

/// What was measured in an image.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewedImage {
    /// Who it is of; [`BASE_MODEL`] for the base model's.
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

/// What was measured in all images.
#[derive(Default)]
pub struct ViewedImages {
    /// In the order in which they were added.
    pub images: Vec<ViewedImage>,
    /// (group, mean absolute difference over the whole range of a pixel) of pairs of images of one
    /// person and prompt.
    pub seed_differences: Vec<(String, f32)>,
    prompts: BTreeMap<String, Vec<f32>>,
}

/// A decoded image and its face.
struct Decoded {
    pixels: RgbImage,
    face: Option<Vec<f32>>,
}

impl ViewedImages {
    /// Measures images; returns for each that was not decoded its place and why. Images of one
    /// person and prompt should be neighbours in one call, see [`blocks`].
    ///
    /// # Errors
    /// A network's error.
    pub fn add(
        &mut self,
        networks: &Networks,
        block: &[ImageInput<'_>],
    ) -> Result<Vec<(usize, String)>> {
        let decoded: Result<Vec<_>> = block.par_iter().map(|p| look(networks, p)).collect();
        let mut undecoded = Vec::new();
        let mut images = Vec::with_capacity(block.len());
        for (place, (image, result)) in block.iter().zip(decoded?).enumerate() {
            match result {
                Ok(decoded) => images.push((image, decoded)),
                Err(reason) => undecoded.push((place, reason)),
            }
        }
        self.seed_differences.extend(seed_differences(&images));
        self.encode_prompts(networks, block)?;
        let pixels: Vec<&RgbImage> = images.iter().map(|(_, d)| &d.pixels).collect();
        let embeddings = networks.image_embeddings(&pixels)?;
        for ((image, decoded), embedding) in images.into_iter().zip(embeddings) {
            let prompt = image.prompt.and_then(|prompt| self.prompts.get(prompt));
            self.images.push(ViewedImage {
                person: image.person.to_owned(),
                group: image.group.to_owned(),
                prompt_cosine: prompt.map(|prompt| cosine(&embedding, prompt)),
                embedding,
                face: decoded.face,
            });
        }
        Ok(undecoded)
    }

    fn encode_prompts(&mut self, networks: &Networks, block: &[ImageInput<'_>]) -> Result<()> {
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

/// Decodes an image and finds its face; the inner error says why it does not decode.
fn look(
    networks: &Networks,
    image: &ImageInput<'_>,
) -> Result<std::result::Result<Decoded, String>> {
    let bytes = match &image.file {
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
fn seed_differences(images: &[(&ImageInput<'_>, Decoded)]) -> Vec<(String, f32)> {
    let mut pairs = Vec::new();
    for cell in images.chunk_by(|(a, _), (b, _)| a.cell().is_some() && a.cell() == b.cell()) {
        for (k, (image, a)) in cell.iter().enumerate() {
            let others = cell[k + 1..].iter().map(|(_, b)| b);
            let same_size = others.filter(|b| b.pixels.dimensions() == a.pixels.dimensions());
            pairs.extend(same_size.map(|b| (image.group, &a.pixels, &b.pixels)));
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

/// Cuts images into blocks of at most [`BLOCK`] that are measured together, between people or
/// prompts wherever that is possible: where a person and prompt have more images than a block,
/// pairs across the cut are not compared.
pub(crate) fn blocks<T>(items: &[T], image: impl Fn(&T) -> ImageInput<'_>) -> Vec<&[T]> {
    let (mut blocks, mut start, mut end) = (Vec::new(), 0, 0);
    let same = |a: &T, b: &T| {
        let (a, b) = (image(a), image(b));
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

    fn image<'a>(person: &'a str, prompt: &'a str) -> ImageInput<'a> {
        ImageInput {
            person,
            group: "g",
            prompt: Some(prompt),
            file: Ok(Cow::Borrowed(&[])),
        }
    }

    proptest! {
        #[test]
        fn blocks_are_small_and_complete(cells in prop::collection::vec((0u8..3, 1usize..70), 0..12)) {
            let people: Vec<String> = cells.iter().flat_map(|(who, count)| vec![who.to_string(); *count]).collect();
            let blocks = blocks(&people, |person| image(person, "p"));
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
    fn seed_differences_stay_within_person_and_prompt() {
        let (a, b, plain) = (image("ada", "p"), image("bea", "p"), image(BASE_MODEL, "p"));
        let other = image("ada", "q");
        let images = [
            (&a, decoded(0, 4)),
            (&a, decoded(51, 4)),
            (&a, decoded(255, 5)),
            (&b, decoded(255, 4)),
            (&other, decoded(0, 4)),
            (&plain, decoded(0, 4)),
            (&plain, decoded(255, 4)),
        ];
        assert_eq!(seed_differences(&images), [("g".to_owned(), 0.2)]);
    }
}
