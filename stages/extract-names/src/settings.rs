//! `[extract_names]` and `[models.ner]` of the manifest.

use std::path::PathBuf;

use laioncele_core::{CoreError, Manifest};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// `[extract_names]`: filters of the source's rows, each off unless set. A filter that is set needs
/// its column mapped in `[source.columns]`, and a row whose value is null or not a number does not
/// pass it: what is unknown counts as unsafe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Least width in pixels.
    pub min_width: Option<u32>,
    /// Least height in pixels.
    pub min_height: Option<u32>,
    /// Highest probability in [0, 1] that the image is not safe for work.
    pub max_punsafe: Option<f64>,
    /// Highest probability in [0, 1] that the image has a watermark.
    pub max_pwatermark: Option<f64>,
    /// Lowest cosine similarity in [-1, 1] of image and caption.
    pub min_similarity: Option<f64>,
}

impl Settings {
    /// Reads and checks the section.
    ///
    /// # Errors
    /// [`CoreError::Manifest`]: unknown key, wrong type, a filter on a column that is not mapped.
    pub fn from_manifest(manifest: &Manifest) -> Result<Self, CoreError> {
        let settings: Self = manifest.section("extract_names")?;
        let filters = [
            ("min_width", "width", settings.min_width.map(f64::from)),
            ("min_height", "height", settings.min_height.map(f64::from)),
            ("max_punsafe", "punsafe", settings.max_punsafe),
            ("max_pwatermark", "pwatermark", settings.max_pwatermark),
            ("min_similarity", "similarity", settings.min_similarity),
        ];
        for (filter, column, value) in filters {
            let Some(value) = value else { continue };
            if !value.is_finite() {
                let reason = format!("[extract_names] {filter} must be a number, not {value}");
                return Err(manifest.error(reason));
            }
            if !manifest.source.columns.contains_key(column) {
                return Err(manifest.error(format!(
                    "[extract_names] {filter} needs the column `{column}`: map it in [source.columns], or leave the filter out"
                )));
            }
        }
        Ok(settings)
    }
}

/// `[models.ner]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NerModel {
    /// The model's folder.
    pub(crate) folder: PathBuf,
    /// The NER engine that reads captions with it.
    #[serde(default)]
    pub(crate) engine: Engine,
}

/// The NER engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Engine {
    /// A spaCy package of en_core_web_sm's architecture.
    #[default]
    Spacy,
    /// A Hugging Face folder of a BertForTokenClassification.
    Bert,
    /// The same folder, its network run by rust-bert.
    #[cfg(feature = "rust-bert")]
    RustBert,
}

impl NerModel {
    /// Reads the section; the folder becomes a path of this process.
    pub(crate) fn from_manifest(manifest: &Manifest) -> Result<Self, CoreError> {
        let model: Self = manifest.model("ner")?;
        Ok(Self {
            folder: manifest.resolve(&model.folder),
            ..model
        })
    }
}

/// All that the stage's result depends on besides the files' bytes.
pub(crate) fn key_settings(manifest: &Manifest) -> Result<serde_json::Value, CoreError> {
    let settings = Settings::from_manifest(manifest)?;
    let mut value = serde_json::to_value(settings).map_err(|e| manifest.error(e.to_string()))?;
    value["source"] = json!({ "columns": manifest.source.columns });
    value["models"] = json!({ "ner": { "engine": NerModel::from_manifest(manifest)?.engine } });
    Ok(value)
}
