//! Which files a source consists of, and what each is called.
//!
//! As in Spark and pyarrow, a leading `.` or `_` hides a file or folder: macOS writes `._x.parquet`
//! beside `x.parquet`, writers leave `_tmp.parquet` and `_SUCCESS`. A folder is read whatever it is
//! called, `x.parquet` too.
//!
//! A shard's name depends on nothing but its own path below its entry of `[source] path` (and on
//! the entry, from the second on), so that it stays when files are added.

mod objects;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use laioncele_core::digest::KeyHasher;
use laioncele_core::input::ObjectAbout;
use laioncele_core::manifest::Layout;
use laioncele_core::store::url_of;
use laioncele_core::{CoreError, Manifest, Partition};

use crate::folder;

/// Folders within folders at most: more is a circle of links.
const DEPTH: usize = 32;

/// A file of the source.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceShard {
    /// Its partition.
    pub partition: Partition,
    /// The file, the folder of samples, or the url of an object.
    pub path: PathBuf,
    /// Of an object, what is known of it.
    pub object: Option<ObjectAbout>,
}

/// What a file's name says about its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Format {
    Parquet,
    Csv,
    Tsv,
    JsonLines,
    Tar,
    /// A url a line; only of lists of urls.
    Text,
    /// A folder of images, each with a JSON or text file of the same name.
    Folder,
}

impl Format {
    /// The format of a file by its name's ends, and whether it is compressed by gzip.
    pub(crate) fn of(path: &Path) -> Option<(Self, bool)> {
        let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
        let (name, gzip) = match name.strip_suffix(".gz") {
            Some(name) => (name, true),
            None => (name.as_str(), false),
        };
        let format = match name.rsplit_once('.')?.1 {
            "parquet" if !gzip => Self::Parquet,
            "csv" => Self::Csv,
            "tsv" => Self::Tsv,
            "jsonl" | "json" | "ndjson" => Self::JsonLines,
            "tar" => Self::Tar,
            "tgz" => return Some((Self::Tar, true)),
            _ => return None,
        };
        Some((format, gzip))
    }

    /// The format of a list of urls at `path`: by its name, else Parquet by its first bytes, else text.
    pub(crate) fn of_urls(path: &Path) -> io::Result<(Self, bool)> {
        if let Some(known) = Self::of(path) {
            return Ok(known);
        }
        if path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("gz"))
        {
            return Ok((Self::Text, true));
        }
        let mut mark = Vec::new();
        if path.is_file() {
            fs::File::open(path)?.take(4).read_to_end(&mut mark)?;
        }
        let is_parquet = mark == b"PAR1";
        Ok((
            if is_parquet {
                Self::Parquet
            } else {
                Self::Text
            },
            false,
        ))
    }
}

/// The files of lists of urls: each of `paths` a file, a folder (with its sub-folders) or a glob pattern; sorted within
/// each of them. Folders of images and tar files are no lists; a text file must be named itself, or by a pattern.
///
/// # Errors
/// [`CoreError::Missing`], [`CoreError::Io`], or [`CoreError::Manifest`] of a pattern that is none.
pub fn url_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, CoreError> {
    let (mut files, mut seen) = (Vec::new(), BTreeSet::new());
    for path in paths {
        let (mut found, _) = found_in(path, Reading::Urls)?;
        found.sort();
        let found = found.into_iter().filter(|f| f.format != Format::Tar);
        files.extend(
            found
                .map(|f| f.path)
                .filter(|path| seen.insert(path.clone())),
        );
    }
    Ok(files)
}

/// What a source is read for, and so which of its files count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// Captions, also those in folders and tar files of images.
    Samples,
    /// Captions that lie in columns.
    Columns,
    /// Urls.
    Urls,
}

/// The source's shards, sorted by path within each entry of `[source] path`.
///
/// # Errors
/// [`CoreError::Missing`], [`CoreError::EmptySource`], or [`CoreError::Manifest`] where two names
/// make one partition.
pub fn shards(manifest: &Manifest) -> Result<Vec<SourceShard>, CoreError> {
    Ok(shards_and_others(manifest)?.0)
}

/// Files that are not read, by why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NotRead {
    /// Files of known formats beside Parquet files.
    pub(crate) beside_parquet: usize,
    /// Files that were found before by another path.
    pub(crate) found_before: usize,
}

/// The shards, and how many files beside them are not read.
pub(crate) fn shards_and_others(
    manifest: &Manifest,
) -> Result<(Vec<SourceShard>, NotRead), CoreError> {
    let (mut shards, mut paths, mut others) = (Vec::new(), BTreeSet::new(), NotRead::default());
    for (number, written) in manifest.source.path.entries().iter().enumerate() {
        let entry = manifest.resolve(written);
        let found = found_in(&entry, reading(manifest)).map_err(|error| match error {
            CoreError::Manifest { reason, .. } => manifest.error(reason),
            error => error,
        });
        let (mut found, passed_over) = found?;
        others.beside_parquet += passed_over;
        if found.is_empty() {
            return Err(CoreError::EmptySource { path: entry });
        }
        found.sort();
        for file in found {
            // What two entries share is read once, also where a link leads to it.
            let real = file.path.canonicalize();
            if !paths.insert(real.unwrap_or_else(|_| file.path.clone())) {
                others.found_before += 1;
                continue;
            }
            let partition = Partition::shard(&name(&file, (number > 0).then_some(written)));
            shards.push(SourceShard {
                partition,
                path: file.path,
                object: file.object,
            });
        }
    }
    distinct(&shards).map_err(|reason| manifest.error(reason))?;
    Ok((shards, others))
}

fn distinct(shards: &[SourceShard]) -> Result<(), String> {
    let mut seen = BTreeMap::new();
    for shard in shards {
        if let Some(first) = seen.insert(&shard.partition, &shard.path) {
            return Err(format!(
                "[source] {} and {} make the same partition `{}`: rename one",
                first.display(),
                shard.path.display(),
                shard.partition
            ));
        }
    }
    Ok(())
}

/// A file or folder that may be a shard.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    path: PathBuf,
    /// Its path below its entry.
    below: PathBuf,
    format: Format,
    object: Option<ObjectAbout>,
}

/// A file directly in the first entry is called by its stem (by its whole name, where it is not
/// Parquet); any other also by a digest of where it is.
fn name(file: &Found, later_entry: Option<&PathBuf>) -> String {
    let name = file.path.file_name().unwrap_or_default();
    let own = match file.format {
        Format::Parquet => file.path.file_stem().unwrap_or_default().to_string_lossy(),
        Format::Folder => format!("{}.files", name.to_string_lossy()).into(),
        _ => name.to_string_lossy(),
    };
    let folders = file.below.parent().unwrap_or(Path::new(""));
    if folders.as_os_str().is_empty() && later_entry.is_none() {
        return own.into_owned();
    }
    let words = |path: &Path| -> String {
        let plain = path.components().filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
            _ => None,
        });
        plain.collect::<Vec<_>>().join("/")
    };
    let entry = later_entry.map_or_else(String::new, |entry| words(entry));
    let digest = KeyHasher::new("source-shard")
        .text("entry", &entry)
        .text("below", &words(&file.below))
        .finish();
    let folders = words(folders).replace('/', ".");
    let dot = if folders.is_empty() { "" } else { "." };
    format!("{folders}{dot}{own}-{}", &digest.short()[..8])
}

/// The files of one entry that are read, and how many beside them are not.
fn found_in(entry: &Path, reading: Reading) -> Result<(Vec<Found>, usize), CoreError> {
    if let Some(url) = url_of(entry) {
        let found = objects::found_in(url, reading)?;
        return Ok(chosen(found, reading == Reading::Samples));
    }
    let mut walk = Walk {
        found: Vec::new(),
        above: Vec::new(),
        reading,
    };
    let text = entry.to_string_lossy();
    if !entry.exists() && text.contains(['*', '?', '[']) {
        let base = fixed_part(entry);
        let matches = glob::glob(&text).map_err(|e| CoreError::Manifest {
            path: entry.to_owned(),
            reason: format!("[source] path: {text} is no pattern: {e}"),
        })?;
        for path in matches {
            let path = path.map_err(|e| CoreError::from_io(e.path(), io_error(&e)))?;
            let below = path.strip_prefix(&base).unwrap_or(&path).to_owned();
            // A `*` matches a hidden folder too.
            if below.ancestors().any(is_hidden) {
                continue;
            }
            if reading == Reading::Urls && is_text(&path) {
                let format = Format::Text;
                walk.found.push(Found {
                    path,
                    below,
                    format,
                    object: None,
                });
            } else {
                walk.add(&path, &below)?;
            }
        }
    } else {
        let meta = fs::metadata(entry).map_err(|e| CoreError::from_io(entry, e))?;
        if meta.is_dir() {
            walk.folder(entry, Path::new(""))?;
        } else {
            refuse_pipe(entry, &meta)?;
            // A file that the manifest names is read, whatever it is called.
            let format = match reading {
                Reading::Urls => {
                    Format::of_urls(entry).map_err(|e| CoreError::from_io(entry, e))?
                }
                _ => Format::of(entry).unwrap_or((Format::Parquet, false)),
            };
            let format = format.0;
            let below = PathBuf::from(entry.file_name().unwrap_or_default());
            let path = entry.to_owned();
            walk.found.push(Found {
                path,
                below,
                format,
                object: None,
            });
        }
    }
    Ok(chosen(walk.found, reading == Reading::Samples))
}

/// Whether tar shards and folders of samples count as the data of what Parquet files beside them
/// only describe: not in a manifest that maps the columns itself, as all manifests once did.
fn reading(manifest: &Manifest) -> Reading {
    let samples = match manifest.source.layout {
        Some(layout) => layout == Layout::Img2dataset,
        None => manifest.source.columns.is_empty(),
    };
    if samples {
        Reading::Samples
    } else {
        Reading::Columns
    }
}

/// Of files in several formats, those that are read, and how many of the others there are. img2dataset describes each
/// tar shard and each folder in a Parquet file of the same name: where these are read, that is not. Of a folder with
/// other Parquet files, these are the data, and what lies beside them is not.
fn chosen(mut found: Vec<Found>, samples: bool) -> (Vec<Found>, usize) {
    let holds_samples = |f: &Found| samples && matches!(f.format, Format::Tar | Format::Folder);
    let described: BTreeSet<PathBuf> = found
        .iter()
        .filter(|f| holds_samples(f))
        .map(|f| match f.format {
            Format::Folder => f.path.clone(),
            _ => f.path.with_extension(""),
        })
        .collect();
    found
        .retain(|f| f.format != Format::Parquet || !described.contains(&f.path.with_extension("")));
    let folder = |f: &Found| f.path.parent().map(Path::to_owned);
    let parquet = found.iter().filter(|f| f.format == Format::Parquet);
    let with_parquet: BTreeSet<_> = parquet.map(folder).collect();
    let all = found.len();
    found.retain(|f| {
        f.format == Format::Parquet || holds_samples(f) || !with_parquet.contains(&folder(f))
    });
    let others = all - found.len();
    (found, others)
}

fn io_error(error: &glob::GlobError) -> io::Error {
    error.error().kind().into()
}

/// The folders of a pattern before its first special character.
fn fixed_part(pattern: &Path) -> PathBuf {
    let plain = |part: &Component| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    pattern.components().take_while(plain).collect()
}

fn is_text(path: &Path) -> bool {
    let ends_in = |path: &Path, end: &str| {
        path.extension()
            .is_some_and(|e| e.eq_ignore_ascii_case(end))
    };
    let name = match ends_in(path, "gz") {
        true => path.with_extension(""),
        false => path.to_owned(),
    };
    path.is_file() && ends_in(&name, "txt")
}

fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let ends = [".crc", "_stats.json", "_status.parquet"];
    name.starts_with(['.', '_']) || ends.iter().any(|end| name.ends_with(end))
}

/// The folders and the files in `folder`, links followed, without hidden ones.
fn entries(folder: &Path) -> io::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if is_hidden(&path) {
            continue;
        }
        let kind = entry.file_type()?;
        let is_folder = kind.is_dir() || (kind.is_symlink() && path.is_dir());
        if is_folder { &mut folders } else { &mut files }.push(path);
    }
    Ok((folders, files))
}

/// Opening a pipe waits for somebody who writes, a device may never end.
fn refuse_pipe(path: &Path, meta: &fs::Metadata) -> Result<(), CoreError> {
    if meta.is_file() {
        return Ok(());
    }
    let what = "a pipe, socket or device: only regular files are read";
    let error = io::Error::new(io::ErrorKind::InvalidInput, what);
    Err(CoreError::from_io(path, error))
}

struct Walk {
    found: Vec<Found>,
    /// The folders that are being read, links followed.
    above: Vec<PathBuf>,
    reading: Reading,
}

impl Walk {
    fn add(&mut self, path: &Path, below: &Path) -> Result<(), CoreError> {
        if path.is_dir() {
            return self.folder(path, below);
        }
        if let Some((format, _)) = Format::of(path) {
            // Of a link that leads nowhere the check of the file speaks.
            if let Ok(meta) = fs::metadata(path) {
                refuse_pipe(path, &meta)?;
            }
            self.found.push(Found {
                path: path.to_owned(),
                below: below.to_owned(),
                format,
                object: None,
            });
        }
        Ok(())
    }

    fn folder(&mut self, folder: &Path, below: &Path) -> Result<(), CoreError> {
        let real = folder
            .canonicalize()
            .map_err(|e| CoreError::from_io(folder, e))?;
        // A link to a folder above it is a circle.
        if self.above.contains(&real) || self.above.len() >= DEPTH {
            return Ok(());
        }
        let (folders, files) = entries(folder).map_err(|e| CoreError::from_io(folder, e))?;
        let holds_samples = self.reading == Reading::Samples && folder::holds_samples(&files);
        if holds_samples {
            let below = match below.as_os_str().is_empty() {
                true => PathBuf::from(folder.file_name().unwrap_or_default()),
                false => below.to_owned(),
            };
            self.found.push(Found {
                path: folder.to_owned(),
                below,
                format: Format::Folder,
                object: None,
            });
        }
        self.above.push(real);
        // A folder of samples is a shard; what other files lie in it is none of its samples.
        let files = files.iter().filter(|_| !holds_samples);
        for path in folders.iter().chain(files) {
            let below = below.join(path.file_name().unwrap_or_default());
            self.add(path, &below)?;
        }
        self.above.pop();
        Ok(())
    }
}
