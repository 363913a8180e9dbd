//! Recordings of PyTorch's trainer (`data.safetensors`, `init.safetensors`, `manifest.json`,
//! `runs/`), and this trainer held against them.

// By its path: tests include this file, too.
#[path = "recording.rs"]
mod recording;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use laioncele_core::Digest;
use laioncele_encoder::{Activation, EncoderConfig};
use laioncele_train_encoder::{
    Adam, Batch, Optimizer, Precision, Reduction, Schedule, Settings, State, Stepper, Tensors,
    learning_rate, loss, statistics,
};
use safetensors::SafeTensors;
use serde::Deserialize;

pub(crate) use recording::Failure;
use recording::{Data, group};

/// A folder of recordings.
pub(crate) struct Fixture {
    folder: PathBuf,
    manifest: Manifest,
    data: Data,
    start: Tensors,
}

#[derive(Deserialize)]
struct Manifest {
    config: Widths,
    runs: BTreeMap<String, Run>,
}

#[derive(Deserialize)]
struct Widths {
    towers: Vec<usize>,
    hidden: [usize; 2],
    tokens: usize,
    channels: usize,
    people: usize,
    validation_people: usize,
}

/// A run as `manifest.json` describes it.
#[derive(Clone, Deserialize)]
struct Run {
    activation: Activation,
    optimizer: Optimizer,
    lr: f64,
    weight_decay: f64,
    schedule: String,
    reduction: Reduction,
    precision: Precision,
    workers: usize,
    betas: [f64; 2],
    eps: f64,
    losses: Vec<f64>,
    learning_rates: Vec<f64>,
    validation_losses: BTreeMap<u64, f64>,
}

/// A difference and how large it may be.
pub(crate) struct Comparison {
    /// What is compared.
    pub what: String,
    /// The largest difference.
    pub found: f64,
    /// What is allowed.
    pub allowed: f64,
}

impl Comparison {
    /// Whether the difference is small enough; NaN is not.
    pub(crate) fn holds(&self) -> bool {
        self.found <= self.allowed
    }
}

/// What this trainer makes of a run.
pub(crate) struct Trained {
    /// The loss of each batch before its step.
    pub losses: Vec<f64>,
    /// The first gradient.
    pub gradient: Tensors,
    /// The state after each step whose weights are recorded.
    pub states: BTreeMap<u64, State>,
}

impl Fixture {
    /// Reads a folder.
    ///
    /// # Errors
    /// A file that is missing or not of this form.
    pub(crate) fn read(folder: &Path) -> Result<Self, Failure> {
        let manifest = std::fs::read(folder.join("manifest.json"))?;
        let manifest: Manifest = serde_json::from_slice(&manifest)?;
        let config = network(&manifest.config, Activation::None);
        let data = Data::read(&folder.join("data.safetensors"), &config)?;
        let init = std::fs::read(folder.join("init.safetensors"))?;
        let start = group(&SafeTensors::deserialize(&init)?, "", &config)?;
        Ok(Self {
            folder: folder.to_owned(),
            manifest,
            data,
            start,
        })
    }

    /// The names of the recorded runs.
    pub(crate) fn runs(&self) -> Vec<String> {
        self.manifest.runs.keys().cloned().collect()
    }

    fn run(&self, name: &str) -> Result<&Run, Failure> {
        let run = self.manifest.runs.get(name);
        run.ok_or_else(|| format!("no run {name} in manifest.json").into())
    }

    /// The features' constants against the recorded ones.
    pub(crate) fn compare_statistics(&self) -> Comparison {
        let (data, widths) = (&self.data, &self.manifest.config);
        let training = |row: &usize| data.person[*row] < widths.people - widths.validation_people;
        let rows = (0..data.person.len()).filter(training);
        let row = |row: usize| &data.features[row * data.width..][..data.width];
        let (mean, std) = statistics(data.width, || rows.clone().map(row));
        let off = largest(&mean, &data.input_mean).max(largest(&std, &data.input_std));
        Comparison {
            what: "input_mean and input_std".to_owned(),
            found: off,
            allowed: 1e-7,
        }
    }

    /// Trains as the run `name`, from its start or from `state`.
    ///
    /// # Errors
    /// No such run, settings that this trainer does not have.
    pub(crate) fn train(
        &self,
        name: &str,
        state: Option<State>,
        kept: &[u64],
    ) -> Result<Trained, Failure> {
        let run = self.run(name)?;
        let config = network(&self.manifest.config, run.activation);
        let settings = settings(run, &self.data)?;
        let mut state = state.unwrap_or_else(|| State::new(&config, self.start.clone()));
        let mut stepper = Stepper::new(&settings, &config);
        let (mut losses, mut states) = (Vec::new(), BTreeMap::new());
        let mut gradient = Tensors::zeros(&config);
        for (step, rows) in (0u64..).zip(&self.data.batches) {
            if step < state.adam.steps {
                continue;
            }
            let mut fill = |range: Range<usize>, batch: &mut Batch| {
                *batch = self.data.batch(&rows[range]);
            };
            if step == 0 {
                gradient = stepper.gradient(&state.parameters, &mut fill).1.clone();
            }
            losses.push(stepper.step(&mut state.parameters, &mut state.adam, &mut fill));
            if kept.contains(&state.adam.steps) {
                states.insert(state.adam.steps, state.clone());
            }
        }
        Ok(Trained {
            losses,
            gradient,
            states,
        })
    }

    /// All comparisons of a run with its recording.
    ///
    /// # Errors
    /// No such run, a recording that is not of this form.
    pub(crate) fn compare(&self, name: &str) -> Result<Vec<Comparison>, Failure> {
        let run = self.run(name)?;
        let config = network(&self.manifest.config, run.activation);
        let path = self.folder.join("runs").join(format!("{name}.safetensors"));
        let bytes = std::fs::read(path)?;
        let golden = SafeTensors::deserialize(&bytes)?;
        let kept = recorded(&golden, "layers.0.weight");
        let trained = self.train(name, None, &kept)?;
        let tolerance = Tolerance::of(run);
        let mut all = vec![
            self.compare_rates(run)?,
            relative("losses", &trained.losses, &run.losses, tolerance.losses),
            tolerance.gradient(&trained.gradient, &group(&golden, "gradient.", &config)?),
        ];
        for (step, state) in &trained.states {
            let expected = group(&golden, &format!("step{step}."), &config)?;
            all.extend(tolerance.weights(
                &format!("step{step}"),
                (&state.parameters, &expected, &self.start),
            ));
        }
        all.push(self.compare_validation(run, &config, &trained, tolerance.losses));
        all.extend(self.compare_resumed(name, &golden, &trained, &tolerance)?);
        Ok(all)
    }

    fn compare_rates(&self, run: &Run) -> Result<Comparison, Failure> {
        let settings = settings(run, &self.data)?;
        let rates = (0u64..).zip(&run.learning_rates);
        let rates: Vec<f64> = rates.map(|(t, _)| learning_rate(&settings, t)).collect();
        Ok(relative(
            "learning rates",
            &rates,
            &run.learning_rates,
            1e-12,
        ))
    }

    fn compare_validation(
        &self,
        run: &Run,
        config: &EncoderConfig,
        trained: &Trained,
        allowed: f64,
    ) -> Comparison {
        let widths = &self.manifest.config;
        let first = widths.people - widths.validation_people;
        let rows = (0..self.data.person.len()).filter(|row| self.data.person[*row] >= first);
        let rows: Vec<usize> = rows.collect();
        let batch = || std::iter::once(self.data.batch(&rows));
        let (mut found, mut expected) = (Vec::new(), Vec::new());
        for (step, value) in &run.validation_losses {
            let parameters = match trained.states.get(step) {
                Some(state) => &state.parameters,
                None if *step == 0 => &self.start,
                None => continue,
            };
            found.push(loss(config, run.reduction, parameters, batch()));
            expected.push(*value);
        }
        // Weights that moved a little otherwise predict a little otherwise.
        let allowed = match run.precision {
            Precision::F32 => allowed,
            Precision::Bf16 => allowed.max(1e-4),
        };
        relative("validation losses", &found, &expected, allowed)
    }

    /// From the recorded weights and moments of each step to the last, and from this trainer's own
    /// checkpoint, to the bit.
    fn compare_resumed(
        &self,
        name: &str,
        golden: &SafeTensors<'_>,
        trained: &Trained,
        tolerance: &Tolerance,
    ) -> Result<Vec<Comparison>, Failure> {
        let config = network(&self.manifest.config, self.run(name)?.activation);
        let (last, end) = trained.states.last_key_value().ok_or("no weights")?;
        let expected = group(golden, &format!("step{last}."), &config)?;
        let mut all = Vec::new();
        for step in recorded(golden, "exp_avg.layers.0.weight") {
            if step == *last {
                continue;
            }
            let part = |part: &str| group(golden, &format!("step{step}.{part}"), &config);
            let mut state = State::new(&config, part("")?);
            state.adam = Adam {
                steps: step,
                mean: part("exp_avg.")?,
                square: part("exp_avg_sq.")?,
            };
            let resumed = self.train(name, Some(state), &[*last])?;
            let weights = &resumed.states[last].parameters;
            let what = format!("from recorded step{step} to step{last}");
            all.extend(tolerance.weights(&what, (weights, &expected, &self.start)));
            let run = Digest::of(name.as_bytes());
            let bytes = trained.states[&step].to_bytes(run)?;
            let state = State::from_bytes(&bytes, &config, run)?;
            let resumed = self.train(name, Some(state), &[*last])?;
            all.push(Comparison {
                what: format!("bits from its own checkpoint of step{step}"),
                found: f64::from(u8::from(resumed.states[last] != *end)),
                allowed: 0.0,
            });
        }
        Ok(all)
    }
}

/// A recording's tolerances, as the README of the recordings states them.
struct Tolerance {
    precision: Precision,
    losses: f64,
    gradient: f64,
    weights: f64,
}

impl Tolerance {
    fn of(run: &Run) -> Self {
        let precision = run.precision;
        match precision {
            Precision::F32 => Self {
                precision,
                losses: 2e-6,
                gradient: 2e-6,
                weights: (0.02 * run.lr).max(2e-6),
            },
            Precision::Bf16 => Self {
                precision,
                losses: 5e-6,
                gradient: 1e-4,
                weights: 1e-3,
            },
        }
    }

    /// Largest difference to the largest number of the gradient.
    fn gradient(&self, found: &Tensors, expected: &Tensors) -> Comparison {
        let pairs = found.0.iter().zip(&expected.0);
        let top = expected
            .0
            .iter()
            .flatten()
            .fold(0f32, |top, x| top.max(x.abs()));
        let off = pairs.map(|(a, b)| largest(a, b)).fold(0.0, f64::max);
        Comparison {
            what: "first gradient".to_owned(),
            found: off / f64::from(top),
            allowed: self.gradient,
        }
    }

    /// In float32 the largest difference and the root mean square, in bfloat16 the way: distance to
    /// the recorded weights over the distance gone since the start.
    fn weights(
        &self,
        what: &str,
        (found, expected, start): (&Tensors, &Tensors, &Tensors),
    ) -> Vec<Comparison> {
        let square = |a: &Tensors, b: &Tensors| -> f64 {
            let pairs = a.0.iter().flatten().zip(b.0.iter().flatten());
            pairs
                .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
                .sum()
        };
        let compare = |kind: &str, found, allowed| Comparison {
            what: format!("{what}, {kind}"),
            found,
            allowed,
        };
        let off = square(found, expected);
        if self.precision == Precision::Bf16 {
            let way = (off / square(expected, start)).sqrt();
            return vec![compare("way", way, self.weights)];
        }
        let pairs = found.0.iter().zip(&expected.0);
        let top = pairs.map(|(a, b)| largest(a, b)).fold(0.0, f64::max);
        let count = found.0.iter().map(Vec::len).sum::<usize>() as f64;
        vec![
            compare("largest", top, self.weights),
            compare(
                "root mean square",
                (off / count).sqrt(),
                self.weights / 10.0,
            ),
        ]
    }
}

fn network(widths: &Widths, activation: Activation) -> EncoderConfig {
    EncoderConfig {
        input: widths.towers.iter().sum(),
        hidden: widths.hidden,
        output_tokens: widths.tokens,
        output_channels: widths.channels,
        activation,
    }
}

/// The run in the words of `[train_encoder]`.
fn settings(run: &Run, data: &Data) -> Result<Settings, Failure> {
    if run.betas != [0.9, 0.999] || run.eps != 1e-8 {
        return Err("betas and eps are PyTorch's defaults".into());
    }
    let (schedule, warmup, floor) = match run.schedule.as_str() {
        "constant" => (Schedule::Constant, 0, 0.0),
        "cosine" => (Schedule::Cosine, 0, 0.0),
        "warmup-cosine" => (Schedule::Cosine, 5, 0.1),
        other => return Err(format!("no schedule {other}").into()),
    };
    let settings = Settings {
        steps: data.batches.len() as u64,
        batch: data.batches.first().map_or(0, Vec::len),
        slices: run.workers,
        optimizer: run.optimizer,
        learning_rate: run.lr,
        weight_decay: run.weight_decay,
        schedule,
        warmup,
        floor,
        reduction: run.reduction,
        precision: run.precision,
        activation: run.activation,
        ..Settings::default()
    };
    match settings.problem() {
        Some(problem) => Err(problem.into()),
        None => Ok(settings),
    }
}

/// The steps of which the recording holds `tensor`.
fn recorded(golden: &SafeTensors<'_>, tensor: &str) -> Vec<u64> {
    let step = |name: &str| {
        let (step, rest) = name.strip_prefix("step")?.split_once('.')?;
        (rest == tensor).then(|| step.parse().ok())?
    };
    let mut steps: Vec<u64> = golden.names().into_iter().filter_map(step).collect();
    steps.sort_unstable();
    steps
}

/// The largest difference; NaN where one is.
fn largest(a: &[f32], b: &[f32]) -> f64 {
    let off = a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs()));
    off.fold(0.0, |top, x| if x <= top { top } else { x })
}

fn relative(what: &str, found: &[f64], expected: &[f64], allowed: f64) -> Comparison {
    let off = found
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs() / b.abs().max(1e-300));
    let same_length = found.len() == expected.len();
    let most = off.fold(0.0, |top, x| if x <= top { top } else { x });
    Comparison {
        what: what.to_owned(),
        found: if same_length { most } else { f64::INFINITY },
        allowed,
    }
}
