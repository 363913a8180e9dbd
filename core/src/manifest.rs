//! The manifest: what a run is, one TOML file. This module owns its frame; each stage owns the keys of its section.
//!
//! `[run]`, `[source]` and `[embedding_dims]` are read here. `[models.NAME]` and the sections named after the stages
//! (`[extract_names]`, …) are read by the stages through [`Manifest::section`] and [`Manifest::model`], each into its
//! own struct with `deny_unknown_fields` and defaults. `[mini_world]` is the program's: it says where the embedded
//! world's web is. Paths are relative to the manifest's folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::error::CoreError;
use crate::names::StageName;
use crate::partition::Partition;
use crate::table::EmbeddingDims;

/// `[run]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSettings {
    /// The seed that every random choice is derived from.
    pub seed: u64,
    /// Name buckets: the partitions of everything after merge-names. At least 1.
    #[serde(default = "default_buckets")]
    pub buckets: u32,
}

fn default_buckets() -> u32 {
    64
}

/// `[source]`: where the captions are and how their columns are called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSettings {
    /// A folder of Parquet files (one file = one shard), or one file.
    pub path: PathBuf,
    /// Our column name → the file's. `url` and `caption` must be mapped; `width height similarity punsafe pwatermark hash` may.
    pub columns: BTreeMap<String, String>,
}

/// A file of the source.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceShard {
    /// Its partition.
    pub partition: Partition,
    /// The file.
    pub path: PathBuf,
}

/// A manifest, read and checked as far as this module owns it.
#[derive(Clone, Debug)]
pub struct Manifest {
    path: PathBuf,
    /// `[run]`
    pub run: RunSettings,
    /// `[source]`
    pub source: SourceSettings,
    /// `[embedding_dims]`
    pub embedding_dims: EmbeddingDims,
    sections: Table,
}

/// What `[embedding_dims]` was called in version 0.1.0; still read.
const EMBEDDING_DIMS_BEFORE: &str = "widths";

impl Manifest {
    /// Reads a manifest file.
    ///
    /// # Errors
    /// [`CoreError::Missing`], or [`CoreError::Manifest`] with line, key and the nearest valid key.
    pub fn load(path: &Path) -> Result<Self, CoreError> {
        let text = std::fs::read_to_string(path).map_err(|e| CoreError::from_io(path, e))?;
        Self::parse(path, &text)
    }

    /// Reads a manifest from `text`; `path` locates relative paths and errors.
    ///
    /// # Errors
    /// [`CoreError::Manifest`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, CoreError> {
        let fail = |reason: String| CoreError::Manifest {
            path: path.to_owned(),
            reason,
        };
        let mut sections: Table = toml::from_str(text).map_err(|e| fail(e.to_string()))?;
        if let Some(dims) = sections.remove(EMBEDDING_DIMS_BEFORE)
            && sections.insert("embedding_dims".to_owned(), dims).is_some()
        {
            return Err(fail(format!(
                "[{EMBEDDING_DIMS_BEFORE}] is the old name of [embedding_dims]: keep one of them"
            )));
        }
        let valid = valid_sections();
        if let Some(unknown) = sections.keys().find(|k| !valid.contains(k)) {
            return Err(fail(format!(
                "unknown section [{unknown}]{}",
                suggestion(unknown, &valid)
            )));
        }
        let part = |name: &str| {
            sections
                .get(name)
                .cloned()
                .ok_or_else(|| fail(format!("section [{name}] is missing")))
        };
        let run: RunSettings = typed(path, "run", part("run")?)?;
        if run.buckets == 0 {
            return Err(fail("[run] buckets must be at least 1".to_owned()));
        }
        let source: SourceSettings = typed(path, "source", part("source")?)?;
        check_columns(&source).map_err(fail)?;
        let embedding_dims = typed(path, "embedding_dims", part("embedding_dims")?)?;
        Ok(Self {
            path: path.to_owned(),
            run,
            source,
            embedding_dims,
            sections,
        })
    }

    /// The manifest file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `path` of the manifest as a path of this process.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    /// The section of a stage (its words joined by `_`) or `mini_world`; defaults where it is absent.
    ///
    /// # Errors
    /// [`CoreError::Manifest`]: unknown key or wrong type.
    pub fn section<T: DeserializeOwned>(&self, name: &str) -> Result<T, CoreError> {
        typed(
            &self.path,
            name,
            self.sections
                .get(name)
                .cloned()
                .unwrap_or_else(|| Value::Table(Table::new())),
        )
    }

    /// Whether the manifest has section `name`.
    pub fn has_section(&self, name: &str) -> bool {
        self.sections.contains_key(name)
    }

    /// `[models.NAME]`
    ///
    /// # Errors
    /// [`CoreError::Manifest`]: absent, unknown key or wrong type.
    pub fn model<T: DeserializeOwned>(&self, name: &str) -> Result<T, CoreError> {
        let models = self.sections.get("models").and_then(Value::as_table);
        let Some(value) = models.and_then(|m| m.get(name)) else {
            return Err(self.error(format!("section [models.{name}] is missing")));
        };
        typed(&self.path, &format!("models.{name}"), value.clone())
    }

    /// The source's shards: its Parquet files that are not hidden, sorted by name.
    ///
    /// # Errors
    /// [`CoreError::Missing`], [`CoreError::EmptySource`], or [`CoreError::Manifest`] where two names make one partition.
    pub fn shards(&self) -> Result<Vec<SourceShard>, CoreError> {
        let root = self.resolve(&self.source.path);
        let mut files = Vec::new();
        if root.is_file() {
            files.push(root.clone());
        } else {
            for entry in std::fs::read_dir(&root).map_err(|e| CoreError::from_io(&root, e))? {
                let path = entry.map_err(|e| CoreError::from_io(&root, e))?.path();
                files.extend(is_shard(&path).then_some(path));
            }
        }
        files.sort();
        if files.is_empty() {
            return Err(CoreError::EmptySource { path: root });
        }
        let partition =
            |p: &Path| Partition::shard(&p.file_stem().unwrap_or_default().to_string_lossy());
        let shards: Vec<_> = files
            .into_iter()
            .map(|path| SourceShard {
                partition: partition(&path),
                path,
            })
            .collect();
        let mut seen = BTreeMap::new();
        for shard in &shards {
            if let Some(first) = seen.insert(&shard.partition, &shard.path) {
                return Err(self.error(format!(
                    "[source] {} and {} make the same partition `{}`: rename one",
                    first.display(),
                    shard.path.display(),
                    shard.partition
                )));
            }
        }
        Ok(shards)
    }

    /// An error that names this manifest.
    pub fn error(&self, reason: String) -> CoreError {
        CoreError::Manifest {
            path: self.path.clone(),
            reason,
        }
    }
}

/// The source columns that a manifest may map.
pub const SOURCE_COLUMNS: [&str; 8] = [
    "url",
    "caption",
    "width",
    "height",
    "similarity",
    "punsafe",
    "pwatermark",
    "hash",
];

fn check_columns(source: &SourceSettings) -> Result<(), String> {
    if let Some(unknown) = source
        .columns
        .keys()
        .find(|k| !SOURCE_COLUMNS.contains(&k.as_str()))
    {
        return Err(format!(
            "[source.columns] unknown key `{unknown}`{}",
            suggestion(unknown, &SOURCE_COLUMNS.map(str::to_owned))
        ));
    }
    match ["url", "caption"]
        .into_iter()
        .find(|k| !source.columns.contains_key(*k))
    {
        Some(missing) => Err(format!("[source.columns] `{missing}` must be mapped")),
        None => Ok(()),
    }
}

fn valid_sections() -> Vec<String> {
    let stages = StageName::ALL.iter().map(|s| s.as_str().replace('-', "_"));
    ["run", "source", "embedding_dims", "models", "mini_world"]
        .into_iter()
        .map(str::to_owned)
        .chain(stages)
        .collect()
}

/// Deserializes a section; an unknown key's message names the nearest valid one.
fn typed<T: DeserializeOwned>(path: &Path, section: &str, value: Value) -> Result<T, CoreError> {
    value.try_into().map_err(|error: toml::de::Error| {
        let message = error.message().to_owned();
        let mut quoted = message.split('`').skip(1).step_by(2).map(str::to_owned);
        let hint = match (message.starts_with("unknown"), quoted.next()) {
            (true, Some(unknown)) => suggestion(&unknown, &quoted.collect::<Vec<_>>()),
            _ => String::new(),
        };
        let text = error.to_string();
        CoreError::Manifest {
            path: path.to_owned(),
            reason: format!("[{section}] {}{hint}", text.trim().replace('\n', ": ")),
        }
    })
}

/// `: did you mean `x`?` where a valid word is near.
pub fn suggestion(unknown: &str, valid: &[String]) -> String {
    let near = valid
        .iter()
        .map(|v| (strsim::damerau_levenshtein(unknown, v), v))
        .min();
    match near {
        Some((distance, word)) if distance <= unknown.len().max(3) / 2 => {
            format!(": did you mean `{word}`?")
        }
        _ => format!(": valid are {}", valid.join(", ")),
    }
}

/// Whether a file of the source's folder is a shard: Parquet by its name, and not hidden. As in Spark and pyarrow, a leading
/// `.` or `_` hides a file: macOS writes `._x.parquet` beside `x.parquet`, writers leave `_tmp.parquet`.
fn is_shard(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let extension = path.extension().unwrap_or_default();
    !name.starts_with(['.', '_']) && extension.eq_ignore_ascii_case("parquet")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[run]\nseed = 1\n[source]\npath = \"captions\"\n[source.columns]\nurl = \"URL\"\ncaption = \"TEXT\"\n\
                        [embedding_dims]\nname_tokens = 8\nname_channels = 128\nface = 512\nfeatures = 128\n";

    fn error(text: &str) -> String {
        Manifest::parse(Path::new("m.toml"), text)
            .expect_err("a wrong manifest")
            .to_string()
    }

    #[test]
    fn a_good_manifest_has_defaults() -> Result<(), CoreError> {
        let manifest = Manifest::parse(Path::new("folder/m.toml"), GOOD)?;
        assert_eq!(manifest.run.buckets, 64);
        assert_eq!(
            manifest.resolve(Path::new("captions")),
            Path::new("folder/captions")
        );
        Ok(())
    }

    #[test]
    fn embedding_dims_are_read_under_their_old_name_too() -> Result<(), CoreError> {
        let old = GOOD.replace("[embedding_dims]", "[widths]");
        let manifest = Manifest::parse(Path::new("m.toml"), &old)?;
        assert_eq!(manifest.embedding_dims.name_channels, 128);
        let both = format!("{GOOD}[widths]\nname_tokens = 8\n");
        assert!(error(&both).contains("keep one"));
        Ok(())
    }

    #[test]
    fn the_nearest_valid_key_is_named() {
        assert!(
            error(&GOOD.replace("seed = 1", "seed = 1\nbucket = 3"))
                .contains("did you mean `buckets`?")
        );
        assert!(
            error(&format!("{GOOD}[verify_portrait]\nsame_person = 0.4\n"))
                .contains("did you mean `verify_portraits`?")
        );
        assert!(
            error(&GOOD.replace("caption = \"TEXT\"", "text = \"TEXT\""))
                .contains("unknown key `text`")
        );
    }

    #[test]
    fn a_wrong_type_is_named() {
        let text = error(&GOOD.replace("seed = 1", "seed = \"one\""));
        assert!(text.contains("[run]") && text.contains("seed"), "{text}");
    }

    #[test]
    fn a_section_checks_its_keys() -> Result<(), CoreError> {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct Settings {
            same_person: f32,
        }
        impl Default for Settings {
            fn default() -> Self {
                Self { same_person: 0.5 }
            }
        }
        let manifest = Manifest::parse(
            Path::new("m.toml"),
            &format!("{GOOD}[verify_portraits]\nsame_persn = 0.4\n"),
        )?;
        let wrong = manifest
            .section::<Settings>("verify_portraits")
            .expect_err("a wrong key")
            .to_string();
        assert!(wrong.contains("did you mean `same_person`?"), "{wrong}");
        assert!((manifest.section::<Settings>("evaluate")?.same_person - 0.5).abs() < f32::EPSILON);
        Ok(())
    }
}
