//! Somebody to show: photos, a name, a file of a name, or nobody whom there ever was.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use image::RgbImage;
use laioncele_core::{CoreError, Digest};
use laioncele_image::{Limits, Orientation, decode};
use laioncele_inference::generation::{GenerationPipeline, PersonName};
use laioncele_sdxl::{Inversion, NameSource};
use serde_json::{Value, json};

use super::generation::{failure, model_failure};
use crate::failure::{Exit, Failure};

/// Photos that an image's texts list at most.
const MOST_LISTED: usize = 20;

/// Somebody to show: photos, or a name that the model may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Person {
    /// A photo, or a folder of photos of one person.
    Photos(PathBuf),
    /// A name, encoded by the text encoders.
    Text(String),
    /// A file that `names export` wrote, or a textual inversion.
    File(PathBuf),
}

impl FromStr for Person {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("name:") {
            Some(name) if name.trim().is_empty() => Err("`name:` without a name".to_owned()),
            Some(name) => Ok(Self::Text(name.trim().to_owned())),
            None => Ok(match text.strip_prefix("name-file:") {
                Some(file) => Self::File(PathBuf::from(file)),
                None => Self::Photos(PathBuf::from(text)),
            }),
        }
    }
}

impl Person {
    /// The textual inversion that the text encoders need to know for it, if any.
    ///
    /// # Errors
    /// A file that is no name.
    pub(super) fn inversion(&self) -> Result<Option<Inversion>, Failure> {
        let Self::File(path) = self else {
            return Ok(None);
        };
        match NameSource::read(path).map_err(|e| model_failure(&e))? {
            NameSource::Inversion(inversion) => Ok(Some(inversion)),
            NameSource::Embedding(_) => Ok(None),
        }
    }

    /// Who it is, as an image's texts say it: file names and digests, no folders.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub(super) fn about(&self) -> Result<Value, Failure> {
        match self {
            Self::Text(name) => Ok(json!({ "name": name })),
            Self::File(path) => Ok(json!({ "name_file": file_fact(path)? })),
            Self::Photos(path) => {
                let files = photo_files(path)?;
                let listed = files.iter().take(MOST_LISTED);
                let listed: Vec<Value> = listed.map(|f| file_fact(f)).collect::<Result<_, _>>()?;
                let mut about = json!({ "photos": listed });
                if files.len() > MOST_LISTED {
                    about["more_photos"] = json!(files.len() - MOST_LISTED);
                }
                Ok(about)
            }
        }
    }
}

/// A file's name and the digest of its bytes.
///
/// # Errors
/// A file that cannot be read.
fn file_fact(path: &Path) -> Result<Value, Failure> {
    let bytes = fs::read(path).map_err(|e| unreadable(path, e))?;
    Ok(json!({ "file": file_name(path), "blake3": Digest::of(&bytes) }))
}

/// A path's last part.
pub(super) fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// Photos with the files that they are from.
pub(super) struct Photos {
    pub(super) files: Vec<PathBuf>,
    pub(super) images: Vec<RgbImage>,
}

impl Photos {
    /// The first `most` photos of `path`: a photo, or a folder of photos, sorted by name; all of them without a number.
    ///
    /// # Errors
    /// As [`photo`]; a folder that cannot be read.
    pub(super) fn of(path: &Path, most: Option<usize>) -> Result<Self, Failure> {
        let mut files = photo_files(path)?;
        files.truncate(most.unwrap_or(usize::MAX));
        let images = files.iter().map(|file| photo(file));
        Ok(Self {
            images: images.collect::<Result<_, _>>()?,
            files,
        })
    }
}

/// The files of a photo or of a folder of photos, sorted by name.
fn photo_files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(|e| CoreError::from_io(path, e))? {
        let file = entry.map_err(|e| CoreError::from_io(path, e))?.path();
        files.extend(file.is_file().then_some(file));
    }
    files.sort();
    Ok(files)
}

/// The pixels of a photo, upright.
///
/// # Errors
/// A file that is missing or no image.
pub(super) fn photo(path: &Path) -> Result<RgbImage, Failure> {
    let bytes = fs::read(path).map_err(|e| unreadable(path, e))?;
    decode(&bytes, &Limits::default(), Orientation::Upright)
        .map_err(|e| Failure::new(Exit::Usage, format!("{}: {e}", path.display())))
}

fn unreadable(path: &Path, error: std::io::Error) -> Failure {
    let missing = error.kind() == std::io::ErrorKind::NotFound;
    let failure = Failure::from(CoreError::from_io(path, error));
    if missing {
        failure.hint("a person is a photo, a folder of photos, or `name:` and a name")
    } else {
        failure
    }
}

/// The name of a person who is no photo.
///
/// # Errors
/// A file that is no name, a network's error.
pub(super) fn name_without_photos(
    pipeline: &GenerationPipeline,
    person: &Person,
) -> Result<Option<PersonName>, Failure> {
    match person {
        Person::Photos(_) => Ok(None),
        Person::Text(name) => pipeline
            .name_from_text(name)
            .map(Some)
            .map_err(|e| failure(e, &format!("name `{name}`: "))),
        Person::File(path) => match NameSource::read(path).map_err(|e| model_failure(&e))? {
            NameSource::Embedding(file) => Ok(Some(PersonName {
                embedding: file.name,
                predicted: !file.finished,
            })),
            NameSource::Inversion(inversion) => pipeline
                .name_from_text(&inversion.token)
                .map(Some)
                .map_err(|e| failure(e, &format!("{}: ", path.display()))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_photos_or_a_name() {
        let photos = Person::Photos(PathBuf::from("a/b.jpg"));
        assert_eq!("a/b.jpg".parse(), Ok(photos));
        let name = Person::Text("Mira Castellan".to_owned());
        assert_eq!("name: Mira Castellan".parse(), Ok(name));
        let file = Person::File(PathBuf::from("a.safetensors"));
        assert_eq!("name-file:a.safetensors".parse(), Ok(file));
        assert!("name: ".parse::<Person>().is_err());
    }

    #[test]
    fn texts_name_files_without_their_folders() {
        let folder = tempfile::tempdir().expect("a folder");
        let photo = folder.path().join("anna.jpg");
        fs::write(&photo, b"pixels").expect("written");
        let about = Person::Photos(photo).about().expect("a photo");
        assert_eq!(about["photos"][0]["file"], "anna.jpg");
        assert_eq!(
            about["photos"][0]["blake3"],
            Digest::of(b"pixels").to_string()
        );
        assert!(
            !about
                .to_string()
                .contains(&*folder.path().to_string_lossy())
        );
    }
}
