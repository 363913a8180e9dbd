//! The lock file: what a dataset is made of, without its photos.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::UInt64Type;
use laioncele_core::footer::Footer;
use laioncele_core::ledger::Record;
use laioncele_core::store::Store;
use laioncele_core::{CoreError, Digest, ImageId, NameId, Part, PartReader, TableId};
use serde::{Deserialize, Serialize};

use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::table_digests;

/// The newest form that this program reads, and the one it writes.
const FORMAT: u32 = 1;
/// Columns of the dataset that are locked.
const COLUMNS: [&str; 5] = ["name_id", "name", "url", "image_id", "sha256"];

/// What a dataset is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LockFile {
    /// The form of this file.
    pub format: u32,
    /// The program that wrote it.
    pub program: String,
    /// The digest of the manifest's text.
    pub manifest: Digest,
    /// `[run] seed`
    pub seed: u64,
    /// The settings that results depend on: step → setting → value as JSON.
    pub settings: BTreeMap<String, BTreeMap<String, String>>,
    /// The version of each step.
    pub versions: BTreeMap<String, u32>,
    /// Digests of the models, by their labels.
    pub models: BTreeMap<String, Digest>,
    /// Digests of the source's files, by their shards.
    pub source: BTreeMap<String, Digest>,
    /// Digests of the tables' rows.
    pub tables: BTreeMap<TableId, Digest>,
    /// The people, by their `name_id`.
    pub people: BTreeMap<String, Person>,
}

/// A person of the dataset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Person {
    /// The canonical name.
    pub name: String,
    /// The photos, by their `image_id`.
    pub photos: BTreeMap<String, Photo>,
}

/// A photo of the dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Photo {
    /// Where it came from.
    pub url: String,
    /// Of the file's bytes.
    pub sha256: String,
}

impl LockFile {
    /// The lock of the run's current results.
    ///
    /// # Errors
    /// Damaged tables.
    pub(crate) fn of(session: &Session) -> Result<Self, Failure> {
        let (store, records) = (session.store()?, session.current_records()?);
        let steps = &session.inputs.steps;
        let tables = table_digests::of(store, &records)?;
        let shards = session.inputs.shards.iter();
        Ok(Self {
            format: FORMAT,
            program: format!("laioncele {}", env!("CARGO_PKG_VERSION")),
            manifest: session.manifest.digest(),
            seed: session.manifest.run.seed,
            settings: steps
                .iter()
                .map(|s| (s.name.clone(), (*s.settings).clone()))
                .collect(),
            versions: steps.iter().map(|s| (s.name.clone(), s.version)).collect(),
            models: steps.iter().flat_map(|s| (*s.models).clone()).collect(),
            source: shards
                .map(|s| (s.partition.to_string(), s.digest))
                .collect(),
            tables: tables
                .iter()
                .map(|table| (table.table, table.digest))
                .collect(),
            people: people(store, &records)?,
        })
    }

    /// Reads a lock file.
    ///
    /// # Errors
    /// A file that cannot be read, is no lock, or is one of a newer program.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let file = File::open(path).map_err(|e| CoreError::from_io(path, e))?;
        let lock: Self = serde_json::from_reader(BufReader::new(file)).map_err(|e| {
            let text = format!("{}: it is no lock of a dataset: {e}", path.display());
            Failure::new(Exit::Usage, text).hint("`laioncele lock FILE` writes one")
        })?;
        if lock.format > FORMAT {
            return Err(CoreError::Newer {
                path: path.display().to_string(),
                what: "lock".to_owned(),
                found: lock.format,
                known: FORMAT,
            }
            .into());
        }
        Ok(lock)
    }
}

fn people(store: &Store, records: &[Record]) -> Result<BTreeMap<String, Person>, CoreError> {
    let mut people = BTreeMap::new();
    let parts = records
        .iter()
        .flat_map(|r| r.outputs_of(TableId::LaionCele));
    for part in parts.filter(|part| part.rows > 0) {
        let footer = Arc::new(Footer::of_any(store, part)?);
        for batch in PartReader::new(store.clone(), part, footer).columns(&COLUMNS) {
            add(&batch?, part, &mut people)?;
        }
    }
    Ok(people)
}

fn add(
    batch: &RecordBatch,
    part: &Part,
    people: &mut BTreeMap<String, Person>,
) -> Result<(), CoreError> {
    let column = |name: &str| {
        let found = batch.column_by_name(name);
        found.ok_or_else(|| CoreError::parquet(&part.path, format!("no column `{name}`")))
    };
    let wrong = || CoreError::parquet(&part.path, "a column of another type".to_owned());
    let ids = |name: &str| {
        let column = column(name)?.as_primitive_opt::<UInt64Type>();
        column.ok_or_else(wrong)
    };
    let texts = |name: &str| column(name)?.as_string_opt::<i32>().ok_or_else(wrong);
    let (names, images) = (ids("name_id")?, ids("image_id")?);
    let (spelled, urls, hashes) = (texts("name")?, texts("url")?, texts("sha256")?);
    for row in 0..batch.num_rows() {
        let text = |column: &arrow::array::StringArray| match column.is_null(row) {
            true => String::new(),
            false => column.value(row).to_owned(),
        };
        let person: &mut Person = people
            .entry(NameId(names.value(row)).to_string())
            .or_default();
        person.name = text(spelled);
        let photo = Photo {
            url: text(urls),
            sha256: text(hashes),
        };
        person
            .photos
            .insert(ImageId(images.value(row)).to_string(), photo);
    }
    Ok(())
}
