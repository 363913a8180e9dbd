//! Published shards that are files of their own: cut across buckets, with other ids, with more
//! columns, by split. Rows are sorted by name over all buckets and read a row group at a time from the
//! table's parts; memory holds that row group, and some 40 bytes a person.

use std::collections::BTreeMap;
use std::io::{BufWriter, Read, Seek};

use laioncele_core::scratch::ScratchFile;
use laioncele_core::store::Store;
use laioncele_core::table::LaionCele;
use laioncele_core::{CoreError, Digest, EmbeddingDims, KeyHasher, Part};
use sha2::{Digest as _, Sha256};

use crate::census::{Census, Run};
use crate::columns::{Columns, take};
use crate::cut::cut;
use crate::index::{FOLDER, Shard};
use crate::parquet_file::ShardWriter;
use crate::settings::Settings;
use crate::split::{Split, Splits};

/// Raise it when the same rows are written otherwise.
const VERSION: u64 = 1;
const BUFFER: usize = 1 << 20;

/// The dataset on its way into files of its own.
pub(crate) struct Rewrite<'a> {
    pub(crate) store: &'a Store,
    pub(crate) dims: &'a EmbeddingDims,
    pub(crate) settings: &'a Settings,
    pub(crate) columns: &'a Columns<'a>,
    pub(crate) census: &'a Census,
    pub(crate) splits: &'a Splits,
    /// The table's parts with rows, in their order.
    pub(crate) parts: &'a [&'a Part],
}

/// A digest of all that such shards depend on: `parts` are those of the table and of what columns
/// besides are made from.
pub(crate) fn key<'a>(
    settings: &Settings,
    seed: u64,
    parts: impl Iterator<Item = &'a Part>,
) -> Digest {
    let start = KeyHasher::new("published-shards")
        .number("version", VERSION)
        .number("seed", seed)
        .number("shard_bytes", settings.shard_bytes)
        .number("row_group", settings.row_group as u64)
        .text("validation", &settings.validation.to_string())
        .text("test", &settings.test.to_string())
        .text(
            "form",
            &format!("{:?} {:?}", settings.ids, settings.columns),
        );
    let add = |hasher: KeyHasher, part: &Part| hasher.digest(part.table.as_str(), part.digest);
    parts.fold(start, add).finish()
}

impl Rewrite<'_> {
    /// Writes all shards and puts them into the published folder.
    ///
    /// # Errors
    /// Damaged parts, a full disk.
    pub(crate) fn write(&self) -> Result<Vec<Shard>, CoreError> {
        let mut runs: BTreeMap<Split, Vec<Run>> = BTreeMap::new();
        for run in &self.census.runs {
            let split = self.splits.of(run.name_id);
            runs.entry(split).or_default().push(*run);
        }
        let mut shards = Vec::new();
        for (split, mut runs) in runs {
            runs.sort_by_key(|run| (run.name_id, run.part, run.start));
            let plan = self.plan(&runs);
            let mut rest = &runs[..];
            for (number, count) in plan.iter().enumerate() {
                let (shard, others) = rest.split_at(*count);
                let name = format!("{}-{number:05}-of-{:05}", split.as_str(), plan.len());
                shards.push(self.shard(&format!("{name}.parquet"), shard)?);
                rest = others;
            }
        }
        Ok(shards)
    }

    /// Cuts the runs of a split, sorted by name, into shards between people; the runs of each. A
    /// person's bytes are taken from the size of their parts: a plan needs no photo.
    fn plan(&self, runs: &[Run]) -> Vec<usize> {
        let bytes = |run: &Run| {
            let part = self.parts[run.part];
            run.rows as u64 * (part.bytes / part.rows.max(1))
        };
        let people: Vec<&[Run]> = runs.chunk_by(|a, b| a.name_id == b.name_id).collect();
        let sizes = people.iter().map(|runs| runs.iter().map(bytes).sum());
        let mut rest = &people[..];
        let shards = cut(&sizes.collect::<Vec<u64>>(), self.settings.shard_bytes).into_iter();
        let shards = shards.map(|people| {
            let (shard, others) = rest.split_at(people);
            rest = others;
            shard.iter().map(|runs| runs.len()).sum()
        });
        shards.collect()
    }

    fn shard(&self, name: &str, runs: &[Run]) -> Result<Shard, CoreError> {
        let (scratch, file) = ScratchFile::create(self.store)?;
        let file = BufWriter::with_capacity(BUFFER, file);
        let row_group = self.settings.row_group;
        let mut writer = ShardWriter::new(file, &self.columns.schema(), row_group)?;
        let place = |run: &Run| {
            let part = run.part;
            (run.start..run.start + run.rows).map(move |row| (part, row))
        };
        let places: Vec<(usize, usize)> = runs.iter().flat_map(place).collect();
        for places in places.chunks(row_group) {
            let rows: Vec<LaionCele> = take(self.store, self.dims, self.parts, places)?;
            writer.add(&self.columns.dress(rows)?)?;
        }
        let mut file = writer.into_file()?;
        let hashed = file.rewind().and_then(|()| hashes(&file));
        let hashed = hashed.map_err(|e| CoreError::from_io(scratch.path(), e))?;
        self.store
            .adopt(scratch.path(), &format!("{FOLDER}/{name}"))?;
        Ok(Shard {
            file: name.to_owned(),
            digest: hashed.digest,
            sha256: hashed.sha256,
            rows: places.len() as u64,
            bytes: hashed.bytes,
        })
    }
}

/// Both digests of a file.
pub(crate) struct Hashes {
    pub(crate) digest: Digest,
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
}

/// The digests of what is left to read.
///
/// # Errors
/// What reading returns.
pub(crate) fn hashes(mut from: impl Read) -> std::io::Result<Hashes> {
    let (mut blake3, mut sha256, mut bytes) = (blake3::Hasher::new(), Sha256::new(), 0);
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        blake3.update(&buffer[..read]);
        sha256.update(&buffer[..read]);
        bytes += read as u64;
    }
    let hex = sha256.finalize();
    Ok(Hashes {
        digest: Digest(*blake3.finalize().as_bytes()),
        sha256: hex.iter().map(|byte| format!("{byte:02x}")).collect(),
        bytes,
    })
}
