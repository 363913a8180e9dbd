//! What `generate` and `interpolate` share: who is shown, the loaded pipeline, the written images.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use image::RgbImage;
use laioncele_core::ledger::Record;
use laioncele_core::{CoreError, Part, StageError, StageName, TableId};
use laioncele_generate_samples::StageConfig;
use laioncele_image::{Limits, Orientation, decode};
use laioncele_inference::ModelError;
use laioncele_inference::generation::{GenerationError, GenerationPipeline, PersonName, RunTables};
use laioncele_sdxl::{
    Inversion, Lora, NameSource, Naming, PredictionType, SamplingSettings, SdxlFiles,
    TimestepSpacing,
};
use serde::Serialize;

use crate::args::RunPaths;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::session::{Access, Session};

/// Somebody to show: photos, or a name that the model may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Person {
    /// A photo, or a folder of photos of one person.
    Photos(PathBuf),
    /// A name, encoded by the text encoders.
    Text(String),
    /// A file that `names export` wrote, or a textual inversion.
    File(PathBuf),
}

impl Person {
    /// The textual inversion that the text encoders need to know for it, if any.
    ///
    /// # Errors
    /// A file that is no name.
    pub(super) fn inversion(&self) -> Result<Option<Inversion>, Failure> {
        let Self::File(path) = self else {
            return Ok(None);
        };
        match NameSource::read(path).map_err(|e| model_failure(&e))? {
            NameSource::Inversion(inversion) => Ok(Some(inversion)),
            NameSource::Embedding(_) => Ok(None),
        }
    }
}

impl FromStr for Person {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("name:") {
            Some(name) if name.trim().is_empty() => Err("`name:` without a name".to_owned()),
            Some(name) => Ok(Self::Text(name.trim().to_owned())),
            None => Ok(match text.strip_prefix("name-file:") {
                Some(file) => Self::File(PathBuf::from(file)),
                None => Self::Photos(PathBuf::from(text)),
            }),
        }
    }
}

/// How images are generated and where they go.
#[derive(Args, Clone, Debug)]
pub(super) struct GenerationArgs {
    /// The first image's seed; the following ones count up
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Sampling steps [default: the manifest's; 100 with --model]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    steps: Option<u16>,
    /// Classifier-free guidance γ [default: the manifest's; 7 with --model]
    #[arg(long, value_name = "GAMMA")]
    guidance: Option<f32>,
    /// How the name goes into the prompt: `prepend`, or `substitute` for "a person" and the like
    #[arg(long, value_name = "HOW", default_value = "prepend")]
    pub naming: Naming,
    /// Another U-Net: a folder, or one safetensors file in Diffusers' or the original layout; of a
    /// whole model in one file its U-Net is taken
    #[arg(long, value_name = "PATH")]
    unet: Option<PathBuf>,
    /// Another VAE: a folder, or one safetensors file of weights
    #[arg(long, value_name = "PATH")]
    vae: Option<PathBuf>,
    /// A LoRA to merge into the weights, with the strength behind a colon (1 without); may be given
    /// several times
    #[arg(long, value_name = "FILE[:STRENGTH]")]
    lora: Vec<Lora>,
    /// Whether LoRAs also change the text encoders
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    lora_text: bool,
    /// A textual inversion, with the word that it stands for in prompts behind a colon (the file's
    /// name without); may be given several times
    #[arg(long, value_name = "FILE[:WORD]")]
    embedding: Vec<Inversion>,
    /// What the U-Net predicts: epsilon or v_prediction [default: what the weight file's marks say,
    /// else the model's scheduler]
    #[arg(long, value_name = "WHAT", value_parser = crate::args::setting::<PredictionType>)]
    prediction: Option<PredictionType>,
    /// Whether the last training timestep is pure noise [default: as --prediction]
    #[arg(long, value_name = "BOOL")]
    zero_terminal_snr: Option<bool>,
    /// Where the timesteps lie: leading, trailing or linspace [default: the model's scheduler's, or
    /// trailing where the schedule ends in pure noise]
    #[arg(long, value_name = "WHERE", value_parser = crate::args::setting::<TimestepSpacing>)]
    timestep_spacing: Option<TimestepSpacing>,
    /// The folder to write the images to
    #[arg(long, value_name = "FOLDER", default_value = "generated")]
    into: PathBuf,
    /// Print the list of images as JSON
    #[arg(long)]
    json: bool,
}

/// A written image.
#[derive(Debug, Serialize)]
pub(super) struct Written {
    /// The PNG.
    pub file: PathBuf,
    /// What was asked for.
    pub prompt: String,
    /// The noise's seed; none where the noise was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// For an interpolation: the second person's share, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f32>,
}

impl GenerationArgs {
    /// The pipeline of the run at `paths`, set as the arguments say.
    ///
    /// # Errors
    /// No run, missing or wrong models.
    pub(super) fn pipeline(&self, paths: &RunPaths) -> Result<GenerationPipeline, Failure> {
        self.pipeline_with(paths, Vec::new())
    }

    /// The same with more textual inversions.
    ///
    /// # Errors
    /// As [`Self::pipeline`].
    pub(super) fn pipeline_with(
        &self,
        paths: &RunPaths,
        inversions: Vec<Inversion>,
    ) -> Result<GenerationPipeline, Failure> {
        let mut pipeline = open_pipeline(paths, |files| {
            self.change_model(files);
            files.inversions.extend(inversions);
        })?;
        self.set(&mut pipeline.sampling)?;
        pipeline.naming = self.naming;
        Ok(pipeline)
    }

    /// The run at `paths`.
    ///
    /// # Errors
    /// No run there.
    pub(super) fn session(paths: &RunPaths) -> Result<Session, Failure> {
        Session::open(paths, StageName::Evaluate, Access::Existing)
    }

    /// Changes a model to what the arguments say.
    pub(super) fn change_model(&self, files: &mut SdxlFiles) {
        for (part, other) in [(&mut files.unet, &self.unet), (&mut files.vae, &self.vae)] {
            if other.is_some() {
                part.clone_from(other);
            }
        }
        files.loras.extend(self.lora.iter().cloned());
        files.plain_texts |= !self.lora_text;
        files.inversions.extend(self.embedding.iter().cloned());
        let prediction = &mut files.prediction;
        prediction.prediction = self.prediction.or(prediction.prediction);
        prediction.zero_terminal_snr = self.zero_terminal_snr.or(prediction.zero_terminal_snr);
        prediction.timestep_spacing = self.timestep_spacing.or(prediction.timestep_spacing);
    }

    /// Changes `sampling` to what the arguments say.
    ///
    /// # Errors
    /// A guidance that is no number.
    pub(super) fn set(&self, sampling: &mut SamplingSettings) -> Result<(), Failure> {
        if let Some(steps) = self.steps {
            sampling.steps = steps.into();
        }
        if let Some(guidance) = self.guidance {
            if !guidance.is_finite() {
                return Err(Failure::new(Exit::Usage, "--guidance must be a number"));
            }
            sampling.guidance = guidance;
        }
        Ok(())
    }

    /// Writes an image as `NAME.png`.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub(super) fn write(&self, name: &str, image: &RgbImage) -> Result<PathBuf, Failure> {
        fs::create_dir_all(&self.into).map_err(|e| CoreError::from_io(&self.into, e))?;
        let file = self.into.join(format!("{name}.png"));
        image
            .save(&file)
            .map_err(|e| Failure::new(Exit::Environment, format!("{}: {e}", file.display())))?;
        Ok(file)
    }

    /// Prints what was written: a path a line, or JSON.
    ///
    /// # Errors
    /// Standard output that cannot be written.
    pub(super) fn print(&self, written: &[Written]) -> Result<(), Failure> {
        if self.json {
            return output::json(&written);
        }
        for image in written {
            output::data(&image.file.display().to_string())?;
        }
        Ok(())
    }
}

/// The pipeline of the run at `paths`, its SDXL changed by `change`.
///
/// # Errors
/// No run, missing or wrong models.
pub(super) fn open_pipeline(
    paths: &RunPaths,
    change: impl FnOnce(&mut SdxlFiles),
) -> Result<GenerationPipeline, Failure> {
    let session = GenerationArgs::session(paths)?;
    let records = session.current_records()?;
    let parts = |table| parts_of(&records, table);
    let tables = RunTables::Run {
        store: session.store()?,
        dims: &session.manifest.embedding_dims,
        parts: &parts,
    };
    let mut config = StageConfig::from_manifest(&session.manifest)?.generation();
    change(&mut config.sdxl);
    GenerationPipeline::open(&config, &tables).map_err(|e| failure(e, ""))
}

fn parts_of(records: &[Record], table: TableId) -> Vec<Part> {
    let parts = records.iter().flat_map(|r| r.outputs_of(table));
    parts.cloned().collect()
}

/// The name of `person`.
///
/// # Errors
/// Photos that cannot be read or show no face; a run without an encoder.
pub(super) fn name_of(
    pipeline: &GenerationPipeline,
    person: &Person,
) -> Result<PersonName, Failure> {
    match person {
        Person::Text(name) => pipeline
            .name_from_text(name)
            .map_err(|e| failure(e, &format!("name `{name}`: "))),
        Person::File(path) => match NameSource::read(path).map_err(|e| model_failure(&e))? {
            NameSource::Embedding(file) => Ok(PersonName {
                embedding: file.name,
                predicted: !file.finished,
            }),
            NameSource::Inversion(inversion) => pipeline
                .name_from_text(&inversion.token)
                .map_err(|e| failure(e, &format!("{}: ", path.display()))),
        },
        Person::Photos(path) => {
            let photos = photos(path)?;
            pipeline
                .name_from_photos(&photos)
                .map_err(|e| failure(e, &format!("{}: ", path.display())))
        }
    }
}

/// The pixels of a photo, or of all photos of a folder, sorted by name.
///
/// # Errors
/// As [`photo`]; a folder that cannot be read.
pub(super) fn photos(path: &Path) -> Result<Vec<RgbImage>, Failure> {
    if !path.is_dir() {
        return Ok(vec![photo(path)?]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(|e| CoreError::from_io(path, e))? {
        let file = entry.map_err(|e| CoreError::from_io(path, e))?.path();
        files.extend(file.is_file().then_some(file));
    }
    files.sort();
    files.iter().map(|file| photo(file)).collect()
}

/// The pixels of a photo, upright.
///
/// # Errors
/// A file that is missing or no image.
pub(super) fn photo(path: &Path) -> Result<RgbImage, Failure> {
    let bytes = fs::read(path).map_err(|e| {
        let missing = e.kind() == std::io::ErrorKind::NotFound;
        let failure = Failure::from(CoreError::from_io(path, e));
        if missing {
            failure.hint("a person is a photo, a folder of photos, or `name:` and a name")
        } else {
            failure
        }
    })?;
    decode(&bytes, &Limits::default(), Orientation::Upright)
        .map_err(|e| Failure::new(Exit::Usage, format!("{}: {e}", path.display())))
}

/// A generation error as the user sees it; `about` begins its text.
pub(super) fn failure(error: GenerationError, about: &str) -> Failure {
    match error {
        GenerationError::Stage(error) => match *error {
            StageError::Core(error) => error.into(),
            error => {
                let text = laioncele_core::error::chain(&error);
                Failure::new(Exit::Environment, format!("{about}{text}"))
            }
        },
        GenerationError::Model(ModelError::Baseline(error)) => baseline_failure(&error, about),
        GenerationError::NoFace
        | GenerationError::NoFaceNetworks
        | GenerationError::NoPersonWord { .. }
        | GenerationError::NoPhoto
        | GenerationError::NoEncoder
        | GenerationError::NoNames => Failure::new(Exit::Usage, format!("{about}{error}")),
        GenerationError::Model(ModelError::Sdxl(error)) => {
            let failure = model_failure(&error);
            Failure::new(failure.exit, format!("{about}{}", failure.message))
        }
        error => {
            let text = laioncele_core::error::chain(&error);
            Failure::new(Exit::Environment, format!("{about}{text}"))
        }
    }
}

/// An error of IP-Adapter or PhotoMaker as the user sees it: a prompt or scale that is impossible, or a wrong file.
fn baseline_failure(error: &laioncele_baselines::Error, about: &str) -> Failure {
    use laioncele_baselines::Error::{NoPhoto, Scale, Trigger};
    let exit = match error {
        Trigger { .. } | Scale { .. } | NoPhoto => Exit::Usage,
        _ => Exit::Environment,
    };
    let text = laioncele_core::error::chain(error);
    Failure::new(exit, format!("{about}{text}"))
}

/// An error of SDXL as the user sees it: what was asked for is impossible, or the model is wrong.
pub(super) fn model_failure(error: &laioncele_sdxl::Error) -> Failure {
    let exit = match error {
        laioncele_sdxl::Error::Setting { .. }
        | laioncele_sdxl::Error::Latents { .. }
        | laioncele_sdxl::Error::NameFile { .. } => Exit::Usage,
        _ => Exit::Environment,
    };
    Failure::new(exit, laioncele_core::error::chain(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_photos_or_a_name() {
        let photos = Person::Photos(PathBuf::from("a/b.jpg"));
        assert_eq!("a/b.jpg".parse(), Ok(photos));
        let name = Person::Text("Mira Castellan".to_owned());
        assert_eq!("name: Mira Castellan".parse(), Ok(name));
        assert!("name: ".parse::<Person>().is_err());
    }
}
