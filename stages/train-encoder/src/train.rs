//! Step `train-encoder`: trains the three layers and writes the encoder with its loss curve.

use laioncele_core::error::Context;
use laioncele_core::{
    CoreError, Digest, KeyHasher, Manifest, Partitioning, Reads, StageError, StageName, Step,
    StepSpec, TableId, Task, Unit, ledger::Record, store::Store,
};
use laioncele_encoder::EncoderConfig;
use laioncele_inference::thread_pool;
use rayon::ThreadPool;

use crate::checkpoint::State;
use crate::choices::Keep;
use crate::curve::{self, Point};
use crate::examples::{Examples, count};
use crate::reading;
use crate::resume::Checkpoints;
use crate::settings::Settings;
use crate::summary::{Summary, summary};
use crate::trainer::{Trainer, VALIDATION_PHOTOS};
use crate::{events, picture};

/// No names are so far apart: a training with such a loss has diverged.
const TOO_LARGE: f64 = 1e30;

/// Step `train-encoder`.
pub(crate) struct TrainEncoder;

const SPEC: StepSpec = StepSpec {
    name: "train-encoder",
    stage: StageName::TrainEncoder,
    version: 2,
    partitioning: Partitioning::Once,
    reads: &[
        Reads::all(TableId::LaionCele),
        Reads::all(TableId::PhotoFeatures),
    ],
    writes: &[TableId::Encoder],
};

impl Step for TrainEncoder {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn settings(&self, manifest: &Manifest) -> Result<serde_json::Value, CoreError> {
        Settings::from_manifest(manifest)?.training_key(manifest)
    }

    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let settings = Settings::from_manifest(task.manifest())?;
        let examples = reading::examples(task, &settings)?;
        if examples.validation.is_empty() && (settings.keep == Keep::Best || settings.patience > 0)
        {
            let text = "keep = \"best\" and patience in [train_encoder] need validation people, but the dataset has one person";
            return Err(StageError::data(text));
        }
        let config = EncoderConfig {
            input: examples.width,
            hidden: settings.hidden,
            output_tokens: task.embedding_dims().name_tokens,
            output_channels: task.embedding_dims().name_channels,
            activation: settings.activation,
        };
        config.check().map_err(StageError::environment)?;
        let trainer = Trainer {
            settings: &settings,
            config: &config,
            examples: &examples,
            seed: task.manifest().run.seed,
        };
        let pool = thread_pool(task)?;
        let mut checkpoints = Checkpoints::new(&config, run_digest(task, &trainer));
        let state = train(task, &trainer, &pool, &mut checkpoints)?;
        finish(task, &trainer, &pool, &state)?;
        checkpoints.finish(task, &state)
    }

    fn publish(
        &self,
        store: &Store,
        manifest: &Manifest,
        records: &[Record],
    ) -> Result<(), CoreError> {
        crate::publish::publish(store, records)?;
        laioncele_inference::encoder_folder::complete(store, manifest, records)
    }
}

/// Everything that the steps of a run depend on: data, settings, start weights.
fn run_digest(task: &Task, trainer: &Trainer<'_>) -> Digest {
    let mut hasher = KeyHasher::new("training-run")
        .number("version", SPEC.version.into())
        .number("seed", trainer.seed)
        .text("network", &format!("{:?}", trainer.config))
        .text("settings", &trainer.settings.step_key());
    for (name, digest) in &task.key_parts().inputs {
        hasher = hasher.digest(name, *digest);
    }
    hasher.finish()
}

/// Takes all steps that no checkpoint has.
fn train(
    task: &Task,
    trainer: &Trainer<'_>,
    pool: &ThreadPool,
    checkpoints: &mut Checkpoints<'_>,
) -> Result<State, StageError> {
    let settings = trainer.settings;
    let total = settings.steps;
    let mut state = match checkpoints.latest(task, total)? {
        Some(state) => {
            let steps = state.adam.steps;
            tracing::info!(steps, "training goes on from its checkpoint");
            state
        }
        None => pool.install(|| trainer.begin()),
    };
    let mut stepper = trainer.stepper();
    while state.adam.steps < total && !trainer.is_stuck(&state) {
        let loss = pool.install(|| trainer.step(&mut state, &mut stepper));
        let done = state.adam.steps;
        // Beyond this the squares in Adam leave float32.
        if loss.is_nan() || loss >= TOO_LARGE {
            let text = format!("the training diverged at step {done} (loss {loss})");
            return Err(StageError::data(diverged(text)));
        }
        if done.is_multiple_of(settings.checkpoint_every) && done < total {
            checkpoints.save(task, &state)?;
        }
        if let Err(stop) = task.progress(done, total, Unit::Sample) {
            checkpoints.save(task, &state)?;
            return Err(stop);
        }
    }
    Ok(state)
}

fn diverged(text: String) -> String {
    format!("{text}: lower learning_rate in [train_encoder], or set clip")
}

/// Writes the encoder, and how its training went.
fn finish(
    task: &mut Task,
    trainer: &Trainer<'_>,
    pool: &ThreadPool,
    state: &State,
) -> Result<(), StageError> {
    let curve = pool.install(|| trainer.whole_curve(state));
    let parameters = pool.install(|| trainer.chosen(state, &curve));
    let photos = trainer.examples.validation_photos(VALIDATION_PHOTOS);
    let parts = (trainer.examples, trainer.settings, trainer.config);
    let steps = state.adam.steps;
    let found = pool.install(|| summary(parts, steps, &parameters, &photos));
    record_metrics(task, trainer.examples, &curve, found.as_ref());
    task.metric("steps", steps as f64);
    let files = trainer.encoder(parameters).to_bytes().map_err(|error| {
        let text = diverged("the trained weights are no encoder".to_owned());
        StageError::data(Context::new(text, error))
    })?;
    let described = laioncele_encoder::config_with_crop(trainer.config, trainer.settings.crop);
    let described = described.map_err(StageError::environment)?;
    let mut write =
        |name, extension, bytes| task.write_file(TableId::Encoder, name, extension, bytes);
    write("encoder", "json", described)?;
    write("encoder", "safetensors", files.weights)?;
    write("loss", "csv", curve::csv(&curve).into_bytes())?;
    write("loss", "svg", picture::svg(&curve).into_bytes())?;
    write("loss", "tfevents", events::file(&curve))?;
    if let Some(found) = found {
        let text = serde_json::to_vec_pretty(&found).map_err(StageError::environment)?;
        write("training", "json", text)?;
    }
    Ok(())
}

fn record_metrics(task: &mut Task, examples: &Examples, curve: &[Point], found: Option<&Summary>) {
    task.metric("training_people", examples.training.len() as f64);
    task.metric("training_photos", examples.training_photos() as f64);
    task.metric("validation_people", examples.validation.len() as f64);
    task.metric("validation_photos", count(&examples.validation) as f64);
    if let Some(last) = curve.last() {
        task.metric("training_loss", last.training);
        if let Some(loss) = last.validation {
            task.metric("validation_loss", loss);
        }
    }
    if let Some(found) = found {
        task.metric("validation_explained", found.explained);
        task.metric("validation_cosine", found.cosine);
    }
}
