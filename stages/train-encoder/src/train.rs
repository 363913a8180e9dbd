//! Step `train-encoder`: trains the three layers and writes the encoder with its loss curve.

use laioncele_core::error::Context;
use laioncele_core::{
    CoreError, Manifest, Partitioning, Reads, StageError, StageName, Step, StepSpec, TableId, Task,
    Unit, ledger::Record, store::Store,
};
use laioncele_encoder::{Encoder, EncoderConfig, Layer};
use laioncele_inference::thread_pool;
use rayon::ThreadPool;

use crate::adam::Adam;
use crate::batch::{self, fill, sample};
use crate::checkpoint::State;
use crate::curve::{self, Point};
use crate::examples::Examples;
use crate::network::{Batch, Tensors, Workspace};
use crate::settings::Settings;

/// Points of the loss curve.
const POINTS: u64 = 100;
/// Validation photos that a point of the curve looks at.
const VALIDATION_PHOTOS: usize = 1024;
/// Name of the checkpoint's file.
const CHECKPOINT: &str = "training.safetensors";

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
        let examples = Examples::read(task, settings.validation)?;
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
            pool: thread_pool(task)?,
        };
        let state = trainer.train(task)?;
        record_metrics(task, &examples, &state);
        let files = trainer
            .encoder(state.parameters)
            .to_bytes()
            .map_err(|error| {
                let message = "the training diverged; lower learning_rate in [train_encoder]";
                StageError::data(Context::new(message, error))
            })?;
        let described = laioncele_encoder::config_with_crop(&config, settings.crop);
        let described = described.map_err(StageError::environment)?;
        task.write_file(TableId::Encoder, "encoder", "json", described)?;
        task.write_file(TableId::Encoder, "encoder", "safetensors", files.weights)?;
        task.write_file(
            TableId::Encoder,
            "loss",
            "csv",
            curve::csv(&state.curve).into_bytes(),
        )?;
        task.clear_checkpoint(CHECKPOINT);
        Ok(())
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

fn record_metrics(task: &mut Task, examples: &Examples, state: &State) {
    let photos = |people: &[crate::examples::Person]| {
        people.iter().map(|p| p.photos.len()).sum::<usize>() as f64
    };
    task.metric("training_people", examples.training.len() as f64);
    task.metric("training_photos", photos(&examples.training));
    task.metric("validation_people", examples.validation.len() as f64);
    task.metric("validation_photos", photos(&examples.validation));
    if let Some(last) = state.curve.last() {
        task.metric("training_loss", last.training);
        if let Some(loss) = last.validation {
            task.metric("validation_loss", loss);
            task.metric(
                "validation_explained",
                1.0 - loss / mean_name_loss(examples),
            );
        }
    }
}

/// The validation people's error if every prediction were the training people's mean name: what the
/// encoder must beat.
fn mean_name_loss(examples: &Examples) -> f64 {
    let mean = examples.mean_name();
    let (mut sum, mut photos) = (0.0, 0usize);
    for person in &examples.validation {
        let pairs = person.name.iter().zip(&mean);
        let square: f64 = pairs
            .map(|(v, m)| (v.to_f64() - f64::from(*m)).powi(2))
            .sum();
        sum += square * person.photos.len() as f64;
        photos += person.photos.len();
    }
    sum / (photos * examples.output).max(1) as f64
}

/// What a training run depends on.
struct Trainer<'a> {
    settings: &'a Settings,
    config: &'a EncoderConfig,
    examples: &'a Examples,
    seed: u64,
    pool: ThreadPool,
}

/// Buffers that all steps use.
struct Buffers {
    work: Workspace,
    gradient: Tensors,
    batch: Batch,
}

impl Trainer<'_> {
    /// Takes all steps that the checkpoint has not.
    fn train(&self, task: &Task) -> Result<State, StageError> {
        let (total, every) = (self.settings.steps, self.settings.steps.div_ceil(POINTS));
        let mut state = self.resume(task)?;
        let mut buffers = Buffers {
            work: Workspace::new(self.config, self.settings.batch),
            gradient: Tensors::zeros(self.config),
            batch: Batch::default(),
        };
        while state.adam.steps < total {
            self.pool.install(|| self.step(&mut state, &mut buffers));
            let done = state.adam.steps;
            if done.is_multiple_of(every) || done == total {
                self.pool.install(|| self.add_point(&mut state));
            }
            if done.is_multiple_of(self.settings.checkpoint_every) && done < total {
                save(task, &state)?;
            }
            if let Err(stop) = task.progress(done, total, Unit::Sample) {
                save(task, &state)?;
                return Err(stop);
            }
        }
        Ok(state)
    }

    fn step(&self, state: &mut State, buffers: &mut Buffers) {
        let Settings {
            batch: size,
            noise,
            learning_rate,
            ..
        } = *self.settings;
        sample(
            self.examples,
            self.seed,
            state.adam.steps,
            size,
            noise,
            &mut buffers.batch,
        );
        let loss = buffers
            .work
            .gradient(&state.parameters, &buffers.batch, &mut buffers.gradient);
        state.open_loss += loss;
        state
            .adam
            .step(&mut state.parameters, &buffers.gradient, learning_rate);
    }

    /// The state of an interrupted attempt, or a new one.
    fn resume(&self, task: &Task) -> Result<State, StageError> {
        let Some(bytes) = task.checkpoint(CHECKPOINT)? else {
            return Ok(self.begin());
        };
        match State::from_bytes(&bytes, self.config) {
            Ok(state) if state.adam.steps <= self.settings.steps => {
                tracing::info!(
                    steps = state.adam.steps,
                    "training resumes from its checkpoint"
                );
                Ok(state)
            }
            Ok(_) => Ok(self.begin()),
            Err(reason) => {
                tracing::warn!(%reason, "the checkpoint is damaged: training starts over");
                Ok(self.begin())
            }
        }
    }

    /// Weights and biases as PyTorch begins with (uniform within 1/√inputs), but the last bias: the
    /// mean name, so that training starts from the best answer to no photo at all.
    fn begin(&self) -> State {
        let mut parameters = Tensors::zeros(self.config);
        let mut rng = batch::stream(self.seed, "weights", 0);
        for (k, tensor) in parameters.0.iter_mut().enumerate() {
            let (inputs, _) = self.config.layers()[k / 2];
            let bound = (inputs as f32).sqrt().recip();
            tensor
                .iter_mut()
                .for_each(|value| *value = batch::uniform(&mut rng, bound));
        }
        parameters.0[5] = self.examples.mean_name();
        State {
            parameters,
            adam: Adam::new(self.config),
            curve: Vec::new(),
            open_loss: 0.0,
        }
    }

    fn add_point(&self, state: &mut State) {
        let step = state.adam.steps;
        let since = state.curve.last().map_or(0, |point| point.step);
        let point = Point {
            step,
            training: state.open_loss / step.saturating_sub(since).max(1) as f64,
            validation: self.validation_loss(&state.parameters),
        };
        state.curve.push(point);
        state.open_loss = 0.0;
    }

    /// The error on photos of the validation people, evenly taken from all of them, without noise.
    fn validation_loss(&self, parameters: &Tensors) -> Option<f64> {
        let people = self.examples.validation.iter();
        let rows: Vec<_> = people
            .flat_map(|p| p.photos.clone().map(|row| (&p.name[..], row)))
            .collect();
        let stride = rows.len().div_ceil(VALIDATION_PHOTOS).max(1);
        let rows: Vec<_> = rows.into_iter().step_by(stride).collect();
        if rows.is_empty() {
            return None;
        }
        let (mut batch, mut sum, count) = (Batch::default(), 0.0, rows.len() as f64);
        for rows in rows.chunks(self.settings.batch) {
            fill(self.examples, rows.iter().copied(), &mut batch);
            let loss = Workspace::new(self.config, rows.len()).loss(parameters, &batch);
            sum += loss * rows.len() as f64;
        }
        Some(sum / count)
    }

    fn encoder(&self, parameters: Tensors) -> Encoder {
        let [w0, b0, w1, b1, w2, b2] = parameters.0;
        let layer = |weight, bias| Layer { weight, bias };
        let (input_mean, input_std) = self.examples.statistics.iter().copied().unzip();
        Encoder {
            config: self.config.clone(),
            input_mean,
            input_std,
            layers: [layer(w0, b0), layer(w1, b1), layer(w2, b2)],
        }
    }
}

fn save(task: &Task, state: &State) -> Result<(), StageError> {
    let bytes = state.to_bytes().map_err(StageError::environment)?;
    task.save_checkpoint(CHECKPOINT, bytes)
}
