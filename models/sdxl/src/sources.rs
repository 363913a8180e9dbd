//! Where every part of a model comes from, opened: its folder, one file of a whole model, other
//! files in place of parts, LoRAs and inversions on top.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use laioncele_clip::{TextEncoder, TextModel};
use laioncele_nn::config::JsonFile;
use laioncele_nn::{LoadOptions, Shapes, WeightChange, Weights};

use crate::base::Base;
use crate::checkpoint::{Checkpoint, Role};
use crate::error::{Error, Result};
use crate::files::SdxlFiles;
use crate::folder::{CONFIG, WEIGHTS};
use crate::inversion::Inversion;
use crate::lora::{Loras, ModuleNames, TEXT_1, TEXT_2, UNET};
use crate::prediction::Prediction;
use crate::unet::{UNet, UNetConfig};
use crate::vae::{Vae, VaeConfig};

/// The part of the weights that a user gave in place of the model's own.
#[derive(Debug)]
enum Other {
    /// A folder with a configuration of its own.
    Folder(PathBuf),
    /// One file for the model's configuration.
    File(Checkpoint),
}

/// The opened sources of a model.
#[derive(Debug)]
pub(crate) struct Sources {
    pub base: Base,
    checkpoint: Option<Checkpoint>,
    unet: Option<Other>,
    vae: Option<Other>,
    loras: Option<Arc<Loras>>,
    plain_texts: bool,
    inversions: Vec<Inversion>,
    pub prediction: Prediction,
}

impl Sources {
    /// Opens the files, and refuses those that are something else.
    ///
    /// # Errors
    /// Files that are missing, damaged, of other models or kinds.
    pub(crate) fn open(files: &SdxlFiles) -> Result<Self> {
        let base = Base::of(&files.folder);
        let own_unet = || UNetConfig::of(&base.config(UNET)?);
        let channels = || own_unet().map(|config| config.in_channels);
        let open = |path: &Path, role| Checkpoint::open(path, role, channels()?);
        let checkpoint = files.file.as_deref().map(|path| open(path, Role::Model));
        let checkpoint = checkpoint.transpose()?;
        if let Some(checkpoint) = &checkpoint {
            checkpoint.tell_unread();
        }
        let other = |path: &Option<PathBuf>, role| -> Result<Option<Other>> {
            match path.as_deref() {
                None => Ok(None),
                Some(path) if path.is_dir() => Ok(Some(Other::Folder(path.to_owned()))),
                Some(path) => Ok(Some(Other::File(open(path, role)?))),
            }
        };
        let unet = other(&files.unet, Role::UNet)?;
        let vae = other(&files.vae, Role::Vae)?;
        let marks = match &unet {
            None => checkpoint.as_ref(),
            Some(Other::File(file)) => Some(file),
            Some(Other::Folder(_)) => None,
        };
        let mut sources = Self {
            prediction: Prediction::find(files.prediction, marks),
            base,
            checkpoint,
            unet,
            vae,
            loras: None,
            plain_texts: files.plain_texts,
            inversions: files.inversions.clone(),
        };
        if sources.checkpoint.is_some() {
            // The U-Net says best what a file is that fits SDXL no further than by its names.
            let dry = LoadOptions {
                dry: true,
                ..LoadOptions::default()
            };
            sources.load_unet(&dry)?;
        }
        if !files.loras.is_empty() {
            let names = sources.module_names()?;
            let loras = Loras::open(&files.loras, &names)?;
            for (lora, counts) in files.loras.iter().zip(loras.counts()) {
                let path = lora.file.display();
                tracing::debug!("{path}: modules {counts:?}, strength {}", lora.strength);
            }
            sources.loras = Some(loras);
        }
        Ok(sources)
    }

    /// Every linear map and convolution, as LoRAs name them.
    pub(crate) fn module_names(&self) -> Result<ModuleNames> {
        let config = UNetConfig::of(&self.unet_config()?)?;
        let texts = [TEXT_1, TEXT_2].map(|part| self.text_shapes(part));
        let [first, second] = texts;
        let unet = UNet::shapes_of(&config)?;
        Ok(ModuleNames::new(&unet, &config, [&first?, &second?]))
    }

    fn change(&self, part: &'static str) -> Option<Arc<dyn WeightChange>> {
        let loras = self.loras.as_ref()?;
        let plain = self.plain_texts && part != UNET;
        loras.change(part).filter(|_| !plain)
    }

    /// The U-Net's configuration.
    ///
    /// # Errors
    /// A file that is missing or damaged.
    pub(crate) fn unet_config(&self) -> Result<JsonFile> {
        match &self.unet {
            Some(Other::Folder(folder)) => Ok(JsonFile::read(&folder.join(CONFIG))?),
            _ => self.base.config(UNET),
        }
    }

    /// The VAE's configuration.
    ///
    /// # Errors
    /// A file that is missing or damaged.
    pub(crate) fn vae_config(&self) -> Result<JsonFile> {
        match &self.vae {
            Some(Other::Folder(folder)) => Ok(JsonFile::read(&folder.join(CONFIG))?),
            _ => self.base.config("vae"),
        }
    }

    /// Where the U-Net's weights are, and the VAE's.
    pub(crate) fn path_of(&self, part: &str) -> PathBuf {
        let other = match part {
            "vae" => &self.vae,
            UNET => &self.unet,
            _ => &None,
        };
        match other {
            Some(Other::Folder(folder)) => folder.clone(),
            Some(Other::File(file)) => file.path().to_owned(),
            None => match self.checkpoint.as_ref().filter(|file| file.has_part(part)) {
                Some(file) => file.path().to_owned(),
                None => self.base.name().join(part),
            },
        }
    }

    /// The base folder's weights of a part that no file brings.
    fn own_folder(&self, part: &str) -> Result<PathBuf> {
        self.base.folder(part).ok_or_else(|| Error::NoPart {
            path: match &self.checkpoint {
                Some(file) => file.path().to_owned(),
                None => "the model".into(),
            },
            part: match part {
                "vae" => "VAE",
                UNET => "U-Net",
                _ => "text encoders",
            },
        })
    }

    /// The U-Net's weights, LoRAs merged into them as they are taken.
    ///
    /// # Errors
    /// Weights that are missing or damaged.
    pub(crate) fn unet_weights(
        &self,
        config: &UNetConfig,
        options: &LoadOptions,
    ) -> Result<Weights> {
        let of = |file: &Checkpoint| -> Result<Weights> {
            Ok(file.unet(&UNet::shapes_of(config)?, config, options))
        };
        let weights = match (&self.unet, &self.checkpoint) {
            (Some(Other::Folder(folder)), _) => Weights::open(folder, WEIGHTS, options)?,
            (Some(Other::File(file)), _) | (None, Some(file)) => of(file)?,
            (None, None) => Weights::open(&self.own_folder(UNET)?, WEIGHTS, options)?,
        };
        Ok(weights.changed_by(self.change(UNET)))
    }

    /// Loads the U-Net.
    ///
    /// # Errors
    /// Weights that are missing or do not fit the configuration.
    pub(crate) fn load_unet(&self, options: &LoadOptions) -> Result<UNet> {
        let config = UNetConfig::of(&self.unet_config()?)?;
        let weights = self.unet_weights(&config, options)?;
        UNet::of_weights(config, &weights, options)
    }

    /// Loads the VAE.
    ///
    /// # Errors
    /// Weights that are missing or do not fit the configuration.
    pub(crate) fn load_vae(&self, options: &LoadOptions) -> Result<Vae> {
        let config = VaeConfig::of(&self.vae_config()?, options.dtype)?;
        let beside = self.checkpoint.as_ref().filter(|file| file.has_vae());
        let weights = match (&self.vae, beside) {
            (Some(Other::Folder(folder)), _) => Weights::open(folder, WEIGHTS, options)?,
            (Some(Other::File(file)), _) | (None, Some(file)) => {
                let numbers = (config.block_out_channels.len(), config.latent_channels);
                file.vae(&Vae::shapes_of(&config)?, numbers, options)?
            }
            (None, None) => Weights::open(&self.own_folder("vae")?, WEIGHTS, options)?,
        };
        Vae::of_weights(config, &weights, options)
    }

    /// The tensors of a text encoder.
    pub(crate) fn text_shapes(&self, part: &str) -> Result<Shapes> {
        let config = self.base.config(part)?;
        Ok(TextModel::shapes_of(&config, part == TEXT_2)?)
    }

    /// Loads a text encoder, without inversions.
    ///
    /// # Errors
    /// Weights that are missing or do not fit the configuration.
    pub(crate) fn load_text(
        &self,
        part: &'static str,
        options: &LoadOptions,
    ) -> Result<TextEncoder> {
        let second = part == TEXT_2;
        let config = self.base.config(part)?;
        let inside = self
            .checkpoint
            .as_ref()
            .filter(|file| file.has_text(second));
        let weights = match inside {
            Some(file) => file.text(second, &self.text_shapes(part)?, options),
            None => TextModel::weights(&self.own_folder(part)?, options)?,
        };
        let weights = weights.changed_by(self.change(part));
        let model = TextModel::of_weights(&config, second, &weights)?;
        let tokenizer = if second { "tokenizer_2" } else { "tokenizer" };
        let (tokenizer, place) = self.base.tokenizer(tokenizer)?;
        Ok(TextEncoder::new(tokenizer, model, &place)?)
    }

    /// Loads both text encoders with their inversions.
    ///
    /// # Errors
    /// As [`Sources::load_text`]; inversions for other encoders.
    pub(crate) fn load_texts(&self, options: &LoadOptions) -> Result<[TextEncoder; 2]> {
        let mut encoders = [
            self.load_text(TEXT_1, options)?,
            self.load_text(TEXT_2, options)?,
        ];
        for inversion in &self.inversions {
            inversion.add_to(&mut encoders)?;
        }
        Ok(encoders)
    }
}
