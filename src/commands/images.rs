//! Where generated images go: into a folder whose images are never replaced by others in silence, each with what it was made
//! of in its file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use image::RgbImage;
use laioncele_core::CoreError;
use laioncele_inference::{encode_png_with_texts, png_texts};
use serde::Serialize;

use super::about_image::{AboutImage, KEY};
use crate::failure::{Exit, Failure};
use crate::output;

/// Where images go.
#[derive(Args, Clone, Debug)]
pub(super) struct ImageArgs {
    /// The folder to write the images to; one that is there is replaced by the same request only
    #[arg(long, value_name = "FOLDER", default_value = "generated")]
    into: PathBuf,
    /// Replace images that show something else
    #[arg(long)]
    overwrite: bool,
    /// Print the list of images as JSON
    #[arg(long)]
    json: bool,
}

/// An image that is to be made: the name of its file without ending, and how it is made.
pub(super) struct Planned {
    pub(super) stem: String,
    pub(super) about: AboutImage,
    /// For an interpolation: the second person's share, from 0 to 1.
    pub(super) share: Option<f32>,
}

impl Planned {
    pub(super) fn new(stem: String, about: AboutImage) -> Self {
        Self {
            stem,
            about,
            share: None,
        }
    }
}

/// A written image.
#[derive(Debug, Serialize)]
pub(super) struct Written {
    /// The PNG.
    pub(super) file: PathBuf,
    /// What was asked for.
    prompt: String,
    /// The noise's seed; none where the noise was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// For an interpolation: the second person's share, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<f32>,
}

impl ImageArgs {
    /// Whether files that are there are replaced.
    pub(super) fn overwrites(&self) -> bool {
        self.overwrite
    }

    /// Refuses, before anything is drawn, what would replace an image of something else.
    ///
    /// # Errors
    /// A file that is there, was not written for the same request, and may not be replaced.
    pub(super) fn check<'a>(
        &self,
        planned: impl IntoIterator<Item = &'a Planned>,
    ) -> Result<(), Failure> {
        if self.overwrite {
            return Ok(());
        }
        let mut others = planned.into_iter().filter_map(|image| self.other(image));
        let Some((file, shows)) = others.next() else {
            return Ok(());
        };
        let more = match others.count() {
            0 => String::new(),
            more => format!(" (and {more} more files)"),
        };
        let text = format!("{} is there already: {shows}{more}", file.display());
        Err(Failure::new(Exit::Usage, text)
            .hint("--into names another folder, --overwrite replaces what is there"))
    }

    /// The file of an image, if it is there and shows something else, and what it shows.
    fn other(&self, image: &Planned) -> Option<(PathBuf, String)> {
        let file = self.file(&image.stem);
        let bytes = match fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => return Some((file, error.to_string())),
        };
        let texts = png_texts(&bytes);
        let Some(text) = texts.get(KEY) else {
            return Some((file, "it does not say what it shows".to_owned()));
        };
        if image.about.same_request(text) {
            return None;
        }
        let old: Result<AboutImage, _> = serde_json::from_str(text);
        let shows = match old {
            Err(_) => "what it says of itself cannot be read".to_owned(),
            Ok(old) if old.summary() == image.about.summary() => {
                format!("{}, with other settings or models", old.summary())
            }
            Ok(old) => old.summary(),
        };
        Some((file, shows))
    }

    fn file(&self, stem: &str) -> PathBuf {
        self.into.join(format!("{stem}.png"))
    }

    /// Writes an image with its texts: whole, or not at all.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub(super) fn write(&self, image: &Planned, pixels: &RgbImage) -> Result<Written, Failure> {
        let file = self.file(&image.stem);
        let texts = image.about.texts();
        let texts: Vec<(&str, &str)> = texts.iter().map(|(k, t)| (*k, t.as_str())).collect();
        let bytes = encode_png_with_texts(pixels, &texts);
        let bytes = bytes
            .map_err(|e| Failure::new(Exit::Environment, format!("{}: {e}", file.display())))?;
        write_whole(&file, &bytes)?;
        Ok(Written {
            file,
            prompt: image.about.prompt.clone(),
            seed: image.about.seed,
            share: image.share,
        })
    }

    /// Prints what was written: a path a line, or JSON.
    ///
    /// # Errors
    /// Standard output that cannot be written.
    pub(super) fn print(&self, written: &[Written]) -> Result<(), Failure> {
        if self.json {
            return output::json(&written);
        }
        for image in written {
            output::data(&image.file.display().to_string())?;
        }
        Ok(())
    }
}

/// Writes a file beside its place, then moves it there; the folders above it come into being.
///
/// # Errors
/// A folder that cannot be written.
pub(super) fn write_whole(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(|e| CoreError::from_io(folder, e))?;
    }
    let mut beside = file.as_os_str().to_owned();
    beside.push(".part");
    let beside = PathBuf::from(beside);
    let written = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, file));
    written.map_err(|error| {
        // What is left of it helps nobody; the error is what counts.
        drop(fs::remove_file(&beside));
        CoreError::from_io(file, error).into()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn planned(name: &str) -> Planned {
        let about = AboutImage {
            prompt: "a person".to_owned(),
            person: json!({ "name": name }),
            seed: Some(0),
            ..AboutImage::default()
        };
        Planned::new("prompt-00-seed-0".to_owned(), about)
    }

    #[test]
    fn an_image_of_somebody_else_is_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut images = ImageArgs {
            into: folder.path().join("a/b"),
            overwrite: false,
            json: false,
        };
        let (anna, berta) = ([planned("Anna")], [planned("Berta")]);
        images.check(&anna).expect("nothing is there");
        let pixels = RgbImage::new(4, 4);
        let written = images.write(&anna[0], &pixels).expect("written");
        images.check(&anna).expect("the same request");
        let error = images.check(&berta).expect_err("another person").render();
        assert!(
            error.contains("Anna") && error.contains("--overwrite"),
            "{error}"
        );
        fs::write(&written.file, b"somebody's own").expect("written");
        assert!(images.check(&anna).is_err());
        images.overwrite = true;
        images.check(&berta).expect("as asked for");
        let left = fs::read_dir(folder.path().join("a/b")).expect("a folder");
        assert_eq!(left.count(), 1);
    }
}
