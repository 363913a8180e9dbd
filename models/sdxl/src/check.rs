//! Whether a model's folder holds what it must, before anything is generated with it.

use std::path::{Path, PathBuf};

use laioncele_clip::{TextEncoder, TextModel};
use laioncele_nn::config::JsonFile;
use laioncele_nn::{LoadOptions, Shapes};

use crate::error::{Error, Result};
use crate::files::SdxlFiles;
use crate::folder::{ModelIndex, PartPlace, SCHEDULER_CONFIG};
use crate::pipeline::{Sdxl, SdxlOptions};
use crate::request::SamplingSettings;
use crate::text::TextEncoders;
use crate::unet::UNet;
use crate::vae::Vae;

/// The tensors that the parts of an SDXL folder ask for, part by part: `text_encoder`,
/// `text_encoder_2`, `unet`, `vae`. Only the configurations need to be there.
///
/// # Errors
/// A configuration that is missing or not supported.
pub fn part_shapes(folder: &Path) -> Result<Vec<(&'static str, Shapes)>> {
    ModelIndex::read(folder)?;
    Ok(vec![
        (
            "text_encoder",
            TextModel::shapes(&folder.join("text_encoder"), false)?,
        ),
        (
            "text_encoder_2",
            TextModel::shapes(&folder.join("text_encoder_2"), true)?,
        ),
        ("unet", UNet::shapes(&folder.join("unet"))?),
        ("vae", Vae::shapes(&folder.join("vae"))?),
    ])
}

/// A part of a model, compared with its configuration.
#[derive(Debug)]
pub struct PartCheck {
    /// `model_index`, `text_encoder` (with its tokenizer), `text_encoder_2`, `unet`, `vae`,
    /// `scheduler`.
    pub part: &'static str,
    /// Its file or folder.
    pub path: PathBuf,
    /// What it holds, or what is wrong with it.
    pub found: Result<PartFacts>,
}

/// What a sound part holds; nothing of a part without weights.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct PartFacts {
    /// Weight files.
    pub files: Vec<PathBuf>,
    /// Numbers.
    pub parameters: u64,
    /// Bytes of them in the memory of a process that computes with them.
    pub bytes: u64,
}

/// Widths of a whole model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelWidths {
    /// Of a name's token: 2048 for SDXL.
    pub name: usize,
    /// Edge of the model's own images in pixels: 1024 for SDXL.
    pub image_size: usize,
}

impl SdxlFiles {
    /// Checks each part: files, configuration, tensors, shapes, stored types; with `deep` also that
    /// every number is finite, which reads all of the weights.
    pub fn check(&self, deep: bool) -> Vec<PartCheck> {
        let folder = &self.folder;
        let part = |part: &'static str, path: PathBuf, found| PartCheck { part, path, found };
        let index = ModelIndex::read(folder).map(|_| PartFacts::default());
        let mut checks = vec![part("model_index", folder.join("model_index.json"), index)];
        let texts = [
            ("text_encoder", "tokenizer", false),
            ("text_encoder_2", "tokenizer_2", true),
        ];
        for (name, tokenizer, projection) in texts {
            let found = self.check_text(name, tokenizer, projection, deep);
            checks.push(part(name, folder.join(name), found));
        }
        let (unet, vae) = (self.unet_place(), self.vae_place());
        checks.push(part(
            "unet",
            unet.path().into(),
            self.check_unet(&unet, deep),
        ));
        checks.push(part("vae", vae.path().into(), self.check_vae(&vae, deep)));
        let scheduler = folder.join("scheduler").join(SCHEDULER_CONFIG);
        let found = check_scheduler(&scheduler);
        checks.push(part("scheduler", scheduler, found));
        checks
    }

    /// Whether the parts fit each other, by their configurations and the names and shapes of their
    /// tensors.
    ///
    /// # Errors
    /// The first part that does not load, or [`Error::Mismatch`].
    pub fn check_together(&self) -> Result<ModelWidths> {
        self.load_dry().map(|(widths, _)| widths)
    }

    /// Whether the model can generate with these settings; nothing but configurations and the names
    /// and shapes of tensors is read.
    ///
    /// # Errors
    /// As [`SdxlFiles::check_together`]; [`Error::Setting`].
    pub fn check_sampling(&self, settings: &SamplingSettings) -> Result<()> {
        let (_, sdxl) = self.load_dry()?;
        sdxl.check(settings)
    }

    fn load_dry(&self) -> Result<(ModelWidths, Sdxl)> {
        let texts = TextEncoders::load(&self.folder, &self.options(false))?;
        let options = SdxlOptions {
            dtype: self.precision.dtype(),
            unet: self.unet.clone(),
            vae: self.vae.clone(),
            dry: true,
            ..SdxlOptions::default()
        };
        let sdxl = Sdxl::load(&self.folder, &options)?;
        let ours = (texts.name_width(), texts.pooled_width());
        let theirs = (sdxl.name_width(), sdxl.pooled_width());
        if ours != theirs {
            let reason = format!(
                "the text encoders make tokens and pooled vectors of widths {ours:?}, the U-Net takes {theirs:?}"
            );
            let folder = self.folder.clone();
            return Err(Error::Mismatch { folder, reason });
        }
        let widths = ModelWidths {
            name: ours.0,
            image_size: sdxl.image_size(),
        };
        Ok((widths, sdxl))
    }

    fn options(&self, deep: bool) -> LoadOptions {
        LoadOptions {
            dtype: self.precision.dtype(),
            dry: !deep,
            ..LoadOptions::default()
        }
    }

    fn check_text(
        &self,
        part: &str,
        tokenizer: &str,
        projection: bool,
        deep: bool,
    ) -> Result<PartFacts> {
        let (tokenizer, folder) = (self.folder.join(tokenizer), self.folder.join(part));
        let encoder = TextEncoder::load(&tokenizer, &folder, projection, &self.options(deep))?;
        let shapes = TextModel::shapes(&folder, projection)?;
        Ok(self.facts(encoder.model().files(), &shapes))
    }

    fn check_unet(&self, place: &PartPlace, deep: bool) -> Result<PartFacts> {
        let unet = UNet::load_place(place, &self.options(deep))?;
        Ok(self.facts(unet.files(), &UNet::shapes(place.config_folder())?))
    }

    fn check_vae(&self, place: &PartPlace, deep: bool) -> Result<PartFacts> {
        let options = LoadOptions {
            dtype: SdxlOptions::default().vae_dtype,
            ..self.options(deep)
        };
        let vae = Vae::load_place(place, &options)?;
        let bytes = options.dtype.size_in_bytes();
        let shapes = Vae::shapes(place.config_folder())?;
        Ok(facts(vae.files(), &shapes, bytes))
    }

    fn facts(&self, files: &[PathBuf], shapes: &Shapes) -> PartFacts {
        facts(files, shapes, self.precision.dtype().size_in_bytes())
    }
}

fn facts(files: &[PathBuf], shapes: &Shapes, bytes: usize) -> PartFacts {
    let numbers =
        |(_, shape): &(String, Vec<usize>)| shape.iter().map(|n| *n as u64).product::<u64>();
    let parameters = shapes.iter().map(numbers).sum();
    PartFacts {
        files: files.to_vec(),
        parameters,
        bytes: parameters * bytes as u64,
    }
}

/// Only whether there is one: settings may ask for another than the folder's own, which then need not be one that is
/// implemented ([`SdxlFiles::check_sampling`]).
fn check_scheduler(path: &Path) -> Result<PartFacts> {
    JsonFile::read(path)?;
    Ok(PartFacts::default())
}
