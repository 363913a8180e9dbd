//! Every scheduler with every setting of its file, against diffusers' steps over fixed outputs and noise
//! (`tools/record-sdxl/schedulers.py`).

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use laioncele_nn::config::JsonFile;
use laioncele_sdxl::scheduler::{Schedule, SchedulerConfig, SchedulerKind, StepState};
use serde_json::{Map, Value, json};

/// How far a number may be from diffusers', as a share of the largest beside it.
const TOLERANCE: f64 = 1e-5;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/schedulers")
}

/// What was recorded.
struct Recording {
    list: Value,
    tensors: HashMap<String, Tensor>,
}

impl Recording {
    fn read() -> Self {
        let text = fs::read_to_string(folder().join("cases.json")).expect("cases");
        let path = folder().join("recorded.safetensors");
        Self {
            list: serde_json::from_str(&text).expect("JSON"),
            tensors: candle_core::safetensors::load(path, &Device::Cpu).expect("tensors"),
        }
    }

    fn numbers(&self, key: &str) -> Vec<f64> {
        let tensor = self.tensors[key].flatten_all().expect("flat");
        let tensor = tensor.to_dtype(DType::F64).expect("numbers");
        tensor.to_vec1().expect("numbers")
    }

    fn floats(&self, key: &str) -> Vec<f32> {
        self.numbers(key).into_iter().map(|v| v as f32).collect()
    }

    /// SDXL's own configuration, changed.
    fn config(&self, class: Option<&str>, change: &Value) -> JsonFile {
        let mut config = self.list["base"].as_object().expect("an object").clone();
        config.extend(change.as_object().cloned().unwrap_or_default());
        config.extend(class.map(|class| ("_class_name".to_owned(), json!(class))));
        file(&config)
    }

    /// The case's steps by ours: what is to be compared with the recording.
    fn run(&self, schedule: &Schedule, steps: usize) -> [Vec<f32>; 2] {
        let mut latents = self.floats("first");
        let first = schedule.init_noise_sigma();
        latents.iter_mut().for_each(|x| *x *= first);
        let (mut states, mut input) = (Vec::new(), Vec::new());
        let (mut state, mut drawn) = (StepState::default(), 0);
        for i in 0..schedule.timesteps().len() {
            input = schedule.scale_model_input(i, &latents);
            let output = self.floats(&format!("output.{i}"));
            let mut fresh = |noise: &mut [f32]| {
                noise.copy_from_slice(&self.floats(&format!("noise.{drawn}")));
                drawn += 1;
                Ok(())
            };
            let stepped = schedule.step(i, &mut latents, &output, &mut state, &mut fresh);
            stepped.expect("a step");
            if steps != 6 {
                states.clear();
            }
            states.extend_from_slice(&latents);
        }
        [states, input]
    }
}

fn file(config: &Map<String, Value>) -> JsonFile {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("scheduler_config.json");
    fs::write(&path, Value::from(config.clone()).to_string()).expect("written");
    JsonFile::read(&path).expect("config")
}

/// The largest difference, as a share of the largest number.
fn apart(ours: &[f32], theirs: &[f64]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let largest = theirs.iter().fold(1e-6_f64, |most, v| most.max(v.abs()));
    let pairs = ours.iter().zip(theirs);
    pairs.fold(0.0, |most, (a, b)| {
        let apart = (f64::from(*a) - b).abs() / largest;
        if apart.is_nan() {
            f64::INFINITY
        } else {
            most.max(apart)
        }
    })
}

#[test]
fn steps_are_diffusers() {
    let recording = Recording::read();
    let (mut worst, mut compared, mut wrong) = (0.0_f64, 0, Vec::new());
    let cases = recording.list["cases"].as_array().expect("cases");
    for (number, case) in cases.iter().enumerate() {
        let kind = case["scheduler"].as_str().expect("a name");
        let kind: SchedulerKind = kind.parse().expect("a scheduler");
        let config = recording.config(None, &case["change"]);
        let config = SchedulerConfig::read(&config, Some(kind)).expect("a configuration");
        for steps in [1, 2, 6, 20] {
            let key = |what: &str| format!("{number}.{steps}.{what}");
            let schedule = Schedule::new(config.clone(), steps).expect("a schedule");
            let timesteps: Vec<f32> = schedule.timesteps().iter().map(|t| *t as f32).collect();
            let [states, input] = recording.run(&schedule, steps);
            let mut found = vec![
                ("timesteps", timesteps),
                ("init", vec![schedule.init_noise_sigma()]),
                ("input", input),
                ("states", states),
            ];
            if !schedule.sigmas().is_empty() {
                found.push(("sigmas", schedule.sigmas().to_vec()));
            }
            for (what, ours) in found {
                let apart = apart(&ours, &recording.numbers(&key(what)));
                worst = worst.max(apart);
                compared += 1;
                if apart > TOLERANCE {
                    wrong.push(format!("{case}, {steps} steps: {what} {apart:.1e}"));
                }
            }
        }
    }
    eprintln!("{compared} compared, at most {worst:.1e} apart");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared > 52 * 4 * 4);
}

/// By the file's class, and DPM-Solver's by its algorithm.
#[test]
fn a_file_names_its_own_scheduler() {
    let recording = Recording::read();
    let kind = |class: &str, change: Value| {
        let config = recording.config(Some(class), &change);
        SchedulerConfig::read(&config, None).map(|config| config.kind.name())
    };
    let plain = json!({});
    for (class, change, expected) in [
        ("EulerAncestralDiscreteScheduler", &plain, "euler_ancestral"),
        ("HeunDiscreteScheduler", &plain, "heun"),
        ("DPMSolverMultistepScheduler", &plain, "dpmpp_2m"),
        (
            "DPMSolverMultistepScheduler",
            &json!({"algorithm_type": "sde-dpmsolver++"}),
            "dpmpp_2m_sde",
        ),
        ("UniPCMultistepScheduler", &plain, "unipc"),
        ("TCDScheduler", &plain, "tcd"),
    ] {
        assert_eq!(kind(class, change.clone()).expect("a scheduler"), expected);
    }
    let change = json!({"algorithm_type": "dpmsolver"});
    let error = kind("DPMSolverMultistepScheduler", change).expect_err("not implemented");
    assert!(error.to_string().contains("algorithm_type"), "{error}");
}

/// As diffusers saves it: with a number that JSON does not have.
#[test]
fn a_file_that_diffusers_saved_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("scheduler_config.json");
    let text = r#"{"_class_name": "DPMSolverMultistepScheduler", "_diffusers_version": "0.42.1", "algorithm_type": "sde-dpmsolver++", "beta_end": 0.012,
        "beta_schedule": "scaled_linear", "beta_start": 0.00085, "dynamic_thresholding_ratio": 0.995, "euler_at_final": false, "final_sigmas_type": "zero",
        "flow_shift": 1.0, "lambda_min_clipped": -Infinity, "lower_order_final": true, "num_train_timesteps": 1000, "prediction_type": "epsilon",
        "rescale_betas_zero_snr": false, "sample_max_value": 1.0, "solver_order": 2, "solver_type": "midpoint", "steps_offset": 0, "thresholding": false,
        "time_shift_type": "exponential", "timestep_spacing": "linspace", "trained_betas": null, "use_beta_sigmas": false, "use_dynamic_shifting": false,
        "use_exponential_sigmas": false, "use_flow_sigmas": false, "use_karras_sigmas": false, "use_lu_lambdas": false, "variance_type": null}"#;
    fs::write(&path, text).expect("written");
    let json = JsonFile::read(&path).expect("a file");
    let config = SchedulerConfig::read(&json, None).expect("a scheduler");
    assert_eq!(config.kind, SchedulerKind::DpmPlusPlus2MSde);
    fs::write(&path, text.replace("-Infinity", "-5.1")).expect("written");
    let json = JsonFile::read(&path).expect("a file");
    let error = SchedulerConfig::read(&json, None).expect_err("not implemented");
    assert!(error.to_string().contains("lambda_min_clipped"), "{error}");
}

#[test]
fn what_is_not_implemented_is_named() {
    let recording = Recording::read();
    for (kind, change, key) in [
        ("heun", json!({"use_beta_sigmas": true}), "use_beta_sigmas"),
        (
            "dpmpp_2m",
            json!({"use_lu_lambdas": true}),
            "use_lu_lambdas",
        ),
        ("dpmpp_2m_sde", json!({"solver_order": 4}), "solver_order"),
        ("dpmpp_2m", json!({"solver_type": "rk4"}), "solver_type"),
        ("unipc", json!({"predict_x0": false}), "predict_x0"),
        ("unipc", json!({"use_flow_sigmas": true}), "use_flow_sigmas"),
        (
            "unipc",
            json!({"lower_order_final": false}),
            "lower_order_final",
        ),
        (
            "unipc",
            json!({"final_sigmas_type": "sigma_min", "use_karras_sigmas": true}),
            "final_sigmas_type",
        ),
        (
            "euler",
            json!({"final_sigmas_type": "none"}),
            "scheduler_config.json",
        ),
        (
            "euler_ancestral",
            json!({"beta_schedule": "linear"}),
            "beta_schedule",
        ),
    ] {
        let config = recording.config(None, &change);
        let kind = kind.parse().expect("a scheduler");
        let error = SchedulerConfig::read(&config, Some(kind)).expect_err(key);
        let said = format!("{error} {error:?}");
        assert!(said.contains(key), "{said}");
    }
}
