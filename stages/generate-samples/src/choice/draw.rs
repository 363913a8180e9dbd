//! Step draw-by-name: what the base model draws when it is told a candidate's name.

use laioncele_core::table::{Image, NamedImage};
use laioncele_core::{
    CoreError, DropReason, KeyHasher, Manifest, ModelFiles, Partitioning, StageError, StageName,
    Step, StepSpec, TableId, Task, Unit,
};
use laioncele_inference::ModelLoader;
use laioncele_inference::methods::{
    BaselineMethod, MethodConfig, Reference, Studio, StudioRequest,
};
use serde_json::{Value, json};

use super::{ChoiceConfig, partitioning};
use crate::draw::image_files;
use crate::{MOST_CHUNKS, chunk_number};

/// The step.
pub(super) struct DrawByName;

const SPEC: StepSpec = StepSpec {
    name: "draw-by-name",
    stage: StageName::GenerateSamples,
    version: 1,
    partitioning: Partitioning::Chunks(MOST_CHUNKS as u32),
    reads: &[],
    writes: &[TableId::NamedImages],
};

impl Step for DrawByName {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn partitioning(&self, manifest: &Manifest) -> Result<Partitioning, CoreError> {
        partitioning(manifest)
    }

    fn settings(&self, manifest: &Manifest) -> Result<Value, CoreError> {
        let Some(config) = ChoiceConfig::from_manifest(manifest)? else {
            return Ok(Value::Null);
        };
        let s = &config.stage.settings;
        Ok(json!({
            "candidates": config.candidates_digest(),
            "choice_prompts": s.choice_prompts, "choice_images": s.choice_images,
            "guidance": s.guidance, "steps": s.steps, "scheduler": s.scheduler,
            "width": s.width, "height": s.height,
            "run": { "seed": config.stage.run_seed },
            "models": { "sdxl": config.sdxl.image_settings() },
        }))
    }

    fn models(&self, manifest: &Manifest) -> Result<Vec<ModelFiles>, CoreError> {
        let Some(config) = ChoiceConfig::from_manifest(manifest)? else {
            return Ok(Vec::new());
        };
        let mut files = config.sdxl.text_model_files();
        files.extend(config.sdxl.image_model_files());
        Ok(files)
    }

    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let config = ChoiceConfig::of_task(task)?;
        let mut studio = Studio::open(&config.by_name(), &ModelLoader::of_task(task))?;
        studio.threads = task.runtime_environment().threads;
        let names: Vec<&str> = (config.of_chunk(chunk_number(task)?))
            .map(|person| person.name.as_str())
            .collect();
        let each = config.images("").len() as u64;
        let (planned, mut done) = (names.len() as u64 * each, 0);
        let mut rows = Vec::new();
        for name in names {
            draw(task, &config, &studio, name, &mut rows, |task| {
                done += 1;
                task.progress(done, planned, Unit::Sample)
            })?;
        }
        task.balance(Unit::Sample, planned, rows.len() as u64);
        task.write(rows)
    }
}

/// Draws one candidate.
fn draw(
    task: &mut Task,
    config: &ChoiceConfig,
    studio: &Studio,
    person: &str,
    rows: &mut Vec<NamedImage>,
    mut each: impl FnMut(&mut Task) -> Result<(), StageError>,
) -> Result<(), StageError> {
    // Files seldom have blanks in their names.
    let name = person.replace('_', " ");
    let likeness = studio.likeness(&Reference {
        name: &name,
        photos: &[],
    })?;
    let images = config.images(person);
    let requests: Vec<_> = images
        .iter()
        .map(|&(prompt, seed)| StudioRequest { prompt, seed })
        .collect();
    let files = image_files(studio, &*likeness, &requests, || each(task))?;
    for ((index, (prompt, seed)), file) in (0..).zip(images).zip(files) {
        match file {
            Ok(bytes) => rows.push(NamedImage {
                person: person.to_owned(),
                prompt: prompt.to_owned(),
                index,
                seed,
                image: Image {
                    bytes,
                    path: format!("{seed:016x}.png"),
                },
            }),
            Err(what) => {
                task.drop_row(
                    Unit::Sample,
                    seed,
                    None,
                    DropReason::BadPortrait,
                    Some(what),
                );
            }
        }
    }
    Ok(())
}

impl ChoiceConfig {
    /// SDXL with the name in the prompt, sampled as samples are.
    fn by_name(&self) -> MethodConfig {
        MethodConfig {
            sdxl: self.sdxl.files.clone(),
            method: BaselineMethod::SdxlName,
            negative: self.sdxl.unconditional.negative(),
            sampling: self.stage.settings.sampling(),
            face: None,
        }
    }

    /// Prompt and seed of each image of a candidate.
    pub(super) fn images(&self, person: &str) -> Vec<(&str, u64)> {
        let s = &self.stage.settings;
        let seed = |prompt: &str, index: u32| {
            KeyHasher::new("choice-seed")
                .number("run_seed", self.stage.run_seed)
                .text("person", person)
                .text("prompt", prompt)
                .number("index", u64::from(index))
                .finish()
                .low_u64()
        };
        let mut images = Vec::new();
        for prompt in &s.choice_prompts {
            images.extend((0..s.choice_images).map(|index| (prompt.as_str(), seed(prompt, index))));
        }
        images
    }
}
