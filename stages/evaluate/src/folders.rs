//! Images made by another system, scored with the same functions as a run's samples.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use laioncele_core::Manifest;
use laioncele_inference::pool_of;
use laioncele_inference::references::visible_entries;
use serde::Serialize;

use crate::error::{EvaluateError, Result};
use crate::images::{BASE_MODEL, ImageInput, ViewedImages, blocks};
use crate::networks::Networks;
use crate::people::{name_of, photos_by_person, read_image, reference_faces};
use crate::prompts::{Prompted, read_prompts};
use crate::report::Report;
use crate::scores::{ALL, scores};
use crate::settings::StageConfig;

/// What a folder of images of people should hold.
const PEOPLE_EXPECTED: &str = "a sub-folder for each person, named as their reference photo, with PNG, JPEG or WebP files is expected";
const BASE_EXPECTED: &str = "PNG, JPEG or WebP files are expected";

/// The folders and files to score.
#[derive(Clone, Debug)]
pub struct Folders {
    /// A sub-folder of images for each person.
    pub images: PathBuf,
    /// A photo of each person, or a sub-folder of photos.
    pub references: PathBuf,
    /// The images' prompts, see `read_prompts`.
    pub prompts: Option<PathBuf>,
    /// The base model's images, without sub-folders.
    pub base: Option<PathBuf>,
}

/// What was found in the folders.
#[derive(Debug, Serialize)]
pub struct FolderReport {
    /// Metrics and notes.
    #[serde(flatten)]
    pub report: Report,
    /// Images found, those of the base model included.
    pub images: usize,
    /// Those that do not decode; they are in no metric.
    pub undecodable: Vec<Undecodable>,
    /// Images that the prompts do not name, if there are prompts; they are only in metrics of all
    /// images.
    pub without_prompt: usize,
    /// Prompts that name no image.
    pub without_image: usize,
}

/// A file that is no image.
#[derive(Debug, PartialEq, Serialize)]
pub struct Undecodable {
    /// Path of the file.
    pub file: PathBuf,
    /// Why it does not decode.
    pub reason: String,
}

/// An image's file and what is known of it.
#[derive(Debug)]
struct Entry {
    person: String,
    path: PathBuf,
    prompted: Option<Prompted>,
}

impl Entry {
    fn image<'a>(&'a self, file: std::result::Result<Cow<'a, [u8]>, String>) -> ImageInput<'a> {
        ImageInput {
            person: &self.person,
            group: self
                .prompted
                .as_ref()
                .and_then(|p| p.group.as_deref())
                .unwrap_or(ALL),
            prompt: self.prompted.as_ref().map(|p| p.prompt.as_str()),
            file,
        }
    }
}

/// Scores images with the networks that `manifest` names, on `threads` threads (0: as many as the
/// machine has). `progress` hears how many of how many images are done.
///
/// # Errors
/// Empty folders, people without a reference photo, prompts that cannot be read or name no image,
/// missing or wrong models. An image that does not decode is reported, not an error.
pub fn score_folders(
    manifest: &Manifest,
    folders: &Folders,
    threads: usize,
    mut progress: impl FnMut(usize, usize),
) -> Result<FolderReport> {
    let config = StageConfig::from_manifest(manifest)?;
    let photos = photos_by_person(&folders.references)?;
    let mut listing = Listing::read(folders)?;
    check_people(folders, &listing.entries, &photos)?;
    listing.sort();
    let networks = Networks::load(&config)?;
    let pool = pool_of(threads)?;
    let (mut viewed, mut undecodable) = (ViewedImages::default(), Vec::new());
    let (mut done, total) = (0, listing.entries.len());
    for block in blocks(&listing.entries, |entry| {
        entry.image(Ok(Cow::Borrowed(&[])))
    }) {
        let files = block
            .iter()
            .map(|entry| entry.image(read_image(&entry.path).map(Cow::Owned)));
        let images: Vec<ImageInput<'_>> = files.collect();
        for (place, reason) in pool.install(|| viewed.add(&networks, &images))? {
            undecodable.push(Undecodable {
                file: block[place].path.clone(),
                reason,
            });
        }
        done += block.len();
        progress(done, total);
    }
    let people = listing.entries.iter().map(|e| e.person.as_str());
    let people: BTreeSet<&str> = people.filter(|p| *p != BASE_MODEL).collect();
    let references = pool.install(|| reference_faces(&photos, &people, &networks))?;
    let rows = pool.install(|| scores(&viewed, &references, config.run_seed));
    let same = config.judge_is_filter()?;
    Ok(FolderReport {
        report: Report::new(rows, &config, same),
        images: total,
        undecodable,
        without_prompt: listing.without_prompt,
        without_image: listing.without_image,
    })
}

fn check_people(
    folders: &Folders,
    entries: &[Entry],
    photos: &BTreeMap<String, Vec<PathBuf>>,
) -> Result<()> {
    let known = |entry: &&Entry| entry.person == BASE_MODEL || photos.contains_key(&entry.person);
    let Some(stranger) = entries.iter().find(|entry| !known(entry)) else {
        return Ok(());
    };
    const SHOWN: usize = 5;
    let mut names: Vec<&str> = photos.keys().map(String::as_str).take(SHOWN).collect();
    names.extend((photos.len() > SHOWN).then_some("…"));
    Err(EvaluateError::UnknownPerson {
        folder: folders.images.join(&stranger.person),
        references: folders.references.clone(),
        known: if names.is_empty() {
            "there are none".to_owned()
        } else {
            names.join(", ")
        },
    })
}

/// The images of the folders.
struct Listing {
    entries: Vec<Entry>,
    without_prompt: usize,
    without_image: usize,
}

impl Listing {
    fn read(folders: &Folders) -> Result<Self> {
        let mut files = people_files(&folders.images)?;
        if let Some(base) = &folders.base {
            files.extend(base_files(base)?);
        }
        let Some(path) = &folders.prompts else {
            let entry = |(person, path, _)| Entry {
                person,
                path,
                prompted: None,
            };
            let entries = files.into_iter().map(entry).collect();
            return Ok(Self {
                entries,
                without_prompt: 0,
                without_image: 0,
            });
        };
        let mut prompts = read_prompts(path)?;
        let entry = |(person, path, key): (String, PathBuf, String)| Entry {
            person,
            path,
            prompted: prompts.remove(&key),
        };
        let example = files
            .first()
            .map_or(String::new(), |(_, _, key)| key.clone());
        let entries: Vec<Entry> = files.into_iter().map(entry).collect();
        let without_prompt = entries.iter().filter(|e| e.prompted.is_none()).count();
        if without_prompt == entries.len() {
            let images = folders.images.display();
            let reason = format!("names no image of {images}; the first would be `{example}`");
            return Err(EvaluateError::Prompts {
                path: path.clone(),
                reason,
            });
        }
        Ok(Self {
            entries,
            without_prompt,
            without_image: prompts.len(),
        })
    }

    /// Images of one person and prompt become neighbours.
    fn sort(&mut self) {
        let prompt = |entry: &Entry| entry.prompted.as_ref().map(|p| p.prompt.clone());
        self.entries
            .sort_by_cached_key(|e| (e.person.clone(), prompt(e), e.path.clone()));
    }
}

/// (person, file, name in the prompts).
type File = (String, PathBuf, String);

fn people_files(folder: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for person in visible_entries(folder)?
        .into_iter()
        .filter(|path| path.is_dir())
    {
        let name = name_of(&person);
        for path in images(&person)? {
            let key = format!("{name}/{}", name_of(&path));
            files.push((name.clone(), path, key));
        }
    }
    found(folder, files, PEOPLE_EXPECTED)
}

fn base_files(folder: &Path) -> Result<Vec<File>> {
    let file = |path: PathBuf| (BASE_MODEL.to_owned(), path.clone(), name_of(&path));
    let files = images(folder)?.into_iter().map(file).collect();
    found(folder, files, BASE_EXPECTED)
}

fn found(folder: &Path, files: Vec<File>, expected: &'static str) -> Result<Vec<File>> {
    if files.is_empty() {
        return Err(EvaluateError::NoImages {
            folder: folder.to_owned(),
            expected,
        });
    }
    Ok(files)
}

/// The files of a folder that are called like images; what they hold shows later.
fn images(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = visible_entries(folder)?;
    files.retain(|path| {
        let extension = path
            .extension()
            .unwrap_or_default()
            .to_string_lossy()
            .to_lowercase();
        path.is_file() && ["png", "jpg", "jpeg", "webp"].contains(&extension.as_str())
    });
    Ok(files)
}

#[cfg(test)]
mod tests;
