//! Figures of recorded and of synthetic numbers.

use laioncele_evaluate::{
    Bootstrap, FeaturesReport, FigureSeeds, SplitMix64, figures_of_file, frechet_distance,
    kernel_distance,
};
use serde_json::Value;

use crate::fixture::{eval_a, fixtures, json, number, pictures, rows, slices, tensors};

/// Fréchet and kernel distance as the README allows: 1e-6 to the exact value and `libraries` to clean-fid and torchmetrics,
/// relative to the larger of 1 and the value; 1e-9 for the kernel.
fn check(name: &str, a: &[Vec<f32>], b: &[Vec<f32>], known: &Value, libraries: f64) {
    let (a, b) = (slices(a), slices(b));
    let found = frechet_distance(&a, &b).expect("a distance");
    let near = |key: &str, tolerance: f64| {
        let known = number(&known[key]);
        let apart = (found - known).abs() / known.abs().max(1.0);
        assert!(apart <= tolerance, "{name} {key}: {found} {known}");
    };
    near("frechet_exact", 1e-6);
    near("frechet_cleanfid", libraries);
    near("frechet_torchmetrics_float64", libraries);
    let (found, known) = (
        kernel_distance(&a, &b).expect("a distance"),
        number(&known["kernel_exact"]),
    );
    assert!(
        (found - known).abs() <= 1e-9 * known.abs().max(1.0),
        "{name}: {found} {known}"
    );
}

/// Features that any language can make again.
fn synthetic(count: usize, width: usize, seed: u64, shift: f64) -> Vec<Vec<f32>> {
    let mut random = SplitMix64::new(seed);
    let hump = |random: &mut SplitMix64| random.unit() + random.unit() + random.unit() - 1.5;
    let row = |_| {
        let common: [f64; 5] = std::array::from_fn(|_| hump(&mut random));
        let value = |j: usize| {
            let own = hump(&mut random);
            let shared = 0.4 * common[j % 5] * (1.0 - 0.125 * (j % 7) as f64);
            (0.3 + shift * (j % 3) as f64 + 0.3 * own + shared).max(0.0) as f32
        };
        (0..width).map(value).collect()
    };
    (0..count).map(row).collect()
}

fn check_synthetic(name: &str, known: &Value, libraries: f64) {
    let whole = |value: &Value| value.as_u64().expect("a whole number");
    let width = whole(&known["width"]) as usize;
    let [a, b] = [0, 1].map(|k| {
        let count = whole(&known["counts"][k]) as usize;
        synthetic(
            count,
            width,
            whole(&known["seeds"][k]),
            number(&known["shifts"][k]),
        )
    });
    let first: Vec<f32> = (known["first"].as_array().expect("numbers").iter())
        .map(|v| number(v) as f32)
        .collect();
    assert_eq!(a[0][..4], first);
    check(name, &a, &b, known, libraries);
}

#[test]
fn distances_of_recorded_features_equal_clean_fid_and_torchmetrics() {
    let scores = json(&eval_a().join("goldens/scores.json"));
    let features = tensors(&eval_a().join("goldens/inception.safetensors"));
    let is_person: Vec<bool> = pictures().iter().map(|p| !p.person.is_empty()).collect();
    for mode in [
        "clean",
        "legacy_pytorch",
        "legacy_tensorflow",
        "torchmetrics",
    ] {
        let all = rows(&features[&format!("features.{mode}")]);
        let of = |wanted: bool| {
            let some = all.iter().zip(&is_person).filter(|(_, is)| **is == wanted);
            some.map(|(row, _)| row.clone()).collect::<Vec<_>>()
        };
        check(
            mode,
            &of(true),
            &of(false),
            &scores["inception"][mode],
            2e-6,
        );
    }
}

#[test]
fn distances_of_synthetic_features_equal_clean_fid_and_torchmetrics() {
    let scores = json(&eval_a().join("goldens/scores.json"));
    for (name, known) in scores["synthetic"].as_object().expect("sets") {
        check_synthetic(name, known, 2e-6);
    }
}

/// 1,000 images a side and 2,048 features, both covariances singular.
#[test]
fn distances_at_the_papers_size_equal_clean_fid_and_torchmetrics() {
    let large = json(&fixtures().join("large.json"));
    check_synthetic("large", &large["paper_size"], 1e-5);
}

#[test]
fn equal_sets_are_at_no_distance() {
    let a = synthetic(30, 64, 1, 0.0);
    let found = frechet_distance(&slices(&a), &slices(&a)).expect("a distance");
    assert!(found.abs() < 1e-9, "{found}");
}

fn seeds() -> FigureSeeds {
    let notes = json(&eval_a().join("manifest.json"));
    let of = |key: &str| {
        notes["config"]["faces"][key]
            .as_u64()
            .expect("a whole number")
    };
    FigureSeeds {
        partners: of("partner_seed"),
        bootstrap: Bootstrap {
            seed: of("bootstrap_seed"),
            resamples: of("resamples") as usize,
        },
    }
}

fn value(report: &FeaturesReport, group: &str, metric: &str) -> (f64, u64) {
    let mut scores = report.scores.iter();
    let score = scores.find(|s| s.group == group && s.metric == metric);
    let score = score.unwrap_or_else(|| panic!("{metric} of {group}"));
    (score.value, score.count)
}

fn check_interval(report: &FeaturesReport, group: &str, metric: &str, known: &Value) {
    let mut scores = report.scores.iter();
    let score = scores
        .find(|s| s.group == group && s.metric == metric)
        .expect(metric);
    let found = [Some(score.value), score.low, score.high];
    for (found, key) in found.into_iter().zip(["mean", "low", "high"]) {
        let (found, known) = (found.expect(key), number(&known[key]));
        assert!(
            (found - known).abs() < 1e-6,
            "{metric} {group} {key}: {found} {known}"
        );
    }
}

#[test]
fn figures_of_recorded_faces_equal_the_recording() {
    let path = eval_a().join("goldens/faces.safetensors");
    let report = figures_of_file(&path, &seeds()).expect("figures");
    let scores = json(&eval_a().join("goldens/scores.json"));
    let drawn = tensors(&eval_a().join("goldens/partners.safetensors"));
    for group in ["all", "group-0", "group-1"] {
        let known = &scores["faces"][group];
        let near = |metric: &str, known: &Value| {
            let (found, known) = (value(&report, group, metric).0, number(known));
            assert!(
                (found - known).abs() < 1e-6,
                "{group} {metric}: {found} {known}"
            );
        };
        for (metric, reading) in [
            ("id_consistency", "same_person"),
            ("id_consistency_of_all", "all_pictures"),
        ] {
            let name = format!("id_consistency.{reading}");
            near(metric, &known[&name]["every_partner"]);
            near(
                &format!("{metric}_one_partner"),
                &known[&name]["one_partner"],
            );
            check_interval(&report, group, metric, &known["intervals"][&name]);
            let pairs = report.partners[group][reading].iter();
            let pairs: Vec<f64> = pairs.flat_map(|(a, b)| [*a as f64, *b as f64]).collect();
            assert_eq!(
                pairs,
                drawn[&format!("{group}.{reading}")].1,
                "{group} {reading}"
            );
        }
        let reference = &known["intervals"]["reference_similarity"];
        check_interval(&report, group, "reference_similarity", reference);
        near("same_person_mean", &known["pairs"]["same_mean"]);
        near("random_pair_mean", &known["pairs"]["different_mean"]);
        near("same_person_auc", &known["pairs"]["auc"]);
        near("reference_auc", &known["pairs"]["reference_auc"]);
        near("faces_found", &known["faces_found"]);
        let pairs = &known["pairs"]["counts"];
        let counted = number(&pairs[0]) + number(&pairs[1]);
        assert_eq!(value(&report, group, "same_person_auc").1 as f64, counted);
    }
    check_interval(&report, "all", "clip_ti", &scores["faces"]["clip_ti"]);
    let difference = &scores["faces"]["clip_ti_ours_minus_other"];
    check_interval(&report, "all", "clip_ti_difference", difference);
    let mut random = SplitMix64::new(seeds().partners);
    let first = scores["faces"]["splitmix64_first"]
        .as_array()
        .expect("numbers");
    for known in first {
        let known: u64 = known.as_str().expect("a text").parse().expect("a number");
        assert_eq!(random.number(), known);
    }
}

#[test]
fn files_that_are_no_features_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.safetensors");
    std::fs::write(&path, b"no tensors").expect("a file");
    let error = figures_of_file(&path, &seeds())
        .expect_err("refused")
        .to_string();
    assert!(
        error.contains("a.safetensors: no safetensors file"),
        "{error}"
    );
    let clip = eval_a().join("goldens/clip.safetensors");
    let error = figures_of_file(&clip, &seeds())
        .expect_err("refused")
        .to_string();
    assert!(error.contains("no tensor `vectors`"), "{error}");
}
