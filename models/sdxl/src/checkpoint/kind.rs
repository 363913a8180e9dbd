//! What a weight file is, by the names and shapes of its tensors alone: files of other models and of
//! other kinds are refused by name.

use laioncele_nn::TensorFile;

use super::{CLIP_G, CLIP_L, UNET};
use crate::error::{Error, Result};

/// What a file was given as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A whole model, or its U-Net alone.
    Model,
    /// The U-Net of another model, which may also have Diffusers' names.
    UNet,
    /// A VAE.
    Vae,
}

/// What a file is instead.
struct Kind {
    what: String,
    /// The name that shows it.
    key: String,
    hint: &'static str,
}

impl Kind {
    fn new(what: impl Into<String>, key: impl Into<String>, hint: &'static str) -> Option<Self> {
        Some(Self {
            what: what.into(),
            key: key.into(),
            hint,
        })
    }
}

/// The file's names, as the signs ask for them.
struct Names<'a>(&'a TensorFile);

impl Names<'_> {
    /// The first name that begins with one of `starts`.
    fn begins(&self, starts: &[&str]) -> Option<&str> {
        let mut names = self.0.tensors().keys();
        names
            .find(|name| starts.iter().any(|start| name.starts_with(start)))
            .map(String::as_str)
    }

    /// The first name that has one of `parts` in it.
    fn contains(&self, parts: &[&str]) -> Option<&str> {
        let mut names = self.0.tensors().keys();
        names
            .find(|name| parts.iter().any(|part| name.contains(part)))
            .map(String::as_str)
    }

    /// The shape of a tensor of the U-Net, by LDM's name.
    fn unet(&self, name: &str) -> Option<&[usize]> {
        let found = [format!("{UNET}{name}"), name.to_owned()];
        let mut found = found.iter().filter_map(|name| self.0.tensors().get(name));
        found.next().map(|tensor| tensor.shape.as_slice())
    }

    /// Width of the texts that the cross-attention takes.
    fn context(&self) -> Option<usize> {
        let mut keys = (self.0.tensors().iter()).filter(|(n, _)| n.ends_with("attn2.to_k.weight"));
        keys.find_map(|(_, tensor)| match tensor.shape.as_slice() {
            [_, width] => Some(*width),
            _ => None,
        })
    }
}

/// Refuses a file that is plainly something else than `role` says; `channels` are those of the
/// latents.
///
/// # Errors
/// [`Error::Foreign`]
pub(crate) fn check(file: &TensorFile, role: Role, channels: usize) -> Result<()> {
    let names = Names(file);
    let found = adapter(&names).or_else(|| match role {
        Role::Vae => no_vae(&names),
        Role::Model | Role::UNet => other_family(&names)
            .or_else(|| other_part(&names, role))
            .or_else(|| other_stable_diffusion(&names, channels)),
    });
    let Some(Kind { what, key, hint }) = found else {
        return Ok(());
    };
    Err(Error::Foreign {
        path: file.path().into(),
        what,
        key,
        hint,
    })
}

/// Endings and beginnings of the names of LoRAs and their kin.
const LORA: [&str; 6] = [
    ".lora_A.",
    "lora.down",
    "_lora.down",
    ".lora_down.",
    ".hada_",
    ".lokr_",
];

fn adapter(names: &Names<'_>) -> Option<Kind> {
    let lora = names.begins(&["lora_unet_", "lora_te"]);
    if let Some(key) = lora.or_else(|| names.contains(&LORA)) {
        return Kind::new("a LoRA", key, "give it as a LoRA (--lora)");
    }
    if let Some(key) = names.begins(&["image_proj.", "ip_adapter."]) {
        return Kind::new("an IP-Adapter", key, "");
    }
    if let Some(key) = names.begins(&["control_model.", "controlnet_cond_embedding."]) {
        return Kind::new("a ControlNet", key, "");
    }
    let only_vectors = (names.0.tensors().keys()).all(|name| name == "clip_l" || name == "clip_g");
    let inversion = names.begins(&["emb_params"]);
    match inversion.or_else(|| only_vectors.then(|| names.begins(&["clip_"])).flatten()) {
        Some(key) => Kind::new(
            "a textual inversion",
            key,
            "give it as an embedding (--embedding)",
        ),
        None => None,
    }
}

fn other_family(names: &Names<'_>) -> Option<Kind> {
    if let Some(key) = names.contains(&["double_blocks.0.img_attn"]) {
        return Kind::new("a Flux model", key, "");
    }
    if let Some(key) = names.contains(&["joint_blocks.0."]) {
        return Kind::new("a Stable Diffusion 3 model", key, "");
    }
    if let Some(key) = names.begins(&["edm_mean", "edm_std"]) {
        let what = "Playground v2.5, which is trained on another noise scale";
        return Kind::new(what, key, "it is not supported");
    }
    if let Some(key) = names.begins(&["edm_vpred."]) {
        let what = "an EDM v-prediction model, such as CosXL";
        return Kind::new(what, key, "it is not supported");
    }
    names.unet("time_embed.cond_proj.weight")?;
    Kind::new(
        "a U-Net with its guidance distilled into it",
        "time_embed.cond_proj.weight",
        "it is not supported; LCM as a LoRA is",
    )
}

fn other_part(names: &Names<'_>, role: Role) -> Option<Kind> {
    let has_unet = names.begins(&[UNET]).is_some();
    let diffusers = names.begins(&["down_blocks.", "add_embedding."]);
    if let Some(key) = diffusers.filter(|_| !has_unet) {
        return match role {
            Role::UNet => None,
            _ => Kind::new(
                "a U-Net in Diffusers layout",
                key,
                "put it into a folder as unet/, or give it as the U-Net (--unet)",
            ),
        };
    }
    if names.unet("input_blocks.0.0.weight").is_some() {
        return None;
    }
    let vae = names.begins(&["encoder.conv_in.", "decoder.conv_in.", "decoder.conv_out."]);
    if let Some(key) = vae.filter(|_| !has_unet) {
        return Kind::new("a VAE", key, "give it as the VAE (--vae)");
    }
    Kind::new("a file without a U-Net", "no input_blocks.0.0.weight", "")
}

fn other_stable_diffusion(names: &Names<'_>, channels: usize) -> Option<Kind> {
    let conv_in = names.unet("input_blocks.0.0.weight")?;
    let context = names.context();
    let texts = names.begins(&[CLIP_L]).is_some();
    for (version, start, width) in [
        ("1", "cond_stage_model.transformer.", 768),
        ("2", "cond_stage_model.model.", 1024),
    ] {
        let sign = names.begins(&[start]).map(str::to_owned);
        let wide = context == Some(width) && !texts;
        let sign = sign.or_else(|| wide.then(|| "attn2.to_k".to_owned()));
        if let Some(key) = sign {
            let width = context.unwrap_or(width);
            let what = format!("a Stable Diffusion {version} model, of texts {width} wide");
            return Kind::new(what, key, "");
        }
    }
    let first = names.begins(&["conditioner.embedders.0.model."]);
    if let Some(key) = first.filter(|_| names.begins(&["conditioner.embedders.1."]).is_none()) {
        return Kind::new("the SDXL refiner", key, "take the base model");
    }
    let pooled = names.unet("label_emb.0.0.weight");
    if context == Some(1280) && pooled.is_some_and(|shape| shape.get(1) == Some(&2560)) {
        return Kind::new(
            "the SDXL refiner",
            "label_emb.0.0.weight",
            "take the base model",
        );
    }
    let found = match conv_in {
        [_, found, _, _] if *found != channels => *found,
        _ => return None,
    };
    let key = format!("input_blocks.0.0.weight: {found} input channels instead of {channels}");
    if found == 2 * channels + 1 {
        return Kind::new("an inpainting SDXL", key, "");
    }
    if found == 2 * channels {
        return Kind::new("an image-editing SDXL", key, "");
    }
    let what = format!("a single-file model of latents of {found} channels");
    let hint = "if it is one with configurations of its own, give their folder in Diffusers layout as its base (--base)";
    Kind::new(what, key, hint)
}

fn no_vae(names: &Names<'_>) -> Option<Kind> {
    let vae = names.contains(&["decoder.conv_in."]);
    if vae.is_some() {
        return None;
    }
    let key = names.begins(&[""]).unwrap_or("no tensor at all").to_owned();
    match names.begins(&[UNET, CLIP_L, CLIP_G]) {
        Some(_) => Kind::new("a model without a VAE", key, ""),
        None => Kind::new("a file without a VAE", key, ""),
    }
}
