//! Timestep tables and steps of every scheduler against diffusers' own, and torch's noise.

use std::fs;

use laioncele_nn::config::JsonFile;
use laioncele_sdxl::scheduler::{Schedule, SchedulerConfig, SchedulerKind, StepState};
use laioncele_sdxl::{Error, Noise};

use crate::common::{assert_close, fixture, golden, numbers};

/// Name, scheduler, and the change of the folder's configuration.
const CASES: [(&str, SchedulerKind, &str); 13] = [
    ("ddim", SchedulerKind::Ddim, "{}"),
    (
        "ddim_v",
        SchedulerKind::Ddim,
        r#"{"prediction_type": "v_prediction"}"#,
    ),
    (
        "ddim_trailing",
        SchedulerKind::Ddim,
        r#"{"timestep_spacing": "trailing"}"#,
    ),
    (
        "ddim_linspace",
        SchedulerKind::Ddim,
        r#"{"timestep_spacing": "linspace"}"#,
    ),
    (
        "ddim_alpha_one",
        SchedulerKind::Ddim,
        r#"{"set_alpha_to_one": true}"#,
    ),
    ("euler", SchedulerKind::Euler, "{}"),
    (
        "euler_v",
        SchedulerKind::Euler,
        r#"{"prediction_type": "v_prediction"}"#,
    ),
    (
        "euler_trailing",
        SchedulerKind::Euler,
        r#"{"timestep_spacing": "trailing"}"#,
    ),
    (
        "euler_linspace",
        SchedulerKind::Euler,
        r#"{"timestep_spacing": "linspace"}"#,
    ),
    (
        "euler_karras",
        SchedulerKind::Euler,
        r#"{"use_karras_sigmas": true}"#,
    ),
    ("dpmpp_2m", SchedulerKind::DpmPlusPlus2M, "{}"),
    (
        "dpmpp_2m_karras",
        SchedulerKind::DpmPlusPlus2M,
        r#"{"use_karras_sigmas": true}"#,
    ),
    ("lcm", SchedulerKind::Lcm, "{}"),
];

/// The folder's scheduler configuration with some keys changed.
fn changed(change: &str) -> JsonFile {
    let text =
        fs::read_to_string(fixture("model/scheduler/scheduler_config.json")).expect("config");
    let mut config: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let change: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(change).expect("JSON");
    config.as_object_mut().expect("an object").extend(change);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("scheduler_config.json");
    fs::write(&path, config.to_string()).expect("written");
    JsonFile::read(&path).expect("config")
}

fn schedule(kind: SchedulerKind, change: &str, steps: usize) -> Schedule {
    let config = SchedulerConfig::read(&changed(change), Some(kind)).expect("a scheduler");
    Schedule::new(config, steps).expect("a schedule")
}

#[test]
fn tables_are_exact() {
    let golden = golden("schedules");
    let table = schedule(SchedulerKind::Ddim, "{}", 20);
    assert_close(
        "alphas_cumprod",
        table.alphas_cumprod(),
        &golden["alphas_cumprod"],
        0.0,
    );
    let mut compared = 0;
    for (name, kind, change) in CASES {
        for steps in [1, 4, 10, 20, 33, 100] {
            let key = format!("{name}.{steps}");
            let Some(expected) = golden.get(&format!("{key}.timesteps")) else {
                continue;
            };
            let ours = schedule(kind, change, steps);
            let expected: Vec<f64> = expected.to_vec1().expect("timesteps");
            // Karras timesteps come out of logarithms: equal up to float32 rounding.
            let tolerance = if name == "euler_karras" { 1e-3 } else { 0.0 };
            let close = |(a, b): (&f64, &f64)| (a - b).abs() <= tolerance;
            assert_eq!(ours.timesteps().len(), expected.len(), "{key}");
            let mut pairs = ours.timesteps().iter().zip(&expected);
            assert!(pairs.all(close), "{key}: {:?}", ours.timesteps());
            if let Some(sigmas) = golden
                .get(&format!("{key}.sigmas"))
                .filter(|_| !ours.sigmas().is_empty())
            {
                assert_close(&format!("{key}.sigmas"), ours.sigmas(), sigmas, 1e-5);
            }
            if let Some(sigma) = golden.get(&format!("{key}.init_noise_sigma")) {
                assert_close(
                    &format!("{key}.init_noise_sigma"),
                    &[ours.init_noise_sigma()],
                    sigma,
                    1e-5,
                );
            }
            compared += 1;
        }
    }
    assert!(compared >= 13 * 5, "only {compared} tables");
}

#[test]
fn steps_match() {
    let golden = golden("scheduler_steps");
    for (name, kind, change) in CASES {
        for steps in [6, 20] {
            let ours = schedule(kind, change, steps);
            let mut latents = numbers(&golden["noise"]);
            for x in &mut latents {
                *x *= ours.init_noise_sigma();
            }
            let (mut state, mut states, mut inputs) =
                (StepState::default(), latents.clone(), Vec::new());
            for i in 0..steps {
                inputs.extend(ours.scale_model_input(i, &latents));
                let output = numbers(&golden[&format!("model_output.{i}")]);
                let mut fresh = |noise: &mut [f32]| {
                    noise.copy_from_slice(&numbers(&golden[&format!("lcm.{steps}.noise.{i}")]));
                    Ok(())
                };
                ours.step(i, &mut latents, &output, &mut state, &mut fresh)
                    .expect("a step");
                states.extend_from_slice(&latents);
            }
            assert_close(
                &format!("{name}.{steps}.states"),
                &states,
                &golden[&format!("{name}.{steps}.states")],
                1e-4,
            );
            let key = format!("{name}.{steps}.model_inputs");
            assert_close(&key, &inputs, &golden[&key], 1e-4);
        }
    }
}

#[test]
fn torch_noise_matches() {
    let golden = golden("torch_randn");
    assert!(golden.len() > 3);
    for (name, expected) in golden {
        let (seed, count) = name.split_once('.').expect("seed and count");
        let noise = Noise::Torch(seed.parse().expect("a seed"));
        let ours = noise
            .sample(count.parse().expect("a count"))
            .expect("noise");
        assert_close(&name, &ours, &expected, 5e-7);
    }
}

#[test]
fn scheduler_read_rejects_unsupported_values_by_key() {
    for (kind, change, key) in [
        (
            SchedulerKind::Ddim,
            r#"{"thresholding": true}"#,
            "thresholding",
        ),
        (
            SchedulerKind::Euler,
            r#"{"beta_schedule": "linear"}"#,
            "beta_schedule",
        ),
        (
            SchedulerKind::Euler,
            r#"{"interpolation_type": "log_linear"}"#,
            "interpolation_type",
        ),
        (
            SchedulerKind::DpmPlusPlus2M,
            r#"{"solver_order": 4}"#,
            "solver_order",
        ),
        (SchedulerKind::Euler, r#"{"beta_start": 2.0}"#, "beta_start"),
    ] {
        let error = SchedulerConfig::read(&changed(change), Some(kind)).expect_err(key);
        assert!(
            matches!(&error, Error::Load(laioncele_nn::Error::Unsupported { key: found, .. }) if found == key),
            "{error}"
        );
    }
    let error = SchedulerConfig::read(&changed(r#"{"_class_name": "PNDMScheduler"}"#), None)
        .expect_err("PNDM");
    assert!(error.to_string().contains("PNDMScheduler"), "{error}");
    // What only another scheduler reads is ignored.
    assert!(
        SchedulerConfig::read(
            &changed(r#"{"thresholding": true}"#),
            Some(SchedulerKind::Euler)
        )
        .is_ok()
    );
    let config = SchedulerConfig::read(&changed("{}"), None).expect("the file's own class");
    assert_eq!(config.kind, SchedulerKind::Euler);
    assert!(Schedule::new(config.clone(), 0).is_err() && Schedule::new(config, 1001).is_err());
}
