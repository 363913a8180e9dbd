//! `laioncele encoder`: the trained encoder as a product: exported as a folder that stands alone, looked
//! at, and its names written for programs that sample by themselves.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use laioncele_core::error::chain;
use laioncele_core::{CoreError, Digest, StageName};
use laioncele_encoder::{CONFIG_FILE, CropConfig, Encoder, WEIGHTS_FILE, read_config};
use laioncele_inference::encoder_folder::{FOLDER, MEAN_FILE, SPREAD_FILE};
use laioncele_inference::generation::{
    GenerationError, GenerationPipeline, NameSpread, PersonName, RunTables, SampleRequest,
};
use laioncele_sdxl::{Naming, Trace, TraceValues};
use safetensors::SafeTensors;
use serde::Serialize;

use super::generation::{failure, model_failure};
use super::person::{Person, Photos, name_without_photos};
use super::source::{open_pipeline, parts_of};
use crate::args::RunPaths;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::session::{Access, Session};
use crate::words::{grouped, table};

const EXAMPLES: &str = "\
Examples:
  laioncele encoder export laioncele-encoder        a folder to publish or to copy
  laioncele encoder inspect laioncele-encoder
  laioncele encoder conditioning photo.jpg --prompt 'a person at the beach' --into person.safetensors

With diffusers, the exported folder draws people without this program: its README.md has the lines,
its use-encoder.py is the script.";

const CONDITIONING: &str = "\
Examples:
  laioncele encoder conditioning photo.jpg --into person.safetensors
  laioncele encoder conditioning 'name:Mira Castellan' --prompt 'a person in the snow' --into mira.safetensors

The safetensors file holds float32 tensors: `cond` [1, 77, channels] is the prompt with the name in
it, `pooled_output` [1, width] its pooled text; `uncond` and `uncond_pooled_output` are what
guidance guides away from; `name` [1, 8, channels] is the name alone. For ComfyUI copy
tools/comfyui/laioncele_conditioning.py to its custom_nodes folder; its node reads the file as two
conditionings. diffusers takes the tensors as prompt_embeds, pooled_prompt_embeds and their
negative twins.";

/// `laioncele encoder`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct EncoderCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Copy the run's encoder, with all that it needs, into a folder
    #[command(after_help = EXAMPLES)]
    Export(Export),
    /// Show an encoder's form, crop and mean name
    #[command(after_help = EXAMPLES)]
    Inspect(Inspect),
    /// Write a person's prompt embeddings for ComfyUI, diffusers and others
    #[command(after_help = CONDITIONING)]
    Conditioning(Conditioning),
}

#[derive(Args, Debug)]
struct Export {
    /// The folder to write; it must be empty or not exist
    #[arg(value_name = "FOLDER")]
    into: PathBuf,
    #[command(flatten)]
    paths: RunPaths,
}

#[derive(Args, Debug)]
struct Inspect {
    /// An encoder's folder
    #[arg(value_name = "FOLDER", default_value = "laioncele-output/encoder")]
    folder: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Conditioning {
    /// The person: a photo, a folder of photos of one person, or `name:` and a name that the model may know
    #[arg(value_name = "PERSON")]
    person: Person,
    /// What the image shows
    #[arg(
        long,
        short,
        value_name = "TEXT",
        default_value = "a portrait of a person"
    )]
    prompt: String,
    /// How the name goes into the prompt: `prepend`, or `substitute` for "a person" and the like
    #[arg(long, value_name = "HOW", default_value = "prepend")]
    naming: Naming,
    /// The safetensors file to write
    #[arg(long, value_name = "FILE", default_value = "conditioning.safetensors")]
    into: PathBuf,
    #[command(flatten)]
    paths: RunPaths,
}

impl EncoderCommand {
    /// Exports, inspects or writes.
    ///
    /// # Errors
    /// No run or no encoder yet, damaged files, a folder that cannot be written.
    pub(crate) fn execute(self) -> Result<(), Failure> {
        match self.command {
            Command::Export(export) => export.execute(),
            Command::Inspect(inspect) => inspect.execute(),
            Command::Conditioning(conditioning) => conditioning.execute(),
        }
    }
}

impl Export {
    fn execute(self) -> Result<(), Failure> {
        let session = Session::open(&self.paths, StageName::TrainEncoder, Access::Existing)?;
        let store = session.store()?;
        let files = store.list(FOLDER)?;
        for needed in [CONFIG_FILE, WEIGHTS_FILE, MEAN_FILE] {
            if !files.contains(&format!("{FOLDER}/{needed}")) {
                let text = format!("the run has no {FOLDER}/{needed}");
                return Err(Failure::new(Exit::Environment, text)
                    .hint("`laioncele run --stage train-encoder` publishes the encoder"));
            }
        }
        self.check_empty()?;
        for file in &files {
            let name = file.strip_prefix("encoder/").unwrap_or(file);
            let to = self.into.join(name);
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder).map_err(|e| CoreError::from_io(folder, e))?;
            }
            fs::write(&to, store.get(file)?).map_err(|e| CoreError::from_io(&to, e))?;
        }
        self.write_spread(&session)?;
        // What was written is what others will load.
        Description::of(&self.into)?;
        output::data(&self.into.display().to_string())
    }

    /// How the run's names are spread, for `generate --fictional`; a run of one name has no spread.
    fn write_spread(&self, session: &Session) -> Result<(), Failure> {
        let records = session.current_records()?;
        let parts = |table| parts_of(&records, table);
        let tables = RunTables::Run {
            store: session.store()?,
            dims: &session.manifest.embedding_dims,
            parts: &parts,
        };
        let spread = match NameSpread::of_run(&tables) {
            Ok(spread) => spread,
            Err(error @ (GenerationError::NoNames | GenerationError::FewNames)) => {
                tracing::warn!("{SPREAD_FILE} is left out: {error}");
                return Ok(());
            }
            Err(error) => return Err(failure(error, "")),
        };
        let path = self.into.join(SPREAD_FILE);
        let bytes = spread.to_bytes();
        let bytes = bytes.map_err(|e| Failure::new(Exit::Defect, e.to_string()))?;
        Ok(fs::write(&path, bytes).map_err(|e| CoreError::from_io(&path, e))?)
    }

    fn check_empty(&self) -> Result<(), Failure> {
        let fail = |e| Failure::from(CoreError::from_io(&self.into, e));
        match fs::read_dir(&self.into) {
            Ok(mut entries) => match entries.next() {
                None => Ok(()),
                Some(_) => {
                    let text = format!("{} is not empty", self.into.display());
                    Err(Failure::new(Exit::Usage, text).hint("name a folder that does not exist"))
                }
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(fail(error)),
        }
    }
}

/// What an encoder's folder holds.
#[derive(Debug, Serialize)]
struct Description {
    input: usize,
    hidden: [usize; 2],
    output_tokens: usize,
    output_channels: usize,
    activation: laioncele_encoder::Activation,
    /// None in folders of earlier versions.
    crop: Option<CropConfig>,
    weights: u64,
    digest: Digest,
    /// Length of the mean name embedding, and mean length of the names; none without that file.
    mean_name_length: Option<f64>,
    names_mean_length: Option<f32>,
}

impl Description {
    fn of(folder: &Path) -> Result<Self, Failure> {
        let about = |cause: &dyn std::fmt::Display| {
            Failure::new(Exit::Environment, format!("{}: {cause}", folder.display()))
        };
        let encoder = Encoder::load(folder).map_err(|e| about(&chain(&e)))?;
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read(&path).map_err(|e| CoreError::from_io(&path, e))
        };
        let (_, crop) = read_config(&read(CONFIG_FILE)?).map_err(|e| about(&chain(&e)))?;
        let config = &encoder.config;
        let layers = config.layers();
        let weights = layers.iter().map(|(i, o)| (i * o + o) as u64).sum();
        let mean = match read(MEAN_FILE) {
            Ok(bytes) => {
                let mean = Mean::read(&bytes, config.output());
                Some(mean.map_err(|e| about(&format!("{MEAN_FILE}: {e}")))?)
            }
            Err(CoreError::Missing { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            input: config.input,
            hidden: config.hidden,
            output_tokens: config.output_tokens,
            output_channels: config.output_channels,
            activation: config.activation,
            crop,
            weights,
            digest: Digest::of(&read(WEIGHTS_FILE)?),
            mean_name_length: mean.as_ref().map(|mean| mean.of_mean),
            names_mean_length: mean.map(|mean| mean.of_names),
        })
    }

    fn render(&self) -> String {
        let [first, second] = self.hidden;
        let output = self.output_tokens * self.output_channels;
        let (tokens, channels) = (self.output_tokens, self.output_channels);
        let crop = match self.crop {
            Some(CropConfig {
                margin: Some(margin),
                ..
            }) => {
                format!("face, a square of {margin} times the box's longer side")
            }
            Some(_) => "the whole photo".to_owned(),
            None => "not said: written by an earlier version".to_owned(),
        };
        let length = |length: Option<f64>| match length {
            Some(length) => format!("{length:.4}"),
            None => format!("not said: no {MEAN_FILE}"),
        };
        let activation = format!("{:?}", self.activation).to_lowercase();
        let rows = [
            (
                "layers",
                format!("{} → {first} → {second} → {output}", self.input),
            ),
            ("name", format!("{tokens} tokens of {channels} channels")),
            ("activation", activation),
            ("crop", crop),
            ("weights", grouped(self.weights)),
            ("length of the mean name", length(self.mean_name_length)),
            (
                "mean length of the names",
                length(self.names_mean_length.map(f64::from)),
            ),
            ("BLAKE3 of the weights", self.digest.to_string()),
        ];
        let rows: Vec<Vec<String>> = rows
            .into_iter()
            .map(|(name, value)| vec![name.to_owned(), value])
            .collect();
        table(&rows, &[])
    }
}

/// Lengths that `name_mean.safetensors` tells of.
struct Mean {
    of_mean: f64,
    of_names: f32,
}

impl Mean {
    fn read(bytes: &[u8], numbers: usize) -> Result<Self, String> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
        let floats = |name: &str, count: usize| {
            let tensor = file.tensor(name).map_err(|e| e.to_string())?;
            let (floats, rest) = tensor.data().as_chunks::<4>();
            let floats: Vec<f32> = floats.iter().map(|v| f32::from_le_bytes(*v)).collect();
            if tensor.dtype() != safetensors::Dtype::F32
                || floats.len() != count
                || !rest.is_empty()
            {
                return Err(format!("`{name}` is not {count} float32 numbers"));
            }
            Ok(floats)
        };
        let mean = floats("mean", numbers)?;
        let squares: f64 = mean.iter().map(|v| f64::from(*v).powi(2)).sum();
        Ok(Self {
            of_mean: squares.sqrt(),
            of_names: floats("length", 1)?[0],
        })
    }
}

impl Inspect {
    fn execute(self) -> Result<(), Failure> {
        let description = Description::of(&self.folder)?;
        if self.json {
            return output::json(&description);
        }
        output::data(&description.render())
    }
}

impl Conditioning {
    fn of_photos(&self, pipeline: &GenerationPipeline) -> Result<PersonName, Failure> {
        let Person::Photos(path) = &self.person else {
            return Err(Failure::new(Exit::Defect, "a person of no kind"));
        };
        let photos = Photos::of(path, None)?;
        let name = pipeline.name_from_photos(&photos.images);
        name.map_err(|e| failure(e, &format!("{}: ", path.display())))
    }

    fn execute(self) -> Result<(), Failure> {
        let mut pipeline = open_pipeline(&self.paths, |_| ())?;
        pipeline.naming = self.naming;
        let name = match name_without_photos(&pipeline, &self.person)? {
            Some(name) => name,
            None => self.of_photos(&pipeline)?,
        };
        let request = SampleRequest {
            name: Some(&name),
            prompt: &self.prompt,
            seed: 0,
        };
        let (prompt, negative) = pipeline
            .conditioning(&request)
            .map_err(|e| failure(e, ""))?;
        let prepended = pipeline.prepended(&name).map_err(|e| failure(e, ""))?;
        let mut trace = Trace::default();
        let width = prompt.width;
        let mut record = |name: &str, values: &[f32], width: usize| {
            let rows = values.len() / width.max(1);
            let shape = [1, rows, width];
            // Pooled texts have no rows of their own.
            let shape = if rows == 1 { &[1, width][..] } else { &shape };
            trace.record(name, shape, TraceValues::F32(values.to_vec()));
        };
        record("cond", &prompt.embeds, width);
        record("pooled_output", &prompt.pooled, prompt.pooled.len());
        record("uncond", &negative.embeds, width);
        record(
            "uncond_pooled_output",
            &negative.pooled,
            negative.pooled.len(),
        );
        record("name", prepended.rows(), width);
        trace.write(&self.into).map_err(|e| model_failure(&e))?;
        output::data(&self.into.display().to_string())
    }
}
