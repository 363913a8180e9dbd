//! Everything that was measured, as a safetensors file: to compare it with another implementation, or to compute other
//! figures from it.

use std::collections::HashMap;
use std::path::Path;

use laioncele_core::CoreError;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::error::{EvaluateError, Result};
use crate::images::{ViewedImage, ViewedImages};

/// A tensor on its way into a file.
struct Tensor {
    name: &'static str,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Tensor {
    fn floats(name: &'static str, shape: &[usize], values: impl Iterator<Item = f32>) -> Self {
        Self {
            name,
            dtype: Dtype::F32,
            shape: shape.to_vec(),
            bytes: values.flat_map(f32::to_le_bytes).collect(),
        }
    }

    fn doubles(name: &'static str, shape: &[usize], values: impl Iterator<Item = f64>) -> Self {
        Self {
            name,
            dtype: Dtype::F64,
            shape: shape.to_vec(),
            bytes: values.flat_map(f64::to_le_bytes).collect(),
        }
    }

    fn whole(name: &'static str, values: impl Iterator<Item = i32>) -> Self {
        let values: Vec<i32> = values.collect();
        Self {
            name,
            dtype: Dtype::I32,
            shape: vec![values.len()],
            bytes: values.into_iter().flat_map(i32::to_le_bytes).collect(),
        }
    }
}

/// Writes what was measured, `files` being the images' paths in their order.
///
/// | tensor | shape |
/// |---|---|
/// | `image_embeds`, `text_embeds` | `[images, W]`, `[texts, W]`, not of unit length |
/// | `text_of_image` (int32; −1 without a prompt), `cosine` (float64; NaN without) | `[images]` |
/// | `features`; `resized_sums` (float64: sum and sum of squares of the resized picture) | `[images, F]`; `[images, 2]` |
/// | `vectors` (of unit length; zeros without a face), `found` (int32) | `[images, D]`, `[images]` |
/// | `person`, `group`, `system` (int32, −1 for the base model's person) | `[images]` |
///
/// The names of images, texts, people, groups and systems are in the file's metadata, as JSON lists.
///
/// # Errors
/// A file that cannot be written.
pub(crate) fn write(path: &Path, viewed: &ViewedImages, files: &[String]) -> Result<()> {
    let images = &viewed.images;
    let texts: Vec<&String> = viewed.prompts.keys().collect();
    let distinct = |of: fn(&ViewedImage) -> &str| {
        let mut all: Vec<&str> = images
            .iter()
            .map(of)
            .filter(|name| !name.is_empty())
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    let people = distinct(|image| &image.person);
    let groups = distinct(|image| &image.group);
    let systems = distinct(|image| &image.system);
    let place = |all: &[&str], name: &str| all.binary_search(&name).map_or(-1, |at| at as i32);
    let text = |image: &ViewedImage| {
        let at = image
            .prompt
            .as_ref()
            .and_then(|p| texts.binary_search(&p).ok());
        at.map_or(-1, |at| at as i32)
    };
    let mut tensors = numbers(viewed);
    tensors.extend([
        Tensor::whole("text_of_image", images.iter().map(text)),
        Tensor::whole("found", images.iter().map(|i| i32::from(i.face.is_some()))),
        Tensor::whole("person", images.iter().map(|i| place(&people, &i.person))),
        Tensor::whole("group", images.iter().map(|i| place(&groups, &i.group))),
        Tensor::whole("system", images.iter().map(|i| place(&systems, &i.system))),
    ]);
    let list = |names: Vec<&str>| serde_json::json!(names).to_string();
    let metadata = HashMap::from([
        (
            "images".to_owned(),
            list(files.iter().map(String::as_str).collect()),
        ),
        (
            "texts".to_owned(),
            list(texts.iter().map(|t| t.as_str()).collect()),
        ),
        ("people".to_owned(), list(people)),
        ("groups".to_owned(), list(groups)),
        ("systems".to_owned(), list(systems)),
    ]);
    save(path, &tensors, metadata)
}

/// What networks gave.
fn numbers(viewed: &ViewedImages) -> Vec<Tensor> {
    let images = &viewed.images;
    let count = images.len();
    let width =
        |of: &dyn Fn(&ViewedImage) -> Option<usize>| images.iter().find_map(of).unwrap_or(0);
    let embedded = width(&|i| Some(i.embedding.len()));
    let rows = images.iter().flat_map(|i| i.embedding.iter().copied());
    let cosines = images.iter().map(|i| i.prompt_cosine.unwrap_or(f64::NAN));
    let mut tensors = vec![
        Tensor::floats("image_embeds", &[count, embedded], rows),
        Tensor::doubles("cosine", &[count], cosines),
    ];
    if let Some(text) = viewed.prompts.values().next() {
        let shape = [viewed.prompts.len(), text.len()];
        let rows = viewed.prompts.values().flatten().copied();
        tensors.push(Tensor::floats("text_embeds", &shape, rows));
    }
    let views: Vec<_> = images.iter().filter_map(|i| i.inception.as_ref()).collect();
    if let Some(first) = views.first().filter(|_| views.len() == count) {
        let shape = [count, first.features.len()];
        let rows = views.iter().flat_map(|view| view.features.iter().copied());
        tensors.push(Tensor::floats("features", &shape, rows));
        let sums = views.iter().flat_map(|view| view.sums);
        tensors.push(Tensor::doubles("resized_sums", &[count, 2], sums));
    }
    let face = width(&|i| i.face.as_ref().map(Vec::len));
    let rows = images
        .iter()
        .flat_map(|i| i.face.clone().unwrap_or_else(|| vec![0.0; face]));
    tensors.push(Tensor::floats("vectors", &[count, face], rows));
    tensors
}

fn save(path: &Path, tensors: &[Tensor], metadata: HashMap<String, String>) -> Result<()> {
    let failed = |reason: String| EvaluateError::Features {
        path: path.to_owned(),
        reason,
    };
    let views: std::result::Result<Vec<_>, _> = (tensors.iter())
        .map(|t| Ok((t.name, TensorView::new(t.dtype, t.shape.clone(), &t.bytes)?)))
        .collect();
    let views = views.map_err(|e: safetensors::SafeTensorError| failed(e.to_string()))?;
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|e| failed(e.to_string()))?;
    std::fs::write(path, bytes).map_err(|e| CoreError::from_io(path, e).into())
}
