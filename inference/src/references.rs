//! The reference photos: people that no network was trained on. generate-samples shows them, evaluate compares with
//! them, and both find them here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use image::RgbImage;
use laioncele_core::error::Cause;
use laioncele_core::{CoreError, DropReason, Manifest, ModelFiles};
use laioncele_image::{DecodeError, Limits, Orientation, decode};
use serde::Deserialize;

/// The largest file that is read as a photo.
const MAX_BYTES: u64 = 256 << 20;

/// Somebody with reference photos.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The sub-folder's name, or the file's without its extension.
    pub name: String,
    /// Their photos, sorted by path.
    pub photos: Vec<PathBuf>,
}

/// Why a person has no usable photo, as a dropped row says it.
pub type Refusal = (DropReason, String);

/// The keys of `[generate_samples]` that are read here; the stage checks the others.
#[derive(Default, Deserialize)]
struct Keys {
    references: Option<PathBuf>,
}

/// `references` of `[generate_samples]`, resolved; `None` where it is not given.
///
/// # Errors
/// [`CoreError::Manifest`]: a wrong type; a url of which nothing can be fetched.
pub fn folder(manifest: &Manifest) -> Result<Option<PathBuf>, CoreError> {
    let Keys { references } = manifest.section("generate_samples")?;
    manifest.resolve_given(references.as_deref())
}

/// The error of a stage that needs `references` where the manifest has none.
pub fn missing(manifest: &Manifest) -> CoreError {
    let text = "[generate_samples] references is missing: a folder with reference photos of people";
    manifest.error(text.to_owned())
}

/// The people of a folder, sorted by name: one photo each, or a sub-folder of photos each. Names that begin with a dot
/// are passed over.
///
/// # Errors
/// A folder that is missing or cannot be read.
pub fn people(folder: &Path) -> Result<Vec<Person>, CoreError> {
    let mut people: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in visible_entries(folder)? {
        if path.is_dir() {
            let photos = visible_entries(&path)?.into_iter();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let photos = photos.filter(|path| path.is_file());
            people.entry(name.into_owned()).or_default().extend(photos);
        } else {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            people.entry(name.into_owned()).or_default().push(path);
        }
    }
    let person = |(name, photos)| Person { name, photos };
    Ok(people.into_iter().map(person).collect())
}

/// The photos of a folder's people, as task keys want them.
///
/// # Errors
/// As [`people`].
pub fn files_read(folder: &Path) -> Result<Vec<PathBuf>, Cause> {
    let photos = people(folder)?.into_iter().flat_map(|person| person.photos);
    Ok(photos.collect())
}

/// The folder of reference photos, as a step's key names it.
pub fn model_files(folder: PathBuf) -> ModelFiles {
    ModelFiles::folder("references", folder, files_read)
}

/// The entries of a folder whose names do not begin with a dot, sorted.
///
/// # Errors
/// A folder that is missing or cannot be read.
pub fn visible_entries(folder: &Path) -> Result<Vec<PathBuf>, CoreError> {
    let fail = |error| CoreError::from_io(folder, error);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

impl Person {
    /// The photos' pixels, upright.
    ///
    /// # Errors
    /// The first photo that is no image, broken or too large; a person without photos.
    pub fn images(&self) -> Result<Vec<RgbImage>, Refusal> {
        if self.photos.is_empty() {
            return Err((DropReason::NotAnImage, "no photo".to_owned()));
        }
        self.photos.iter().map(|path| read_photo(path)).collect()
    }
}

/// The pixels of a photo's file, upright.
///
/// # Errors
/// Why there are none, and the file's name.
fn read_photo(path: &Path) -> Result<RgbImage, Refusal> {
    let name = || path.file_name().unwrap_or_default().to_string_lossy();
    let refuse = |reason, cause: &dyn std::fmt::Display| (reason, format!("{}: {cause}", name()));
    let broken = |error: std::io::Error| refuse(DropReason::Corrupt, &error);
    let size = std::fs::metadata(path).map_err(broken)?.len();
    if size > MAX_BYTES {
        let cause = format!("{size} bytes, more than {MAX_BYTES}");
        return Err(refuse(DropReason::TooLarge, &cause));
    }
    let bytes = std::fs::read(path).map_err(broken)?;
    decode(&bytes, &Limits::default(), Orientation::Upright).map_err(|error| {
        let reason = match error {
            DecodeError::NotAnImage => DropReason::NotAnImage,
            DecodeError::TooLarge { .. } => DropReason::TooLarge,
            DecodeError::Corrupt(_) => DropReason::Corrupt,
        };
        refuse(reason, &error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_files_or_folders() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        std::fs::create_dir(root.join("bea")).expect("a folder");
        std::fs::create_dir(root.join("cyd")).expect("a folder");
        for name in ["bea/2.png", "bea/1.jpg", "ada.jpeg", ".hidden"] {
            std::fs::write(root.join(name), b"x").expect("a file");
        }
        let people = people(root).expect("people");
        let names: Vec<_> = people
            .iter()
            .map(|p| (p.name.as_str(), p.photos.len()))
            .collect();
        assert_eq!(names, [("ada", 1), ("bea", 2), ("cyd", 0)]);
        assert_eq!(people[1].photos[0], root.join("bea/1.jpg"));
        let refusal = people[0].images().expect_err("no image");
        assert_eq!(refusal.0, DropReason::NotAnImage);
        assert!(refusal.1.starts_with("ada.jpeg"));
        assert_eq!(
            people[2].images().expect_err("no photo").0,
            DropReason::NotAnImage
        );
    }

    #[test]
    fn the_folder_is_read_of_the_manifest() {
        let folder_of = |text: &str| folder(&crate::sections::testing::manifest(text));
        assert_eq!(folder_of("").expect("no section"), None);
        let given = folder_of("[generate_samples]\nreferences = \"people\"\nsteps = 4\n");
        assert_eq!(given.expect("a folder"), Some(PathBuf::from("/run/people")));
    }
}
