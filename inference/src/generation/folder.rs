//! A published encoder's folder, opened to draw with: neither a run nor a manifest is needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use laioncele_core::EmbeddingDims;
use laioncele_encoder::{CONFIG_FILE, Crop, Encoder, FACE_MARGIN, WEIGHTS_FILE, read_config};
use laioncele_sdxl::NameTensor;
use safetensors::{Dtype, SafeTensors};

use super::config::Eta;
use super::spread::NameSpread;
use super::statistics::NameStatistics;
use crate::encoder_folder::{INFERENCE_FILE, InferenceFile, MEAN_FILE, SPREAD_FILE};

/// The longest JSON file and the longest tensor file that are read, in bytes.
const LONGEST_JSON: u64 = 1 << 20;
const LONGEST_TENSORS: u64 = 2 << 30;

/// What a published folder holds, loaded.
pub struct EncoderFolder {
    /// Where it lies.
    pub path: PathBuf,
    pub(super) encoder: Arc<Encoder>,
    pub(super) statistics: Arc<NameStatistics>,
    /// What of a photo the image encoders see.
    pub crop: Crop,
    /// What else it is used with; the paper's settings in folders of earlier versions.
    pub inference: InferenceFile,
    /// η of `inference`.
    pub eta: Eta,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct FolderError {
    path: PathBuf,
    reason: String,
}

impl EncoderFolder {
    /// Opens a folder that `laioncele run` or `laioncele encoder export` published.
    ///
    /// # Errors
    /// Files that are missing, damaged, too long, or do not fit each other.
    pub fn open(folder: &Path) -> Result<Self, FolderError> {
        let text = read(&folder.join(CONFIG_FILE), LONGEST_JSON)?;
        let wrong = |file: &str, reason: String| FolderError {
            path: folder.join(file),
            reason,
        };
        let (config, crop) = read_config(&text).map_err(|e| wrong(CONFIG_FILE, told(&e)))?;
        let margin = crop.and_then(|crop| crop.margin);
        if let Some(margin) = margin.filter(|margin| *margin != FACE_MARGIN) {
            let reason = format!("faces are cropped with a margin of {FACE_MARGIN}, not {margin}");
            return Err(wrong(CONFIG_FILE, reason));
        }
        let weights = read(&folder.join(WEIGHTS_FILE), LONGEST_TENSORS)?;
        let encoder = Encoder::from_bytes(&text, &weights);
        let encoder = encoder.map_err(|e| wrong(WEIGHTS_FILE, told(&e)))?;
        let mean = read(&folder.join(MEAN_FILE), LONGEST_TENSORS)?;
        let statistics = statistics(&mean, config.output(), config.output_channels);
        let inference = match fs::exists(folder.join(INFERENCE_FILE)) {
            Ok(false) => InferenceFile::default(),
            _ => {
                let text = read(&folder.join(INFERENCE_FILE), LONGEST_JSON)?;
                let read = serde_json::from_slice(&text);
                read.map_err(|e| wrong(INFERENCE_FILE, e.to_string()))?
            }
        };
        let eta = serde_json::from_value(inference.eta.clone());
        Ok(Self {
            eta: eta.map_err(|e| wrong(INFERENCE_FILE, format!("eta: {e}")))?,
            statistics: Arc::new(statistics.map_err(|e| wrong(MEAN_FILE, e))?),
            // Before it was written down there was no other.
            crop: crop.map_or(Crop::Face, |crop| crop.part),
            encoder: Arc::new(encoder),
            path: folder.to_owned(),
            inference,
        })
    }

    /// Where its weights are.
    pub fn weights(&self) -> PathBuf {
        self.path.join(WEIGHTS_FILE)
    }

    /// Channels of the names that it predicts.
    pub fn name_channels(&self) -> usize {
        self.encoder.config.output_channels
    }

    /// What Equations 4 and 5 need to know of names.
    pub fn statistics(&self) -> &NameStatistics {
        &self.statistics
    }

    /// The dims of its names and features.
    pub(super) fn dims(&self) -> EmbeddingDims {
        let config = &self.encoder.config;
        EmbeddingDims {
            name_tokens: config.output_tokens,
            name_channels: config.output_channels,
            face: 0,
            features: config.input,
        }
    }

    /// How names are spread; `None` where the folder does not say it.
    ///
    /// # Errors
    /// A damaged file.
    pub fn spread(&self) -> Result<Option<NameSpread>, FolderError> {
        let path = self.path.join(SPREAD_FILE);
        if let Ok(false) = fs::exists(&path) {
            return Ok(None);
        }
        let config = &self.encoder.config;
        let bytes = read(&path, LONGEST_TENSORS)?;
        NameSpread::from_bytes(&bytes, config.output_tokens, config.output_channels)
            .map(Some)
            .map_err(|reason| FolderError { path, reason })
    }
}

fn told(error: &dyn std::error::Error) -> String {
    laioncele_core::error::chain(error)
}

fn read(path: &Path, longest: u64) -> Result<Vec<u8>, FolderError> {
    let wrong = |reason: String| FolderError {
        path: path.to_owned(),
        reason,
    };
    let read = || -> std::io::Result<Vec<u8>> {
        let length = fs::metadata(path)?.len();
        match length > longest {
            true => Err(std::io::Error::other(format!(
                "{length} bytes are too many: it is none of these files"
            ))),
            false => fs::read(path),
        }
    };
    read().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            wrong("there is no such file in this encoder's folder".into())
        }
        _ => wrong(error.to_string()),
    })
}

fn statistics(bytes: &[u8], numbers: usize, channels: usize) -> Result<NameStatistics, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
    let floats = |name: &str, count: usize| {
        let tensor = file.tensor(name).map_err(|e| e.to_string())?;
        let (floats, rest) = tensor.data().as_chunks::<4>();
        let floats: Vec<f32> = floats.iter().map(|v| f32::from_le_bytes(*v)).collect();
        let whole = tensor.dtype() == Dtype::F32 && floats.len() == count && rest.is_empty();
        match whole && floats.iter().all(|v| v.is_finite()) {
            true => Ok(floats),
            false => Err(format!("`{name}` is not {count} finite float32 numbers")),
        }
    };
    Ok(NameStatistics {
        mean: NameTensor::new(floats("mean", numbers)?, channels).map_err(|e| e.to_string())?,
        mean_length: floats("length", 1)?[0],
        // The file's metadata say it; no equation asks.
        names: 0,
    })
}
