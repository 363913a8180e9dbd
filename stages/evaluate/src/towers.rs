//! Which text tower belongs to an image encoder: CLIP's two embeddings are comparable only if they
//! were trained together.

use std::path::{Path, PathBuf};

use laioncele_core::error::chain;
use laioncele_core::{FilesRead, ModelFiles};
use laioncele_inference::ImageEncoderSection;
use laioncele_inference::sections::{files_read, label};
use laioncele_nn::config::JsonFile;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// transformers' default of `projection_dim`.
const DEFAULT_WIDTH: u64 = 512;

/// One of the two encoders of `[models.image_encoders]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tower {
    /// `first`
    First,
    /// `second`; for the real SDXL CLIP ViT-bigG/14, which the paper's CLIP-TI is computed with.
    #[default]
    Second,
}

/// The image encoder that images are compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ClipChoice {
    /// One of `[models.image_encoders]`: `first` or `second`.
    Pair(Tower),
    /// A folder of its own: a whole CLIPModel with its tokenizer, or an image encoder that goes with SDXL's second text
    /// encoder.
    Folder(PathBuf),
}

impl Default for ClipChoice {
    fn default() -> Self {
        Self::Pair(Tower::default())
    }
}

impl ClipChoice {
    /// With the path of a folder resolved.
    pub(crate) fn resolved<E>(
        self,
        resolve: impl Fn(&Path) -> Result<PathBuf, E>,
    ) -> Result<Self, E> {
        Ok(match self {
            Self::Pair(tower) => Self::Pair(tower),
            Self::Folder(folder) => Self::Folder(resolve(&folder)?),
        })
    }

    /// The image encoder's folder.
    pub(crate) fn folder<'a>(&'a self, pair: &'a ImageEncoderSection) -> &'a Path {
        match self {
            Self::Pair(Tower::First) => &pair.first,
            Self::Pair(Tower::Second) => &pair.second,
            Self::Folder(folder) => folder,
        }
    }

    /// The text tower that goes with it. A folder of its own has the second place of the pair: it is compared with SDXL's
    /// second text encoder if it has no text tower.
    pub(crate) fn text(&self, pair: &ImageEncoderSection, sdxl: Option<&Path>) -> TextTower {
        let tower = match self {
            Self::Pair(tower) => *tower,
            Self::Folder(_) => Tower::Second,
        };
        TextTower::find(tower, self.folder(pair), sdxl)
    }

    /// What the folder is called in task keys.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Pair(Tower::First) => label("image_encoders", "first"),
            Self::Pair(Tower::Second) => label("image_encoders", "second"),
            Self::Folder(_) => "evaluate.clip".to_owned(),
        }
    }

    /// What the task key's settings say; a folder is there by its digest.
    pub(crate) fn key(&self) -> Value {
        match self {
            Self::Pair(tower) => json!(tower),
            Self::Folder(_) => json!("folder"),
        }
    }
}

/// Where an image encoder's text tower is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextTower {
    /// In the image encoder's own folder, which holds a whole CLIPModel.
    Own(PathBuf),
    /// SDXL's second text encoder, the text tower that goes with the second image encoder.
    Sdxl {
        /// `tokenizer_2`
        tokenizer: PathBuf,
        /// `text_encoder_2`
        model: PathBuf,
    },
    /// Nowhere, and why.
    Missing(String),
}

impl TextTower {
    /// Looks for the text tower of the image encoder in `folder`, which is `tower` of the pair that
    /// goes with the SDXL folder `sdxl`. SDXL's first text encoder never serves: it comes without
    /// its projection.
    pub fn find(tower: Tower, folder: &Path, sdxl: Option<&Path>) -> Self {
        let config = match JsonFile::read(&folder.join("config.json")) {
            Ok(config) => config,
            Err(error) => return Self::Missing(chain(&error)),
        };
        if config.get("text_config").is_some() {
            return Self::own(folder);
        }
        match (tower, sdxl) {
            (Tower::Second, Some(sdxl)) => Self::of_sdxl(sdxl, width(&config)),
            _ => Self::Missing(
                "the image encoder's folder holds no text tower, and SDXL has none that goes with it"
                    .to_owned(),
            ),
        }
    }

    fn own(folder: &Path) -> Self {
        if folder.join("tokenizer_config.json").is_file() {
            return Self::Own(folder.to_owned());
        }
        let reason = "the image encoder's folder holds a text tower, but no tokenizer_config.json";
        Self::Missing(reason.to_owned())
    }

    fn of_sdxl(sdxl: &Path, expected: u64) -> Self {
        let model = sdxl.join("text_encoder_2");
        let found = match JsonFile::read(&model.join("config.json")) {
            Ok(config) => width(&config),
            Err(error) => return Self::Missing(chain(&error)),
        };
        if found != expected {
            return Self::Missing(format!(
                "image embeddings are {expected} wide, those of SDXL's second text encoder {found}: they do not belong together"
            ));
        }
        Self::Sdxl {
            tokenizer: sdxl.join("tokenizer_2"),
            model,
        }
    }

    /// Its files beyond the image encoder's own folder, with their labels.
    pub fn model_files(&self) -> Vec<ModelFiles> {
        let folder = |role: &str, path: &Path, files_read: FilesRead| {
            ModelFiles::folder(label("sdxl", role), path.to_owned(), files_read)
        };
        match self {
            Self::Sdxl { tokenizer, model } => vec![
                folder("tokenizer_2", tokenizer, files_read::tokenizer),
                folder("text_encoder_2", model, files_read::text_tower),
            ],
            Self::Own(_) | Self::Missing(_) => Vec::new(),
        }
    }
}

/// The width of a tower's embeddings.
fn width(config: &JsonFile) -> u64 {
    let given = config.get("projection_dim").and_then(Value::as_u64);
    given.unwrap_or(DEFAULT_WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sdxl_mini() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests/mini/sdxl-mini")
    }

    #[test]
    fn the_second_image_encoder_goes_with_sdxls_second_text_encoder() {
        let sdxl = sdxl_mini();
        let found = TextTower::find(Tower::Second, &sdxl.join("image_encoder_2"), Some(&sdxl));
        let expected = TextTower::Sdxl {
            tokenizer: sdxl.join("tokenizer_2"),
            model: sdxl.join("text_encoder_2"),
        };
        assert_eq!(found, expected);
        assert!(found.model_files().iter().all(|file| file.path.is_dir()));
    }

    fn why_missing(tower: Tower, folder: &Path, sdxl: Option<&Path>) -> String {
        match TextTower::find(tower, folder, sdxl) {
            TextTower::Missing(reason) => reason,
            found => panic!("{found:?}"),
        }
    }

    #[test]
    fn a_tower_that_does_not_belong_is_not_taken() {
        let sdxl = sdxl_mini();
        let first = sdxl.join("image_encoder");
        assert!(why_missing(Tower::First, &first, Some(&sdxl)).contains("no text tower"));
        let reason = why_missing(Tower::Second, &first, Some(&sdxl));
        assert!(
            reason.contains("48 wide") && reason.contains("80"),
            "{reason}"
        );
        assert!(why_missing(Tower::Second, &first, None).contains("no text tower"));
        assert!(why_missing(Tower::First, &sdxl.join("nothing"), None).contains("config.json"));
    }

    #[test]
    fn a_folder_is_told_from_the_pair() {
        let read = |text: &str| serde_json::from_str::<ClipChoice>(text).expect("a choice");
        assert_eq!(read("\"first\""), ClipChoice::Pair(Tower::First));
        let resolve = |path: &Path| Ok::<_, ()>(Path::new("/run").join(path));
        let folder = read("\"clip/image\"").resolved(resolve).expect("a path");
        assert_eq!(folder, ClipChoice::Folder("/run/clip/image".into()));
        assert_eq!(
            (folder.key(), folder.label()),
            (json!("folder"), "evaluate.clip".to_owned())
        );
        let pair = ClipChoice::default();
        assert_eq!(
            (pair.key(), pair.label()),
            (json!("second"), "models.image_encoders.second".to_owned())
        );
    }

    #[test]
    fn a_whole_clip_folder_has_its_own() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let root = folder.path();
        std::fs::write(root.join("config.json"), r#"{"text_config": {}}"#)?;
        assert!(why_missing(Tower::First, root, None).contains("tokenizer_config.json"));
        std::fs::write(root.join("tokenizer_config.json"), "{}")?;
        let found = TextTower::find(Tower::First, root, None);
        assert_eq!(found, TextTower::Own(root.to_owned()));
        assert!(found.model_files().is_empty());
        Ok(())
    }
}
