//! What the fixture tests of CLIP and SDXL share: reading goldens and comparing with a stated
//! tolerance.

// Each test program uses a part of it.
#![allow(dead_code)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use image::RgbImage;

/// A file or folder of the fixture.
pub(crate) fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../clip/tests/fixtures/tiny-a")
        .join(path)
}

/// All tensors of one golden file.
pub(crate) fn golden(name: &str) -> HashMap<String, Tensor> {
    let path = fixture(&format!("goldens/{name}.safetensors"));
    candle_core::safetensors::load(path, &Device::Cpu).expect("a golden file")
}

/// A tensor's numbers.
pub(crate) fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor
        .to_dtype(DType::F32)
        .and_then(|t| t.flatten_all())
        .and_then(|t| t.to_vec1())
        .expect("numbers")
}

/// Asserts the same length and no difference above `tolerance`.
pub(crate) fn assert_close(what: &str, ours: &[f32], golden: &Tensor, tolerance: f32) {
    let golden = numbers(golden);
    assert_eq!(ours.len(), golden.len(), "{what}: sizes");
    assert!(!golden.is_empty(), "{what}: nothing to compare");
    let worst = largest_difference(ours, &golden);
    assert!(
        worst <= tolerance,
        "{what}: off by {worst}, at most {tolerance}"
    );
}

/// The largest difference of two lists of one length; not a number if any is.
pub(crate) fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |a, b| if a.is_nan() || b <= a { a } else { b })
}

/// The largest difference of two images' bytes, in levels.
pub(crate) fn largest_level_difference(a: &RgbImage, b: &RgbImage) -> u8 {
    assert_eq!(a.dimensions(), b.dimensions());
    let pairs = a.as_raw().iter().zip(b.as_raw());
    let differences = pairs.map(|(a, b)| a.abs_diff(*b));
    differences.max().expect("an image with pixels")
}

/// The fixture's manifest.
pub(crate) fn manifest() -> serde_json::Value {
    let text = std::fs::read_to_string(fixture("manifest.json")).expect("the manifest");
    serde_json::from_str(&text).expect("JSON")
}

/// Lines of a JSON-lines golden, at least one.
pub(crate) fn json_lines(name: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(fixture(&format!("goldens/{name}"))).expect("lines");
    assert!(!text.is_empty(), "{name} has no lines");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// A list of ids in JSON.
pub(crate) fn ids(value: &serde_json::Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).expect("ids")
}
