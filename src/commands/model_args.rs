//! `--model PATH`: an SDXL without a run, and how it is used.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use laioncele_core::{CoreError, model_cache};
use laioncele_inference::{SchedulerChoice, SdxlSection, Unconditional};
use laioncele_sdxl::{
    DeviceChoice, NegativePrompt, Precision, SamplingSettings, SdxlFiles, SizeConditioning,
};

use super::generation::GenerationArgs;
use crate::args::setting;

/// A model, and settings that a run has from its manifest.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Options with --model")]
pub(super) struct ModelArgs {
    /// An SDXL folder in Diffusers layout, or a model in one safetensors file, to use instead of a run;
    /// also in a bucket (s3://…, gs://…, az://…)
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
    /// An SDXL folder that gives a model in one file its configurations, its tokenizers and the parts
    /// that the file lacks [default: SDXL's own configurations and tokenizers]
    #[arg(long, value_name = "FOLDER", requires = "model")]
    base: Option<PathBuf>,
    /// What is guided away from; `''` is the encoded empty text [default: what the folder says,
    /// zeros for SDXL]
    #[arg(long, value_name = "TEXT", requires = "model")]
    pub(super) negative_prompt: Option<String>,
    /// ddim, euler, euler_ancestral, heun, dpmpp_2m, dpmpp_2m_sde, unipc, lcm, tcd, or `model` for
    /// the folder's own [default: ddim]
    #[arg(long, value_name = "NAME", requires = "model", value_parser = setting::<SchedulerChoice>)]
    pub(super) scheduler: Option<SchedulerChoice>,
    /// Pixels [default: the latents', else the model's own]
    #[arg(long, value_name = "PIXELS", requires = "model")]
    height: Option<usize>,
    /// Pixels
    #[arg(long, value_name = "PIXELS", requires = "model")]
    width: Option<usize>,
    /// Sizes that the U-Net is conditioned on: original height and width, crop top and left, target
    /// height and width [default: the image's own, uncropped]
    #[arg(long, value_name = "H,W,TOP,LEFT,H,W", requires = "model")]
    time_ids: Option<TimeIds>,
    /// The type that the text encoders and the U-Net compute in: f32, bf16, f16 [default: f32]
    #[arg(long, value_name = "TYPE", requires = "model", value_parser = setting::<Precision>)]
    precision: Option<Precision>,
    /// auto, cpu, cuda or cuda:N [default: auto: the first GPU if there is one and laioncele was
    /// built for it]
    #[arg(long, value_name = "WHERE", requires = "model")]
    device: Option<DeviceChoice>,
    /// Images that go through the U-Net at once [default: 4 on a GPU; on the processor each image
    /// has a thread]
    #[arg(long, value_name = "N", requires = "model")]
    batch: Option<NonZeroUsize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TimeIds(SizeConditioning);

impl FromStr for TimeIds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Result<Vec<u32>, _> = text.split(',').map(|n| n.trim().parse()).collect();
        match numbers.as_deref() {
            Ok(&[height, width, top, left, to_height, to_width]) => Ok(Self(SizeConditioning {
                original: [height, width],
                crop: [top, left],
                target: [to_height, to_width],
            })),
            _ => Err("six whole numbers with commas between them are expected".to_owned()),
        }
    }
}

impl ModelArgs {
    /// Whether a model was given.
    pub(super) fn is_given(&self) -> bool {
        self.model.is_some()
    }

    /// The model's folder or file on this machine, if one was given.
    ///
    /// # Errors
    /// A url of which nothing can be fetched.
    pub(super) fn place(&self) -> Result<Option<PathBuf>, CoreError> {
        self.model.as_deref().map(model_cache::local).transpose()
    }

    /// The files of the model and what the arguments change of it.
    ///
    /// # Errors
    /// As [`Self::place`].
    pub(super) fn files(&self, generation: &GenerationArgs) -> Result<SdxlFiles, CoreError> {
        let model = self.place()?.unwrap_or_default();
        let base = self.base.as_deref().map(model_cache::local).transpose()?;
        let mut files = SdxlFiles {
            precision: self.precision.unwrap_or_default(),
            device: self.device(),
            batch: self.batch,
            ..SdxlFiles::of_model(&model, base.as_deref())
        };
        generation.change_model(&mut files);
        Ok(files)
    }

    /// The same as manifests have it, for digests.
    pub(super) fn section(files: &SdxlFiles) -> SdxlSection {
        SdxlSection {
            files: files.clone(),
            unconditional: Unconditional::Model,
        }
    }

    /// Where to compute.
    pub(super) fn device(&self) -> DeviceChoice {
        self.device.unwrap_or_default()
    }

    /// What guidance guides away from.
    pub(super) fn negative(&self) -> NegativePrompt {
        match &self.negative_prompt {
            Some(text) => NegativePrompt::Text(text.clone()),
            None => NegativePrompt::Model,
        }
    }

    /// How images are sampled; `size` is that of given latents in pixels, height first.
    pub(super) fn sampling(&self, size: Option<[usize; 2]>) -> SamplingSettings {
        let paper = SamplingSettings::default();
        SamplingSettings {
            scheduler: self.scheduler.map_or(paper.scheduler, |choice| choice.0),
            height: self.height.or(size.map(|[height, _]| height)),
            width: self.width.or(size.map(|[_, width]| width)),
            sizes: self.time_ids.map(|ids| ids.0),
            ..paper
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_ids_are_six_numbers() {
        let ids: TimeIds = "150,170, 6,10,96,128".parse().expect("six numbers");
        assert_eq!(ids.0.original, [150, 170]);
        assert_eq!((ids.0.crop, ids.0.target), ([6, 10], [96, 128]));
        for wrong in ["", "1,2,3", "1,2,3,4,5,-6", "1,2,3,4,5,6,7"] {
            assert!(wrong.parse::<TimeIds>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn settings_are_named_as_in_manifests() {
        assert_eq!(setting::<Precision>("bf16"), Ok(Precision::Bf16));
        let wrong = setting::<SchedulerChoice>("pndm").expect_err("unknown");
        assert!(wrong.contains("dpmpp_2m"), "{wrong}");
    }
}
