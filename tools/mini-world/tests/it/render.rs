//! The renderer against images of the prototype on which the mini SDXL was trained, and what must
//! hold for any seed.

use std::path::{Path, PathBuf};

use image::RgbImage;
use laioncele_mini_world::render::{self, Anatomy, Scene};
use proptest::prelude::*;
use serde::Deserialize;

/// Largest mean difference of a image's values, of 255. What remains is rounding: values are cut
/// to integers.
const TOLERANCE: f64 = 0.01;
/// Largest share of values that differ by more than 1: at edges without a soft border (freckles,
/// the bridge of glasses) a sample may flip.
const FEW: f64 = 0.001;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    file: String,
    #[serde(rename = "kind")]
    _kind: String,
    anatomy: Anatomy,
    scene: Scene,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/render")
}

fn cases() -> Vec<Case> {
    serde_json::from_slice(&std::fs::read(fixtures().join("cases.json")).unwrap()).unwrap()
}

fn recorded(case: &Case) -> RgbImage {
    image::open(fixtures().join(&case.file))
        .unwrap()
        .into_rgb8()
}

fn differences(a: &RgbImage, b: &RgbImage) -> Vec<u8> {
    assert_eq!(a.dimensions(), b.dimensions());
    a.as_raw()
        .iter()
        .zip(b.as_raw())
        .map(|(a, b)| a.abs_diff(*b))
        .collect()
}

fn mean(values: &[u8]) -> f64 {
    values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len() as f64
}

#[test]
fn images_equal_those_of_the_prototype() {
    for case in cases() {
        let differences = differences(
            &render::person(&case.anatomy, &case.scene, 0),
            &recorded(&case),
        );
        let far = differences
            .iter()
            .filter(|&&difference| difference > 1)
            .count() as f64
            / differences.len() as f64;
        let mean = mean(&differences);
        assert!(mean < TOLERANCE, "{}: {mean}", case.file);
        assert!(far < FEW, "{}: {far}", case.file);
    }
}

#[test]
fn images_of_other_cases_differ() {
    let cases = cases();
    for (case, other) in cases.iter().zip(cases.iter().cycle().skip(1)) {
        assert!(
            mean(&differences(
                &render::person(&case.anatomy, &case.scene, 0),
                &recorded(other)
            )) > 5.0
        );
    }
}

#[test]
fn noise_has_its_deviation_and_depends_on_the_seed() {
    let case = &cases()[0];
    let scene = Scene {
        noise: 0.02,
        ..case.scene.clone()
    };
    let (clean, noisy) = (
        render::person(&case.anatomy, &case.scene, 1),
        render::person(&case.anatomy, &scene, 1),
    );
    let inner = |value: &u8| (40..215).contains(value);
    let squares: Vec<f64> = (clean.as_raw().iter().zip(noisy.as_raw()))
        .filter(|(clean, _)| inner(clean))
        .map(|(clean, noisy)| (f64::from(*noisy) - f64::from(*clean)).powi(2))
        .collect();
    let deviation = (squares.iter().sum::<f64>() / squares.len() as f64).sqrt() / 255.0;
    assert!((deviation - 0.02).abs() < 0.001, "{deviation}");
    assert_ne!(noisy, render::person(&case.anatomy, &scene, 2));
}

#[test]
fn landscapes_and_at_size_have_the_size_asked_for() {
    assert_eq!(render::landscape(3, 200, 90).dimensions(), (200, 90));
    assert_eq!(render::landscape(3, 0, 1).dimensions(), (1, 1));
    assert_ne!(render::landscape(3, 64, 64), render::landscape(4, 64, 64));
    let portrait = render::portrait(&Anatomy::stranger(1), 1);
    assert_eq!(render::at_size(&portrait, 96).dimensions(), (96, 96));
    let there_and_back = render::at_size(&render::at_size(&portrait, 256), 128);
    assert!(mean(&differences(&portrait, &there_and_back)) < 2.0);
    assert_eq!(render::at_size(&portrait, 0).dimensions(), (1, 1));
}

/// A scene or anatomy whose every number was replaced.
fn with_numbers(mut json: serde_json::Value, number: f32) -> serde_json::Value {
    fn replace(value: &mut serde_json::Value, number: f32) {
        match value {
            serde_json::Value::Number(_) => *value = number.into(),
            serde_json::Value::Array(values) => {
                values.iter_mut().for_each(|value| replace(value, number));
            }
            serde_json::Value::Object(fields) => {
                fields.values_mut().for_each(|value| replace(value, number));
            }
            _ => {}
        }
    }
    replace(&mut json, number);
    json
}

#[test]
fn senseless_numbers_give_an_image() {
    for number in [0.0, -1.0, 1e30, -1e30, f32::MIN_POSITIVE] {
        for seed in 0..12 {
            let (anatomy, scene) = (Anatomy::stranger(seed), Scene::studio(seed));
            let strange = |json| with_numbers(json, number);
            let strange_anatomy =
                serde_json::from_value(strange(serde_json::to_value(&anatomy).unwrap())).unwrap();
            let strange_scene =
                serde_json::from_value(strange(serde_json::to_value(&scene).unwrap())).unwrap();
            render::person(&strange_anatomy, &scene, seed);
            render::person(&anatomy, &strange_scene, seed);
            render::person(&strange_anatomy, &strange_scene, seed);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_seed_gives_one_image(person: u64, seed: u64, close_up: bool) {
        let anatomy = Anatomy::stranger(person);
        let (portrait, photo) = (render::portrait(&anatomy, seed), render::photo(&anatomy, seed, close_up));
        prop_assert_eq!(portrait.dimensions(), (128, 128));
        // Neither black nor white nor of one colour: a person is there.
        for image in [&portrait, &photo] {
            let values = image.as_raw();
            let middle = mean(values);
            let spread = values.iter().map(|&value| (f64::from(value) - middle).abs()).sum::<f64>() / values.len() as f64;
            prop_assert!((10.0..245.0).contains(&middle) && spread > 5.0, "{} {}", middle, spread);
        }
        prop_assert!(mean(&differences(&portrait, &render::portrait(&anatomy, seed))) == 0.0);
        prop_assert_ne!(&portrait, &render::portrait(&anatomy, seed.wrapping_add(1)));
        let json = serde_json::to_string(&anatomy).unwrap();
        prop_assert_eq!(serde_json::from_str::<Anatomy>(&json).unwrap(), anatomy);
    }

    #[test]
    fn every_size_gives_a_landscape(seed: u64, width in 0u32..160, height in 0u32..160) {
        let image = render::landscape(seed, width, height);
        prop_assert_eq!(image.dimensions(), (width.max(1), height.max(1)));
    }
}
