//! `[extract_names]` and `[models.ner]` of the manifest.

use std::path::PathBuf;

use laioncele_bert_ner::BertNer;
use laioncele_core::{CoreError, FilesRead, Manifest, ModelFiles};
use laioncele_ner::Ner;
use laioncele_source::{Need, Role};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// `[extract_names]`: what is kept of long captions, and filters of the source's rows, each off
/// unless set. A filter that is set needs its column in every file, and a row whose value is null or
/// unknown does not pass it: what is unknown counts as unsafe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// Worst label of LAION-400M's column NSFW that passes, beside `max_punsafe`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_nsfw: Option<MaxNsfw>,
    /// Bytes of its caption that a mention keeps at most, the name among them. A longer caption is cut to a window around
    /// the name, at characters; a name that is longer itself is kept whole. 64 at least.
    pub caption_window: u32,
    /// Mentions of one caption that are kept; those after them are dropped as `too_many_mentions`. 1 at least.
    pub max_mentions: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            min_width: None,
            min_height: None,
            max_punsafe: None,
            max_pwatermark: None,
            min_similarity: None,
            max_nsfw: None,
            caption_window: 4096,
            max_mentions: 100,
        }
    }
}

/// The worst label that passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MaxNsfw {
    /// Only UNLIKELY.
    Unlikely,
    /// UNLIKELY and UNSURE.
    Unsure,
}

impl MaxNsfw {
    /// Whether a row with this label passes; labels are read in any case.
    pub(crate) fn passes(self, label: Option<&[u8]>) -> bool {
        let label = label.unwrap_or_default().trim_ascii();
        let is = |word: &str| label.eq_ignore_ascii_case(word.as_bytes());
        match self {
            Self::Unlikely => is("UNLIKELY"),
            Self::Unsure => is("UNLIKELY") || is("UNSURE"),
        }
    }
}

impl Settings {
    /// Reads and checks the section.
    ///
    /// # Errors
    /// [`CoreError::Manifest`]: unknown key, wrong type, a filter on a column that is not mapped.
    pub fn from_manifest(manifest: &Manifest) -> Result<Self, CoreError> {
        let settings: Self = manifest.section("extract_names")?;
        for (filter, role, value) in settings.filters() {
            let Some(value) = value else { continue };
            if !value.is_finite() {
                let reason = format!("[extract_names] {filter} must be a number, not {value}");
                return Err(manifest.error(reason));
            }
            let column = role.as_str();
            if manifest.source.maps_all() && !manifest.source.columns.contains_key(column) {
                return Err(manifest.error(format!(
                    "[extract_names] {filter} needs the column `{column}`: map it in [source.columns], or leave the filter out"
                )));
            }
        }
        settings.check_bounds().map_err(|e| manifest.error(e))?;
        Ok(settings)
    }

    fn check_bounds(&self) -> Result<(), String> {
        let Self {
            caption_window,
            max_mentions,
            ..
        } = self;
        if *caption_window < 64 {
            return Err(format!(
                "[extract_names] caption_window must be 64 bytes or more, not {caption_window}"
            ));
        }
        if *max_mentions == 0 {
            return Err("[extract_names] max_mentions must be 1 or more, not 0".to_owned());
        }
        Ok(())
    }

    /// Each filter: its key, the column that it needs, its value where it is set.
    fn filters(&self) -> [(&'static str, Role, Option<f64>); 6] {
        let nsfw = self.max_nsfw.map(|_| 0.0);
        [
            ("min_width", Role::Width, self.min_width.map(f64::from)),
            ("min_height", Role::Height, self.min_height.map(f64::from)),
            ("max_punsafe", Role::Punsafe, self.max_punsafe),
            ("max_pwatermark", Role::Pwatermark, self.max_pwatermark),
            ("min_similarity", Role::Similarity, self.min_similarity),
            ("max_nsfw", Role::Nsfw, nsfw),
        ]
    }

    /// The columns that the filters need in every file of the source.
    pub(crate) fn needs(&self) -> Vec<Need> {
        let set = self
            .filters()
            .into_iter()
            .filter(|(_, _, value)| value.is_some());
        set.map(|(filter, role, _)| Need {
            role,
            setting: format!("[extract_names] {filter}"),
        })
        .collect()
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
            folder: manifest.resolve_model(&model.folder)?,
            ..model
        })
    }

    /// Its files, as the step's key names them.
    pub(crate) fn model_files(self) -> ModelFiles {
        let files_read: FilesRead = match self.engine {
            Engine::Spacy => |folder| Ok(Ner::files_read(folder)),
            Engine::Bert => |folder| Ok(BertNer::files_read(folder)?),
            #[cfg(feature = "rust-bert")]
            Engine::RustBert => |folder| Ok(BertNer::files_read(folder)?),
        };
        ModelFiles::folder("models.ner", self.folder, files_read)
    }
}

/// All that the stage's result depends on besides the files' bytes.
pub(crate) fn key_settings(manifest: &Manifest) -> Result<serde_json::Value, CoreError> {
    let settings = Settings::from_manifest(manifest)?;
    let mut value = serde_json::to_value(settings).map_err(|e| manifest.error(e.to_string()))?;
    value["source"] = json!({ "columns": manifest.source.columns });
    if let Some(layout) = manifest.source.layout {
        value["source"]["layout"] = json!(layout);
    }
    value["models"] = json!({ "ner": { "engine": NerModel::from_manifest(manifest)?.engine } });
    Ok(value)
}
