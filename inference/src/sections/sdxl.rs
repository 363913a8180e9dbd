//! `[models.sdxl]`.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use laioncele_core::{CoreError, Manifest};
use laioncele_core::{FilesRead, ModelFiles};
use laioncele_nn::{DeviceChoice, Precision};
use laioncele_sdxl::{
    Inversion, Lora, NegativePrompt, PredictionSettings, PredictionType, SdxlFiles, TimestepSpacing,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{files_read, label};

/// `[models.sdxl]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// An SDXL folder in Diffusers layout. With `file` it is the base, which gives the configurations, the tokenizers
    /// and the parts that the file lacks; a file of SDXL's own widths with both text encoders and a VAE needs none.
    folder: Option<PathBuf>,
    /// A model in one safetensors file in the original layout, as fine-tunes are published: its U-Net, and its text
    /// encoders and VAE where it has them.
    file: Option<PathBuf>,
    /// A U-Net to use instead of the model's own: a folder, or one safetensors file of weights for the model's own
    /// `unet/config.json`.
    unet: Option<PathBuf>,
    /// A VAE to use instead of the model's own: a folder, or one safetensors file of weights for the model's own
    /// `vae/config.json`.
    vae: Option<PathBuf>,
    /// LoRAs that are merged into the weights: `[[models.sdxl.lora]]` with a `file` and perhaps a `strength`. Their
    /// order does not matter.
    #[serde(default)]
    lora: Vec<LoraKeys>,
    /// Whether LoRAs also change the text encoders. The trained encoder predicts names of the plain ones.
    #[serde(default = "yes")]
    lora_text: bool,
    /// Textual inversions: `[[models.sdxl.embedding]]` with a `file` and perhaps a `token`, the word of prompts that it
    /// stands for.
    #[serde(default)]
    embedding: Vec<EmbeddingKeys>,
    /// What the U-Net predicts, `epsilon` or `v_prediction`. Without it the marks of the weight file say it, else the
    /// folder's scheduler.
    prediction: Option<PredictionType>,
    /// Whether the last training timestep is pure noise. Without it the marks of the weight file say it, else the
    /// folder's scheduler.
    zero_terminal_snr: Option<bool>,
    /// Where the timesteps lie: `leading`, `trailing` or `linspace`. Without it the folder's scheduler says it, or it is
    /// trailing where a mark or `zero_terminal_snr` asks for pure noise at the end.
    timestep_spacing: Option<TimestepSpacing>,
    /// The unconditional embedding that classifier-free guidance guides away from: `zeros`, the encoded `empty` prompt,
    /// or what the `model` says (`force_zeros_for_empty_prompt` of model_index.json; zeros for SDXL base).
    #[serde(default)]
    unconditional: Unconditional,
    /// The type that the text encoders and the U-Net compute in. The VAE always computes in float32, since SDXL's own
    /// leaves float16's range and gives black images.
    #[serde(default)]
    precision: Precision,
    /// Where to compute.
    #[serde(default)]
    device: DeviceChoice,
    /// Images that a GPU generates at once; half of it where its memory does not hold them. Without a GPU it is not
    /// read: there images do not depend on their neighbours.
    batch: Option<NonZeroUsize>,
}

/// `[[models.sdxl.lora]]` and `[[generate_samples.lora]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraKeys {
    /// A safetensors file: LoRA, LoCon or DoRA, of kohya's, PEFT's or diffusers' names.
    pub file: PathBuf,
    /// What its differences are multiplied by.
    #[serde(default = "one")]
    pub strength: f64,
}

impl LoraKeys {
    /// The LoRA with its path resolved; `section` is what an error calls it.
    ///
    /// # Errors
    /// [`CoreError::Manifest`]: a strength that is not finite.
    pub fn resolved(&self, manifest: &Manifest, section: &str) -> Result<Lora, CoreError> {
        match self.strength.is_finite() {
            true => Ok(Lora {
                file: manifest.resolve_model(&self.file)?,
                strength: self.strength,
            }),
            false => Err(manifest.error(format!("{section} strength must be a finite number"))),
        }
    }
}

/// `[[models.sdxl.embedding]]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmbeddingKeys {
    /// A safetensors file with `clip_l` and `clip_g`.
    file: PathBuf,
    /// The word that it stands for [default: the file's name without its ending].
    token: Option<String>,
}

fn yes() -> bool {
    true
}

fn one() -> f64 {
    1.0
}

/// `[models.sdxl]` with its paths resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct SdxlSection {
    /// The model's files, and in which type and where to compute.
    pub files: SdxlFiles,
    /// What guidance guides away from.
    pub unconditional: Unconditional,
}

/// The unconditional embedding of classifier-free guidance, as settings name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unconditional {
    /// What the model's folder says.
    #[default]
    Model,
    /// Zeros.
    Zeros,
    /// The encoded empty prompt.
    Empty,
}

impl Unconditional {
    /// As the text encoders take it.
    pub fn negative(self) -> NegativePrompt {
        match self {
            Self::Model => NegativePrompt::Model,
            Self::Zeros => NegativePrompt::Zeros,
            Self::Empty => NegativePrompt::Empty,
        }
    }
}

impl SdxlSection {
    /// Reads the section.
    ///
    /// # Errors
    /// [`CoreError::Manifest`]: the section is absent, has an unknown key or a wrong type.
    pub fn from_manifest(manifest: &Manifest) -> Result<Self, CoreError> {
        let keys: Keys = manifest.model("sdxl")?;
        let wrong = |text: &str| CoreError::Manifest {
            path: manifest.path().to_owned(),
            reason: text.to_owned(),
        };
        if keys.folder.is_none() && keys.file.is_none() {
            return Err(wrong("[models.sdxl] has neither `folder` nor `file`"));
        }
        let lora = |lora: &LoraKeys| lora.resolved(manifest, "[[models.sdxl.lora]]");
        let loras = keys.lora.iter().map(lora).collect::<Result<_, _>>()?;
        let inversion = |keys: EmbeddingKeys| {
            let own = Inversion::of_file(&manifest.resolve_model(&keys.file)?);
            Ok::<_, CoreError>(Inversion {
                token: keys.token.unwrap_or(own.token),
                file: own.file,
            })
        };
        let inversions = keys.embedding.into_iter().map(inversion);
        let resolve = |path: Option<PathBuf>| manifest.resolve_given(path.as_deref());
        Ok(Self {
            files: SdxlFiles {
                folder: resolve(keys.folder)?.unwrap_or_default(),
                file: resolve(keys.file)?,
                loras,
                plain_texts: !keys.lora_text,
                inversions: inversions.collect::<Result<_, _>>()?,
                prediction: PredictionSettings {
                    prediction: keys.prediction,
                    zero_terminal_snr: keys.zero_terminal_snr,
                    timestep_spacing: keys.timestep_spacing,
                },
                unet: resolve(keys.unet)?,
                vae: resolve(keys.vae)?,
                precision: keys.precision,
                device: keys.device,
                batch: keys.batch,
            },
            unconditional: keys.unconditional,
        })
    }

    /// What images depend on besides files: `precision`, and `unconditional` where it is not the model's own, which it
    /// always was before it could be set.
    pub fn image_settings(&self) -> Value {
        let mut settings = json!({ "precision": self.files.precision });
        if self.unconditional != Unconditional::Model {
            settings["unconditional"] = json!(self.unconditional);
        }
        let prediction = self.files.prediction;
        for (key, value) in [
            ("prediction", prediction.prediction.map(|v| json!(v))),
            (
                "zero_terminal_snr",
                prediction.zero_terminal_snr.map(|v| json!(v)),
            ),
            (
                "timestep_spacing",
                prediction.timestep_spacing.map(|v| json!(v)),
            ),
        ] {
            if let Some(value) = value {
                settings[key] = value;
            }
        }
        settings
    }

    /// What a text's embedding depends on, as a step's key names it.
    pub fn text_model_files(&self) -> Vec<ModelFiles> {
        let mut files = Vec::new();
        if let Some(file) = &self.files.file {
            files.push(ModelFiles::file(label("sdxl", "file"), file.clone()));
        }
        if let Some(base) = self.base() {
            let folder = |part: &str, files_read: FilesRead| {
                ModelFiles::folder(label("sdxl", part), base.join(part), files_read)
            };
            let index = base.join("model_index.json");
            files.push(ModelFiles::file(label("sdxl", "model_index"), index));
            files.push(folder("tokenizer", files_read::tokenizer));
            files.push(folder("tokenizer_2", files_read::tokenizer));
            files.extend(self.own_part("text_encoder", files_read::text_tower));
            files.extend(self.own_part("text_encoder_2", files_read::text_tower));
        }
        if !self.files.plain_texts {
            files.extend(self.lora_files());
        }
        for inversion in &self.files.inversions {
            let label = label("sdxl", &format!("embedding.{}", inversion.token));
            files.push(ModelFiles::file(label, inversion.file.clone()));
        }
        files
    }

    /// What an image depends on besides its texts, as a step's key names it.
    pub fn image_model_files(&self) -> Vec<ModelFiles> {
        let mut files = Vec::new();
        if let Some(file) = &self.files.file {
            files.push(ModelFiles::file(label("sdxl", "file"), file.clone()));
        }
        if let Some(base) = self.base() {
            let scheduler = base.join("scheduler");
            let label = label("sdxl", "scheduler");
            files.push(ModelFiles::folder(label, scheduler, files_read::scheduler));
        }
        files.extend(self.part("vae", self.files.vae.as_deref(), files_read::vae));
        files.extend(self.part("unet", self.files.unet.as_deref(), files_read::unet));
        files.extend(self.lora_files());
        files
    }

    /// The weight files that are read, each once, by the labels of their parts; of folders that tell which.
    pub fn weight_files(&self) -> Vec<(String, PathBuf)> {
        let mut files: Vec<(String, PathBuf)> = Vec::new();
        for model in [self.text_model_files(), self.image_model_files()].concat() {
            let read = match model.path.is_dir() {
                true => (model.files_read)(&model.path).unwrap_or_default(),
                false => vec![model.path],
            };
            for file in read {
                let weights = file.extension().is_some_and(|kind| kind == "safetensors");
                if weights && file.is_file() && files.iter().all(|(_, known)| *known != file) {
                    files.push((model.label.clone(), file));
                }
            }
        }
        files
    }

    /// The folder, if there is one.
    fn base(&self) -> Option<&Path> {
        let folder = self.files.folder.as_path();
        (!folder.as_os_str().is_empty()).then_some(folder)
    }

    /// A part of the model, or what takes its place; one file of weights also needs the model's own configuration.
    fn part(&self, part: &str, other: Option<&Path>, files_read: FilesRead) -> Vec<ModelFiles> {
        let Some(other) = other else {
            return self.own_part(part, files_read);
        };
        let mut files = Vec::new();
        if other.is_file() {
            files.extend(self.config(part));
        }
        files.push(ModelFiles::folder(
            label("sdxl", part),
            other.to_owned(),
            files_read,
        ));
        files
    }

    /// A part of the folder: its configuration alone where the file has its weights.
    fn own_part(&self, part: &str, files_read: FilesRead) -> Vec<ModelFiles> {
        let in_file = self
            .files
            .file
            .as_deref()
            .is_some_and(|file| SdxlFiles::holds(file, part));
        match self.base() {
            Some(_) if in_file => self.config(part).into_iter().collect(),
            Some(base) => vec![ModelFiles::folder(
                label("sdxl", part),
                base.join(part),
                files_read,
            )],
            None => Vec::new(),
        }
    }

    fn config(&self, part: &str) -> Option<ModelFiles> {
        let path = self.base()?.join(part).join("config.json");
        Some(ModelFiles::file(
            label("sdxl", &format!("{part}_config")),
            path,
        ))
    }

    /// The LoRAs with their strengths, sorted, so that their order in the manifest does not show.
    fn lora_files(&self) -> Vec<ModelFiles> {
        let mut loras: Vec<_> = self.files.loras.iter().collect();
        loras.sort_by(|a, b| a.file.cmp(&b.file).then(a.strength.total_cmp(&b.strength)));
        let mut files: Vec<ModelFiles> = Vec::new();
        for lora in loras {
            let name = lora.file.file_name().unwrap_or_default().to_string_lossy();
            let plain = label("sdxl", &format!("lora.{name}@{}", lora.strength));
            let again = format!("{plain}#");
            let is_like =
                |known: &&ModelFiles| known.label == plain || known.label.starts_with(&again);
            let label = match files.iter().filter(is_like).count() {
                0 => plain,
                more => format!("{plain}#{}", more + 1),
            };
            files.push(ModelFiles::file(label, lora.file.clone()));
        }
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sections::testing::manifest;

    const SECTION: &str = "[models.sdxl]\nfolder = \"sdxl\"\nprecision = \"bf16\"\n";

    fn labels(files: Vec<ModelFiles>) -> Vec<(String, PathBuf)> {
        files.into_iter().map(|f| (f.label, f.path)).collect()
    }

    #[test]
    fn labels_and_paths_are_those_of_task_keys() -> Result<(), CoreError> {
        let section = SdxlSection::from_manifest(&manifest(SECTION))?;
        let expected = |pairs: &[(&str, &str)]| -> Vec<(String, PathBuf)> {
            let pair = |(role, part): &(&str, &str)| {
                let path = PathBuf::from(format!("/run/sdxl/{part}"));
                (format!("models.sdxl.{role}"), path)
            };
            pairs.iter().map(pair).collect()
        };
        let texts = [
            ("model_index", "model_index.json"),
            ("tokenizer", "tokenizer"),
            ("tokenizer_2", "tokenizer_2"),
            ("text_encoder", "text_encoder"),
            ("text_encoder_2", "text_encoder_2"),
        ];
        assert_eq!(labels(section.text_model_files()), expected(&texts));
        let images = [("scheduler", "scheduler"), ("vae", "vae"), ("unet", "unet")];
        assert_eq!(labels(section.image_model_files()), expected(&images));
        assert_eq!(section.files.precision, Precision::Bf16);
        Ok(())
    }

    #[test]
    fn a_file_of_unet_weights_brings_the_models_own_configuration() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let weights = folder.path().join("unet.safetensors");
        std::fs::write(&weights, b"x")?;
        let text = format!("{SECTION}unet = \"{}\"\n", weights.display());
        let section = SdxlSection::from_manifest(&manifest(&text)).expect("a section");
        let found = labels(section.image_model_files());
        let config = PathBuf::from("/run/sdxl/unet/config.json");
        assert_eq!(found[2], ("models.sdxl.unet_config".to_owned(), config));
        assert_eq!(found[3], ("models.sdxl.unet".to_owned(), weights));
        Ok(())
    }

    /// Another VAE changes images, never the embedding of a text.
    #[test]
    fn a_vae_takes_the_place_of_the_models_own() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let weights = folder.path().join("fix.safetensors");
        std::fs::write(&weights, b"x")?;
        let read = |vae: &Path| {
            let text = format!("{SECTION}vae = \"{}\"\n", vae.display());
            SdxlSection::from_manifest(&manifest(&text)).expect("a section")
        };
        let own = SdxlSection::from_manifest(&manifest(SECTION)).expect("a section");
        let (of_file, of_folder) = (read(&weights), read(folder.path()));
        let found = labels(of_file.image_model_files());
        let config = PathBuf::from("/run/sdxl/vae/config.json");
        assert_eq!(found[1], ("models.sdxl.vae_config".to_owned(), config));
        assert_eq!(found[2], ("models.sdxl.vae".to_owned(), weights));
        let found = labels(of_folder.image_model_files());
        assert_eq!(
            found[1],
            ("models.sdxl.vae".to_owned(), folder.path().to_owned())
        );
        for other in [of_file, of_folder] {
            assert_eq!(
                labels(other.text_model_files()),
                labels(own.text_model_files())
            );
        }
        Ok(())
    }

    /// Files and strengths are in keys, the order of files is not.
    #[test]
    fn loras_enter_keys_in_any_order() {
        let section = |loras: &str| {
            SdxlSection::from_manifest(&manifest(&format!("{SECTION}{loras}"))).expect("a section")
        };
        let (a, b) = (
            "[[models.sdxl.lora]]\nfile = \"a.safetensors\"\nstrength = 0.8\n",
            "[[models.sdxl.lora]]\nfile = \"b.safetensors\"\n",
        );
        let one = section(&format!("{a}{b}"));
        let found = labels(one.image_model_files());
        let expected = [
            "models.sdxl.lora.a.safetensors@0.8",
            "models.sdxl.lora.b.safetensors@1",
        ];
        let names: Vec<&str> = found.iter().map(|(label, _)| label.as_str()).collect();
        assert_eq!(names[3..], expected);
        let other = section(&format!("{b}{a}"));
        assert_eq!(labels(other.image_model_files()), found);
        assert_eq!(labels(one.text_model_files())[5..], found[3..]);
        let plain = section(&format!("lora_text = false\n{a}"));
        assert_eq!(plain.text_model_files().len(), 5);
        let twice = section(&format!("{b}{b}"));
        assert!(labels(twice.image_model_files())[4].0.ends_with("@1#2"));
    }

    #[test]
    fn a_file_is_a_model_with_or_without_a_folder() -> std::io::Result<()> {
        let text = "[models.sdxl]\nfile = \"x.safetensors\"\nprediction = \"v_prediction\"\n";
        let section = SdxlSection::from_manifest(&manifest(text)).expect("a section");
        let file = (
            "models.sdxl.file".to_owned(),
            PathBuf::from("/run/x.safetensors"),
        );
        let texts = labels(section.text_model_files());
        assert_eq!(texts, std::slice::from_ref(&file));
        assert_eq!(labels(section.image_model_files()), [file]);
        let expected = json!({ "precision": "f32", "prediction": "v_prediction" });
        assert_eq!(section.image_settings(), expected);
        let none = SdxlSection::from_manifest(&manifest("[models.sdxl]\n"));
        assert!(none.expect_err("nothing").to_string().contains("neither"));
        Ok(())
    }

    #[test]
    fn the_unconditional_embedding_is_in_keys_only_where_it_is_set() {
        let settings = |line: &str| {
            let section = SdxlSection::from_manifest(&manifest(&format!("{SECTION}{line}\n")));
            section.expect("a section").image_settings()
        };
        let own = json!({ "precision": "bf16" });
        assert_eq!(settings(""), own);
        assert_eq!(settings("unconditional = \"model\""), own);
        let empty = json!({ "precision": "bf16", "unconditional": "empty" });
        assert_eq!(settings("unconditional = \"empty\""), empty);
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let text = SECTION.replace("precision", "precison");
        let error = SdxlSection::from_manifest(&manifest(&text)).expect_err("a wrong key");
        let error = error.to_string();
        assert!(error.contains("did you mean `precision`?"), "{error}");
    }
}
