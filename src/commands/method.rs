//! `generate --method`: images by a method that LaionCele is compared with, with the models of a manifest or from an SDXL
//! folder alone.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use image::RgbImage;
use laioncele_core::EmbeddingDims;
use laioncele_encoder::Crop;
use laioncele_generate_samples::StageConfig;
use laioncele_inference::methods::{
    BaselineMethod, MethodConfig, MethodName, Preset, PresetSettings, Studio,
};
use laioncele_inference::{IpAdapterSection, ModelLoader, PhotoMakerSection, SdxlSection};
use laioncele_sdxl::{NegativePrompt, SamplingSettings};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::drawing::Drawing;
use super::encoder_args::dims_of;
use super::from_model::{FromModel, starts};
use super::generation::{GenerationArgs, failure};
use super::images::{ImageArgs, Planned, Written};
use super::method_images::{Shown, draw, draw_seeds, likeness, shared};
use super::model_args::ModelArgs;
use super::person::{Person, Photos, photo};
use crate::args::RunPaths;
use crate::failure::{Exit, Failure};
use crate::session::manifest_of_run;

/// Which method, and its files and settings where they are others than the manifest's.
#[derive(Args, Debug)]
#[command(next_help_heading = "Methods to compare with")]
pub(super) struct MethodArgs {
    /// What generates: laioncele; sdxl-name, the person's name in the prompt; ip-adapter, or
    /// ip-adapter-sSCALE; photomaker
    #[arg(long, value_name = "METHOD", default_value = "laioncele")]
    method: MethodName,
    /// With --model: a photo of the person; may be given several times
    #[arg(long, value_name = "FILE", requires = "model")]
    photo: Vec<PathBuf>,
    /// Use at most so many photos of the person, by file name [default: all]
    #[arg(long, value_name = "N")]
    photos: Option<NonZeroUsize>,
    /// What the method sees of a photo: `face` or `whole` [default: the manifest's, or what the
    /// method was made for]
    #[arg(long, value_name = "WHAT", value_parser = named::<Crop>)]
    photo_crop: Option<Crop>,
    /// Scheduler, steps, guidance, negative prompt, scale and start of other methods than
    /// laioncele: `common`, or as their authors have `recommended` [default: the manifest's, else
    /// common]
    #[arg(long, value_name = "WHICH", value_parser = named::<Preset>)]
    settings: Option<Preset>,
    /// An IP-Adapter for SDXL, base or plus, in safetensors format [default: the manifest's]
    #[arg(long, value_name = "FILE", requires = "image_encoder")]
    ip_adapter: Option<PathBuf>,
    /// The CLIP image encoder that the IP-Adapter was trained on
    #[arg(long, value_name = "FOLDER", requires = "ip_adapter")]
    image_encoder: Option<PathBuf>,
    /// How much IP-Adapter's photos count beside the text [default: the manifest's, else 1]
    #[arg(long, value_name = "SCALE", allow_hyphen_values = true)]
    ip_scale: Option<f64>,
    /// How IP-Adapter makes a photo a square: `crop` or `squeeze` [default: the manifest's, else
    /// crop]
    #[arg(long, value_name = "HOW", value_parser = named::<laioncele_baselines::Square>)]
    ip_square: Option<laioncele_baselines::Square>,
    /// PhotoMaker V1 in safetensors format [default: the manifest's]
    #[arg(long, value_name = "FILE")]
    photomaker: Option<PathBuf>,
    /// A JSON file with the numbers of PhotoMaker's image tower, if it is not the official one
    #[arg(long, value_name = "FILE", requires = "photomaker")]
    photomaker_vision: Option<PathBuf>,
    /// PhotoMaker's trigger word, put behind the word for the person where the prompt lacks it
    /// [default: the manifest's, else img]
    #[arg(long, value_name = "WORD")]
    trigger: Option<String>,
    /// PhotoMaker's last step that knows only the text, from 0; -1 lets the person join at once
    /// [default: the manifest's, else a fifth of the steps]
    #[arg(long, value_name = "STEP", allow_hyphen_values = true, value_parser = clap::value_parser!(i64).range(-1..))]
    start_merge_step: Option<i64>,
}

/// A value named as manifests name it.
fn named<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(Value::from(text)).map_err(|e| e.to_string())
}

/// What is to be generated, however.
pub(super) struct Wanted<'a> {
    pub(super) person: Option<&'a Person>,
    pub(super) prompts: &'a [String],
    /// Of each prompt.
    pub(super) images: u64,
    pub(super) generation: &'a GenerationArgs,
    pub(super) gallery: &'a ImageArgs,
    pub(super) paths: &'a RunPaths,
    pub(super) from_model: &'a FromModel,
    pub(super) quiet: bool,
}

impl MethodArgs {
    /// The images of a method that LaionCele is compared with; `None` where LaionCele itself is asked for.
    ///
    /// # Errors
    /// Arguments that do not go together, missing or wrong models, photos that cannot be used.
    pub(super) fn generate(&self, wanted: &Wanted<'_>) -> Result<Option<Vec<Written>>, Failure> {
        self.check()?;
        if self.method == MethodName::LaionCele {
            return Ok(None);
        }
        match wanted.person {
            _ if wanted.from_model.model.is_given() => self.generate_from_model(wanted).map(Some),
            Some(person) => self.generate_from_manifest(person, wanted).map(Some),
            None => {
                let text = format!("--method {} shows people whom there is", self.method);
                Err(Failure::new(Exit::Usage, text))
            }
        }
    }

    /// Whether LaionCele itself is asked for.
    pub(super) fn is_laioncele(&self) -> bool {
        self.method == MethodName::LaionCele
    }

    /// The photos of a person that are used at most.
    pub(super) fn most_photos(&self) -> Option<usize> {
        self.photos.map(NonZeroUsize::get)
    }

    /// Options of one method given to another are mistakes.
    fn check(&self) -> Result<(), Failure> {
        let adapter = matches!(self.method, MethodName::IpAdapter(_));
        let maker = self.method == MethodName::PhotoMaker;
        let sees = adapter || maker;
        let ours = self.method != MethodName::LaionCele;
        let options = [
            (
                "--photo",
                !self.photo.is_empty(),
                sees,
                "ip-adapter and photomaker",
            ),
            (
                "--photo-crop",
                self.photo_crop.is_some(),
                sees,
                "ip-adapter and photomaker",
            ),
            (
                "--settings",
                self.settings.is_some(),
                ours,
                "other methods than laioncele",
            ),
            (
                "--ip-adapter",
                self.ip_adapter.is_some(),
                adapter,
                "ip-adapter",
            ),
            ("--ip-scale", self.ip_scale.is_some(), adapter, "ip-adapter"),
            (
                "--ip-square",
                self.ip_square.is_some(),
                adapter,
                "ip-adapter",
            ),
            (
                "--photomaker",
                self.photomaker.is_some(),
                maker,
                "photomaker",
            ),
            ("--trigger", self.trigger.is_some(), maker, "photomaker"),
            (
                "--start-merge-step",
                self.start_merge_step.is_some(),
                maker,
                "photomaker",
            ),
        ];
        for (option, given, fits, of) in options {
            if given && !fits {
                let text = format!("{option} is for --method {of}, not for {}", self.method);
                return Err(Failure::new(Exit::Usage, text));
            }
        }
        match self.ip_scale {
            Some(scale) if !scale.is_finite() => {
                let text =
                    format!("--ip-scale {scale} is not possible: a finite number is expected");
                Err(Failure::new(Exit::Usage, text))
            }
            Some(_) if matches!(self.method, MethodName::IpAdapter(Some(_))) => {
                let text = format!("--ip-scale and {} are two scales", self.method);
                Err(Failure::new(Exit::Usage, text))
            }
            _ => Ok(()),
        }
    }

    /// With the models and settings of a manifest; a run need not be there.
    fn generate_from_manifest(
        &self,
        person: &Person,
        wanted: &Wanted<'_>,
    ) -> Result<Vec<Written>, Failure> {
        let manifest = manifest_of_run(wanted.paths)?;
        let stage = StageConfig::from_manifest(&manifest)?;
        let preset = self.settings.unwrap_or(stage.settings.settings);
        let common = PresetSettings {
            negative: stage.sdxl.unconditional.negative(),
            sampling: stage.settings.sampling(),
        };
        let mut settings = PresetSettings::of(self.method, preset, common);
        wanted.generation.set(&mut settings.sampling)?;
        let sections = Sections {
            adapter: || Ok(IpAdapterSection::from_manifest(&manifest)?),
            maker: || Ok(PhotoMakerSection::from_manifest(&manifest)?),
        };
        let method = self.baseline(preset, settings.sampling.steps, sections)?;
        let face = match method.crop() {
            Crop::Face => Some(laioncele_inference::FaceSection::from_manifest(&manifest)?),
            Crop::Whole => None,
        };
        let mut sdxl = stage.sdxl.files;
        wanted.generation.change_model(&mut sdxl);
        let section = SdxlSection {
            files: sdxl.clone(),
            unconditional: stage.sdxl.unconditional,
        };
        let config = MethodConfig {
            sdxl,
            method,
            negative: settings.negative,
            sampling: settings.sampling,
            face: face.map(|section| section.without_gender().files),
        };
        let shown = self.shown(person)?;
        let loader = ModelLoader::without_task(&manifest.embedding_dims);
        let mut studio = Studio::open(&config, &loader).map_err(|e| failure(e, ""))?;
        let person = person.about()?;
        let name = self.method.to_string();
        let about = shared(
            &name,
            (&studio, &config),
            (&config.sampling, &section),
            person,
        )?;
        let starts = starts(None, wanted.images, wanted.generation.seed);
        let planned = wanted.from_model.planned(wanted.prompts, &starts, &about)?;
        let planned: Vec<Planned> = planned.into_iter().flatten().collect();
        draw_seeds(&mut studio, &shown, &planned, wanted.gallery, wanted.quiet)
    }

    /// From an SDXL folder and the files that the arguments name.
    fn generate_from_model(&self, wanted: &Wanted<'_>) -> Result<Vec<Written>, Failure> {
        let from_model = wanted.from_model;
        from_model.check_trace(wanted.prompts)?;
        let latents = from_model.latents()?;
        let (shown, person) = self.shown_from_model(wanted)?;
        let (config, dims) = self.config_from_model(wanted)?;
        let studio = Studio::open(&config, &ModelLoader::without_task(&dims));
        let studio = studio.map_err(|e| failure(e, ""))?;
        let own = from_model.sampling(studio.sdxl(), latents.as_ref());
        let mut sampling = self.settings_from_model(wanted, own)?.sampling;
        let section = ModelArgs::section(&config.sdxl);
        let name = self.method.to_string();
        let about = shared(&name, (&studio, &config), (&sampling, &section), person)?;
        let starts = starts(latents, wanted.images, wanted.generation.seed);
        let planned = from_model.planned(wanted.prompts, &starts, &about)?;
        wanted.gallery.check(planned.iter().flatten())?;
        let images = wanted.prompts.len() * starts.len();
        let drawing = Drawing::begin(images, sampling.steps, wanted.quiet);
        sampling.steps_done = Some(drawing.steps.clone());
        let likeness = likeness(&studio, &shown)?;
        let mut written = Vec::new();
        for (prompt, planned) in wanted.prompts.iter().zip(&planned) {
            let mut files: Vec<Option<Written>> = planned.iter().map(|_| None).collect();
            let request = (prompt.as_str(), starts.as_slice());
            let trace = from_model.trace.as_deref();
            draw(
                &studio,
                &*likeness,
                request,
                &sampling,
                trace,
                |at, image| {
                    drawing.image_done();
                    files[at] = Some(wanted.gallery.write(&planned[at], &image)?);
                    Ok(())
                },
            )?;
            written.extend(files.into_iter().flatten());
        }
        Ok(written)
    }

    /// What the method is loaded with, and the widths of the folder's model.
    fn config_from_model(
        &self,
        wanted: &Wanted<'_>,
    ) -> Result<(MethodConfig, EmbeddingDims), Failure> {
        let settings = self.settings_from_model(wanted, SamplingSettings::default())?;
        let none = |option: &str| {
            let text = format!("--method {} with --model needs {option}", self.method);
            Failure::new(Exit::Usage, text)
        };
        let sections = Sections {
            adapter: || Err(none("--ip-adapter and --image-encoder")),
            maker: || Err(none("--photomaker")),
        };
        let preset = self.settings.unwrap_or_default();
        let method = self.baseline(preset, settings.sampling.steps, sections)?;
        let files = wanted.from_model.model.files(wanted.generation)?;
        let widths = files.check_together()?;
        let dims = dims_of(widths.name);
        let config = MethodConfig {
            sdxl: files,
            method,
            negative: settings.negative,
            sampling: settings.sampling,
            face: None,
        };
        Ok((config, dims))
    }

    /// `sampling` and the folder's own negative prompt, as the preset and then the arguments change them.
    fn settings_from_model(
        &self,
        wanted: &Wanted<'_>,
        sampling: SamplingSettings,
    ) -> Result<PresetSettings, Failure> {
        let common = PresetSettings {
            negative: NegativePrompt::Model,
            sampling,
        };
        let preset = self.settings.unwrap_or_default();
        let mut settings = PresetSettings::of(self.method, preset, common);
        if let Some(text) = &wanted.from_model.model.negative_prompt {
            settings.negative = NegativePrompt::Text(text.clone());
        }
        if let Some(scheduler) = wanted.from_model.model.scheduler {
            settings.sampling.scheduler = scheduler.0;
        }
        wanted.generation.set(&mut settings.sampling)?;
        Ok(settings)
    }

    /// The method with its files: the arguments', else those of `sections`.
    fn baseline<A, M>(
        &self,
        preset: Preset,
        steps: usize,
        sections: Sections<A, M>,
    ) -> Result<BaselineMethod, Failure>
    where
        A: FnOnce() -> Result<IpAdapterSection, Failure>,
        M: FnOnce() -> Result<PhotoMakerSection, Failure>,
    {
        Ok(match self.method {
            MethodName::SdxlName | MethodName::LaionCele => BaselineMethod::SdxlName,
            MethodName::IpAdapter(own) => {
                let mut section = match (&self.ip_adapter, &self.image_encoder) {
                    (Some(file), Some(encoder)) => IpAdapterSection {
                        photo: IpAdapterSection::trained_on(file),
                        file: file.clone(),
                        image_encoder: encoder.clone(),
                        scale: None,
                        square: Default::default(),
                    },
                    _ => (sections.adapter)()?,
                };
                section.photo = self.photo_crop.unwrap_or(section.photo);
                section.square = self.ip_square.unwrap_or(section.square);
                BaselineMethod::ip_adapter(section, own.or(self.ip_scale), preset)
            }
            MethodName::PhotoMaker => {
                let mut section = match &self.photomaker {
                    Some(file) => PhotoMakerSection {
                        file: file.clone(),
                        vision: self.photomaker_vision.clone(),
                        trigger: "img".to_owned(),
                        start_merge_step: None,
                        photo: Crop::Whole,
                    },
                    None => (sections.maker)()?,
                };
                section.photo = self.photo_crop.unwrap_or(section.photo);
                section.start_merge_step = self.start_merge_step.or(section.start_merge_step);
                if let Some(trigger) = &self.trigger {
                    section.trigger.clone_from(trigger);
                }
                BaselineMethod::photomaker(section, preset, steps)
            }
        })
    }

    /// The person's name or photos, whichever the method needs.
    fn shown(&self, person: &Person) -> Result<Shown, Failure> {
        match (self.method, person) {
            (MethodName::SdxlName, Person::Text(name)) => Ok(Shown {
                name: name.clone(),
                photos: Vec::new(),
            }),
            (MethodName::SdxlName, Person::Photos(_) | Person::File(_)) => {
                let text = "--method sdxl-name needs a name: `name:` and the name";
                Err(Failure::new(Exit::Usage, text))
            }
            (method, Person::Text(_) | Person::File(_)) => {
                let text = format!("--method {method} needs a photo, or a folder of photos");
                Err(Failure::new(Exit::Usage, text))
            }
            (_, Person::Photos(path)) => Ok(Shown {
                name: String::new(),
                photos: Photos::of(path, self.most_photos())?.images,
            }),
        }
    }

    fn shown_from_model(&self, wanted: &Wanted<'_>) -> Result<(Shown, Value), Failure> {
        if self.method == MethodName::SdxlName {
            let Some(Person::Text(name)) = wanted.person else {
                let text = "--method sdxl-name with --model needs --name";
                return Err(Failure::new(Exit::Usage, text));
            };
            let shown = Shown {
                name: name.clone(),
                photos: Vec::new(),
            };
            return Ok((shown, json!({ "name": name })));
        }
        if wanted.from_model.name.is_some() {
            let text = format!("--name is not for --method {}", self.method);
            return Err(Failure::new(Exit::Usage, text));
        }
        match wanted.person {
            Some(person) => return Ok((self.shown(person)?, person.about()?)),
            None if self.photo.is_empty() => {
                let text = format!("--method {} with --model needs --photo", self.method);
                return Err(Failure::new(Exit::Usage, text));
            }
            None => {}
        }
        let most = self.most_photos().unwrap_or(usize::MAX);
        let files: Vec<&PathBuf> = self.photo.iter().take(most).collect();
        let photos = files.iter().map(|file| photo(file));
        let photos: Vec<RgbImage> = photos.collect::<Result<_, _>>()?;
        let mut listed = Vec::new();
        for file in files {
            let about = Person::Photos(file.clone()).about()?;
            listed.extend(about["photos"].as_array().cloned().unwrap_or_default());
        }
        let name = String::new();
        Ok((Shown { name, photos }, json!({ "photos": listed })))
    }
}

/// Where sections come from that the arguments do not give.
struct Sections<A, M> {
    adapter: A,
    maker: M,
}
