//! The `[models.*]` sections: where the files are, under which labels their digests enter task keys, and how to load
//! them. Each section is read with [`laioncele_core::Manifest::model`], so that an unknown key's error names the nearest
//! valid one, and its paths are resolved against the manifest's folder.
//!
//! A label (`models.sdxl.unet`, …) is part of every task key that it occurs in. It never changes, whatever the key of the
//! section is called.

mod face;
mod image_encoders;
mod sdxl;

use std::path::PathBuf;

use laioncele_core::ModelFiles;

pub use face::{FaceSection, face_model_files};
pub use image_encoders::ImageEncoderSection;
pub use sdxl::{SchedulerChoice, SdxlSection};

/// A file or folder of `[models.section]`, as a step's key names it.
pub fn model_files(section: &str, role: &str, path: PathBuf) -> ModelFiles {
    ModelFiles {
        label: format!("models.{section}.{role}"),
        path,
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
