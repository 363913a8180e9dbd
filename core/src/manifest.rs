//! The manifest: what a run is, one TOML file. This module owns its frame; each stage owns the keys of its section.
//!
//! `[run]`, `[source]` and `[embedding_dims]` are read here. `[models.NAME]` and the sections named after the stages
//! (`[extract_names]`, …) are read by the stages through [`Manifest::section`] and [`Manifest::model`], each into its
//! own struct with `deny_unknown_fields` and defaults. `[mini_world]` is the program's: it says where the embedded
//! world's web is. Paths are relative to the manifest's folder.

mod assignment;
mod mirror;
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::digest::Digest;
use crate::disk::Durability;
use crate::error::CoreError;
use crate::names::StageName;
use crate::nearest::{nearest, suggestion};
use crate::store::{Store, url_of};
use crate::table::EmbeddingDims;

pub use assignment::Assignment;
pub use mirror::mirrored;
use source::check_source;
pub use source::{Layout, SOURCE_COLUMNS, SourcePath, SourceSettings};

/// `[run]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSettings {
    /// The seed that every random choice is derived from.
    pub seed: u64,
    /// Name buckets: the partitions of everything after merge-names. At least 1.
    #[serde(default = "default_buckets")]
    pub buckets: u32,
    /// Whether each part and record is on the disk before the run goes on (`fsync`), so that a power cut loses the tasks at work
    /// and nothing else. `false` leaves it to the system: a kill then still loses nothing, a power cut may. In no task's key.
    #[serde(default = "default_sync")]
    pub sync: bool,
    /// Seconds that a row may take (a caption, a name with its portraits, a photo) where rows are looked at by themselves. A
    /// worker that takes longer is ended; a row that took two workers longer is dropped as `poison`. 0 waits for ever. In no task's
    /// key.
    #[serde(default = "default_row_deadline")]
    pub row_deadline_s: u64,
}

fn default_buckets() -> u32 {
    64
}

fn default_sync() -> bool {
    true
}

/// Six hours: an SDXL of the real size may need minutes for each step of a portrait on a processor.
fn default_row_deadline() -> u64 {
    6 * 60 * 60
}

impl RunSettings {
    /// What the writes of the run's store outlive.
    pub fn durability(&self) -> Durability {
        match self.sync {
            true => Durability::PowerCut,
            false => Durability::Kill,
        }
    }

    /// How long a row may take; zero for ever.
    pub fn row_deadline(&self) -> Duration {
        Duration::from_secs(self.row_deadline_s)
    }
}

/// A manifest, read and checked as far as this module owns it.
#[derive(Clone, Debug)]
pub struct Manifest {
    path: PathBuf,
    /// The file that was read: a recorded manifest is not where it was written.
    file: PathBuf,
    text: String,
    /// `[run]`
    pub run: RunSettings,
    /// `[source]`
    pub source: SourceSettings,
    /// `[embedding_dims]`
    pub embedding_dims: EmbeddingDims,
    sections: Table,
    /// Where this machine keeps the files of models, each at its whole path below it.
    mirror: Option<PathBuf>,
}

/// What `[embedding_dims]` was called in version 0.1.0; still read.
const EMBEDDING_DIMS_BEFORE: &str = "widths";

impl Manifest {
    /// Reads a manifest file.
    ///
    /// # Errors
    /// [`CoreError::Missing`], or [`CoreError::Manifest`] with line, key and the nearest valid key.
    /// A file that a run recorded ([`Manifest::recorded`]) is read as the manifest that it was made from.
    pub fn load(path: &Path) -> Result<Self, CoreError> {
        let text = std::fs::read_to_string(path).map_err(|e| CoreError::from_io(path, e))?;
        Self::read(path, &text)
    }

    /// The manifest that a run recorded ([`Manifest::recorded`]) as the object `path` of its store.
    ///
    /// # Errors
    /// No such object; [`CoreError::Manifest`].
    pub fn of_run(store: &Store, path: &str) -> Result<Self, CoreError> {
        let (bytes, shown) = (store.get(path)?, store.shown(path));
        let text = std::str::from_utf8(&bytes).map_err(|e| CoreError::Manifest {
            path: shown.clone(),
            reason: e.to_string(),
        })?;
        Self::read(&shown, text)
    }

    /// What the file `path` says, which may be one that a run recorded.
    fn read(path: &Path, text: &str) -> Result<Self, CoreError> {
        let Some((origin, text)) = recorded::split(text) else {
            return Self::parse(path, text);
        };
        Ok(Self {
            file: path.to_owned(),
            ..Self::parse(&origin, text)?
        })
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
        check_models(&sections).map_err(fail)?;
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
        check_source(&source).map_err(fail)?;
        let embedding_dims = typed(path, "embedding_dims", part("embedding_dims")?)?;
        Ok(Self {
            path: path.to_owned(),
            file: path.to_owned(),
            text: text.to_owned(),
            run,
            source,
            embedding_dims,
            sections,
            mirror: None,
        })
    }

    /// The manifest file, where it was written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file that it was read from: that of [`Manifest::path`], or one that a run recorded.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The digest of its text, which names it.
    pub fn digest(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }

    /// The text of a file that [`Manifest::load`] reads as this manifest, wherever it lies: the manifest's own after a
    /// line that says where it was written. `origin` is its absolute path.
    pub fn recorded(&self, origin: &Path) -> String {
        recorded::join(origin, &self.text)
    }

    /// Everything that the manifest says, by `section.key`, as TOML.
    pub fn flattened(&self) -> BTreeMap<String, String> {
        let mut flat = BTreeMap::new();
        for (name, value) in &self.sections {
            flatten(name.clone(), value, &mut flat);
        }
        flat
    }

    /// `path` of the manifest as a path of this process.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        if url_of(path).is_some() {
            return path.to_owned();
        }
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    /// The section of a stage (its words joined by `_`), `finetune` or `mini_world`; defaults where it is absent.
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

    /// An error that names this manifest.
    pub fn error(&self, reason: String) -> CoreError {
        CoreError::Manifest {
            path: self.path.clone(),
            reason,
        }
    }
}

fn flatten(path: String, value: &Value, flat: &mut BTreeMap<String, String>) {
    match value {
        Value::Table(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                flatten(format!("{path}.{name}"), value, flat);
            }
        }
        _ => {
            flat.insert(path, value.to_string());
        }
    }
}

/// The models that a manifest may name, as sections of `[models]`.
const MODELS: [&str; 6] = [
    "ner",
    "sdxl",
    "face",
    "image_encoders",
    "ip_adapter",
    "photomaker",
];

fn check_models(sections: &Table) -> Result<(), String> {
    let models = sections.get("models").and_then(Value::as_table);
    let mut names = models.into_iter().flat_map(Table::keys);
    match names.find(|name| !MODELS.contains(&name.as_str())) {
        None => Ok(()),
        Some(unknown) => Err(format!(
            "unknown section [models.{unknown}]{}",
            suggestion(unknown, &MODELS.map(str::to_owned))
        )),
    }
}

/// Recorded manifests: a line that says where the text was written, and the text.
mod recorded {
    use std::path::{Path, PathBuf};

    const HEAD: &str = "# Recorded by laioncele. Relative paths start at the folder of ";

    pub(super) fn join(origin: &Path, text: &str) -> String {
        // As JSON, so that it is one line whatever the path.
        let origin = serde_json::Value::from(origin.to_string_lossy());
        format!("{HEAD}{origin}\n{text}")
    }

    /// Where a recorded manifest was written, and its text.
    pub(super) fn split(text: &str) -> Option<(PathBuf, &str)> {
        let (origin, text) = text.strip_prefix(HEAD)?.split_once('\n')?;
        let origin: String = serde_json::from_str(origin).ok()?;
        Some((origin.into(), text))
    }
}

fn valid_sections() -> Vec<String> {
    let stages = StageName::ALL.iter().map(|s| s.as_str().replace('-', "_"));
    [
        "run",
        "source",
        "embedding_dims",
        "models",
        "finetune",
        "mini_world",
    ]
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
            // The message itself lists all valid ones.
            (true, Some(unknown)) => nearest(&unknown, &quoted.collect::<Vec<_>>())
                .map_or_else(String::new, |word| format!(": did you mean `{word}`?")),
            _ => String::new(),
        };
        let text = error.to_string();
        CoreError::Manifest {
            path: path.to_owned(),
            reason: format!("[{section}] {}{hint}", text.trim().replace('\n', ": ")),
        }
    })
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
    fn a_recorded_manifest_is_the_one_that_it_was_made_from() -> Result<(), CoreError> {
        let folder =
            tempfile::tempdir().map_err(|e| CoreError::from_io(Path::new("tempdir"), e))?;
        let origin = Path::new("/data/a \"b\"\n/m.toml");
        let written = Manifest::parse(origin, GOOD)?;
        let file = folder.path().join("r.toml");
        std::fs::write(&file, written.recorded(origin))
            .map_err(|e| CoreError::from_io(&file, e))?;
        let read = Manifest::load(&file)?;
        assert_eq!((read.path(), read.file()), (origin, file.as_path()));
        assert_eq!(read.digest(), written.digest());
        assert_eq!(
            read.resolve(Path::new("captions")),
            Path::new("/data/a \"b\"\n/captions")
        );
        assert_eq!(read.recorded(origin), written.recorded(origin));
        Ok(())
    }

    #[test]
    fn flattened_names_every_value() -> Result<(), CoreError> {
        let flat = Manifest::parse(Path::new("m.toml"), GOOD)?.flattened();
        let value = |name: &str| flat.get(name).map(String::as_str);
        assert_eq!(value("run.seed"), Some("1"));
        assert_eq!(value("source.columns.url"), Some("\"URL\""));
        assert_eq!(flat.len(), 8);
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
    fn a_source_is_one_path_or_several_of_a_known_layout() -> Result<(), CoreError> {
        let text = "[run]\nseed = 1\n[source]\npath = [\"a\", \"b/*.csv\"]\nlayout = \"laion-400m\"\n\
                    [embedding_dims]\nname_tokens = 8\nname_channels = 128\nface = 512\nfeatures = 128\n";
        let source = Manifest::parse(Path::new("m.toml"), text)?.source;
        assert_eq!(
            source.path.entries(),
            [Path::new("a"), Path::new("b/*.csv")]
        );
        assert_eq!(source.layout, Some(Layout::Laion400m));
        assert_eq!(
            source.layout.map(|l| l.to_string()).as_deref(),
            Some("laion-400m")
        );
        assert!(error(&text.replace("400m", "40m")).contains("did you mean `laion-400m`?"));
        assert!(error(&text.replace("[\"a\", \"b/*.csv\"]", "[]")).contains("empty list"));
        Ok(())
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
