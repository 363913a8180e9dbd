//! Training steps: a batch of rows to gradients, gradients to new weights.

use std::ops::Range;

use candle_core::{CpuStorage, DType, InplaceOp1, Layout, Tensor, bail};
use laioncele_sdxl::TimeIds;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};
use crate::network::recompute::Recomputing;
use crate::network::{Inputs, Network};
use crate::objective::Objective;
use crate::ops::gathered::gather;
use crate::ops::numbers;
use crate::optimizer::{AdamW, OptimizerSettings};

/// Numbers that one job adds.
const BLOCK: usize = 8192;

/// One row of a batch.
#[derive(Debug, Clone)]
pub struct Row {
    /// x₀: scaled latents [channels × height × width].
    pub latents: Vec<f32>,
    /// ε, as many.
    pub noise: Vec<f32>,
    /// 0 … T − 1.
    pub timestep: usize,
    /// The text with the name in it [tokens × context width].
    pub context: Vec<f32>,
    /// The text's pooled vector.
    pub pooled: Vec<f32>,
    /// Sizes and crop of the photo.
    pub time_ids: TimeIds,
}

/// How rows are computed; nothing that is computed depends on it but for rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrainerOptions {
    /// Rows that go through the network at once; gradients are summed in the order of the rows.
    pub micro_batch: usize,
    /// Gradient checkpointing: keep only the inputs of each ResNet and transformer, and compute
    /// them again on the way back.
    pub recompute: bool,
}

/// What a step came to.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// The batch's loss: the mean of its rows'.
    pub loss: f64,
    /// Each row's weighted mean squared error.
    pub rows: Vec<f64>,
    /// The norm of all gradients, before clipping.
    pub gradient_norm: f64,
    /// Whether they were scaled down.
    pub clipped: bool,
}

/// A U-Net in training.
#[derive(Debug)]
pub struct Trainer {
    network: Network,
    objective: Objective,
    optimizer: AdamW,
    options: TrainerOptions,
    /// Pools of one thread each, for parts of a batch at once; none off the processor.
    threads: Vec<ThreadPool>,
}

/// Gradients of some rows, one for each parameter, and what came with them.
struct Part {
    rows: Vec<f64>,
    gradients: Vec<Tensor>,
    noised: f32,
    output: f32,
}

impl Trainer {
    /// Before the first step.
    ///
    /// # Errors
    /// Settings of the optimizer that make no sense.
    pub fn new(
        network: Network,
        objective: Objective,
        settings: OptimizerSettings,
        options: TrainerOptions,
    ) -> Result<Self> {
        let count = match network.options().device.is_cpu() {
            true => rayon::current_num_threads(),
            false => 0,
        };
        let thread = |_| ThreadPoolBuilder::new().num_threads(1).build();
        Ok(Self {
            threads: (0..count)
                .map(thread)
                .collect::<std::result::Result<_, _>>()?,
            optimizer: AdamW::new(settings, network.parameters())?,
            network,
            objective,
            options,
        })
    }

    /// The U-Net.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// What it is trained towards.
    pub fn objective(&self) -> &Objective {
        &self.objective
    }

    /// The optimizer; its step count is the run's.
    pub fn optimizer(&self) -> &AdamW {
        &self.optimizer
    }

    pub(crate) fn optimizer_mut(&mut self) -> (&mut AdamW, &Network) {
        (&mut self.optimizer, &self.network)
    }

    /// One step on a batch whose latents are all of `size` (height, width).
    ///
    /// # Errors
    /// [`Error::NotFinite`], which leaves weights and optimizer as they were; rows that do not fit
    /// the model.
    pub fn step(&mut self, rows: &[Row], size: [usize; 2]) -> Result<StepReport> {
        let part = self.all(rows, size)?;
        let report = self.report(&part)?;
        let parameters = self.network.parameters();
        self.optimizer
            .step(parameters, &part.gradients, report.gradient_norm)?;
        Ok(report)
    }

    /// A batch's report and its gradients by parameter, before clipping, without taking the step.
    ///
    /// # Errors
    /// As [`Trainer::step`].
    pub fn gradients(
        &self,
        rows: &[Row],
        size: [usize; 2],
    ) -> Result<(StepReport, Vec<(String, Vec<f32>)>)> {
        let part = self.all(rows, size)?;
        let names = self.network.parameters().iter().map(|p| p.name.clone());
        let values = part.gradients.iter().map(|g| g.flatten_all()?.to_vec1());
        let values = values.collect::<candle_core::Result<Vec<_>>>()?;
        Ok((self.report(&part)?, names.zip(values).collect()))
    }

    fn report(&self, part: &Part) -> Result<StepReport> {
        let loss = part.rows.iter().sum::<f64>() / part.rows.len() as f64;
        let norm = AdamW::norm(&part.gradients)?;
        for (what, value) in [("loss", loss), ("gradient", norm)] {
            if !value.is_finite() {
                return Err(Error::NotFinite {
                    step: self.optimizer.steps() + 1,
                    what,
                    noised: part.noised,
                    output: part.output,
                });
            }
        }
        Ok(StepReport {
            loss,
            rows: part.rows.clone(),
            gradient_norm: norm,
            clipped: self.optimizer.settings().clip(norm) < 1.0,
        })
    }

    /// All rows' gradients, summed in their order whatever the number of threads.
    fn all(&self, rows: &[Row], size: [usize; 2]) -> Result<Part> {
        if rows.is_empty() {
            return Err(Error::Setting {
                setting: "batch",
                value: "0".into(),
                expected: "at least one row".into(),
            });
        }
        let at_once = self.options.micro_batch.max(1);
        let parts: Vec<Range<usize>> = (0..rows.len())
            .step_by(at_once)
            .map(|start| start..(start + at_once).min(rows.len()))
            .collect();
        // As many at once as there are threads: each holds gradients of its own.
        let window = self.threads.len();
        let mut sum: Option<Part> = None;
        for window in parts.chunks(window.max(1)) {
            let one = |part: &Range<usize>| self.part(&rows[part.clone()], rows.len(), size);
            let found: Vec<Part> = match window {
                [single] => vec![one(single)?],
                // Each on a thread of its own: what a part gathers must not meet another's.
                many => many
                    .par_iter()
                    .zip(&self.threads)
                    .map(|(part, thread)| thread.install(|| one(part)))
                    .collect::<Result<_>>()?,
            };
            for part in found {
                match &mut sum {
                    None => sum = Some(part),
                    Some(sum) => sum.add(part)?,
                }
            }
        }
        sum.ok_or(Error::Size {
            what: "a batch",
            found: 0,
            expected: 1,
        })
    }

    /// Gradients of some rows of a batch of `all`.
    fn part(&self, rows: &[Row], all: usize, size: [usize; 2]) -> Result<Part> {
        let (inputs, targets) = self.inputs(rows, size)?;
        let recomputing = match self.options.recompute {
            true => Some(Recomputing::new(&self.network.options().device)?),
            false => None,
        };
        let output = self.network.forward(&inputs, recomputing.as_ref())?;
        let output = output.to_dtype(DType::F32)?;
        let mut values: Vec<f32> = output.flatten_all()?.to_vec1()?;
        // What is no number counts as the largest: it is what is looked for.
        let larger = |a: f32, b: &f32| match a.is_nan() || b.is_nan() {
            true => f32::NAN,
            false => a.max(b.abs()),
        };
        let largest = |values: &[f32]| values.iter().fold(0f32, larger);
        let (noised, most) = (largest(&inputs.latents), largest(&values));
        let losses = self.seed_gradient(rows, &targets, &mut values, all);
        let seed = Tensor::from_vec(values, output.shape(), output.device())?;
        let back = || (&output * &seed)?.sum_all()?.backward();
        let (store, mut gathered) = gather(back);
        drop(output);
        let mut stores = vec![store?];
        stores.extend(recomputing.map(Recomputing::stores).unwrap_or_default());
        let gradients = self.network.parameters().iter().map(|parameter| {
            let var = &parameter.var;
            if let Some(values) = gathered.remove(&var.id()) {
                return Ok(Tensor::from_vec(values, var.shape(), var.device())?);
            }
            match stores.iter_mut().find_map(|store| store.remove(var)) {
                Some(gradient) => Ok(gradient.contiguous()?),
                None => Ok(var.zeros_like()?.detach()),
            }
        });
        Ok(Part {
            rows: losses,
            gradients: gradients.collect::<Result<_>>()?,
            noised,
            output: most,
        })
    }

    /// What the network takes, and the targets of its predictions.
    fn inputs(&self, rows: &[Row], size: [usize; 2]) -> Result<(Inputs, Vec<f32>)> {
        let mut inputs = Inputs {
            size,
            ..Inputs::default()
        };
        let mut targets = Vec::new();
        let timesteps = self.objective.timesteps();
        for row in rows {
            let Row { latents, noise, .. } = row;
            Error::check_size("the noise", noise.len(), latents.len())?;
            if row.timestep >= timesteps {
                return Err(Error::Setting {
                    setting: "timestep",
                    value: row.timestep.to_string(),
                    expected: format!("0 to {}", timesteps - 1),
                });
            }
            let noised = self.objective.noised(latents, noise, row.timestep);
            inputs.latents.extend(noised);
            targets.extend(self.objective.target(latents, noise, row.timestep));
            inputs.timesteps.push(row.timestep as f32);
            inputs.context.extend_from_slice(&row.context);
            inputs.pooled.extend_from_slice(&row.pooled);
            inputs.time_ids.push(row.time_ids);
        }
        Ok((inputs, targets))
    }

    /// Each row's loss; `values`, the predictions, become ∂loss/∂prediction of a batch of `all`
    /// rows.
    fn seed_gradient(
        &self,
        rows: &[Row],
        targets: &[f32],
        values: &mut [f32],
        all: usize,
    ) -> Vec<f64> {
        let one = values.len() / rows.len();
        let parts = values.chunks_exact_mut(one).zip(targets.chunks_exact(one));
        let losses = parts.zip(rows).map(|((values, targets), row)| {
            let weight = self.objective.weight(row.timestep);
            let scale = (2.0 * weight / (one * all) as f64) as f32;
            let mut sum = 0f64;
            for (value, target) in values.iter_mut().zip(targets) {
                let away = *value - target;
                sum += f64::from(away) * f64::from(away);
                *value = scale * away;
            }
            weight * sum / one as f64
        });
        losses.collect()
    }
}

impl Part {
    fn add(&mut self, other: Self) -> Result<()> {
        for (sum, gradient) in self.gradients.iter_mut().zip(&other.gradients) {
            if sum.device().is_cpu() {
                sum.inplace_op1(&AddOp(gradient))?;
            } else {
                *sum = (&*sum + gradient)?;
            }
        }
        self.rows.extend(other.rows);
        self.noised = self.noised.max(other.noised);
        self.output = self.output.max(other.output);
        Ok(())
    }
}

/// Adds a gradient to another, in place.
struct AddOp<'a>(&'a Tensor);

impl InplaceOp1 for AddOp<'_> {
    fn name(&self) -> &'static str {
        "add-gradient"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let (CpuStorage::F32(values), Some((start, end))) = (storage, layout.contiguous_offsets())
        else {
            bail!("a gradient is not float32 in one piece")
        };
        let other = numbers(self.0)?;
        let sums = values[start..end].par_chunks_mut(BLOCK);
        sums.zip(other.par_chunks(BLOCK)).for_each(|(sums, other)| {
            sums.iter_mut().zip(other).for_each(|(sum, v)| *sum += v);
        });
        Ok(())
    }
}
