//! Prompt embeddings, name embeddings and seeds in, pictures out.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use image::RgbImage;
use laioncele_nn::config::JsonFile;
use laioncele_nn::{LoadOptions, WeightVariant};

use crate::batch::BatchSize;
use crate::draw;
use crate::error::{Error, Result};
use crate::folder::ModelIndex;
use crate::name::{NameEmbedding, PromptEmbedding};
use crate::noise::Noise;
use crate::parallel::in_parallel;
use crate::recorder::Recorder;
use crate::run::Run;
use crate::scheduler::{Schedule, SchedulerConfig, SchedulerKind};
use crate::trace::Trace;
use crate::unet::UNet;
use crate::vae::Vae;

/// How to load an SDXL folder.
#[derive(Debug, Clone)]
pub struct SdxlOptions {
    /// Where to compute.
    pub device: Device,
    /// Where the VAE computes, if not there: another stream, another GPU.
    pub vae_device: Option<Device>,
    /// The U-Net's type.
    pub dtype: DType,
    /// The VAE's type; f16 only for a VAE whose `force_upcast` is false.
    pub vae_dtype: DType,
    /// Which weight files to read.
    pub variant: WeightVariant,
    /// A U-Net to use instead of the model's own: a folder, or one safetensors file of weights for the model's own
    /// `unet/config.json`.
    pub unet: Option<PathBuf>,
    /// Pictures that go through the U-Net at once. `None` is one on the processor, where pictures are drawn beside each
    /// other on threads instead, and [`SdxlOptions::GPU_BATCH`] on a GPU.
    pub batch: Option<usize>,
    /// Hold the weights against the configurations without reading a number ([`LoadOptions::dry`]).
    pub dry: bool,
}

impl Default for SdxlOptions {
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            vae_device: None,
            dtype: DType::F32,
            vae_dtype: DType::F32,
            variant: WeightVariant::Any,
            unet: None,
            batch: None,
            dry: false,
        }
    }
}

impl SdxlOptions {
    /// Pictures at once on a GPU: eight rows of the U-Net with guidance, as many as a name's portraits.
    pub const GPU_BATCH: usize = 4;
}

/// The sizes that SDXL is told of, in pixels, each height first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeConditioning {
    /// Height and width of the imagined original.
    pub original: [u32; 2],
    /// Top and left of the imagined crop.
    pub crop: [u32; 2],
    /// Height and width of the imagined target.
    pub target: [u32; 2],
}

/// How pictures are drawn.
#[derive(Debug, Clone)]
pub struct SamplingSettings {
    /// Which scheduler; `None` takes the one that the folder names.
    pub scheduler: Option<SchedulerKind>,
    /// Denoising steps.
    pub steps: usize,
    /// γ of classifier-free guidance; at 1 and below only the text is run.
    pub guidance: f32,
    /// Height in pixels; `None` takes the model's own.
    pub height: Option<usize>,
    /// Width in pixels; `None` takes the model's own.
    pub width: Option<usize>,
    /// The sizes that the U-Net is told of; `None` is the picture's own size, uncropped.
    pub sizes: Option<SizeConditioning>,
}

impl Default for SamplingSettings {
    /// The paper's: DDIM, 100 steps, γ = 7.
    fn default() -> Self {
        Self {
            scheduler: Some(SchedulerKind::Ddim),
            steps: 100,
            guidance: 7.0,
            height: None,
            width: None,
            sizes: None,
        }
    }
}

/// One picture to draw. It depends on this alone, never on what is drawn before or beside it: to the byte where pictures
/// are drawn one at a time, within rounding in a batch.
#[derive(Debug, Clone)]
pub struct ImageRequest<'a> {
    /// The prompt.
    pub prompt: &'a PromptEmbedding,
    /// A name to prepend to it.
    pub name: Option<&'a NameEmbedding>,
    /// What to guide away from: a negative prompt, or the null text.
    pub null: &'a PromptEmbedding,
    /// Where its randomness comes from.
    pub noise: Noise,
}

/// SDXL's U-Net, VAE and schedulers.
#[derive(Debug)]
pub struct Sdxl {
    pub(crate) unet: UNet,
    pub(crate) vae: Vae,
    scheduler: JsonFile,
    /// `None` draws one picture at a time.
    batch: Option<BatchSize>,
}

impl Sdxl {
    /// Loads `unet`, `vae` and `scheduler` of an SDXL folder.
    pub fn load(folder: &Path, options: &SdxlOptions) -> Result<Self> {
        Self::load_parts(folder, options).map_err(|error| error.of_loading(folder))
    }

    fn load_parts(folder: &Path, options: &SdxlOptions) -> Result<Self> {
        ModelIndex::read(folder)?;
        let load = |dtype| LoadOptions {
            device: options.device.clone(),
            dtype,
            tf32: false,
            variant: options.variant,
            dry: options.dry,
        };
        let scheduler = JsonFile::read(&folder.join("scheduler").join("scheduler_config.json"))?;
        let own = folder.join("unet");
        let unet = match &options.unet {
            Some(file) if file.is_file() => UNet::load_file(file, &own, &load(options.dtype))?,
            Some(other) => UNet::load(other, &load(options.dtype))?,
            None => UNet::load(&own, &load(options.dtype))?,
        };
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
        let vae = Vae::load(&folder.join("vae"), &vae_options)?;
        if vae.channels() != unet.channels() || !unet.is_plain() {
            let (ours, theirs) = (unet.channels(), vae.channels());
            let reason =
                format!("the U-Net takes latents of {ours} channels, the VAE makes {theirs}");
            return Err(Error::Mismatch {
                folder: folder.into(),
                reason,
            });
        }
        let on_gpu = (!options.device.is_cpu()).then_some(SdxlOptions::GPU_BATCH);
        Ok(Self {
            unet,
            vae,
            scheduler,
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

    /// The edge of the model's own square pictures, in pixels (1024 for SDXL).
    pub fn image_size(&self) -> usize {
        self.unet.sample_size().unwrap_or(128) * self.vae.factor()
    }

    /// The U-Net.
    pub fn unet(&self) -> &UNet {
        &self.unet
    }

    /// The VAE.
    pub fn vae(&self) -> &Vae {
        &self.vae
    }

    /// Checks settings against the model, before any work is done.
    pub fn check(&self, settings: &SamplingSettings) -> Result<()> {
        self.run(settings).map(drop)
    }

    /// Pictures that go through the U-Net at once: [`SdxlOptions::batch`], or half of it after memory ran out.
    pub fn batch(&self) -> usize {
        self.batch.as_ref().map_or(1, BatchSize::get)
    }

    /// Draws the pictures, in their order; with a trace, records what they compute.
    ///
    /// # Errors
    /// What fails for all of them, or numbers of one that are not finite.
    pub fn generate(
        &self,
        requests: &[ImageRequest<'_>],
        settings: &SamplingSettings,
        trace: Option<&mut Trace>,
    ) -> Result<Vec<RgbImage>> {
        let run = self.run(settings)?;
        let mut recorder = trace.is_some().then(Recorder::default);
        let mut images = Vec::with_capacity(requests.len());
        let single = BatchSize::new(1);
        let size = self.batch.as_ref().unwrap_or(&single);
        draw::in_turn(self, requests, &run, size, &mut recorder, |_, image| {
            images.push(image?);
            Ok::<(), Error>(())
        })?;
        if let (Some(trace), Some(recorder)) = (trace, recorder) {
            let latent = [self.vae.channels(), run.height, run.width];
            let guided = run.guidance > 1.0;
            recorder.finish(
                trace,
                &latent,
                run.schedule.timesteps(),
                &run.time_ids,
                guided,
            );
        }
        Ok(images)
    }

    /// Draws the pictures and hands each with its number to `each` as it comes: on the processor one a thread, `threads`
    /// at once (0 for as many as there are); on a GPU in batches, each decoded while the next is denoised. A picture
    /// whose numbers are not finite comes as [`Error::NotFinite`] and leaves the others alone.
    ///
    /// # Errors
    /// What fails for all of them; what `each` returns, which stops the rest.
    pub fn draw_each<Stop: From<Error>>(
        &self,
        requests: &[ImageRequest<'_>],
        settings: &SamplingSettings,
        threads: usize,
        mut each: impl FnMut(usize, Result<RgbImage>) -> std::result::Result<(), Stop>,
    ) -> std::result::Result<(), Stop> {
        let run = self.run(settings)?;
        match &self.batch {
            Some(size) => draw::in_batches(self, requests, &run, size, each),
            None => {
                let draw = |request: &ImageRequest<'_>| {
                    let drawn = self.generate(std::slice::from_ref(request), settings, None);
                    drawn.map(|mut images| images.pop())
                };
                in_parallel(threads, requests, draw, |index, drawn| match drawn {
                    Ok(image) => image.map_or(Ok(()), |image| each(index, Ok(image))),
                    Err(error @ Error::NotFinite { .. }) => each(index, Err(error)),
                    Err(error) => Err(error.into()),
                })
            }
        }
    }

    pub(crate) fn run(&self, settings: &SamplingSettings) -> Result<Run> {
        let config = SchedulerConfig::read(&self.scheduler, settings.scheduler)?;
        if !settings.guidance.is_finite() {
            return Err(Error::setting(
                "guidance",
                settings.guidance,
                "a finite number",
            ));
        }
        let (height, width) = (
            settings.height.unwrap_or(self.image_size()),
            settings.width.unwrap_or(self.image_size()),
        );
        let unit = self.vae.factor().max(8);
        for (setting, size) in [("height", height), ("width", width)] {
            if size == 0 || size > 8192 || !size.is_multiple_of(unit) {
                return Err(Error::setting(
                    setting,
                    size,
                    format!("a multiple of {unit} up to 8192"),
                ));
            }
        }
        let own = [height as u32, width as u32];
        let sizes = settings.sizes.unwrap_or(SizeConditioning {
            original: own,
            crop: [0, 0],
            target: own,
        });
        let [[oh, ow], [top, left], [th, tw]] = [sizes.original, sizes.crop, sizes.target];
        Ok(Run {
            schedule: Schedule::new(config, settings.steps)?,
            height: height / self.vae.factor(),
            width: width / self.vae.factor(),
            time_ids: [oh, ow, top, left, th, tw].map(|v| v as f32),
            guidance: settings.guidance,
        })
    }
}
