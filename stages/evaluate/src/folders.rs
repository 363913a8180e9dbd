//! Images made by another system, scored with the same functions as a run's samples.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use laioncele_core::file_digests::FileDigests;
use laioncele_core::{Digest, Manifest, ModelFiles};
use laioncele_inference::pool_of;
use laioncele_inference::references::visible_entries;
use serde::Serialize;

use crate::entries::Entry;
use crate::error::{EvaluateError, Result};
use crate::images::{BASE_MODEL, ImageInput, ViewedImages, blocks};
use crate::networks::Networks;
use crate::notes::report_of_rows;
use crate::people::{People, name_of, people_by_name, read_image, references_of};
use crate::prompts::{names_people, read_prompts};
use crate::record;
use crate::report::{Report, fact_rows, same_recognizer_row};
use crate::resize::Resize;
use crate::scores::scores;
use crate::settings::{Rules, StageConfig};
use crate::systems::{Checks, Systems};
use crate::words::{WordCounts, WordOfPerson, with_words, words_of};

/// The system of a folder's images.
const SYSTEM: &str = "images";
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
    /// What people are called in the prompts, where words were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<WordOfPerson>,
}

/// A file that is no image.
#[derive(Debug, PartialEq, Serialize)]
pub struct Undecodable {
    /// Path of the file.
    pub file: PathBuf,
    /// Why it does not decode.
    pub reason: String,
}

/// What the caller chooses, over the manifest.
#[derive(Clone, Debug, Default)]
pub struct Chosen {
    /// The system that distances are taken to.
    pub against: Option<String>,
    /// Seed of random partners and of intervals.
    pub seed: Option<u64>,
    /// Rounds of the bootstrap.
    pub resamples: Option<usize>,
    /// The way that pictures are resized for Inception.
    pub resize: Option<Resize>,
    /// Threads to score on; 0: as many as the machine has.
    pub threads: usize,
    /// A file for everything that was measured.
    pub record: Option<PathBuf>,
    /// Whether prompts that say "person" get each person's word, by the rule of a run's samples.
    pub words: bool,
}

impl Chosen {
    fn config(&self, manifest: &Manifest) -> Result<StageConfig> {
        let mut config = StageConfig::from_manifest(manifest)?;
        config.run_seed = self.seed.unwrap_or(config.run_seed);
        config.settings.resamples = self.resamples.unwrap_or(config.settings.resamples);
        match (&mut config.settings.inception, self.resize) {
            (Some(inception), Some(resize)) => inception.resize = resize,
            (None, Some(_)) => return Err(EvaluateError::NoInception),
            (_, None) => {}
        }
        Ok(config)
    }

    fn rules(&self, config: &StageConfig, entries: &[Entry]) -> Result<Rules> {
        let mut rules = config.rules();
        if let Some(against) = &self.against {
            if !entries.iter().any(|entry| entry.system == *against) {
                let systems: BTreeSet<&str> = entries.iter().map(|e| e.system.as_str()).collect();
                return Err(EvaluateError::UnknownSystem {
                    system: against.clone(),
                    known: Vec::from_iter(systems).join(", "),
                });
            }
            rules.against = Some(against.clone());
        }
        Ok(rules)
    }
}

/// Scores the images of a list of systems. `progress` hears how many of how many images are done.
///
/// # Errors
/// Missing or wrong models, a system in [`Chosen::against`] that is not there. An image that does not decode is reported, not an error.
pub fn score_systems(
    manifest: &Manifest,
    systems: &Systems,
    chosen: &Chosen,
    progress: impl FnMut(usize, usize),
) -> Result<FolderReport> {
    score_entries(
        manifest,
        &systems.entries,
        &systems.people,
        chosen,
        progress,
    )
}

/// Scores images with the networks that `manifest` names. `progress` hears how many of how many images are done.
///
/// # Errors
/// Empty folders, people without a reference photo, prompts that cannot be read or name no image,
/// missing or wrong models. An image that does not decode is reported, not an error.
pub fn score_folders(
    manifest: &Manifest,
    folders: &Folders,
    chosen: &Chosen,
    progress: impl FnMut(usize, usize),
) -> Result<FolderReport> {
    if let Some(list) = &folders.prompts
        && names_people(list)?
    {
        let checks = Checks { unequal: true };
        let mut systems = Systems::read(list, &folders.images, Some(&folders.references), checks)?;
        if let Some(base) = &folders.base {
            systems
                .entries
                .extend(base_files(base)?.into_iter().map(unprompted));
        }
        return score_systems(manifest, &systems, chosen, progress);
    }
    let people = people_by_name(&folders.references)?;
    let mut listing = Listing::read(folders)?;
    check_people(folders, &listing.entries, &people)?;
    listing.sort();
    let scored = score_entries(manifest, &listing.entries, &people, chosen, progress)?;
    Ok(FolderReport {
        without_prompt: listing.without_prompt,
        without_image: listing.without_image,
        ..scored
    })
}

fn score_entries(
    manifest: &Manifest,
    entries: &[Entry],
    people: &People,
    chosen: &Chosen,
    mut progress: impl FnMut(usize, usize),
) -> Result<FolderReport> {
    let config = chosen.config(manifest)?;
    let rules = chosen.rules(&config, entries)?;
    let names = entries.iter().map(|e| e.person.as_str());
    let names: BTreeSet<&str> = names.filter(|p| *p != BASE_MODEL).collect();
    let words = match chosen.words {
        true => words_of(manifest, people, &names)?,
        false => Vec::new(),
    };
    let entries = &with_words(entries, &words);
    let networks = Networks::load(&config)?;
    let pool = pool_of(chosen.threads)?;
    let (mut viewed, mut undecodable) = (ViewedImages::default(), Vec::new());
    let (mut order, mut done, total) = (Vec::new(), 0, entries.len());
    // Images of one person and prompt become neighbours.
    let mut sorted: Vec<(usize, &Entry)> = entries.iter().enumerate().collect();
    sorted.sort_by_key(|(at, e)| (&e.system, &e.person, e.prompt(), *at));
    for block in blocks(&sorted, unread) {
        let files = block
            .iter()
            .map(|(_, entry)| entry.image(read_image(&entry.path).map(Cow::Owned)));
        let images: Vec<ImageInput<'_>> = files.collect();
        let broken = pool.install(|| viewed.add(&networks, &images))?;
        let places: BTreeSet<usize> = broken.iter().map(|(place, _)| *place).collect();
        let whole = (0..block.len()).filter(|place| !places.contains(place));
        order.extend(whole.map(|place| block[place].0));
        undecodable.extend(broken.into_iter().map(|(place, reason)| Undecodable {
            file: block[place].1.path.clone(),
            reason,
        }));
        done += block.len();
        progress(done, total);
    }
    let mut images: Vec<_> = order.iter().copied().zip(viewed.images).collect();
    // Random partners are drawn in the order in which images are listed.
    images.sort_by_key(|(at, _)| *at);
    let files = images
        .iter()
        .map(|(at, _)| entries[*at].path.display().to_string());
    let files: Vec<String> = files.collect();
    viewed.images = images.into_iter().map(|(_, image)| image).collect();
    if let Some(path) = &chosen.record {
        record::write(path, &viewed, &files)?;
    }
    let references = pool.install(|| references_of(people, &names, &networks))?;
    let mut rows = pool.install(|| scores(&viewed, &references, &rules));
    rows.push(same_recognizer_row(config.judge_is_filter()?));
    rows.extend(fact_rows(&viewed));
    rows.extend(WordCounts::of(&words).rows());
    Ok(FolderReport {
        report: report_of_rows(rows, &config, &digests(&config)?),
        images: total,
        undecodable,
        without_prompt: entries.iter().filter(|e| e.prompted.is_none()).count(),
        without_image: 0,
        words,
    })
}

/// An image whose file is not read yet.
fn unread<'a>((_, entry): &'a (usize, &Entry)) -> ImageInput<'a> {
    entry.image(Ok(Cow::Borrowed(&[])))
}

/// The digests of the networks, by their labels.
fn digests(config: &StageConfig) -> Result<BTreeMap<String, Digest>> {
    let known = FileDigests::open(None);
    let models = config.networks().into_iter();
    let digest = |model: ModelFiles| Ok((model.label.clone(), known.of_model(&model)?));
    models.map(digest).collect()
}

fn check_people(folders: &Folders, entries: &[Entry], people: &People) -> Result<()> {
    let known = |entry: &&Entry| entry.person == BASE_MODEL || people.contains_key(&entry.person);
    let Some(stranger) = entries.iter().find(|entry| !known(entry)) else {
        return Ok(());
    };
    const SHOWN: usize = 5;
    let mut names: Vec<&str> = people.keys().map(String::as_str).take(SHOWN).collect();
    names.extend((people.len() > SHOWN).then_some("…"));
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
        let mut entries: Vec<(Entry, String)> = (people_files(&folders.images)?.into_iter())
            .map(keyed)
            .collect();
        if let Some(base) = &folders.base {
            entries.extend(base_files(base)?.into_iter().map(keyed));
        }
        let Some(path) = &folders.prompts else {
            let entries = entries.into_iter().map(|(entry, _)| entry).collect();
            return Ok(Self {
                entries,
                without_prompt: 0,
                without_image: 0,
            });
        };
        let mut prompts = read_prompts(path)?;
        let example = entries
            .first()
            .map_or(String::new(), |(_, key)| key.clone());
        let prompted = |(entry, key): (Entry, String)| Entry {
            prompted: prompts.remove(&key),
            ..entry
        };
        let entries: Vec<Entry> = entries.into_iter().map(prompted).collect();
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

/// A file without a prompt, and its name in the prompts.
fn keyed((person, path, key): File) -> (Entry, String) {
    let system = match person.as_str() {
        BASE_MODEL => crate::PLAIN,
        _ => SYSTEM,
    };
    let entry = Entry {
        system: system.to_owned(),
        person,
        path,
        prompted: None,
    };
    (entry, key)
}

fn unprompted(file: File) -> Entry {
    keyed(file).0
}

fn people_files(folder: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for person in visible_entries(folder)?
        .into_iter()
        .filter(|path| path.is_dir())
    {
        let name = name_of(&person);
        for path in image_files(&person)? {
            let key = format!("{name}/{}", name_of(&path));
            files.push((name.clone(), path, key));
        }
    }
    found(folder, files, PEOPLE_EXPECTED)
}

fn base_files(folder: &Path) -> Result<Vec<File>> {
    let file = |path: PathBuf| (BASE_MODEL.to_owned(), path.clone(), name_of(&path));
    let files = image_files(folder)?.into_iter().map(file).collect();
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
pub(crate) fn image_files(folder: &Path) -> Result<Vec<PathBuf>> {
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
