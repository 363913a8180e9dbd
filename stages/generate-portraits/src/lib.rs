//! Stage 4, generate-portraits: four portraits of each name by Name Prepending.
//!
//! **Lazy portraits.** One pair of portraits that disagrees already rejects a name in verify-portraits, so two are
//! generated first, compared here, and the other two only if they agree: the kept names are the same by construction.
//! Portraits of earlier runs are taken over where seed, settings, models and name embedding are the same, so that
//! another threshold generates only what is missing.

mod earlier;
mod format;
mod generate;
mod settings;

use std::collections::HashMap;
use std::sync::Arc;

use laioncele_core::ModelFiles;
use laioncele_core::key::KeyParts;
use laioncele_core::table::{NameEmbedding, Portrait, PortraitPair};
use laioncele_core::task::{Poison, Rows};
use laioncele_core::{
    CoreError, DropReason, Manifest, NameId, Partitioning, Reads, StageError, StageName, Step,
    StepSpec, TableId, Task, Unit,
};
use laioncele_face::FaceNets;
use laioncele_inference::agreement::PORTRAITS;
use laioncele_inference::{ModelError, ModelLoader};
use laioncele_sdxl::{PromptEmbedding, Sdxl};

use earlier::EarlierPortraits;
pub use format::PortraitFormat;
use generate::{Outcome, PortraitGenerator, Wanted};
pub use settings::{KeepPortraits, Settings, StageConfig};

/// Names whose portraits are held in memory before they are written: 64 names of four images of 1024 × 1024 are
/// about 400 MB.
const NAMES_AT_ONCE: usize = 64;
/// Bytes of images after which a part is closed.
const PART_BYTES: usize = 256 << 20;

/// The step that generates portraits.
pub const STEP: &str = SPEC.name;

/// The steps of this stage.
pub fn steps() -> Vec<Box<dyn Step>> {
    vec![Box::new(GeneratePortraits)]
}

struct GeneratePortraits;

/// Version of the code that computes a portrait's pixels. The step's version also covers which faces
/// are found in the first two portraits: where only that changes, earlier portraits are reused.
const PIXELS_VERSION: u32 = 1;

const SPEC: StepSpec = StepSpec {
    name: "generate-portraits",
    stage: StageName::GeneratePortraits,
    version: 2,
    partitioning: Partitioning::Buckets,
    reads: &[Reads::own(TableId::NameEmbeddings)],
    writes: &[TableId::Portraits, TableId::PortraitPairs],
};

impl Step for GeneratePortraits {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn settings(&self, manifest: &Manifest) -> Result<serde_json::Value, CoreError> {
        Ok(StageConfig::from_manifest(manifest)?.key_settings())
    }
    fn models(&self, manifest: &Manifest) -> Result<Vec<ModelFiles>, CoreError> {
        Ok(StageConfig::from_manifest(manifest)?.models())
    }

    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let config = StageConfig::from_manifest(task.manifest())?;
        let mut names: Vec<NameEmbedding> = task.read()?;
        names.sort_by_key(|name| name.name_id);
        let mut output = Output::default();
        if !names.is_empty() {
            generate_all(task, &config, &names, PIXELS_VERSION, &mut output)?;
        }
        output.close_part(task)?;
        task.balance(Unit::Name, names.len() as u64, output.names);
        let all = output.names * PORTRAITS as u64;
        task.metric("portraits", output.portraits as f64);
        task.metric("portraits_saved", (all - output.portraits) as f64);
        task.metric("portraits_reused", output.reused as f64);
        task.write(output.pairs)
    }
}

/// What a task has so far.
#[derive(Default)]
struct Output {
    names: u64,
    portraits: u64,
    reused: usize,
    pairs: Vec<PortraitPair>,
    open: Vec<Portrait>,
    written: bool,
}

impl Output {
    /// Takes the outcomes of some names, in their order.
    fn add(
        &mut self,
        task: &mut Task,
        outcomes: Vec<(NameId, Result<Outcome, Poison>)>,
    ) -> Result<(), StageError> {
        for (name_id, outcome) in outcomes {
            let outcome = match outcome {
                Ok(outcome) => outcome,
                Err(poison) => {
                    task.drop_poison(Unit::Name, name_id.0, Some(name_id), poison);
                    continue;
                }
            };
            match outcome {
                Outcome::Generated {
                    portraits,
                    pair,
                    reused,
                } => {
                    self.names += 1;
                    self.portraits += portraits.len() as u64;
                    self.reused += reused;
                    self.pairs.extend(pair);
                    self.open.extend(portraits);
                }
                Outcome::Bad(what) => {
                    let reason = DropReason::BadPortrait;
                    task.drop_row(Unit::Name, name_id.0, Some(name_id), reason, Some(what));
                }
            }
        }
        if self.open.iter().map(|p| p.image.bytes.len()).sum::<usize>() >= PART_BYTES {
            self.close_part(task)?;
        }
        Ok(())
    }

    /// Writes what is open; also if nothing ever was, so that the table exists.
    fn close_part(&mut self, task: &mut Task) -> Result<(), StageError> {
        if self.written && self.open.is_empty() {
            return Ok(());
        }
        self.written = true;
        task.write(std::mem::take(&mut self.open))
    }
}

/// What portraits are generated with.
struct Models {
    sdxl: Arc<Sdxl>,
    prompt: PromptEmbedding,
    negative: PromptEmbedding,
    nets: Option<Arc<FaceNets>>,
}

fn generate_all(
    task: &mut Task,
    config: &StageConfig,
    names: &[NameEmbedding],
    version: u32,
    output: &mut Output,
) -> Result<(), StageError> {
    let models = load_models(task, config)?;
    let sampling = config.settings.sampling();
    models.sdxl.check(&sampling).map_err(ModelError::from)?;
    let key = task.key_parts().clone();
    let wanted = wanted(config, &key, version, names);
    let earlier = EarlierPortraits::find(task, |name_id, index, seed, settings| {
        let wanted = wanted.get(&name_id);
        let same = wanted.is_some_and(|wanted| wanted.accepts(settings));
        same && seed == config.seed(name_id, index)
    })?;
    let mut generator = PortraitGenerator {
        config,
        wanted: &wanted,
        sdxl: &models.sdxl,
        prompt: &models.prompt,
        negative: &models.negative,
        sampling: &sampling,
        threads: task.runtime_environment().threads,
        nets: models.nets.as_deref(),
        earlier: HashMap::new(),
    };
    let (mut done, total) = (0, names.len() as u64);
    let looks = task.rows();
    for block in names.chunks(NAMES_AT_ONCE) {
        generator.earlier = earlier.read(task, block);
        let progress = |finished| task.progress(done + finished as u64, total, Unit::Name);
        let outcomes = look_at(&generator, &looks, block, progress)?;
        done += block.len() as u64;
        let names = block.iter().map(|name| name.name_id);
        output.add(task, names.zip(outcomes).collect())?;
    }
    Ok(())
}

/// The outcomes of a block's names, together, or one by one where one of them cannot be digested.
fn look_at(
    generator: &PortraitGenerator<'_>,
    looks: &Rows,
    block: &[NameEmbedding],
    progress: impl Fn(usize) -> Result<(), StageError>,
) -> Result<Vec<Result<Outcome, Poison>>, StageError> {
    let ids = || block.iter().map(|name| name.name_id.0);
    if !looks.one_by_one() && !ids().any(|id| looks.poison(id).is_some()) {
        let together = looks.together(ids(), || generator.generate(block, &progress));
        if let Ok(outcomes) = together {
            return Ok(outcomes?.into_iter().map(Ok).collect());
        }
    }
    let one = |(at, name): (usize, &NameEmbedding)| {
        let name_alone = std::slice::from_ref(name);
        let generate = || generator.generate(name_alone, |_| progress(at));
        match looks.look(name.name_id.0, generate) {
            Ok(outcome) => Ok(outcome?.into_iter().map(Ok).collect()),
            Err(poison) => Ok(vec![Err(poison)]),
        }
    };
    let all = block.iter().enumerate().map(one);
    let all: Vec<Vec<_>> = all.collect::<Result<_, StageError>>()?;
    Ok(all.into_iter().flatten().collect())
}

/// What the portraits of each name are generated with.
fn wanted(
    config: &StageConfig,
    key: &KeyParts,
    version: u32,
    names: &[NameEmbedding],
) -> HashMap<NameId, Wanted> {
    let wanted = |name: &NameEmbedding| Wanted {
        settings: config.digest(key, version, name).to_string(),
        lossless: config.lossless_digest(key, version, name).to_string(),
    };
    let names = names.iter().map(|name| (name.name_id, wanted(name)));
    names.collect()
}

fn load_models(task: &Task, config: &StageConfig) -> Result<Models, StageError> {
    let loader = ModelLoader::of_task(task);
    let sdxl = loader.sdxl(&config.sdxl.files)?;
    let encoders = loader.text_encoders(&config.sdxl.files)?;
    let check = config.pair_check.as_ref();
    let nets = check.map(|check| loader.face_nets(&check.face.files));
    Ok(Models {
        sdxl,
        prompt: encoders
            .encode_prompt(&config.settings.prompt)
            .map_err(ModelError::from)?,
        negative: encoders
            .encode_negative(&config.sdxl.unconditional.negative())
            .map_err(ModelError::from)?,
        nets: nets.transpose()?,
    })
}

#[cfg(test)]
mod tests;
