//! A file of the source, in whatever format: opened, its columns told, read batch by batch.

use std::io;
use std::path::{Path, PathBuf};

use arrow::error::ArrowError;
use laioncele_core::input::InputFile;
use laioncele_core::manifest::SourceSettings;
use laioncele_core::store::url_of;

use crate::batch::{BatchBuilder, SourceBatch, TextRow};
use crate::detect::{Detected, Purpose, Wanted};
use crate::error::SourceError;
use crate::folder::FolderSamples;
use crate::json::Keys;
use crate::layout::Need;
use crate::parquet_file::{ParquetBatches, ParquetFile};
use crate::role::Role;
use crate::sample::{self, Sample};
use crate::shards::Format;
use crate::tar_file::TarSamples;
use crate::text_file::{TextFile, TextRows};

/// Samples of a shard whose metadata is looked at.
const HEAD_SAMPLES: usize = 8;

/// An open file whose columns are as they must be.
pub struct SourceFile {
    path: PathBuf,
    kind: Kind,
}

enum Kind {
    Parquet(ParquetFile),
    Text(TextFile),
    Samples {
        detected: Detected,
        keys: Keys,
        names: Vec<String>,
        is_tar: bool,
    },
}

impl SourceFile {
    /// Opens the file (or the folder of samples) at `path` and tells its columns: of Parquet by the
    /// footer, of the others by the first lines or samples. It must have all columns that are
    /// mapped, and those that `needs` names.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn open(
        path: &Path,
        settings: &SourceSettings,
        needs: &[Need],
    ) -> Result<Self, SourceError> {
        let wanted = Wanted {
            settings,
            needs,
            purpose: Purpose::Captions,
        };
        Self::open_as(path, Format::of(path), &wanted)
    }

    /// Opens the file at `path` as a list of urls: as [`SourceFile::open`], but captions may be missing, and what has the
    /// name of no other format is text with a url a line (or Parquet, by its first bytes).
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn open_urls(path: &Path, settings: &SourceSettings) -> Result<Self, SourceError> {
        let wanted = Wanted {
            settings,
            needs: &[],
            purpose: Purpose::Urls,
        };
        let format = Format::of_urls(path).map_err(|source| SourceError::Open {
            path: path.to_owned(),
            source,
        })?;
        Self::open_as(path, Some(format), &wanted)
    }

    fn open_as(
        path: &Path,
        format: Option<(Format, bool)>,
        wanted: &Wanted,
    ) -> Result<Self, SourceError> {
        let cannot_open = |source| SourceError::Open {
            path: path.to_owned(),
            source,
        };
        let path = path.to_owned();
        if url_of(&path).is_none() && std::fs::metadata(&path).map_err(cannot_open)?.is_dir() {
            let kind = open_samples(&path, wanted, false)?;
            return Ok(Self { path, kind });
        }
        let file = InputFile::open(&path).map_err(cannot_open)?;
        if file.length() == 0 {
            return Err(SourceError::Empty { path });
        }
        let kind = match format {
            None | Some((Format::Parquet | Format::Folder, _)) => {
                Kind::Parquet(ParquetFile::open(&path, file, wanted)?)
            }
            Some((Format::Tar, true)) => {
                return Err(SourceError::NotOfFormat {
                    path,
                    format: "a tar file that images can be taken from",
                    reason: "it is compressed: uncompress it (gunzip)".to_owned(),
                });
            }
            Some((Format::Tar, false)) => open_samples(&path, wanted, true)?,
            Some(format) => Kind::Text(TextFile::open(&path, format, wanted)?),
        };
        Ok(Self { path, kind })
    }

    /// Rows in the file, where that is known before it is read: of Parquet.
    pub fn rows(&self) -> Option<u64> {
        match &self.kind {
            Kind::Parquet(file) => Some(file.rows()),
            _ => None,
        }
    }

    fn detected(&self) -> (&Detected, &[String]) {
        match &self.kind {
            Kind::Parquet(file) => (&file.detected, &file.names),
            Kind::Text(file) => (&file.detected, &file.names),
            Kind::Samples {
                detected, names, ..
            } => (detected, names),
        }
    }

    /// What was told of the file: its layout, and which of its columns is what.
    pub fn description(&self) -> String {
        let (detected, names) = self.detected();
        let columns: Vec<String> = Role::ALL
            .iter()
            .filter_map(|role| Some((role, detected.columns.get(role)?)))
            .map(|(role, number)| format!("{} = {}", role.as_str(), names[*number]))
            .collect();
        let images = match &self.kind {
            Kind::Samples { .. } => "; with images",
            Kind::Parquet(_) if detected.columns.contains_key(&Role::Image) => "; with images",
            _ => "",
        };
        let layout = detected
            .layout
            .map_or_else(|| "columns".to_owned(), |l| format!("layout {l}"));
        format!("{layout}: {}{images}", columns.join(", "))
    }

    /// Whether the source holds the images of this file's rows.
    pub fn holds_images(&self) -> bool {
        match &self.kind {
            Kind::Samples { .. } => true,
            _ => self.detected().0.columns.contains_key(&Role::Image),
        }
    }

    /// Its rows, in order. `origin` names the shard and its digest in the addresses of images:
    /// [`crate::SourceImages::origin`].
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn batches(self, origin: &str) -> Result<Batches, SourceError> {
        let damaged = |source: ArrowError| SourceError::Damaged {
            path: self.path.clone(),
            row: 0,
            source,
        };
        let io = |error: io::Error| damaged(error.into());
        let rows = match self.kind {
            Kind::Parquet(file) => {
                let batches = file.batches(origin.to_owned());
                Rows::Parquet(Box::new(batches.map_err(|e| damaged(e.into()))?))
            }
            Kind::Text(file) => Rows::Text(file.rows(&self.path).map_err(io)?),
            Kind::Samples { keys, is_tar, .. } => Rows::Text(Box::new(SampleRows {
                samples: Samples::open(&self.path, is_tar).map_err(io)?,
                keys,
                origin: origin.to_owned(),
            })),
        };
        Ok(Batches {
            rows,
            path: self.path,
            row: 0,
            failed: false,
        })
    }
}

fn open_samples(path: &Path, wanted: &Wanted, is_tar: bool) -> Result<Kind, SourceError> {
    let refuse = |error: io::Error| match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => SourceError::NotOfFormat {
            path: path.to_owned(),
            format: "a whole tar file",
            reason: error.to_string(),
        },
        _ => SourceError::Open {
            path: path.to_owned(),
            source: error,
        },
    };
    if is_tar {
        TarSamples::open(path)
            .and_then(|mut samples| samples.check_end())
            .map_err(refuse)?;
    }
    let mut samples = Samples::open(path, is_tar).map_err(refuse)?;
    let mut head = Vec::new();
    while head.len() < HEAD_SAMPLES
        && let Some(sample) = samples.next().map_err(refuse)?
    {
        head.push(sample);
    }
    let (detected, keys, names) = sample::detect(path, &head, wanted)?;
    Ok(Kind::Samples {
        detected,
        keys,
        names,
        is_tar,
    })
}

enum Samples {
    Tar(TarSamples),
    Folder(FolderSamples),
}

impl Samples {
    fn open(path: &Path, is_tar: bool) -> io::Result<Self> {
        Ok(if is_tar {
            Self::Tar(TarSamples::open(path)?)
        } else {
            Self::Folder(FolderSamples::open(path)?)
        })
    }

    fn next(&mut self) -> io::Result<Option<Sample>> {
        match self {
            Self::Tar(samples) => samples.next(),
            Self::Folder(samples) => samples.next(),
        }
    }
}

struct SampleRows {
    samples: Samples,
    keys: Keys,
    origin: String,
}

impl Iterator for SampleRows {
    type Item = io::Result<TextRow>;

    fn next(&mut self) -> Option<Self::Item> {
        let sample = self.samples.next().transpose()?;
        Some(sample.map(|sample| sample.row(&self.keys, &self.origin)))
    }
}

/// The rows of a file, batch by batch.
pub struct Batches {
    rows: Rows,
    path: PathBuf,
    row: u64,
    /// Whether it ended with an error: what comes behind is not to be trusted.
    failed: bool,
}

enum Rows {
    Parquet(Box<ParquetBatches>),
    Text(Box<TextRows>),
}

impl Iterator for Batches {
    type Item = Result<SourceBatch, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let batch = match &mut self.rows {
            Rows::Parquet(batches) => batches.next(),
            Rows::Text(rows) => collect(rows).transpose(),
        };
        let batch = batch?.map_err(|source| SourceError::Damaged {
            path: self.path.clone(),
            row: self.row,
            source,
        });
        match &batch {
            Ok(batch) => self.row += batch.rows as u64,
            Err(_) => self.failed = true,
        }
        Some(batch)
    }
}

/// The next rows as a batch, none at the end.
fn collect(rows: &mut TextRows) -> Result<Option<SourceBatch>, ArrowError> {
    let mut batch = BatchBuilder::default();
    while !batch.is_full()
        && let Some(row) = rows.next()
    {
        batch.push(row?);
    }
    Ok((!batch.is_empty()).then(|| batch.finish()))
}
