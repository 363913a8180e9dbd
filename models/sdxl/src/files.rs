//! Where an SDXL model's files are, and in which type and where to compute.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use laioncele_nn::{DeviceChoice, LoadOptions, Precision, TensorFile};

use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::folder::SCHEDULER_CONFIG;
use crate::inversion::Inversion;
use crate::lora::Lora;
use crate::options::SdxlOptions;
use crate::prediction::PredictionSettings;

/// How files of weights end, whether they can be read or not.
const WEIGHT_ENDINGS: [&str; 5] = ["safetensors", "ckpt", "pt", "pth", "bin"];

/// An SDXL model on disk, and how to load it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SdxlFiles {
    /// An SDXL folder in Diffusers layout. With [`SdxlFiles::file`] it is the base: configurations,
    /// tokenizers and the parts that the file lacks come from it. Empty with a file of a model of
    /// SDXL's own widths, whose configurations and tokenizers are built in.
    pub folder: PathBuf,
    /// A model in one safetensors file in the original layout, as fine-tunes are published.
    pub file: Option<PathBuf>,
    /// A U-Net to use instead of the model's own: a folder, or one safetensors file of weights for
    /// the model's own `unet/config.json`, in Diffusers' or the original layout.
    pub unet: Option<PathBuf>,
    /// A VAE to use instead of the model's own: a folder, or one safetensors file of weights for
    /// the model's own `vae/config.json`, in Diffusers' or the original layout.
    pub vae: Option<PathBuf>,
    /// LoRAs that are merged into the weights; their order does not matter.
    pub loras: Vec<Lora>,
    /// Whether LoRAs leave the text encoders as they are.
    pub plain_texts: bool,
    /// Words with embeddings of their own, in the order of their ids.
    pub inversions: Vec<Inversion>,
    /// What settings say of the U-Net's prediction.
    pub prediction: PredictionSettings,
    /// The type that the text encoders and the U-Net compute in; the VAE always computes in
    /// float32.
    pub precision: Precision,
    /// Where to compute.
    pub device: DeviceChoice,
    /// Images that a GPU generates at once ([`SdxlOptions::batch`]); half of it where its memory
    /// does not hold them. Without a GPU it is not asked: there images do not depend on their
    /// neighbours.
    pub batch: Option<NonZeroUsize>,
}

impl SdxlFiles {
    /// The files that are read of an SDXL folder's `scheduler`.
    pub fn scheduler_files(scheduler: &Path) -> Vec<PathBuf> {
        vec![scheduler.join(SCHEDULER_CONFIG)]
    }

    /// The model in `path`: a folder in Diffusers layout, or one file, over the folder `base` where
    /// it is given. A path where nothing is counts as a file if it ends as weight files do.
    pub fn of_model(path: &Path, base: Option<&Path>) -> Self {
        let files = Self::default();
        let ending = path.extension().and_then(|ending| ending.to_str());
        let like_file =
            ending.is_some_and(|ending| WEIGHT_ENDINGS.contains(&ending.to_lowercase().as_str()));
        match path.is_dir() || (!path.exists() && !like_file) {
            true => Self {
                folder: path.to_owned(),
                ..files
            },
            false => Self {
                folder: base.map_or_else(PathBuf::new, Path::to_path_buf),
                file: Some(path.to_owned()),
                ..files
            },
        }
    }

    /// Whether the model in one file has a part of its own, by the names of its tensors: `unet`,
    /// `vae`, `text_encoder`, `text_encoder_2`. A file that cannot be read has none.
    pub fn holds(file: &Path, part: &str) -> bool {
        TensorFile::open(file).is_ok_and(|file| Checkpoint::from(file).has_part(part))
    }

    /// What errors call the model: its file, else its folder.
    pub fn path(&self) -> &Path {
        self.file.as_deref().unwrap_or(&self.folder)
    }

    /// How to load the text encoders.
    ///
    /// # Errors
    /// [`DeviceChoice::Cuda`] without a GPU.
    pub fn text_options(&self) -> Result<LoadOptions> {
        Ok(LoadOptions {
            device: self.device.open()?,
            dtype: self.precision.dtype(),
            ..LoadOptions::default()
        })
    }

    /// How to load the U-Net and the VAE.
    ///
    /// # Errors
    /// [`DeviceChoice::Cuda`] without a GPU.
    pub fn image_options(&self) -> Result<SdxlOptions> {
        let device = self.device.open()?;
        let batch = self.batch.filter(|_| !device.is_cpu());
        Ok(SdxlOptions {
            // Opened twice, so that decoding and denoising have a stream each.
            vae_device: Some(self.device.open()?),
            device,
            dtype: self.precision.dtype(),
            unet: self.unet.clone(),
            vae: self.vae.clone(),
            batch: batch.map(NonZeroUsize::get),
            ..SdxlOptions::default()
        })
    }

    /// How shapes are looked at without the numbers.
    pub(crate) fn dry_options(&self) -> SdxlOptions {
        SdxlOptions {
            dtype: self.precision.dtype(),
            dry: true,
            ..SdxlOptions::default()
        }
    }
}
