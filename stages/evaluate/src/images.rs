//! What is measured in each image: CLIP embedding, prompt cosine, Inception's features, face embedding.
//! All metrics are computed from it. Pixels are taken as the reference libraries take them: as stored,
//! whatever EXIF says, and without transparency.

use std::borrow::Cow;
use std::collections::BTreeMap;

use image::RgbImage;
use laioncele_core::Digest;
use laioncele_image::{Facts, Limits, Orientation, decode, facts};
use rayon::prelude::*;

use crate::error::Result;
use crate::identity::cosine;
use crate::inception::InceptionView;
use crate::networks::Networks;

/// The person of the base model's images: nobody.
pub(crate) const BASE_MODEL: &str = "";

/// The group of all images.
pub(crate) const ALL: &str = "all";
/// The group that is no group: the mean of the groups' figures, which the paper's tables call "All".
pub(crate) const MEAN: &str = "mean";

/// Images that are decoded at once: about 100 MB of 1024 × 1024.
const BLOCK: usize = 32;

/// The largest image that is decoded, in pixels.
const MAX_PIXELS: u64 = 4096 * 4096;

/// An image to measure.
#[derive(Clone, Debug)]
pub struct ImageInput<'a> {
    /// What made it.
    pub system: &'a str,
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
    /// Whether it is the base model's, of a prompt.
    fn is_of_nobody(&self) -> bool {
        self.person == BASE_MODEL && self.prompt.is_some()
    }

    /// System, person and prompt, which images of different seeds have in common. Images of the base
    /// model have no person.
    fn cell(&self) -> Option<(&str, &str, &str)> {
        self.prompt
            .filter(|_| self.person != BASE_MODEL)
            .map(|prompt| (self.system, self.person, prompt))
    }
}

/// What was measured in an image.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewedImage {
    /// What made it.
    pub system: String,
    /// Who it is of; [`BASE_MODEL`] for the base model's.
    pub person: String,
    /// The prompt's group.
    pub group: String,
    /// Its prompt, where that is known.
    pub prompt: Option<String>,
    /// CLIP's embedding, not of unit length.
    pub embedding: Vec<f32>,
    /// Its cosine to that of the prompt, where there is a prompt and a text tower.
    pub prompt_cosine: Option<f64>,
    /// What Inception sees, where there is such a network.
    pub inception: Option<InceptionView>,
    /// The embedding of the most prominent face, of unit length.
    pub face: Option<Vec<f32>>,
    /// What must be known to compare its figures with those of other programs.
    pub facts: Facts,
    /// Width and height in pixels.
    pub size: [u32; 2],
}

/// What was measured in all images.
#[derive(Default)]
pub struct ViewedImages {
    /// In the order in which they were added.
    pub images: Vec<ViewedImage>,
    /// Of pairs of images of one system, person and prompt; of the base model's, of neighbours.
    pub seed_differences: Vec<SeedDifference>,
    /// The texts' embeddings, not of unit length.
    pub prompts: BTreeMap<String, Vec<f32>>,
    /// The places of images whose files were met first, by their bytes.
    known: BTreeMap<Digest, usize>,
}

/// How much two images of one person and prompt differ.
#[derive(Clone, Debug, PartialEq)]
pub struct SeedDifference {
    /// What made them.
    pub system: String,
    /// The prompt's group.
    pub group: String,
    /// The mean absolute difference, as a share of the range of a pixel.
    pub difference: f32,
}

/// What the networks say of a file.
#[derive(Clone)]
struct Measured {
    embedding: Vec<f32>,
    inception: Option<InceptionView>,
    face: Option<Vec<f32>>,
}

impl Measured {
    fn of(image: &ViewedImage) -> Self {
        Self {
            embedding: image.embedding.clone(),
            inception: image.inception.clone(),
            face: image.face.clone(),
        }
    }
}

/// A decoded image.
struct Decoded {
    pixels: RgbImage,
    digest: Digest,
    facts: Facts,
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
        let decoded: Vec<_> = block.par_iter().map(open).collect();
        let mut undecoded = Vec::new();
        let mut images = Vec::with_capacity(block.len());
        for (place, (image, result)) in block.iter().zip(decoded).enumerate() {
            match result {
                Ok(decoded) => images.push((image, decoded)),
                Err(reason) => undecoded.push((place, reason)),
            }
        }
        self.seed_differences.extend(seed_differences(&images));
        self.encode_prompts(networks, block)?;
        let new = self.measure(networks, &images)?;
        for (image, decoded) in images {
            let place = self.images.len();
            let first = *self.known.entry(decoded.digest).or_insert(place);
            let measured = match self.images.get(first) {
                Some(first) => Measured::of(first),
                None => new[&decoded.digest].clone(),
            };
            let prompt = image.prompt.and_then(|prompt| self.prompts.get(prompt));
            self.images.push(ViewedImage {
                system: image.system.to_owned(),
                person: image.person.to_owned(),
                group: image.group.to_owned(),
                prompt: image.prompt.map(str::to_owned),
                prompt_cosine: prompt.map(|prompt| cosine(&measured.embedding, prompt)),
                embedding: measured.embedding,
                inception: measured.inception,
                face: measured.face,
                facts: decoded.facts,
                size: decoded.pixels.dimensions().into(),
            });
        }
        Ok(undecoded)
    }

    /// Runs the networks on what is not known yet: equal files are looked at once.
    fn measure(
        &self,
        networks: &Networks,
        images: &[(&ImageInput<'_>, Decoded)],
    ) -> Result<BTreeMap<Digest, Measured>> {
        let mut new: BTreeMap<Digest, &RgbImage> = BTreeMap::new();
        for (_, decoded) in images {
            if !self.known.contains_key(&decoded.digest) {
                new.insert(decoded.digest, &decoded.pixels);
            }
        }
        let pixels: Vec<&RgbImage> = new.values().copied().collect();
        let embeddings = networks.image_embeddings(&pixels)?;
        let look = |image: &&RgbImage| Ok((networks.face(image)?, networks.inception_view(image)?));
        let looked: Result<Vec<_>> = pixels.par_iter().map(look).collect();
        let measured = (new.into_keys().zip(embeddings).zip(looked?)).map(
            |((digest, embedding), (face, inception))| {
                let measured = Measured {
                    embedding,
                    inception,
                    face,
                };
                (digest, measured)
            },
        );
        Ok(measured.collect())
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

/// Decodes an image; the error says why it does not.
fn open(image: &ImageInput<'_>) -> std::result::Result<Decoded, String> {
    let bytes = image.file.as_ref().map_err(Clone::clone)?;
    let limits = Limits {
        max_pixels: MAX_PIXELS,
    };
    let pixels = decode(bytes, &limits, Orientation::AsStored).map_err(|e| e.to_string())?;
    Ok(Decoded {
        pixels,
        digest: Digest::of(bytes),
        facts: facts(bytes),
    })
}

/// Of neighbours of one person and prompt each pair of one size; of the base model's, which may be many of a prompt, each
/// with the next.
fn seed_differences(images: &[(&ImageInput<'_>, Decoded)]) -> Vec<SeedDifference> {
    let mut pairs = Vec::new();
    for pair in images.windows(2) {
        if let [(first, a), (second, b)] = pair
            && first.is_of_nobody()
            && (first.system, first.person, first.prompt)
                == (second.system, second.person, second.prompt)
            && a.pixels.dimensions() == b.pixels.dimensions()
        {
            pairs.push((*first, &a.pixels, &b.pixels));
        }
    }
    for cell in images.chunk_by(|(a, _), (b, _)| a.cell().is_some() && a.cell() == b.cell()) {
        for (k, (image, a)) in cell.iter().enumerate() {
            let others = cell[k + 1..].iter().map(|(_, b)| b);
            let same_size = others.filter(|b| b.pixels.dimensions() == a.pixels.dimensions());
            pairs.extend(same_size.map(|b| (*image, &a.pixels, &b.pixels)));
        }
    }
    let compare = |(image, a, b): &(&ImageInput<'_>, &RgbImage, &RgbImage)| SeedDifference {
        system: image.system.to_owned(),
        group: image.group.to_owned(),
        difference: pixel_difference(a.as_raw(), b.as_raw()),
    };
    pairs.par_iter().map(compare).collect()
}

/// The mean absolute difference of two images of one size over the whole range of a pixel, in [0,
/// 1].
fn pixel_difference(a: &[u8], b: &[u8]) -> f32 {
    let differences = a.iter().zip(b).map(|(x, y)| u64::from(x.abs_diff(*y)));
    (differences.sum::<u64>() as f64 / 255.0 / a.len().max(1) as f64) as f32
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
            system: "s",
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
            digest: Digest::of(&[value]),
            facts: facts(&[]),
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
            (&plain, decoded(204, 4)),
        ];
        let found = seed_differences(&images);
        let mut differences: Vec<f32> = found.iter().map(|f| f.difference).collect();
        differences.sort_by(f32::total_cmp);
        assert_eq!(differences, [0.2, 0.2, 1.0]);
        assert!(found.iter().all(|f| f.group == "g"));
    }

    #[test]
    fn pixel_difference_is_a_fraction_of_the_range() {
        assert_eq!(pixel_difference(&[0, 255], &[255, 255]), 0.5);
        assert_eq!(pixel_difference(&[7, 9], &[7, 9]), 0.0);
        assert_eq!(pixel_difference(&[], &[]), 0.0);
    }
}
