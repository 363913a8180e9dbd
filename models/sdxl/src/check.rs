//! Whether a model's folder holds what it must, before anything is generated with it.

use std::path::{Path, PathBuf};

use laioncele_clip::TextModel;
use laioncele_nn::{LoadOptions, Shapes};

use crate::error::{Error, Result};
use crate::files::SdxlFiles;
use crate::folder::ModelIndex;
use crate::lora::{TEXT_1, TEXT_2};
use crate::options::SdxlOptions;
use crate::pipeline::Sdxl;
use crate::request::SamplingSettings;
use crate::scheduler::SchedulerKind;
use crate::sources::Sources;
use crate::text::TextEncoders;
use crate::unet::{UNet, UNetConfig};
use crate::vae::{Vae, VaeConfig};

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
        let part = |part: &'static str, path: PathBuf, found| PartCheck { part, path, found };
        let sources = match Sources::open(self) {
            Ok(sources) => sources,
            Err(error) => return vec![part("model", self.path().into(), Err(error))],
        };
        let base = sources.base.name();
        let index = sources.base.index().map(|_| PartFacts::default());
        let mut checks = vec![part("model_index", base.join("model_index.json"), index)];
        for name in [TEXT_1, TEXT_2] {
            let found = self.check_text(&sources, name, deep);
            checks.push(part(name, sources.path_of(name), found));
        }
        let unet = self.check_unet(&sources, deep);
        checks.push(part("unet", sources.path_of("unet"), unet));
        let vae = self.check_vae(&sources, deep);
        checks.push(part("vae", sources.path_of("vae"), vae));
        let scheduler = sources.base.config("scheduler");
        let path = match &scheduler {
            Ok(json) => json.path().to_owned(),
            Err(_) => base.join("scheduler"),
        };
        // Only whether there is one: settings may ask for another than the folder's own, which then
        // need not be one that is implemented ([`SdxlFiles::check_sampling`]).
        checks.push(part(
            "scheduler",
            path,
            scheduler.map(|_| PartFacts::default()),
        ));
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

    /// Whether the model can generate with these settings, and the scheduler that it would do so with; nothing but
    /// configurations and the names and shapes of tensors is read.
    ///
    /// # Errors
    /// As [`SdxlFiles::check_together`]; [`Error::Setting`].
    pub fn check_sampling(&self, settings: &SamplingSettings) -> Result<SchedulerKind> {
        let (_, sdxl) = self.load_dry()?;
        sdxl.check(settings)?;
        Ok(sdxl.schedule_config(settings)?.0.kind)
    }

    fn load_dry(&self) -> Result<(ModelWidths, Sdxl)> {
        let sources = Sources::open(self)?;
        let texts = TextEncoders::load_sources(&sources, &self.options(false))?;
        let sdxl = Sdxl::load_parts(&sources, &self.dry_options())?;
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

    fn check_text(&self, sources: &Sources, part: &'static str, deep: bool) -> Result<PartFacts> {
        let encoder = sources.load_text(part, &self.options(deep))?;
        Ok(self.facts(encoder.model().files(), &sources.text_shapes(part)?))
    }

    fn check_unet(&self, sources: &Sources, deep: bool) -> Result<PartFacts> {
        let unet = sources.load_unet(&self.options(deep))?;
        let config = UNetConfig::of(&sources.unet_config()?)?;
        Ok(self.facts(unet.files(), &UNet::shapes_of(&config)?))
    }

    fn check_vae(&self, sources: &Sources, deep: bool) -> Result<PartFacts> {
        let options = LoadOptions {
            dtype: SdxlOptions::default().vae_dtype,
            ..self.options(deep)
        };
        let vae = sources.load_vae(&options)?;
        let bytes = options.dtype.size_in_bytes();
        let config = VaeConfig::of(&sources.vae_config()?, options.dtype)?;
        Ok(facts(vae.files(), &Vae::shapes_of(&config)?, bytes))
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
