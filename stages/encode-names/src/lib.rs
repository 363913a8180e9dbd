//! Stage 3, encode-names: a name becomes its name embedding, tokens 1 to 8 of the name alone in SDXL's text encoders.

use half::f16;
use laioncele_core::ModelFiles;
use laioncele_core::table::{Name, NameEmbedding, NameVector};
use laioncele_core::{
    CoreError, DropReason, Manifest, Partitioning, Reads, StageError, StageName, Step, StepSpec,
    TableId, Task, Unit,
};
use laioncele_inference::{ModelError, ModelLoader, SdxlSection};
use laioncele_sdxl::{NAME_TOKENS, TextEncoders, in_parallel};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// `[encode_names]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What becomes of a name that needs more than eight tokens.
    pub on_overflow: OnOverflow,
}

/// What becomes of a name that needs more than eight tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnOverflow {
    /// It is dropped.
    Drop,
    /// Its first eight tokens stand for it, as in the paper.
    #[default]
    Truncate,
}

/// The steps of this stage.
pub fn steps() -> Vec<Box<dyn Step>> {
    vec![Box::new(EncodeNames)]
}

struct EncodeNames;

const SPEC: StepSpec = StepSpec {
    name: "encode-names",
    stage: StageName::EncodeNames,
    version: 1,
    partitioning: Partitioning::Buckets,
    reads: &[Reads::own(TableId::Names)],
    writes: &[TableId::NameEmbeddings],
};

impl Step for EncodeNames {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn settings(&self, manifest: &Manifest) -> Result<serde_json::Value, CoreError> {
        let settings: Settings = manifest.section("encode_names")?;
        let precision = SdxlSection::from_manifest(manifest)?.files.precision;
        Ok(json!({
            "on_overflow": settings.on_overflow,
            "models": { "sdxl": { "precision": precision } },
        }))
    }
    fn models(&self, manifest: &Manifest) -> Result<Vec<ModelFiles>, CoreError> {
        Ok(SdxlSection::from_manifest(manifest)?.text_model_files())
    }

    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let settings: Settings = task.manifest().section("encode_names")?;
        let mut names: Vec<Name> = task.read()?;
        names.sort_by_key(|name| name.name_id);
        let mut encoded = encode(task, &names)?;
        encoded.sort_by_key(|row| row.name_id);
        let too_long = |row: &NameEmbedding| row.token_count as usize > NAME_TOKENS;
        let truncated = encoded.iter().filter(|row| too_long(row)).count();
        task.metric("names_above_eight_tokens", truncated as f64);
        if settings.on_overflow == OnOverflow::Drop {
            for row in encoded.extract_if(.., |row| too_long(row)) {
                let detail = Some(row.token_count.to_string());
                let (id, reason) = (row.name_id, DropReason::TooManyTokens);
                task.drop_row(Unit::Name, id.0, Some(id), reason, detail);
            }
        }
        task.balance(Unit::Name, names.len() as u64, encoded.len() as u64);
        task.write(encoded)
    }
}

/// Encodes the names, in any order. An empty bucket loads no model.
fn encode(task: &mut Task, names: &[Name]) -> Result<Vec<NameEmbedding>, StageError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let files = SdxlSection::from_manifest(task.manifest())?.files;
    let encoders = ModelLoader::of_task(task).text_encoders(&files)?;
    let threads = if encoders.on_cpu() {
        task.runtime_environment().threads
    } else {
        1
    };
    let (mut rows, total) = (Vec::with_capacity(names.len()), names.len() as u64);
    let (looks, mut done) = (task.rows(), 0);
    let work = |name: &Name| looks.look(name.name_id.0, || encode_one(&encoders, name));
    in_parallel(threads, names, work, |at, row| {
        match row {
            Ok(row) => rows.push(row?),
            Err(poison) => {
                let id = names[at].name_id;
                task.drop_poison(Unit::Name, id.0, Some(id), poison);
            }
        }
        done += 1;
        task.progress(done, total, Unit::Name)
    })?;
    Ok(rows)
}

fn encode_one(encoders: &TextEncoders, name: &Name) -> Result<NameEmbedding, StageError> {
    let embedding = encoders.encode_name(&name.name).map_err(ModelError::from)?;
    let tokens = embedding.token_count().unwrap_or(0);
    Ok(NameEmbedding {
        name_id: name.name_id,
        name: name.name.clone(),
        token_count: u32::try_from(tokens).unwrap_or(u32::MAX),
        embedding: NameVector(embedding.rows().iter().map(|v| f16::from_f32(*v)).collect()),
    })
}

#[cfg(test)]
mod tests;
