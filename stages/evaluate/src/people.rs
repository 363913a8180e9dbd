//! Folders of people: their reference photos, or images of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use image::RgbImage;
use laioncele_core::CoreError;
use laioncele_image::{Limits, Orientation, decode};
use rayon::prelude::*;

use crate::error::Result;
use crate::networks::Networks;
use crate::scores::References;

/// The largest file that is read as an image.
const MAX_BYTES: u64 = 256 << 20;

/// The photos of each person of a folder, sorted: one photo named after the person, or a sub-folder
/// of photos each. Names that begin with a dot are passed over. What generate-samples draws from is
/// read alike.
///
/// # Errors
/// A folder that is missing or cannot be read.
pub fn photos_by_person(
    folder: &Path,
) -> std::result::Result<BTreeMap<String, Vec<PathBuf>>, CoreError> {
    let mut people: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in entries(folder)? {
        if path.is_dir() {
            let photos = entries(&path)?.into_iter().filter(|p| p.is_file());
            people.entry(name_of(&path)).or_default().extend(photos);
        } else {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            people.entry(name.into_owned()).or_default().push(path);
        }
    }
    Ok(people)
}

/// The visible entries of a folder, sorted.
///
/// # Errors
/// A folder that is missing or cannot be read.
pub fn entries(folder: &Path) -> std::result::Result<Vec<PathBuf>, CoreError> {
    let fail = |error| CoreError::from_io(folder, error);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if !name_of(&path).starts_with('.') {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The last part of a path, as text.
pub fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The bytes of an image's file, or why there are none.
pub fn read_image(path: &Path) -> std::result::Result<Vec<u8>, String> {
    let size = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > MAX_BYTES {
        return Err(format!("{size} bytes, more than {MAX_BYTES}"));
    }
    std::fs::read(path).map_err(|e| e.to_string())
}

/// The mean of a person's reference faces, each of unit length, so that a cosine to it is the mean
/// of the cosines to them. Photos that do not decode or show no face are passed over; `None` if no
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
                tracing::warn!(path = %path.display(), reason, "reference photo passed over")
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
pub fn reference_faces(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_files_or_folders() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let root = folder.path();
        std::fs::create_dir(root.join("bea"))?;
        for name in ["bea/2.png", "bea/1.jpg", "ada.jpeg", ".hidden"] {
            std::fs::write(root.join(name), b"x")?;
        }
        let people = photos_by_person(root).expect("people");
        let names: Vec<_> = people
            .iter()
            .map(|(name, photos)| (name.as_str(), photos.len()))
            .collect();
        assert_eq!(names, [("ada", 1), ("bea", 2)]);
        assert_eq!(people["bea"][0], root.join("bea/1.jpg"));
        assert!(photos_by_person(&root.join("nowhere")).is_err());
        Ok(())
    }
}
