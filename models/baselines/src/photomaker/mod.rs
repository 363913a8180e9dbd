//! PhotoMaker V1: photos of a person, fused into the class word of a prompt, and a LoRA. The file is
//! TencentARC's `photomaker-v1.bin` in safetensors format, in one of three layouts.

mod fuse;
mod lora;
mod prompt;

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use image::RgbImage;
use laioncele_clip::{Preprocessor, VisionConfig, VisionModel};
use laioncele_nn::layers::{Activation, Linear};
use laioncele_nn::{LoadOptions, Weights, finite_numbers};
use laioncele_sdxl::{PromptEmbedding, UNet};

use crate::error::{Error, Result};
use crate::file;
use fuse::FuseModule;
use lora::AttentionLora;

pub use prompt::TriggerPrompt;

const EXPECTED: &str = "PhotoMaker V1";

/// The networks of a PhotoMaker file.
#[derive(Debug)]
pub struct PhotoMaker {
    path: PathBuf,
    vision: VisionModel,
    /// Beside the tower's own projection, which gives as many numbers as the first text encoder's
    /// tokens have: to those of the second.
    second_projection: Linear,
    preprocessor: Preprocessor,
    fuse: FuseModule,
    lora: AttentionLora,
    widths: [usize; 2],
    device: Device,
    dtype: DType,
}

impl PhotoMaker {
    /// The image tower of the official file, which says nothing of it: CLIP's ViT-L/14, whose
    /// embedding has as many numbers as the first text encoder's tokens.
    pub fn vision_config(projection_dim: usize) -> VisionConfig {
        VisionConfig {
            hidden_size: 1024,
            intermediate_size: 4096,
            num_hidden_layers: 24,
            num_attention_heads: 16,
            num_channels: 3,
            image_size: 224,
            patch_size: 14,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
            projection_dim,
        }
    }

    /// Loads the file at `path` for text encoders of `widths` numbers a token. `vision` is a JSON
    /// file with the image tower's numbers, for files of another tower than the official one's.
    ///
    /// # Errors
    /// Pickled tensors, a file that is no PhotoMaker V1, tensors that do not fit.
    pub fn load(
        path: &Path,
        vision: Option<&Path>,
        widths: [usize; 2],
        options: &LoadOptions,
    ) -> Result<Self> {
        let config = match vision {
            Some(file) => VisionConfig {
                projection_dim: widths[0],
                ..VisionConfig::read_file(file)?
            },
            None => Self::vision_config(widths[0]),
        };
        let w = file::open(path, options)?;
        let (encoder, lora) = parts(path, &w)?;
        let hidden = config.hidden_size;
        let edge = config.image_size;
        let second = encoder.pp("visual_projection_2");
        let maker = Self {
            path: path.into(),
            vision: VisionModel::build(config, &encoder, options)?,
            second_projection: Linear::load_without_bias(&second, hidden, widths[1])?,
            preprocessor: Preprocessor::clip(edge),
            fuse: FuseModule::load(&encoder.pp("fuse_module"), widths[0] + widths[1])?,
            lora: AttentionLora::load(path, &lora)?,
            widths,
            device: options.device.clone(),
            dtype: options.dtype,
        };
        let finished = w.finish(&[]);
        finished.map_err(|e| Error::of_finish(e, path, "the image tower and the text encoders"))?;
        Ok(maker)
    }

    /// The file that it was loaded from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds the file's LoRA to the attentions of `unet`, at strength 1.
    ///
    /// # Errors
    /// A LoRA of another U-Net; a tensor operation that failed.
    pub fn merge_into(&self, unet: &mut UNet) -> Result<()> {
        self.lora.merge_into(&self.path, unet)
    }

    /// Whether the file's LoRA fits `unet`, which stays as it is.
    ///
    /// # Errors
    /// A LoRA of another U-Net.
    pub fn check_lora(&self, unet: &mut UNet) -> Result<()> {
        self.lora.check(&self.path, unet)
    }

    /// One vector for each photo, as wide as a prompt's token.
    ///
    /// # Errors
    /// [`Error::NoPhoto`], a photo without pixels, numbers that are not finite.
    pub fn vectors(&self, photos: &[RgbImage]) -> Result<Vec<Vec<f32>>> {
        if photos.is_empty() {
            return Err(Error::NoPhoto);
        }
        let vector = |photo: &RgbImage| {
            let states = self.vision.forward(&self.preprocessor.preprocess(photo)?)?;
            let second = self.second_projection.forward(&states.pooled)?;
            let mut vector = finite_numbers(&states.image_embeds, "a photo's vector")?;
            vector.extend(finite_numbers(&second, "a photo's vector")?);
            Ok(vector)
        };
        photos.iter().map(vector).collect()
    }

    /// `prompt` with photo i fused into row `first + i`: the class word's rows.
    ///
    /// # Errors
    /// A prompt or vectors of other widths, rows that it does not have; numbers that are not
    /// finite.
    pub fn fuse(
        &self,
        prompt: &PromptEmbedding,
        first: usize,
        vectors: &[Vec<f32>],
    ) -> Result<PromptEmbedding> {
        let width: usize = self.widths.iter().sum();
        let rows = first * width..(first + vectors.len()) * width;
        let fits = prompt.width == width
            && rows.end <= prompt.embeds.len()
            && vectors.iter().all(|vector| vector.len() == width);
        if !fits {
            let text = format!("vectors of {width} numbers do not fit the prompt's rows");
            return Err(candle_core::Error::Msg(text).into());
        }
        let tensor = |values: &[f32]| -> Result<Tensor> {
            let tensor = Tensor::from_slice(values, (vectors.len(), width), &self.device)?;
            Ok(tensor.to_dtype(self.dtype)?)
        };
        let fused = self.fuse.forward(
            &tensor(&prompt.embeds[rows.clone()])?,
            &tensor(&vectors.concat())?,
        )?;
        let fused = finite_numbers(&fused, "the fused class word")?;
        let mut prompt = prompt.clone();
        prompt.embeds[rows].copy_from_slice(&fused);
        Ok(prompt)
    }
}

/// The image encoder's tensors and the LoRA's: parts of one file, or side by side.
fn parts(path: &Path, w: &Weights) -> Result<(Weights, Weights)> {
    let refuse = |found: &str| Error::Foreign {
        path: path.into(),
        expected: EXPECTED,
        found: found.to_owned(),
    };
    let nested = file::has(w, "id_encoder.");
    let encoder = if nested {
        w.pp("id_encoder")
    } else {
        w.clone()
    };
    if file::has(&encoder, "qformer_perceiver.") {
        return Err(refuse("it is a PhotoMaker V2, which is not supported"));
    }
    if !file::has(&encoder, "fuse_module.") || !file::has(&encoder, "vision_model.") {
        return Err(refuse(&file::told(w)));
    }
    let lora = match (nested, file::has(w, "lora_weights.")) {
        (_, true) => w.pp("lora_weights"),
        (false, false) if file::has(w, "unet.") => w.clone(),
        _ => return Err(refuse("it has no LoRA (lora_weights.…)")),
    };
    Ok((encoder, lora))
}
