//! Prompt embeddings, name embeddings and seeds in, images out.

use std::path::Path;

use candle_core::DType;
use image::RgbImage;
use laioncele_nn::LoadOptions;
use laioncele_nn::config::JsonFile;

use crate::batch::BatchSize;
use crate::error::{Error, Result};
use crate::files::SdxlFiles;
use crate::generate;
use crate::options::SdxlOptions;
use crate::parallel::in_parallel;
use crate::prediction::Prediction;
use crate::recorder::Recorder;
use crate::request::{ConditionedRequest, ImageRequest, Job, SamplingSettings, SizeConditioning};
use crate::sampling::SamplingParams;
use crate::scheduler::{Schedule, SchedulerConfig};
use crate::sources::Sources;
use crate::trace::Trace;
use crate::unet::UNet;
use crate::vae::Vae;

/// SDXL's U-Net, VAE and schedulers.
#[derive(Debug)]
pub struct Sdxl {
    pub(crate) unet: UNet,
    pub(crate) vae: Vae,
    scheduler: JsonFile,
    prediction: Prediction,
    /// `None` generates one image at a time.
    batch: Option<BatchSize>,
}

impl Sdxl {
    /// Loads `unet`, `vae` and `scheduler` of an SDXL folder.
    ///
    /// # Errors
    /// A folder of another kind, parts that are missing, damaged or do not fit each other, a device
    /// whose memory is too small.
    pub fn load(folder: &Path, options: &SdxlOptions) -> Result<Self> {
        let files = SdxlFiles {
            folder: folder.to_owned(),
            unet: options.unet.clone(),
            vae: options.vae.clone(),
            ..SdxlFiles::default()
        };
        let load = || Self::load_parts(&Sources::open(&files)?, options);
        load().map_err(|error: Error| error.of_loading(folder))
    }

    /// Loads the U-Net, the VAE and the scheduler of a model, whatever it is made of.
    ///
    /// # Errors
    /// As [`Sdxl::load`]; files that are not what they are given as.
    pub fn load_files(files: &SdxlFiles) -> Result<Self> {
        let load = || Self::load_parts(&Sources::open(files)?, &files.image_options()?);
        load().map_err(|error| error.of_loading(files.path()))
    }

    /// [`Sdxl::load_files`] on the CPU and without the numbers: what there is, and its shapes.
    ///
    /// # Errors
    /// As [`Sdxl::load_files`].
    pub fn load_dry(files: &SdxlFiles) -> Result<Self> {
        let load = || Self::load_parts(&Sources::open(files)?, &files.dry_options());
        load().map_err(|error| error.of_loading(files.path()))
    }

    pub(crate) fn load_parts(sources: &Sources, options: &SdxlOptions) -> Result<Self> {
        sources.base.index()?;
        let load = |dtype| LoadOptions {
            device: options.device.clone(),
            dtype,
            tf32: false,
            variant: options.variant,
            dry: options.dry,
        };
        let scheduler = sources.base.config("scheduler")?;
        let unet = sources.load_unet(&load(options.dtype))?;
        let vae_options = LoadOptions {
            device: options
                .vae_device
                .as_ref()
                .unwrap_or(&options.device)
                .clone(),
            // Latents out of 16 bits are less exact than that.
            tf32: options.dtype != DType::F32,
            ..load(options.vae_dtype)
        };
        let vae = sources.load_vae(&vae_options)?;
        if vae.channels() != unet.channels() || !unet.is_plain() {
            let (ours, theirs) = (unet.channels(), vae.channels());
            let reason =
                format!("the U-Net takes latents of {ours} channels, the VAE makes {theirs}");
            return Err(Error::Mismatch {
                folder: sources.base.name().into(),
                reason,
            });
        }
        let on_gpu = (!options.device.is_cpu()).then_some(SdxlOptions::GPU_BATCH);
        Ok(Self {
            unet,
            vae,
            scheduler,
            prediction: sources.prediction.clone(),
            batch: options.batch.or(on_gpu).map(BatchSize::new),
        })
    }

    /// Width of a name's or prompt's token (2048 for SDXL).
    pub fn name_width(&self) -> usize {
        self.unet.context_width()
    }

    /// Width of the pooled vector (1280 for SDXL).
    pub fn pooled_width(&self) -> usize {
        self.unet.pooled_width()
    }

    /// The edge of the model's own square images, in pixels (1024 for SDXL).
    pub fn image_size(&self) -> usize {
        self.unet.sample_size().unwrap_or(128) * self.vae.factor()
    }

    /// What a schedule of these settings is computed with, and what decided how the U-Net's output
    /// is meant.
    ///
    /// # Errors
    /// A scheduler configuration that is not supported.
    pub fn schedule_config(&self, settings: &SamplingSettings) -> Result<(SchedulerConfig, &str)> {
        let config = SchedulerConfig::read(&self.scheduler, settings.scheduler)?;
        Ok((self.prediction.apply(config)?, &self.prediction.because))
    }

    /// The U-Net.
    pub fn unet(&self) -> &UNet {
        &self.unet
    }

    /// The U-Net, to change its weights.
    pub fn unet_mut(&mut self) -> &mut UNet {
        &mut self.unet
    }

    /// The VAE.
    pub fn vae(&self) -> &Vae {
        &self.vae
    }

    /// Checks settings against the model, before any work is done.
    ///
    /// # Errors
    /// [`Error::Setting`]; a scheduler configuration that is not supported.
    pub fn check(&self, settings: &SamplingSettings) -> Result<()> {
        self.params(settings).map(drop)
    }

    /// Images that go through the U-Net at once: [`SdxlOptions::batch`], or half of it after memory
    /// ran out.
    pub fn batch(&self) -> usize {
        self.batch.as_ref().map_or(1, BatchSize::get)
    }

    /// Generates the images, in their order; with a trace, records what they compute.
    ///
    /// # Errors
    /// What fails for all of them, or numbers of one that are not finite.
    pub fn generate(
        &self,
        requests: &[ImageRequest<'_>],
        settings: &SamplingSettings,
        trace: Option<&mut Trace>,
    ) -> Result<Vec<RgbImage>> {
        self.run(&Job::plain(requests), settings, trace)
    }

    /// As [`Sdxl::generate`], of images that are conditioned on more.
    ///
    /// # Errors
    /// As [`Sdxl::generate`]; conditions that were made for another model.
    pub fn generate_conditioned(
        &self,
        requests: &[ConditionedRequest<'_>],
        settings: &SamplingSettings,
        trace: Option<&mut Trace>,
    ) -> Result<Vec<RgbImage>> {
        self.run(&Job::conditioned(requests), settings, trace)
    }

    fn run(
        &self,
        jobs: &[Job<'_>],
        settings: &SamplingSettings,
        trace: Option<&mut Trace>,
    ) -> Result<Vec<RgbImage>> {
        let params = self.params(settings)?;
        let mut recorder = trace.is_some().then(Recorder::default);
        let mut images = Vec::with_capacity(jobs.len());
        let single = BatchSize::new(1);
        let size = self.batch.as_ref().unwrap_or(&single);
        generate::in_sequence(self, jobs, &params, size, &mut recorder, |_, image| {
            images.push(image?);
            Ok::<(), Error>(())
        })?;
        if let (Some(trace), Some(recorder)) = (trace, recorder) {
            let latent = [self.vae.channels(), params.height, params.width];
            let timesteps = params.schedule.timesteps();
            recorder.finish(trace, &latent, timesteps, &params.time_ids, params.guided());
        }
        Ok(images)
    }

    /// Generates the images and hands each with its number to `each` as it comes: on the CPU one a
    /// thread, `threads` at once (0 for as many as there are); on a GPU in batches, each decoded
    /// while the next is denoised. An image whose numbers are not finite comes as
    /// [`Error::NotFinite`] and leaves the others alone.
    ///
    /// # Errors
    /// What fails for all of them; what `each` returns, which stops the rest.
    pub fn generate_each<Stop: From<Error>>(
        &self,
        requests: &[ImageRequest<'_>],
        settings: &SamplingSettings,
        threads: usize,
        each: impl FnMut(usize, Result<RgbImage>) -> std::result::Result<(), Stop>,
    ) -> std::result::Result<(), Stop> {
        self.run_each(&Job::plain(requests), settings, threads, each)
    }

    /// As [`Sdxl::generate_each`], of images that are conditioned on more.
    ///
    /// # Errors
    /// As [`Sdxl::generate_each`]; conditions that were made for another model.
    pub fn generate_conditioned_each<Stop: From<Error>>(
        &self,
        requests: &[ConditionedRequest<'_>],
        settings: &SamplingSettings,
        threads: usize,
        each: impl FnMut(usize, Result<RgbImage>) -> std::result::Result<(), Stop>,
    ) -> std::result::Result<(), Stop> {
        self.run_each(&Job::conditioned(requests), settings, threads, each)
    }

    fn run_each<Stop: From<Error>>(
        &self,
        jobs: &[Job<'_>],
        settings: &SamplingSettings,
        threads: usize,
        mut each: impl FnMut(usize, Result<RgbImage>) -> std::result::Result<(), Stop>,
    ) -> std::result::Result<(), Stop> {
        let params = self.params(settings)?;
        if let Some(size) = &self.batch {
            return generate::in_batches(self, jobs, &params, size, each);
        }
        let one = |job: &Job<'_>| {
            let images = self.run(std::slice::from_ref(job), settings, None);
            images.map(|mut images| images.pop())
        };
        in_parallel(threads, jobs, one, |index, image| match image {
            Ok(image) => image.map_or(Ok(()), |image| each(index, Ok(image))),
            Err(error @ Error::NotFinite { .. }) => each(index, Err(error)),
            Err(error) => Err(error.into()),
        })
    }

    pub(crate) fn params(&self, settings: &SamplingSettings) -> Result<SamplingParams> {
        let config = SchedulerConfig::read(&self.scheduler, settings.scheduler)?;
        let config = self.prediction.apply(config)?;
        let guidance = settings.guidance;
        if !guidance.is_finite() {
            return Err(Error::setting("guidance", guidance, "a finite number"));
        }
        let (height, width) = (
            self.edge("height", settings.height)?,
            self.edge("width", settings.width)?,
        );
        let own = [height as u32, width as u32];
        let sizes = settings.sizes.unwrap_or(SizeConditioning {
            original: own,
            crop: [0, 0],
            target: own,
        });
        let [[oh, ow], [top, left], [th, tw]] = [sizes.original, sizes.crop, sizes.target];
        Ok(SamplingParams {
            schedule: Schedule::new(config, settings.steps)?,
            height: height / self.vae.factor(),
            width: width / self.vae.factor(),
            time_ids: [oh, ow, top, left, th, tw].map(|v| v as f32),
            guidance,
            steps_done: settings.steps_done.clone(),
        })
    }

    /// An edge of the image in pixels, the model's own if none is given.
    fn edge(&self, setting: &'static str, given: Option<usize>) -> Result<usize> {
        let (size, unit) = (given.unwrap_or(self.image_size()), self.vae.factor().max(8));
        if size == 0 || size > 8192 || !size.is_multiple_of(unit) {
            let expected = format!("a multiple of {unit} up to 8192");
            return Err(Error::setting(setting, size, expected));
        }
        Ok(size)
    }
}
