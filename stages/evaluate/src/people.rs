//! Folders of people: their reference photos, or images of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use image::RgbImage;
use laioncele_core::CoreError;
use laioncele_image::{Limits, Orientation, decode};
use laioncele_inference::references;
use rayon::prelude::*;

use crate::error::Result;
use crate::networks::Networks;
use crate::scores::References;

/// The largest file that is read as an image.
const MAX_BYTES: u64 = 256 << 20;

/// The reference photos of each person in a folder, by name.
///
/// # Errors
/// A folder that is missing or cannot be read.
pub(crate) fn photos_by_person(
    folder: &Path,
) -> std::result::Result<BTreeMap<String, Vec<PathBuf>>, CoreError> {
    let people = references::people(folder)?.into_iter();
    Ok(people.map(|person| (person.name, person.photos)).collect())
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

/// The mean of a person's reference faces, each of unit length, so that a cosine to it is the mean
/// of the cosines to them. Photos that do not decode or show no face are skipped; `None` if no
/// other is left.
///
/// # Errors
/// A network's error.
fn reference_face(photos: &[PathBuf], networks: &Networks) -> Result<Option<Vec<f32>>> {
    let mut faces: Vec<Vec<f32>> = Vec::new();
    for path in photos {
        match photo(path) {
            Ok(image) => faces.extend(networks.face(&image)?),
            Err(reason) => {
                tracing::warn!(path = %path.display(), reason, "reference photo skipped");
            }
        }
    }
    let Some(first) = faces.first() else {
        return Ok(None);
    };
    let mean = |k: usize| {
        let sum: f64 = faces.iter().map(|face| f64::from(face[k])).sum();
        (sum / faces.len() as f64) as f32
    };
    Ok(Some((0..first.len()).map(mean).collect()))
}

/// The reference faces of `people`.
///
/// # Errors
/// A network's error.
pub(crate) fn reference_faces(
    photos: &BTreeMap<String, Vec<PathBuf>>,
    people: &BTreeSet<&str>,
    networks: &Networks,
) -> Result<References> {
    let face = |name: &&str| {
        let photos = photos.get(*name).map_or(&[][..], Vec::as_slice);
        Ok(((*name).to_owned(), reference_face(photos, networks)?))
    };
    people.par_iter().map(face).collect()
}

fn photo(path: &Path) -> std::result::Result<RgbImage, String> {
    let bytes = read_image(path)?;
    decode(&bytes, &Limits::default(), Orientation::Upright).map_err(|e| e.to_string())
}
