//! What a weight file is, said to people: the same signs as [`super::kind`] refuses by, for files
//! that are what they are given as.

use std::path::Path;

use laioncele_nn::TensorFile;

use super::kind::{Role, check};
use super::{CLIP_G, CLIP_L, Checkpoint, UNET, UNET_HEADS, VAE};
use crate::error::{Error, Result};

/// What a single weight file is, and what shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recognition {
    /// `a LoRA`, `an SDXL in the original layout with text encoders and a VAE`, …
    pub what: String,
    /// The rule: names of tensors that were found.
    pub rule: String,
}

impl Recognition {
    /// Recognizes a safetensors file by the names of its tensors; weights are not read.
    ///
    /// # Errors
    /// A file that is missing, damaged or pickled.
    pub fn of(path: &Path) -> Result<Self> {
        let file = Checkpoint::from(TensorFile::open(path)?);
        let found = file.small_file().or_else(|| file.model());
        Ok(found.unwrap_or_else(|| {
            let first = file.file.tensors().keys().next();
            let first = first.map_or("no tensor", String::as_str);
            said("no file that laioncele knows", first)
        }))
    }
}

fn said(what: impl Into<String>, rule: impl Into<String>) -> Recognition {
    Recognition {
        what: what.into(),
        rule: rule.into(),
    }
}

/// Signs of a LoRA in its tensors' names, and whose names they are.
const LORA_SIGNS: [(&str, &str); 5] = [
    ("lora_unet_", "kohya's names"),
    ("lora_te", "kohya's names"),
    (".lora_A.", "PEFT's names"),
    ("_lora.down", "diffusers' names"),
    ("lora.down", "diffusers' names"),
];

impl Checkpoint {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.file.tensors().keys().map(String::as_str)
    }

    /// Adapters and names.
    fn small_file(&self) -> Option<Recognition> {
        let mut magnitudes = self.names();
        let dora =
            magnitudes.any(|name| name.contains("dora_scale") || name.contains("magnitude_vector"));
        for (sign, whose) in LORA_SIGNS {
            if let Some(name) = self.names().find(|name| name.contains(sign)) {
                let what = if dora { "a LoRA with DoRA" } else { "a LoRA" };
                return Some(said(what, format!("{whose}: {name}")));
            }
        }
        if self.is_marked("clip_l") && self.is_marked("clip_g") {
            return Some(said("a textual inversion", "clip_l, clip_g"));
        }
        let name = self.is_marked("name_embedding");
        name.then(|| said("a name of laioncele", "name_embedding"))
    }

    /// SDXL or a part of it.
    fn model(&self) -> Option<Recognition> {
        let texts = match (self.has_text(false), self.has_text(true)) {
            (true, true) => Some("both text encoders"),
            (true, false) => Some("the first text encoder"),
            (false, true) => Some("the second text encoder"),
            (false, false) => None,
        };
        if self.has(UNET) {
            // Latents of 4 channels are SDXL's.
            if let Err(Error::Foreign { what, key, .. }) = check(&self.file, Role::Model, 4) {
                return Some(said(what, key));
            }
            let parts = [texts, self.has_vae().then_some("a VAE")];
            let parts: Vec<&str> = parts.into_iter().flatten().collect();
            let with = match parts.as_slice() {
                [] => "; no text encoder and no VAE".to_owned(),
                parts => format!(" with {}", parts.join(" and ")),
            };
            let mut rule: Vec<&str> = vec![UNET];
            let others = [CLIP_L, CLIP_G, VAE[0], VAE[1], "v_pred", "ztsnr"];
            rule.extend(others.into_iter().filter(|start| self.has(start)));
            let what = format!("an SDXL in the original layout{with}");
            return Some(said(what, rule.join(", ")));
        }
        if let Some(head) = UNET_HEADS.into_iter().find(|head| self.has(head)) {
            return Some(said("a U-Net in the original layout", head));
        }
        if self.has("down_blocks.") && self.has("add_embedding.") {
            let rule = "down_blocks., add_embedding.";
            return Some(said("a U-Net in Diffusers layout", rule));
        }
        let vae = ["", VAE[0], VAE[1]].into_iter();
        let mut vae = vae.filter(|prefix| self.has(&format!("{prefix}decoder.conv_in.")));
        vae.next().map(|prefix| {
            let diffusers = self.has(&format!("{prefix}encoder.down_blocks."));
            let layout = if diffusers {
                "Diffusers"
            } else {
                "the original"
            };
            let what = format!("a VAE in {layout} layout");
            said(what, format!("{prefix}decoder.conv_in."))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn fixture(path: &str) -> PathBuf {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/variants");
        folder.join(path)
    }

    #[test]
    fn files_are_recognized_by_their_names() {
        let cases = [
            ("lora/peft.safetensors", "a LoRA", "PEFT's names"),
            (
                "textual-inversion/mira.safetensors",
                "a textual inversion",
                "clip_l, clip_g",
            ),
        ];
        for (file, what, rule) in cases {
            let found = Recognition::of(&fixture(file)).expect(file);
            assert!(found.what.starts_with(what), "{found:?}");
            assert!(found.rule.contains(rule), "{found:?}");
        }
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests/mini/sdxl-mini");
        for (file, what) in [
            (
                "unet/diffusion_pytorch_model.safetensors",
                "a U-Net in Diffusers layout",
            ),
            (
                "vae/diffusion_pytorch_model.safetensors",
                "a VAE in Diffusers layout",
            ),
        ] {
            assert_eq!(Recognition::of(&own.join(file)).expect(file).what, what);
        }
        assert!(Recognition::of(&fixture("nowhere.safetensors")).is_err());
    }
}
