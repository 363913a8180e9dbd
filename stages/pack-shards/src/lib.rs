//! Stage 10, pack-shards: LaionCele itself. Each bucket's identities with their photos, name
//! embeddings and scores become Parquet shards; published, they are a folder that Hugging Face
//! `datasets` and polars load without any code of ours.

mod card;
mod index;
mod licence;
mod lineage;
mod mean;
mod parquet_file;
mod publish;
mod rows;
mod settings;
mod sheet;

use laioncele_core::ledger::Record;
use laioncele_core::store::Store;
use laioncele_core::table::LaionCele;
use laioncele_core::{
    CoreError, Manifest, Partitioning, Reads, StageError, StageName, Step, StepSpec, TableId, Task,
    Unit,
};
use serde_json::json;

pub use licence::licence;
pub use mean::sums;
pub use parquet_file::encode;
pub use settings::Settings;

use lineage::PEOPLE;

/// The steps of this stage.
pub fn steps() -> Vec<Box<dyn Step>> {
    vec![Box::new(PackShards)]
}

struct PackShards;

const SPEC: StepSpec = StepSpec {
    name: "pack-shards",
    stage: StageName::PackShards,
    version: 3,
    partitioning: Partitioning::Buckets,
    reads: &[
        Reads::own(TableId::Identities),
        Reads::own(TableId::Photos),
        Reads::own(TableId::UniquePhotos),
        Reads::own(TableId::NameEmbeddings),
    ],
    writes: &[TableId::LaionCele, TableId::NameSums],
};

impl Step for PackShards {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    /// Sheets are published, not packed: they are in no key.
    fn settings(&self, manifest: &Manifest) -> Result<serde_json::Value, CoreError> {
        let settings = Settings::from_manifest(manifest)?;
        Ok(json!({ "shard_bytes": settings.shard_bytes, "row_group": settings.row_group }))
    }
    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let settings = Settings::from_manifest(task.manifest())?;
        let names = rows::names(task)?;
        let sums = sums(names.values());
        let rows = rows::join(task, &names)?;
        let count = rows.len() as u64;
        let people = rows.chunk_by(|a, b| a.name_id == b.name_id).count();
        task.metric(PEOPLE, people as f64);
        for shard in shards(rows, settings.shard_bytes) {
            write(task, shard, settings.row_group)?;
        }
        task.write(sums.into_iter().collect())?;
        task.balance(Unit::Image, count, count);
        Ok(())
    }

    fn publish(
        &self,
        store: &Store,
        manifest: &Manifest,
        records: &[Record],
    ) -> Result<(), CoreError> {
        publish::publish(store, manifest, records)
    }
}

/// Cuts rows into shards, each closed once its images reach `shard_bytes`; one empty shard for no
/// rows, so that the table exists.
fn shards(rows: Vec<LaionCele>, shard_bytes: u64) -> Vec<Vec<LaionCele>> {
    let (mut shards, mut open, mut bytes) = (Vec::new(), Vec::new(), 0u64);
    for row in rows {
        bytes += row.image.bytes.len() as u64;
        open.push(row);
        if bytes >= shard_bytes {
            shards.push(std::mem::take(&mut open));
            bytes = 0;
        }
    }
    if !open.is_empty() || shards.is_empty() {
        shards.push(open);
    }
    shards
}

fn write(task: &mut Task, shard: Vec<LaionCele>, row_group: usize) -> Result<(), StageError> {
    let rows = shard.len() as u64;
    let bytes = encode(shard, task.embedding_dims(), row_group)?;
    task.write_encoded::<LaionCele>(rows, bytes)
}

#[cfg(test)]
mod tests;
