//! Gathers what a plan depends on: the steps' settings, the digests of models and source files.

use std::collections::BTreeMap;
use std::path::{PathBuf, absolute};

use laioncele_core::ModelFiles;
use laioncele_core::error::chain;
use laioncele_core::file_digests::FileDigests;
use laioncele_core::model_cache;
use laioncele_core::{CoreError, Digest, Manifest, Part, StageName, Step, TableId};
use laioncele_extract_names::check_source;
use laioncele_source::{SourceError, SourceShard, shards};
use serde_json::Value;

use super::{PlanInputs, StepInfo};
use crate::failure::{Exit, Failure};

/// The plan inputs of `steps` up to and including stage `last`. Settings are checked for all steps,
/// models only for those up to `last`. With `check_footers` also the footers of all source files
/// are checked, so that a file that cannot be read, or lacks a column, is named before any work
/// starts.
///
/// # Errors
/// A wrong manifest, a missing, empty or unusable source, a missing model.
pub fn gather(
    manifest: &Manifest,
    steps: &[Box<dyn Step>],
    last: StageName,
    digests: &FileDigests,
    check_footers: bool,
) -> Result<PlanInputs, Failure> {
    let settings = steps
        .iter()
        .map(|step| settings(&**step, manifest))
        .collect::<Result<Vec<_>, _>>()?;
    let shards = shards(manifest).map_err(|e| no_source(manifest, e))?;
    if check_footers {
        let source = check_source(manifest).map_err(|e| unusable_source(manifest, e))?;
        if source.passed_over > 0 {
            tracing::warn!(
                "[source] path: {} files of other formats are passed over, for Parquet files lie beside them; if they are data, name them in an entry of their own",
                source.passed_over
            );
        }
        if source.found_before > 0 {
            tracing::warn!(
                "[source] path: {} files are found again by another path, as through a link; each is read once",
                source.found_before
            );
        }
    }
    let shards = shards
        .iter()
        .map(|shard| shard_part(shard, digests))
        .collect::<Result<Vec<_>, _>>()?;
    let steps = steps
        .iter()
        .zip(settings)
        .filter(|(step, _)| step.spec().stage <= last)
        .map(|(step, settings)| step_info(&**step, manifest, settings, digests))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(PlanInputs {
        steps,
        buckets: manifest.run.buckets,
        shards,
    })
}

fn step_info(
    step: &dyn Step,
    manifest: &Manifest,
    settings: BTreeMap<String, String>,
    digests: &FileDigests,
) -> Result<StepInfo, Failure> {
    let digest = |m: ModelFiles| match digests.of_model(&m) {
        Ok(digest) => Ok((m.label, digest)),
        Err(error) => Err(no_model(manifest, &m.label, error)),
    };
    let models: Result<BTreeMap<String, Digest>, Failure> =
        step.models(manifest)?.into_iter().map(digest).collect();
    Ok(StepInfo {
        name: step.spec().name.to_owned(),
        stage: step.spec().stage,
        version: step.spec().version,
        partitioning: step.partitioning(manifest)?,
        reads: step.reads(manifest),
        writes: step.spec().writes.to_vec(),
        settings: settings.into(),
        models: models?.into(),
    })
}

fn no_source(manifest: &Manifest, error: CoreError) -> Failure {
    let path = manifest.path().display();
    let hint = match &error {
        CoreError::Missing { .. } => format!("it is set by [source] path in {path}"),
        CoreError::EmptySource { .. } => {
            format!("put the captions' files there, or correct [source] path in {path}")
        }
        _ => return error.into(),
    };
    Failure::from(error).hint(hint)
}

fn unusable_source(manifest: &Manifest, error: SourceError) -> Failure {
    let error = match error {
        SourceError::Source(error) => return no_source(manifest, error),
        error => error,
    };
    let path = manifest.path().display();
    let hint = match &error {
        SourceError::MissingColumn { .. }
        | SourceError::ColumnType { .. }
        | SourceError::AmbiguousColumn { .. } => {
            format!("correct [source.columns] of {path}, or replace the file")
        }
        SourceError::UnknownColumn { .. } => {
            format!("map the column in [source.columns] of {path}, or leave out what needs it")
        }
        _ => format!("replace the file, or take it out of [source] path of {path}"),
    };
    Failure::new(Exit::Environment, chain(&error)).hint(hint)
}

fn no_model(manifest: &Manifest, label: &str, error: CoreError) -> Failure {
    // What a copy lacks, its original lacks too.
    let origin = |path: PathBuf| model_cache::origin(&path).unwrap_or(path);
    let error = match error {
        CoreError::Missing { path } => CoreError::Missing { path: origin(path) },
        CoreError::Model { path, source } => CoreError::Model {
            path: origin(path),
            source,
        },
        error => error,
    };
    Failure::from(error).hint(format!(
        "it is set by [{label}] in {}: put the model there, or correct the path",
        manifest.path().display()
    ))
}

fn shard_part(shard: &SourceShard, digests: &FileDigests) -> Result<Part, CoreError> {
    if let Some(object) = &shard.object {
        return Ok(Part {
            table: TableId::Captions,
            partition: shard.partition.clone(),
            path: shard.path.to_string_lossy().into_owned(),
            rows: 0,
            bytes: object.bytes,
            digest: object.digest,
        });
    }
    let path = absolute(&shard.path).map_err(|e| CoreError::from_io(&shard.path, e))?;
    let bytes = path
        .metadata()
        .map_err(|e| CoreError::from_io(&path, e))?
        .len();
    Ok(Part {
        table: TableId::Captions,
        partition: shard.partition.clone(),
        path: path.to_string_lossy().into_owned(),
        rows: 0,
        bytes,
        digest: digests.of(&path)?,
    })
}

/// A step's settings, flattened and named as in the manifest: `section.key` → JSON value. Keys
/// without a section of their own belong to the stage's section.
///
/// # Errors
/// What [`Step::settings`] returns.
pub fn settings(
    step: &dyn Step,
    manifest: &Manifest,
) -> Result<BTreeMap<String, String>, CoreError> {
    let own_section = step.spec().stage.as_str().replace('-', "_");
    let mut flat = BTreeMap::new();
    match step.settings(manifest)? {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if value.is_object() && is_section(&name) {
                    name
                } else {
                    format!("{own_section}.{name}")
                };
                flatten(path, &value, &mut flat);
            }
        }
        Value::Null => {}
        value => flatten(own_section, &value, &mut flat),
    }
    Ok(flat)
}

fn is_section(name: &str) -> bool {
    ["run", "source", "embedding_dims", "models"].contains(&name)
        || StageName::ALL
            .iter()
            .any(|s| s.as_str().replace('-', "_") == name)
}

fn flatten(path: String, value: &Value, flat: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                flatten(format!("{path}.{name}"), value, flat);
            }
        }
        _ => {
            flat.insert(path, value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_settings_are_flattened_without_losing_values() {
        let value = serde_json::json!({"a": {"b": 1, "c": [1, 2]}, "d": "1", "e": {}, "f": null});
        let mut flat = BTreeMap::new();
        flatten("s".to_owned(), &value, &mut flat);
        let expected = [
            ("s.a.b", "1"),
            ("s.a.c", "[1,2]"),
            ("s.d", "\"1\""),
            ("s.e", "{}"),
            ("s.f", "null"),
        ];
        let expected = expected.map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(flat, BTreeMap::from(expected));
    }
}
