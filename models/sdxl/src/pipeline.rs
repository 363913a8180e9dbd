//! Prompt embeddings, name embeddings and seeds in, pictures out.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use image::RgbImage;
use laioncele_clip::config::JsonFile;
use laioncele_clip::{LoadOptions, WeightVariant, finite_numbers};

use crate::error::{Error, Result};
use crate::folder::ModelIndex;
use crate::name::{NameEmbedding, PromptEmbedding};
use crate::noise::Noise;
use crate::recorder::Recorder;
use crate::scheduler::{Memory, Schedule, SchedulerConfig, SchedulerKind};
use crate::trace::Trace;
use crate::unet::{Conditioning, StepBiases, TimeIds, UNet};
use crate::vae::Vae;

/// How to load an SDXL folder.
#[derive(Debug, Clone)]
pub struct SdxlOptions {
    /// Where to compute.
    pub device: Device,
    /// The U-Net's type.
    pub dtype: DType,
    /// The VAE's type; f16 only for a VAE whose `force_upcast` is false.
    pub vae_dtype: DType,
    /// Which weight files to read.
    pub variant: WeightVariant,
    /// A U-Net to use instead of the model's own: a folder, or one safetensors file of weights for the model's own
    /// `unet/config.json`.
    pub unet: Option<PathBuf>,
    /// Hold the weights against the configurations without reading a number ([`LoadOptions::dry`]).
    pub dry: bool,
}

impl Default for SdxlOptions {
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            dtype: DType::F32,
            vae_dtype: DType::F32,
            variant: WeightVariant::Any,
            unet: None,
            dry: false,
        }
    }
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

/// One picture to draw.
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
    unet: UNet,
    vae: Vae,
    scheduler: JsonFile,
}

/// What a run's pictures share.
struct Run {
    schedule: Schedule,
    /// Latent height and width.
    height: usize,
    width: usize,
    time_ids: TimeIds,
    guidance: f32,
}

/// A request's texts as the U-Net takes them: kept for the requests that follow, if theirs are the same.
struct Texts {
    prompt: PromptEmbedding,
    null: PromptEmbedding,
    conditioning: Conditioning,
    steps: Vec<StepBiases>,
}

impl Sdxl {
    /// Loads `unet`, `vae` and `scheduler` of an SDXL folder.
    pub fn load(folder: &Path, options: &SdxlOptions) -> Result<Self> {
        ModelIndex::read(folder)?;
        let load = |dtype| LoadOptions {
            device: options.device.clone(),
            dtype,
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
        let vae = Vae::load(&folder.join("vae"), &load(options.vae_dtype))?;
        if vae.channels() != unet.channels() || !unet.is_plain() {
            let (ours, theirs) = (unet.channels(), vae.channels());
            let reason =
                format!("the U-Net takes latents of {ours} channels, the VAE makes {theirs}");
            return Err(Error::Mismatch {
                folder: folder.into(),
                reason,
            });
        }
        Ok(Self {
            unet,
            vae,
            scheduler,
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

    /// Draws the pictures. Each is drawn by itself, its guided pair of rows as one batch of the U-Net, so that
    /// on one machine its bytes depend on its own request alone, never on what is drawn before or beside it.
    pub fn generate(
        &self,
        requests: &[ImageRequest<'_>],
        settings: &SamplingSettings,
        trace: Option<&mut Trace>,
    ) -> Result<Vec<RgbImage>> {
        let run = self.run(settings)?;
        let mut recorder = trace.is_some().then(Recorder::default);
        let mut texts: Option<Texts> = None;
        let mut images = Vec::with_capacity(requests.len());
        for request in requests {
            let texts = self.texts(request, &run, &mut texts)?;
            let latents = self.denoise(request, texts, &run, recorder.as_mut())?;
            let unscaled = self.vae.unscale(&latents, run.height * run.width);
            let decoded = self.vae.decode(&unscaled, run.height, run.width)?;
            let (height, width) = (
                run.height * self.vae.factor(),
                run.width * self.vae.factor(),
            );
            images.push(to_bytes(&decoded, height, width)?);
            if let Some(recorder) = &mut recorder {
                recorder.decoded(&texts.prompt, &texts.null, &decoded, [height, width]);
            }
        }
        if let (Some(trace), Some(recorder)) = (trace, recorder) {
            let latent = [self.vae.channels(), run.height, run.width];
            recorder.finish(
                trace,
                &latent,
                run.schedule.timesteps(),
                &run.time_ids,
                run.guidance > 1.0,
            );
        }
        Ok(images)
    }

    fn run(&self, settings: &SamplingSettings) -> Result<Run> {
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

    /// The texts of a request, computed anew only if they differ from those of the request before.
    fn texts<'t>(
        &self,
        request: &ImageRequest<'_>,
        run: &Run,
        last: &'t mut Option<Texts>,
    ) -> Result<&'t Texts> {
        let prompt = match request.name {
            Some(name) => request.prompt.prepend(name)?,
            None => request.prompt.clone(),
        };
        let same = |texts: &Texts| texts.prompt == prompt && texts.null == *request.null;
        let texts = match last.take().filter(same) {
            Some(texts) => texts,
            None => self.new_texts(prompt, request.null.clone(), run)?,
        };
        Ok(last.insert(texts))
    }

    fn new_texts(
        &self,
        prompt: PromptEmbedding,
        null: PromptEmbedding,
        run: &Run,
    ) -> Result<Texts> {
        Error::check_size("a prompt embedding's row", prompt.width, self.name_width())?;
        Error::check_size("the null embedding", null.embeds.len(), prompt.embeds.len())?;
        Error::check_size(
            "the null embedding's pooled vector",
            null.pooled.len(),
            prompt.pooled.len(),
        )?;
        let guided = run.guidance > 1.0;
        let join = |null: &[f32], text: &[f32]| {
            if guided {
                [null, text].concat()
            } else {
                text.to_vec()
            }
        };
        let context = join(&null.embeds, &prompt.embeds);
        let pooled = join(&null.pooled, &prompt.pooled);
        let time_ids = vec![run.time_ids; if guided { 2 } else { 1 }];
        let conditioning = self.unet.condition(&context, &pooled, &time_ids)?;
        let steps = self
            .unet
            .step_table(run.schedule.timesteps(), &conditioning)?;
        Ok(Texts {
            prompt,
            null,
            conditioning,
            steps,
        })
    }

    /// Noise → the last latents [channels × height × width].
    fn denoise(
        &self,
        request: &ImageRequest<'_>,
        texts: &Texts,
        run: &Run,
        mut recorder: Option<&mut Recorder>,
    ) -> Result<Vec<f32>> {
        let shape = (1, self.unet.channels(), run.height, run.width);
        let count = self.unet.channels() * run.height * run.width;
        let mut stream = request.noise.stream();
        let mut latents = vec![0f32; count];
        stream.fill(&mut latents)?;
        if let Some(recorder) = &mut recorder {
            recorder.noise(&latents);
        }
        let sigma = run.schedule.init_noise_sigma();
        latents.iter_mut().for_each(|x| *x *= sigma);
        let mut memory = Memory::default();
        for (i, biases) in texts.steps.iter().enumerate() {
            let input = run.schedule.scale_model_input(i, &latents);
            let (input, rows) = if run.guidance > 1.0 {
                (input.repeat(2), 2)
            } else {
                (input, 1)
            };
            let sample = self
                .unet
                .tensor(&input, (rows, shape.1, shape.2, shape.3))?;
            let output = self.unet.forward(&sample, biases, &texts.conditioning)?;
            let output = finite_numbers(&output, "the U-Net's prediction").map_err(|_| {
                Error::NotFinite {
                    what: format!("the U-Net's prediction at step {}", i + 1),
                    hint: "check the weights and the embeddings, or compute in f32 or bf16",
                }
            })?;
            let guided = guide(&output, run.guidance);
            if let Some(recorder) = &mut recorder {
                recorder.step(i, &latents, &output, &guided);
            }
            run.schedule
                .step(i, &mut latents, &guided, &mut memory, &mut |noise| {
                    stream.fill(noise)
                })?;
        }
        if let Some(recorder) = &mut recorder {
            recorder.last(&latents);
        }
        Ok(latents)
    }
}

/// ε_null + γ (ε_text − ε_null) of [null, text]; the output itself without guidance.
fn guide(output: &[f32], guidance: f32) -> Vec<f32> {
    if guidance <= 1.0 {
        return output.to_vec();
    }
    let (null, text) = output.split_at(output.len() / 2);
    null.iter()
        .zip(text)
        .map(|(null, text)| null + guidance * (text - null))
        .collect()
}

/// Pixels around [-1, 1], [3 × height × width] → bytes, rounded half to even.
fn to_bytes(decoded: &[f32], height: usize, width: usize) -> Result<RgbImage> {
    let plane = height * width;
    let byte = |v: f32| ((v * 0.5 + 0.5).clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
    let pixels = (0..plane)
        .flat_map(|i| [decoded[i], decoded[plane + i], decoded[2 * plane + i]])
        .map(byte)
        .collect();
    RgbImage::from_raw(width as u32, height as u32, pixels).ok_or(Error::Size {
        what: "the decoded picture",
        found: decoded.len(),
        expected: 3 * plane,
    })
}
