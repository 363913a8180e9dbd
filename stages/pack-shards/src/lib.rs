//! Stage 10, pack-shards: LaionCele itself. Each bucket's identities with their photos, name
//! embeddings and scores become Parquet shards; published, they are a folder that Hugging Face
//! `datasets`, polars, DuckDB, pandas and pyarrow load without any code of ours. Memory holds a shard,
//! however large the dataset.

mod card;
mod card_head;
mod census;
mod column_order;
mod columns;
mod croissant;
mod cut;
mod index;
mod lineage;
mod mean;
mod parquet_file;
mod publish;
mod rewrite;
mod rows;
mod settings;
mod sheet;
mod split;
mod tar_file;

use laioncele_core::ledger::Record;
use laioncele_core::store::Store;
use laioncele_core::table::{LaionCele, Row};
use laioncele_core::{
    CoreError, Manifest, Partitioning, Reads, StageError, StageName, Step, StepSpec, TableId, Task,
    Unit,
};
use serde_json::json;

pub use mean::sums;
pub use parquet_file::encode;
pub use settings::{Extra, Ids, Settings};

use lineage::PEOPLE;
use parquet_file::ShardWriter;
use rows::{Example, Join};

/// The steps of this stage.
pub fn steps() -> Vec<Box<dyn Step>> {
    vec![Box::new(PackShards)]
}

struct PackShards;

const SPEC: StepSpec = StepSpec {
    name: "pack-shards",
    stage: StageName::PackShards,
    version: 4,
    partitioning: Partitioning::Buckets,
    reads: &[
        Reads::own(TableId::Identities),
        Reads::own(TableId::Photos),
        Reads::own(TableId::PhotoPrints),
        Reads::own(TableId::UniquePhotos),
        Reads::own(TableId::NameEmbeddings),
    ],
    writes: &[TableId::LaionCele, TableId::NameSums],
};

impl Step for PackShards {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    /// What is published, and in which form, is in no key.
    fn settings(&self, manifest: &Manifest) -> Result<serde_json::Value, CoreError> {
        let settings = Settings::from_manifest(manifest)?;
        Ok(json!({ "shard_bytes": settings.shard_bytes, "row_group": settings.row_group }))
    }
    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let settings = Settings::from_manifest(task.manifest())?;
        let join = Join::read(task)?;
        let count = join.examples.len() as u64;
        let people = join.examples.chunk_by(|a, b| a.name_id() == b.name_id());
        task.metric(PEOPLE, people.count() as f64);
        let sizes: Vec<u64> = join.examples.iter().map(|example| example.bytes).collect();
        let (mut rest, mut done) = (&join.examples[..], 0);
        for rows in cut::cut(&sizes, settings.shard_bytes) {
            let (shard, others) = rest.split_at(rows);
            write(task, &join, shard, settings.row_group)?;
            rest = others;
            done += rows as u64;
            task.progress(done, count, Unit::Image)?;
        }
        let sums = sums(join.names());
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

/// Writes a shard of these examples, whose photos are read a row group at a time.
fn write(
    task: &mut Task,
    join: &Join,
    shard: &[Example],
    row_group: usize,
) -> Result<(), StageError> {
    let dims = *task.embedding_dims();
    let mut writer = ShardWriter::new(Vec::new(), &LaionCele::schema(&dims), row_group)?;
    for examples in shard.chunks(row_group) {
        let rows = join.rows(task, examples)?;
        writer.add(&LaionCele::to_batch(rows, &dims)?)?;
    }
    task.write_encoded::<LaionCele>(shard.len() as u64, writer.into_bytes()?)
}

#[cfg(test)]
mod tests;
