//! Which adapter a file is, by the names and shapes of its tensors.

use std::path::Path;

use laioncele_nn::Weights;

use crate::error::{Error, Result};
use crate::file::{count_of, has, shape, told};

/// The most layers that a resampler may have; the official ones have four.
const MOST_LAYERS: usize = 64;

/// Context widths of other models, as adapters for them show.
const OTHER_CONTEXTS: [(usize, &str); 2] = [
    (768, "an adapter for Stable Diffusion 1"),
    (1024, "an adapter for Stable Diffusion 2"),
];

/// What an adapter's projection is, with the sizes that its tensors show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One linear map of the image embedding: `[tokens · context, width]`.
    Base { width: usize, tokens: usize },
    /// The resampler of a hidden state.
    Plus {
        /// Width of the encoder's tokens.
        width: usize,
        hidden: usize,
        queries: usize,
        /// Rows of the queries' map: heads of 64.
        inner: usize,
        feed_forward: usize,
        layers: usize,
    },
}

/// The kind of the file's adapter, which is for text tokens of `context` numbers.
///
/// # Errors
/// [`Error::Foreign`] with what it is instead.
pub(super) fn kind(path: &Path, w: &Weights, context: usize) -> Result<Kind> {
    let refuse = |found: String| Error::Foreign {
        path: path.into(),
        expected: "IP-Adapter for SDXL (base or plus)",
        found,
    };
    let (projection, adapter) = (w.pp("image_proj"), w.pp("ip_adapter"));
    if !has(&projection, "") || !has(&adapter, "") {
        return Err(refuse(told(w)));
    }
    if let Some(other) = other_model(&adapter, context) {
        return Err(refuse(other));
    }
    if let Some(other) = other_adapter(&projection, &adapter) {
        return Err(refuse(other.to_owned()));
    }
    let found = match shape(&projection, "proj.weight") {
        Some(weight) => base(weight, context),
        None => plus(&projection),
    };
    found.map_err(|what| refuse(format!("image_proj: {what}")))
}

/// What an adapter for text tokens of another width is.
fn other_model(adapter: &Weights, context: usize) -> Option<String> {
    let mut stored = adapter.stored();
    let (name, shape) = stored.find(|(name, _)| name.ends_with("to_k_ip.weight"))?;
    let found = *shape.get(1)?;
    if found == context {
        return None;
    }
    let model = OTHER_CONTEXTS.iter().find(|(width, _)| *width == found);
    let model = model.map_or("an adapter for another model", |(_, model)| model);
    Some(format!(
        "it is {model}: ip_adapter.{name} takes tokens of {found} numbers, this model's have {context}"
    ))
}

/// What an adapter of a kind that is not supported is.
fn other_adapter(projection: &Weights, adapter: &Weights) -> Option<&'static str> {
    let face_lora = adapter.stored().any(|(name, _)| name.contains("_lora."));
    let with = |name| shape(projection, name).is_some();
    if has(projection, "perceiver_resampler.") {
        Some("it is a FaceID-plus adapter, which is not supported")
    } else if with("proj.3.weight") {
        Some("it is a full-face adapter, which is not supported")
    } else if with("proj.0.weight") || face_lora {
        Some("it is a FaceID adapter, which needs InsightFace's embeddings and is not supported")
    } else {
        None
    }
}

fn base(weight: &[usize], context: usize) -> std::result::Result<Kind, String> {
    match *weight {
        [rows, width] if width > 0 && rows > 0 && rows.is_multiple_of(context) => Ok(Kind::Base {
            width,
            tokens: rows / context,
        }),
        _ => Err(format!(
            "proj.weight is {weight:?}; expected [a multiple of {context}, numbers of an image embedding]"
        )),
    }
}

fn plus(w: &Weights) -> std::result::Result<Kind, String> {
    let of = |name: &str| {
        let shape = shape(w, name)
            .ok_or_else(|| format!("it has neither proj.weight (base) nor {name} (plus)"))?;
        match shape.contains(&0) {
            true => Err(format!("{name} is empty: {shape:?}")),
            false => Ok(shape.to_vec()),
        }
    };
    let matrix = |name: &str| match of(name)?.as_slice() {
        &[rows, columns] => Ok((rows, columns)),
        other => Err(format!("{name} is {other:?}; expected a matrix")),
    };
    let &[1, queries, hidden] = of("latents")?.as_slice() else {
        return Err(format!(
            "latents is {:?}; expected [1, tokens, width]",
            of("latents")?
        ));
    };
    let (inner, _) = matrix("layers.0.0.to_q.weight")?;
    if !inner.is_multiple_of(64) {
        return Err(format!(
            "layers.0.0.to_q.weight has {inner} rows; expected heads of 64"
        ));
    }
    Ok(Kind::Plus {
        width: matrix("proj_in.weight")?.1,
        hidden,
        queries,
        inner,
        feed_forward: matrix("layers.0.1.1.weight")?.0,
        layers: count_of(w, "layers.", MOST_LAYERS)?,
    })
}
