//! The `[models.*]` sections: where the files are, under which labels their digests enter task keys, and how to load
//! them. Each section is read with [`laioncele_core::Manifest::model`], so that an unknown key's error names the nearest
//! valid one, and its paths are resolved against the manifest's folder.
//!
//! A label (`models.sdxl.unet`, …) is part of every task key that it occurs in. It never changes, whatever the key of the
//! section is called.

mod face;
mod image_encoders;
mod ip_adapter;
mod photomaker;
mod scheduler;
mod sdxl;

pub use face::{FaceSection, face_model_files};
pub use image_encoders::ImageEncoderSection;
pub use ip_adapter::IpAdapterSection;
pub use photomaker::PhotoMakerSection;
pub use scheduler::SchedulerChoice;
pub use sdxl::{LoraKeys, SdxlSection, Unconditional};

/// The label of a file or folder of `[models.section]`, as a step's key names it.
pub fn label(section: &str, role: &str) -> String {
    format!("models.{section}.{role}")
}

/// What is read of the folders that sections name, as task keys want it.
pub mod files_read {
    use std::path::{Path, PathBuf};

    use laioncele_clip::{ImageEncoder, TextModel, Tokenizer};
    use laioncele_core::error::Cause;
    use laioncele_sdxl::{SdxlFiles, UNet, Vae};

    type Files = Result<Vec<PathBuf>, Cause>;

    /// Of a CLIP tokenizer.
    ///
    /// # Errors
    /// None: what is missing shows when it is read.
    pub fn tokenizer(folder: &Path) -> Files {
        Ok(Tokenizer::files_read(folder))
    }

    /// Of a CLIP text tower.
    ///
    /// # Errors
    /// A folder without weights.
    pub fn text_tower(folder: &Path) -> Files {
        Ok(TextModel::files_read(folder)?)
    }

    /// Of a CLIP image encoder.
    ///
    /// # Errors
    /// A folder without weights.
    pub fn image_encoder(folder: &Path) -> Files {
        Ok(ImageEncoder::files_read(folder)?)
    }

    /// Of a whole CLIP model: image encoder, text tower and tokenizer.
    ///
    /// # Errors
    /// A folder without weights.
    pub fn whole_clip(folder: &Path) -> Files {
        let parts = [
            image_encoder(folder)?,
            text_tower(folder)?,
            tokenizer(folder)?,
        ];
        Ok(parts.concat())
    }

    /// Of a U-Net.
    ///
    /// # Errors
    /// A folder without weights.
    pub fn unet(folder: &Path) -> Files {
        Ok(UNet::files_read(folder)?)
    }

    /// Of a VAE.
    ///
    /// # Errors
    /// A folder without weights.
    pub fn vae(folder: &Path) -> Files {
        Ok(Vae::files_read(folder)?)
    }

    /// Of an SDXL's scheduler.
    ///
    /// # Errors
    /// None: what is missing shows when it is read.
    pub fn scheduler(folder: &Path) -> Files {
        Ok(SdxlFiles::scheduler_files(folder))
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::path::Path;

    use laioncele_core::Manifest;

    /// A manifest in `/run` with `sections` added to the least that one needs.
    pub(crate) fn manifest(sections: &str) -> Manifest {
        let text = format!(
            "[run]\nseed = 1\n[source]\npath = \"captions\"\n[source.columns]\nurl = \"URL\"\ncaption = \"TEXT\"\n\
             [embedding_dims]\nname_tokens = 8\nname_channels = 4\nface = 4\nfeatures = 3\n{sections}"
        );
        Manifest::parse(Path::new("/run/manifest.toml"), &text).expect("a manifest")
    }
}
