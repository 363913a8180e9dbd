//! Folders of people: their reference photos, or images of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use image::RgbImage;
use laioncele_core::CoreError;
use laioncele_image::{Limits, Orientation, decode};
use laioncele_inference::references::{self, Person};
use rayon::prelude::*;

use crate::error::Result;
use crate::identity::unit;
use crate::networks::Networks;

/// The largest file that is read as an image.
const MAX_BYTES: u64 = 256 << 20;

/// People with their reference photos, by name.
pub(crate) type People = BTreeMap<String, Person>;

/// The people of a folder.
///
/// # Errors
/// A folder that is missing or cannot be read, a wrong list of words.
pub(crate) fn people_by_name(folder: &Path) -> std::result::Result<People, CoreError> {
    let people = references::people(folder)?.into_iter();
    Ok(people.map(|person| (person.name.clone(), person)).collect())
}

/// The last part of a path, as text.
pub(crate) fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The bytes of an image's file, or why there are none.
pub(crate) fn read_image(path: &Path) -> std::result::Result<Vec<u8>, String> {
    let size = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > MAX_BYTES {
        return Err(format!("{size} bytes, more than {MAX_BYTES}"));
    }
    std::fs::read(path).map_err(|e| e.to_string())
}

/// What is known of a person's reference photos. A cosine to a mean of unit vectors is the mean of the cosines
/// to them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reference {
    /// The mean of the faces, each of unit length; of those photos that show one.
    pub face: Option<Vec<f64>>,
    /// The mean of CLIP's embeddings, each of unit length.
    pub embedding: Option<Vec<f64>>,
}

/// The references by person; also of those without a usable photo.
pub type References = BTreeMap<String, Reference>;

/// Photos that are decoded at once.
const AT_ONCE: usize = 16;

fn mean_vector(vectors: &[Vec<f64>]) -> Option<Vec<f64>> {
    let first = vectors.first()?;
    let mean = |k: usize| vectors.iter().map(|v| v[k]).sum::<f64>() / vectors.len() as f64;
    Some((0..first.len()).map(mean).collect())
}

/// The references of `names`. Photos that do not decode are skipped.
///
/// # Errors
/// A network's error.
pub(crate) fn references_of(
    people: &People,
    names: &BTreeSet<&str>,
    networks: &Networks,
) -> Result<References> {
    let of = |name: &&'_ str| people.get(*name).map_or(&[][..], |p| p.photos.as_slice());
    let all: Vec<(&str, &PathBuf)> = (names.iter())
        .flat_map(|name| of(name).iter().map(|path| (*name, path)))
        .collect();
    let mut faces: BTreeMap<&str, Vec<Vec<f64>>> = BTreeMap::new();
    let mut embeddings = faces.clone();
    for some in all.chunks(AT_ONCE) {
        let images: Vec<_> = some.par_iter().filter_map(usable).collect();
        let look = |(_, image): &(&str, RgbImage)| networks.face(image);
        let found: Result<Vec<_>> = images.par_iter().map(look).collect();
        let pixels: Vec<&RgbImage> = images.iter().map(|(_, image)| image).collect();
        let embedded = networks.image_embeddings(&pixels)?;
        for (((name, _), face), embedding) in images.iter().zip(found?).zip(embedded) {
            let of_person = faces.entry(name).or_default();
            of_person.extend(face.map(|face| unit(&face)));
            embeddings.entry(name).or_default().push(unit(&embedding));
        }
    }
    let mean = |of: &BTreeMap<&str, Vec<Vec<f64>>>, name: &str| mean_vector(of.get(name)?);
    let reference = |name: &&str| {
        let reference = Reference {
            face: mean(&faces, name),
            embedding: mean(&embeddings, name),
        };
        ((*name).to_owned(), reference)
    };
    Ok(names.iter().map(reference).collect())
}

/// A photo that decodes; others are skipped.
fn usable<'a>((name, path): &(&'a str, &PathBuf)) -> Option<(&'a str, RgbImage)> {
    match upright(path) {
        Ok(image) => Some((name, image)),
        Err(reason) => {
            tracing::warn!(path = %path.display(), reason, "reference photo skipped");
            None
        }
    }
}

/// The pixels of a generated image, as stored; `None` where there are none.
pub(crate) fn decoded(path: &Path) -> Option<RgbImage> {
    let bytes = read_image(path).ok()?;
    decode(&bytes, &Limits::default(), Orientation::AsStored).ok()
}

/// A reference photo's pixels, upright: it is a photo, and detectors look for upright faces.
pub(crate) fn upright(path: &Path) -> std::result::Result<RgbImage, String> {
    let bytes = read_image(path)?;
    decode(&bytes, &Limits::default(), Orientation::Upright).map_err(|e| e.to_string())
}
