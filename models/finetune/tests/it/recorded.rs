//! Ten recorded steps of each run: losses, gradient norms, gradients, weights, at the tolerances of
//! the recording's README.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use laioncele_finetune::{
    Network, NetworkOptions, Objective, OptimizerSettings, Row, StepReport, Trained, Trainer,
    TrainerOptions,
};
use serde_json::Value;

use crate::common;

/// Weights are compared in units of the learning rate: Adam divides by √v, so where a gradient is
/// near nothing, its rounding decides over a step.
const FAR_SHARE: f64 = 2e-3;

/// A recording: this crate's own, or another in the folder that `LAIONCELE_FINETUNE_RECORDING`
/// names, whose base model is in `LAIONCELE_FINETUNE_BASE`.
pub(crate) struct Recording {
    pub folder: PathBuf,
    pub base: PathBuf,
    pub cases: Value,
    batches: BTreeMap<String, Tensor>,
}

pub(crate) fn load(path: &Path) -> BTreeMap<String, Tensor> {
    let tensors = candle_core::safetensors::load(path, &Device::Cpu).expect("a recording");
    tensors.into_iter().collect()
}

impl Recording {
    pub(crate) fn open() -> Self {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-a");
        let folder = std::env::var_os("LAIONCELE_FINETUNE_RECORDING").map_or(own, PathBuf::from);
        let base = std::env::var_os("LAIONCELE_FINETUNE_BASE");
        let base = base.map_or_else(|| common::fixture("model"), PathBuf::from);
        let text = std::fs::read_to_string(folder.join("manifest.json")).expect("a manifest");
        let manifest: Value = serde_json::from_str(&text).expect("JSON");
        Self {
            cases: manifest["cases"].clone(),
            batches: load(&folder.join("batches.safetensors")),
            folder,
            base,
        }
    }

    pub(crate) fn run(&self, name: &str) -> &Value {
        &self.cases["runs"][name]
    }

    fn tensor(&self, name: &str) -> &Tensor {
        &self.batches[name]
    }

    /// Height and width of the latents.
    pub(crate) fn size(&self) -> [usize; 2] {
        serde_json::from_value(self.cases["latent"].clone()).expect("a size")
    }

    /// The rows of step `i`, from 0: N's eight rows behind the prompt's first.
    pub(crate) fn rows(&self, i: usize) -> Vec<Row> {
        let at = |name: &str, row: usize| {
            let tensor = self.tensor(name).get(i).and_then(|t| t.get(row));
            common::numbers(&tensor.expect("a row"))
        };
        let of = |name: &str, index: usize| {
            let tensor = self.tensor(name).get(index).expect("a row");
            (tensor.dims().to_vec(), common::numbers(&tensor))
        };
        let batch = self.cases["batch"].as_u64().expect("a batch") as usize;
        (0..batch)
            .map(|row| {
                let index = |name: &str| at(name, row)[0] as usize;
                let (dims, prompt) = of("prompt_embeds", index("caption"));
                let (_, name) = of("name_embeds", index("face"));
                let kept = dims[0] * dims[1] - name.len();
                let context = [&prompt[..dims[1]], &name, &prompt[dims[1]..kept]].concat();
                let ids = common::numbers(self.tensor("time_ids"));
                Row {
                    latents: at("latents", row),
                    noise: at("noise", row),
                    timestep: index("timesteps"),
                    context,
                    pooled: of("prompt_pooled", index("caption")).1,
                    time_ids: ids[..6].try_into().expect("six numbers"),
                }
            })
            .collect()
    }

    /// Before the first step of a recorded run.
    pub(crate) fn trainer(&self, name: &str, options: TrainerOptions) -> Trainer {
        let (run, number) = (self.run(name), |v: &Value| v.as_f64().expect("a number"));
        let rank = number(&self.cases["rank"]);
        let trained = match run["what"].as_str() {
            Some("lora") => Trained::Lora {
                rank: rank as usize,
                alpha: rank,
            },
            _ => Trained::UNet,
        };
        let network = NetworkOptions {
            device: Device::Cpu,
            dtype: DType::F32,
            trained,
            seed: 0,
        };
        let network = Network::load(&self.base.join("unet"), &network).expect("a U-Net");
        if run["what"] == "lora" {
            let start = load(&self.folder.join("lora_start.safetensors"));
            for (name, values) in &start {
                let parameter = network.parameter(name).expect("a lora_A");
                parameter.set(&common::numbers(values)).expect("set");
            }
            let firsts = network
                .parameters()
                .iter()
                .filter(|p| p.name.contains("lora_A"));
            assert_eq!(firsts.count(), start.len());
        }
        let settings = OptimizerSettings {
            learning_rate: number(&run["lr"]),
            betas: serde_json::from_value(self.cases["betas"].clone()).expect("two"),
            weight_decay: number(&self.cases["weight_decay"]),
            eps: number(&self.cases["eps"]),
            max_grad_norm: number(&self.cases["max_grad_norm"]),
            warmup_steps: 0,
        };
        let objective = Objective::read(&self.base, run["min_snr"].as_f64()).expect("a schedule");
        Trainer::new(network, objective, settings, options).expect("a trainer")
    }

    pub(crate) fn steps(&self) -> usize {
        self.cases["steps"].as_u64().expect("steps") as usize
    }
}

/// All rows at once, as torch computed them.
pub(crate) const WHOLE: TrainerOptions = TrainerOptions {
    micro_batch: usize::MAX,
    recompute: false,
};

/// One row at a time.
const SINGLE: TrainerOptions = TrainerOptions {
    micro_batch: 1,
    recompute: false,
};

/// Each row at a time and segments computed again.
const RECOMPUTED: TrainerOptions = TrainerOptions {
    micro_batch: 1,
    recompute: true,
};

fn compare_gradients(
    golden: &BTreeMap<String, Tensor>,
    step: usize,
    gradients: &[(String, Vec<f32>)],
) {
    let expected = golden.iter().filter_map(|(key, values)| {
        let name = key.strip_prefix(&format!("grad.{step}."))?;
        Some((name, common::numbers(values)))
    });
    let expected: Vec<_> = expected.collect();
    let all = expected.iter().flat_map(|(_, values)| values);
    let top = all.fold(0f32, |a, b| a.max(b.abs()));
    for (name, values) in expected {
        let ours = gradients.iter().find(|(ours, _)| ours == name);
        let (_, ours) = ours.unwrap_or_else(|| panic!("no gradient of {name}"));
        let worst = common::largest_difference(ours, &values);
        assert!(
            worst <= 1e-4 * top,
            "step {step}: {name} is off by {worst} of {top}"
        );
    }
}

fn compare_weights(golden: &BTreeMap<String, Tensor>, step: usize, trainer: &Trainer, rate: f64) {
    let (mut far, mut count, mut worst) = (0u64, 0u64, 0f64);
    for (key, values) in golden {
        let Some(name) = key.strip_prefix(&format!("after.{step}.")) else {
            continue;
        };
        let parameter = trainer.network().parameter(name).expect("a parameter");
        let ours = parameter.values().expect("values");
        for (a, b) in ours.iter().zip(common::numbers(values)) {
            let away = f64::from((a - b).abs());
            far += u64::from(away > rate / 100.0 + 1e-7);
            count += 1;
            worst = worst.max(away / rate);
        }
    }
    assert!(count > 0);
    let most = if step == 1 { 0.5 } else { 1.0 };
    assert!(worst <= most, "step {step}: a weight is {worst} rates off");
    let share = far as f64 / count as f64;
    assert!(
        share <= FAR_SHARE,
        "step {step}: {far} of {count} weights are off"
    );
}

fn compare_run(recording: &Recording, name: &str, options: TrainerOptions) {
    let golden = load(&recording.folder.join(format!("{name}.safetensors")));
    let mut trainer = recording.trainer(name, options);
    let (losses, norms) = (&golden["losses"], &golden["grad_norms"]);
    let (losses, norms) = (common::numbers(losses), common::numbers(norms));
    let rate = recording.run(name)["lr"].as_f64().expect("a rate");
    for i in 0..recording.steps() {
        let (rows, size) = (recording.rows(i), recording.size());
        if golden
            .keys()
            .any(|key| key.starts_with(&format!("grad.{}.", i + 1)))
        {
            let (_, gradients) = trainer.gradients(&rows, size).expect("gradients");
            compare_gradients(&golden, i + 1, &gradients);
        }
        let StepReport {
            loss,
            gradient_norm,
            ..
        } = trainer.step(&rows, size).expect("a step");
        let away = (loss - f64::from(losses[i])).abs();
        assert!(
            away <= 2e-5,
            "{name} step {}: the loss is off by {away}",
            i + 1
        );
        let away = (gradient_norm / f64::from(norms[i]) - 1.0).abs();
        assert!(
            away <= 1e-4,
            "{name} step {}: the norm is off by {away}",
            i + 1
        );
        if golden
            .keys()
            .any(|key| key.starts_with(&format!("after.{}.", i + 1)))
        {
            compare_weights(&golden, i + 1, &trainer, rate);
        }
    }
}

#[test]
fn lora_training_equals_pefts() {
    compare_run(&Recording::open(), "lora", WHOLE);
}

#[test]
fn lora_training_row_by_row_equals_pefts() {
    compare_run(&Recording::open(), "lora", SINGLE);
}

#[test]
fn lora_training_with_recomputed_segments_equals_pefts() {
    compare_run(&Recording::open(), "lora", RECOMPUTED);
}

#[test]
fn the_papers_rate_equals_pefts() {
    compare_run(&Recording::open(), "lora_paper", WHOLE);
}

#[test]
fn min_snr_weighting_equals_diffusers() {
    compare_run(&Recording::open(), "lora_min_snr", WHOLE);
}

#[test]
fn training_the_whole_unet_equals_torchs() {
    compare_run(&Recording::open(), "unet", WHOLE);
}

#[test]
fn training_the_whole_unet_with_recomputed_segments_equals_torchs() {
    compare_run(&Recording::open(), "unet", RECOMPUTED);
}

/// B is 0 at first, so that nothing depends on A; weight decay alone moves it.
#[test]
fn the_first_step_moves_a_by_its_decay_only() {
    let recording = Recording::open();
    let mut trainer = recording.trainer("lora", WHOLE);
    let values = |trainer: &Trainer| {
        let parameters = trainer.network().parameters().iter();
        let firsts = parameters.filter(|p| p.name.ends_with("lora_A.weight"));
        firsts
            .flat_map(|p| p.values().expect("values"))
            .collect::<Vec<f32>>()
    };
    let before = values(&trainer);
    trainer
        .step(&recording.rows(0), recording.size())
        .expect("a step");
    let rate = trainer.optimizer().settings().learning_rate;
    let keep = (1.0 - rate * trainer.optimizer().settings().weight_decay) as f32;
    let expected: Vec<f32> = before.iter().map(|v| v * keep).collect();
    assert_eq!(values(&trainer), expected);
}
