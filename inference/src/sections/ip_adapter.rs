//! `[models.ip_adapter]`

use std::path::{Path, PathBuf};

use laioncele_baselines::Square;
use laioncele_core::ModelFiles;
use laioncele_core::{CoreError, Manifest};
use laioncele_encoder::Crop;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{files_read, label};

/// `[models.ip_adapter]`: IP-Adapter for SDXL, one of the methods that `[generate_samples] methods` compares.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// An IP-Adapter for SDXL in safetensors format, base or plus: `ip-adapter_sdxl`, `ip-adapter_sdxl_vit-h`,
    /// `ip-adapter-plus_sdxl_vit-h`, `ip-adapter-plus-face_sdxl_vit-h` of h94/IP-Adapter.
    file: PathBuf,
    /// The CLIP image encoder that the adapter was trained on: config.json, preprocessor_config.json, weights. ViT-bigG-14
    /// for `ip-adapter_sdxl`, ViT-H-14 for the others.
    image_encoder: PathBuf,
    /// How much photos count beside the text: 0 not at all, 1 as the adapter was trained; any finite number. By default
    /// what the method's settings say: 1, or 0.6 where they are `recommended`. A method `ip-adapter-s0.6` has its own.
    scale: Option<f64>,
    /// What the adapter sees of a photo: the `face`, or the `whole` of it. By default the face for files whose name has
    /// `plus-face` in it, which were trained so, and the whole photo for others.
    photo: Option<Crop>,
    /// How a photo that is no square becomes one: `crop` takes its centre, as diffusers does, `squeeze` distorts it.
    #[serde(default)]
    square: Square,
}

/// `[models.ip_adapter]` with its paths and defaults resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct IpAdapterSection {
    /// The adapter.
    pub file: PathBuf,
    /// The image encoder whose features it takes.
    pub image_encoder: PathBuf,
    /// How much photos count beside the text; finite.
    pub scale: Option<f64>,
    /// What the adapter sees of a photo.
    pub photo: Crop,
    /// How a photo becomes a square.
    pub square: Square,
}

impl IpAdapterSection {
    /// Reads the section.
    ///
    /// # Errors
    /// [`CoreError::Manifest`]: the section is absent, has an unknown key, a wrong type, or a scale that is not finite.
    pub fn from_manifest(manifest: &Manifest) -> Result<Self, CoreError> {
        let keys: Keys = manifest.model("ip_adapter")?;
        if let Some(scale) = keys.scale.filter(|scale| !scale.is_finite()) {
            let text = format!(
                "[models.ip_adapter] scale = {scale} is not possible: a finite number is expected"
            );
            return Err(manifest.error(text));
        }
        let file = manifest.resolve_model(&keys.file)?;
        Ok(Self {
            photo: keys.photo.unwrap_or(Self::trained_on(&file)),
            image_encoder: manifest.resolve_model(&keys.image_encoder)?,
            scale: keys.scale,
            square: keys.square,
            file,
        })
    }

    /// What an adapter's photos show, by its file's name: nothing in the file says it.
    pub fn trained_on(file: &Path) -> Crop {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        match name.replace('_', "-").contains("plus-face") {
            true => Crop::Face,
            false => Crop::Whole,
        }
    }

    /// What images depend on besides files and scale.
    pub fn image_settings(&self) -> Value {
        json!({ "photo": self.photo, "square": self.square })
    }

    /// The adapter and its encoder, as a step's key names them.
    pub fn model_files(&self) -> Vec<ModelFiles> {
        let encoder = label("ip_adapter", "image_encoder");
        vec![
            ModelFiles::file(label("ip_adapter", "file"), self.file.clone()),
            ModelFiles::folder(
                encoder,
                self.image_encoder.clone(),
                files_read::image_encoder,
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sections::testing::manifest;

    fn read(lines: &str) -> Result<IpAdapterSection, CoreError> {
        let file = "file = \"a/ip-adapter-plus-face_sdxl_vit-h.safetensors\"";
        let text = format!("[models.ip_adapter]\n{file}\nimage_encoder = \"h\"\n{lines}\n");
        IpAdapterSection::from_manifest(&manifest(&text))
    }

    #[test]
    fn labels_paths_and_settings_are_those_of_task_keys() {
        let section = read("").expect("a section");
        let labels = section.model_files().into_iter().map(|f| (f.label, f.path));
        let file = "/run/a/ip-adapter-plus-face_sdxl_vit-h.safetensors";
        let expected = [
            ("models.ip_adapter.file", file),
            ("models.ip_adapter.image_encoder", "/run/h"),
        ];
        let expected = expected.map(|(label, path)| (label.to_owned(), PathBuf::from(path)));
        assert_eq!(labels.collect::<Vec<_>>(), expected);
        assert_eq!(
            section.image_settings(),
            json!({ "photo": "face", "square": "crop" })
        );
    }

    #[test]
    fn faces_are_for_adapters_that_were_trained_on_them() {
        let of = |name: &str| IpAdapterSection::trained_on(Path::new(name));
        assert_eq!(
            of("x/ip-adapter-plus-face_sdxl_vit-h.safetensors"),
            Crop::Face
        );
        assert_eq!(
            of("plus-face/ip-adapter-plus_sdxl_vit-h.safetensors"),
            Crop::Whole
        );
        let whole = read("photo = \"whole\"\nsquare = \"squeeze\"").expect("a section");
        assert_eq!((whole.photo, whole.square), (Crop::Whole, Square::Squeeze));
    }

    #[test]
    fn a_scale_is_any_finite_number() {
        for scale in ["0", "-1.5", "1e30"] {
            assert!(read(&format!("scale = {scale}")).is_ok(), "{scale}");
        }
        for scale in ["nan", "inf", "-inf"] {
            let error = read(&format!("scale = {scale}"))
                .expect_err("no number")
                .to_string();
            assert!(
                error.contains("finite") && error.contains("ip_adapter"),
                "{error}"
            );
        }
        assert!(
            read("skale = 1")
                .expect_err("no key")
                .to_string()
                .contains("did you mean `scale`?")
        );
    }
}
