//! The recording `eval-a`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

pub(crate) fn eval_a() -> PathBuf {
    fixtures().join("eval-a")
}

pub(crate) fn json(path: &Path) -> Value {
    let text = std::fs::read(path).expect("a file");
    serde_json::from_slice(&text).expect("JSON")
}

pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

/// A picture of the recording.
pub(crate) struct Picture {
    pub(crate) image: String,
    pub(crate) person: String,
    pub(crate) prompt: String,
    pub(crate) group: String,
}

impl Picture {
    /// Its path below `pictures`.
    pub(crate) fn path(&self) -> String {
        let folder = if self.person.is_empty() {
            "plain"
        } else {
            "people"
        };
        format!("{folder}/{}", self.image)
    }
}

/// The pictures in their order.
pub(crate) fn pictures() -> Vec<Picture> {
    let notes = json(&eval_a().join("manifest.json"));
    let pictures = notes["pictures"].as_array().expect("pictures").clone();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let picture = |value: Value| Picture {
        image: text(&value["image"]),
        person: text(&value["person"]),
        prompt: text(&value["prompt"]),
        group: text(&value["group"]),
    };
    pictures.into_iter().map(picture).collect()
}

/// A tensor: shape and numbers.
pub(crate) type Tensor = (Vec<usize>, Vec<f64>);

/// The float tensors and whole numbers of a file.
pub(crate) fn tensors(path: &Path) -> BTreeMap<String, Tensor> {
    let bytes = std::fs::read(path).expect("a file");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let read = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
        let data = view.data();
        let values: Vec<f64> = match view.dtype() {
            Dtype::F32 => (data.as_chunks::<4>().0.iter())
                .map(|b| f64::from(f32::from_le_bytes(*b)))
                .collect(),
            Dtype::F64 => (data.as_chunks::<8>().0.iter())
                .map(|b| f64::from_le_bytes(*b))
                .collect(),
            Dtype::I64 => (data.as_chunks::<8>().0.iter())
                .map(|b| i64::from_le_bytes(*b) as f64)
                .collect(),
            Dtype::I32 => (data.as_chunks::<4>().0.iter())
                .map(|b| f64::from(i32::from_le_bytes(*b)))
                .collect(),
            Dtype::U8 | Dtype::BOOL => data.iter().map(|b| f64::from(*b)).collect(),
            other => panic!("{name} is of {other:?}"),
        };
        (name, (view.shape().to_vec(), values))
    };
    file.tensors().into_iter().map(read).collect()
}

/// Rows of float32.
pub(crate) fn rows((shape, values): &Tensor) -> Vec<Vec<f32>> {
    let rows = values.chunks_exact(shape[1]);
    rows.map(|row| row.iter().map(|v| *v as f32).collect())
        .collect()
}

pub(crate) fn slices(rows: &[Vec<f32>]) -> Vec<&[f32]> {
    rows.iter().map(Vec::as_slice).collect()
}

/// The largest distance of two lists.
pub(crate) fn worst(found: &[f64], known: &[f64]) -> f64 {
    assert_eq!(found.len(), known.len());
    let pairs = found.iter().zip(known);
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}
