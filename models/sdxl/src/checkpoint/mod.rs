//! Weight files in the original (LDM) layout, as fine-tunes of SDXL are published: recognized, and
//! read under our names. Nothing but names changes on the way: no number, and no shape but those of
//! 1 × 1 convolutions that are matrices here.

mod kind;
mod recognize;
mod text_names;
mod unet_names;
mod vae_names;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use laioncele_nn::{LoadOptions, Seen, Shapes, Stored, TensorFile, Weights};

use crate::error::{Error, Result};
use crate::unet::UNetConfig;
pub(crate) use kind::Role;
pub use recognize::Recognition;
pub(crate) use unet_names::ldm_name;

/// What the names of a checkpoint's parts begin with.
const UNET: &str = "model.diffusion_model.";
const CLIP_L: &str = "conditioner.embedders.0.transformer.";
const CLIP_G: &str = "conditioner.embedders.1.model.";
const VAE: [&str; 2] = ["first_stage_model.", "vae."];

/// Where LDM's U-Net begins in a file of it alone.
const UNET_HEADS: [&str; 6] = [
    "input_blocks.",
    "middle_block.",
    "output_blocks.",
    "time_embed.",
    "label_emb.",
    "out.",
];

/// What training leaves in a file.
const LEFT_OVER: [&str; 9] = [
    "denoiser.",
    "model_ema.",
    "loss.",
    "v_pred",
    "ztsnr",
    "global_step",
    "conditioner.embedders.",
    "scaled_fp8",
    "model.diffusion_model.scaled_fp8",
];

/// One safetensors file that holds a model or a part of one.
#[derive(Debug, Clone)]
pub(crate) struct Checkpoint {
    file: Arc<TensorFile>,
}

impl From<TensorFile> for Checkpoint {
    fn from(file: TensorFile) -> Self {
        Self {
            file: Arc::new(file),
        }
    }
}

impl Checkpoint {
    /// Opens a file that is given as `role`, and refuses one that is plainly something else;
    /// `channels` are those of the latents.
    ///
    /// # Errors
    /// A file that is damaged, pickled or cannot be read; [`Error::Foreign`].
    pub(crate) fn open(path: &Path, role: Role, channels: usize) -> Result<Self> {
        let file = Arc::new(TensorFile::open(path)?);
        kind::check(&file, role, channels)?;
        Ok(Self { file })
    }

    /// Whether it holds a part, as our names call it.
    pub(crate) fn has_part(&self, part: &str) -> bool {
        match part {
            "unet" => true,
            "vae" => self.has_vae(),
            "text_encoder" => self.has_text(false),
            _ => self.has_text(true),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    fn has(&self, start: &str) -> bool {
        self.file
            .tensors()
            .keys()
            .any(|name| name.starts_with(start))
    }

    /// Whether it holds the first or the second text encoder.
    pub(crate) fn has_text(&self, second: bool) -> bool {
        self.has(if second { CLIP_G } else { CLIP_L })
    }

    /// Whether it holds a VAE beside its U-Net.
    pub(crate) fn has_vae(&self) -> bool {
        VAE.iter().any(|prefix| self.has(prefix))
    }

    /// Whether an empty tensor of this name marks the file.
    pub(crate) fn is_marked(&self, name: &str) -> bool {
        self.file.tensors().contains_key(name)
    }

    /// A text of the header.
    pub(crate) fn metadata(&self, key: &str) -> Option<&str> {
        self.file.metadata().get(key).map(String::as_str)
    }

    /// The U-Net of tensors `wanted`, in whichever layout the file has it.
    pub(crate) fn unet(
        &self,
        wanted: &Shapes,
        config: &UNetConfig,
        options: &LoadOptions,
    ) -> Weights {
        if self.file.tensors().contains_key("conv_in.weight") {
            return self.part("", |_| true, &[], options);
        }
        let prefix = if self.has(UNET) { UNET } else { "" };
        let is_part = |name: &str| match prefix {
            "" => UNET_HEADS.iter().any(|head| name.starts_with(head)),
            prefix => name.starts_with(prefix),
        };
        let stored = |ours: &String| Some((ours.clone(), whole(ldm_name(ours, config)?)));
        let names: Vec<_> = wanted.iter().filter_map(|(ours, _)| stored(ours)).collect();
        self.part(prefix, is_part, &names, options)
    }

    /// A text encoder of tensors `wanted`.
    pub(crate) fn text(&self, second: bool, wanted: &Shapes, options: &LoadOptions) -> Weights {
        let names = wanted.iter().map(|(ours, _)| ours);
        if second {
            let linear = format!("{CLIP_G}text_projection.weight");
            let linear = self.file.tensors().contains_key(&linear);
            let names =
                names.filter_map(|ours| Some((ours.clone(), text_names::open_clip(ours, linear)?)));
            let names: Vec<_> = names.collect();
            return self.part(CLIP_G, |name| name.starts_with(CLIP_G), &names, options);
        }
        // transformers 5.6 saves it without `text_model.`.
        let bare = !self.has(&format!("{CLIP_L}text_model."));
        let theirs = |ours: &String| match bare {
            true => ours.strip_prefix("text_model.").unwrap_or(ours).to_owned(),
            false => ours.clone(),
        };
        let names: Vec<_> = names
            .map(|ours| (ours.clone(), whole(theirs(ours))))
            .collect();
        self.part(CLIP_L, |name| name.starts_with(CLIP_L), &names, options)
    }

    /// The VAE of tensors `wanted` and `levels` resolutions, beside a U-Net or alone in the file, in
    /// whichever layout; `channels` are those of the latents.
    ///
    /// # Errors
    /// [`Error::Foreign`] of a VAE of another family.
    pub(crate) fn vae(
        &self,
        wanted: &Shapes,
        (levels, channels): (usize, usize),
        options: &LoadOptions,
    ) -> Result<Weights> {
        let prefix = VAE
            .into_iter()
            .find(|prefix| self.has(prefix))
            .unwrap_or("");
        let key = format!("{prefix}decoder.conv_in.weight");
        let found = self.file.tensors().get(&key).and_then(|t| t.shape.get(1));
        if let Some(found) = found.filter(|found| **found != channels) {
            return Err(Error::Foreign {
                path: self.path().into(),
                what: format!("the VAE of another family, of {found} latent channels"),
                key,
                hint: "",
            });
        }
        let is_part = |name: &str| name.starts_with(prefix);
        let diffusers = self.has(&format!("{prefix}encoder.down_blocks."));
        if diffusers {
            return Ok(self.part(prefix, is_part, &[], options));
        }
        let names: Vec<(String, Stored)> = (wanted.iter())
            .map(|(ours, _)| (ours.clone(), vae_names::ldm(ours, levels)))
            .collect();
        Ok(self.part(prefix, is_part, &names, options))
    }

    /// The tensors below `prefix` under our `names`; those that have none keep their own, so that
    /// loading names them as unexpected.
    fn part(
        &self,
        prefix: &str,
        is_part: impl Fn(&str) -> bool,
        names: &[(String, Stored)],
        options: &LoadOptions,
    ) -> Weights {
        let below = |stored: &Stored| Stored {
            name: format!("{prefix}{}", stored.name),
            seen: stored.seen.clone(),
        };
        let mut all: Vec<(String, Stored)> = (names.iter())
            .map(|(ours, stored)| (ours.clone(), below(stored)))
            .collect();
        let known: BTreeSet<String> = all.iter().map(|(_, stored)| stored.name.clone()).collect();
        for name in self.file.tensors().keys() {
            let rest = name.strip_prefix(prefix).unwrap_or(name);
            if is_part(name) && !known.contains(name) && !is_left_over(rest) {
                all.push((rest.to_owned(), whole(name.clone())));
            }
        }
        Weights::of_file(&self.file, all, options)
    }

    /// Says once what of the file is not read: counts of what training leaves, names of the rest.
    pub(crate) fn tell_unread(&self) {
        let (mut left, mut ema, mut other) = (0, 0, Vec::new());
        let parts = [UNET, CLIP_L, CLIP_G, VAE[0], VAE[1]];
        for name in self.file.tensors().keys() {
            let begins = |start: &&str| name.starts_with(start);
            if name.starts_with("model_ema.") {
                ema += 1;
            } else if LEFT_OVER.iter().any(begins) && !parts.iter().any(begins) {
                left += 1;
            } else if !parts.iter().chain(&UNET_HEADS).any(begins) {
                other.push(name.as_str());
            }
        }
        let path = self.path().display();
        if ema > 100 {
            tracing::info!("{path}: its {ema} averaged weights (model_ema) are not used");
        }
        if left > 0 {
            tracing::info!("{path}: {left} tensors of its training are not used");
        }
        if !other.is_empty() && self.has(UNET) {
            let count = other.len();
            other.truncate(10);
            let names = other.join(", ");
            tracing::warn!("{path}: {count} tensors belong to no part of SDXL: {names}");
        }
    }
}

fn whole(name: String) -> Stored {
    Stored {
        name,
        seen: Seen::Whole,
    }
}

/// Whether loading passes over a tensor of a part.
fn is_left_over(name: &str) -> bool {
    let scale = name.ends_with(".scale_weight") || name.ends_with(".scale_input");
    let ends = name.ends_with("position_ids") || name.ends_with("logit_scale");
    let begins = ["loss.", "model_ema.", "scaled_fp8", "v_pred", "ztsnr"];
    scale || ends || begins.iter().any(|start| name.starts_with(start))
}
