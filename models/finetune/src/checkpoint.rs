//! A training as one file, from which it goes on as if it had not been interrupted: what is trained,
//! the optimizer's two running means, its step, and the caller's own notes.
//!
//! Random draws need no place here: they follow from the seed and the step's number.

use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::file::{self, Entry, Stored};
use crate::trainer::Trainer;

/// The format that this program writes and reads.
const FORMAT: u32 = 1;

/// The key of the header's metadata.
const TRAINING: &str = "laioncele_training";

/// What is no tensor, in the file's header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    format: u32,
    /// Which training this is of.
    key: String,
    steps: u64,
    /// The caller's.
    notes: String,
}

/// A checkpoint's numbers, read and checked but not yet in use.
#[derive(Debug)]
pub struct Checkpoint {
    header: Header,
    values: Vec<[Vec<f32>; 3]>,
}

impl Checkpoint {
    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.header.steps
    }

    /// Which training it is of.
    pub fn key(&self) -> &str {
        &self.header.key
    }

    /// The caller's own notes.
    pub fn notes(&self) -> &str {
        &self.header.notes
    }

    /// Reads a file of [`write()`] for the network of `trainer`.
    ///
    /// # Errors
    /// [`Error::File`] of a file that is damaged or of another network; a file that cannot be read.
    pub fn read(path: &Path, trainer: &Trainer) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        Self::from_bytes(&bytes, trainer).map_err(|reason| Error::File {
            path: path.into(),
            reason,
        })
    }

    fn from_bytes(bytes: &[u8], trainer: &Trainer) -> std::result::Result<Self, String> {
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
        let header = metadata.metadata().as_ref().and_then(|m| m.get(TRAINING));
        let header = header.ok_or("it is no checkpoint of a training")?;
        let header: Header = serde_json::from_str(header).map_err(|e| e.to_string())?;
        if header.format != FORMAT {
            return Err(format!("format {} where {FORMAT} is read", header.format));
        }
        let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
        let parameters = trainer.network().parameters();
        if file.len() != GROUPS.len() * parameters.len() {
            return Err(format!("{} tensors, not those of this network", file.len()));
        }
        let mut values = Vec::with_capacity(parameters.len());
        for parameter in parameters {
            let mut three = [const { Vec::new() }; 3];
            for (group, values) in GROUPS.iter().zip(&mut three) {
                let name = format!("{group}.{}", parameter.name);
                *values = tensor(&file, &name, parameter.dims())?;
            }
            values.push(three);
        }
        Ok(Self { header, values })
    }

    /// Goes on from here: weights, running means and step of `trainer` are the checkpoint's.
    ///
    /// # Errors
    /// A device that fails.
    pub fn restore(self, trainer: &mut Trainer) -> Result<()> {
        let (optimizer, network) = trainer.optimizer_mut();
        let mut moments = Vec::with_capacity(self.values.len());
        for (parameter, [values, mean, square]) in network.parameters().iter().zip(self.values) {
            parameter.set(&values)?;
            moments.push([mean, square]);
        }
        optimizer.restore(self.header.steps, network.parameters(), moments)
    }
}

/// Weights, running means of gradients, and of their squares.
const GROUPS: [&str; 3] = ["weight", "mean", "square"];

fn tensor(
    file: &SafeTensors<'_>,
    name: &str,
    dims: &[usize],
) -> std::result::Result<Vec<f32>, String> {
    let view = file.tensor(name).map_err(|e| e.to_string())?;
    if view.dtype() != Dtype::F32 || view.shape() != dims {
        return Err(format!("`{name}` is {:?} {:?}", view.dtype(), view.shape()));
    }
    let (numbers, _) = view.data().as_chunks::<4>();
    let values: Vec<f32> = numbers
        .iter()
        .map(|four| f32::from_le_bytes(*four))
        .collect();
    match values.iter().all(|v| v.is_finite()) {
        true => Ok(values),
        false => Err(format!("`{name}` holds numbers that are not finite")),
    }
}

/// Writes a training between two steps, whole or not at all, and onto the disk. `key` says which
/// training it is, `notes` are the caller's.
///
/// # Errors
/// A file that cannot be written.
pub fn write(path: &Path, trainer: &Trainer, key: &str, notes: &str) -> Result<()> {
    let header = Header {
        format: FORMAT,
        key: key.into(),
        steps: trainer.optimizer().steps(),
        notes: notes.into(),
    };
    let header = serde_json::to_string(&header).map_err(|error| Error::File {
        path: path.into(),
        reason: error.to_string(),
    })?;
    let mut entries = Vec::new();
    for (index, parameter) in trainer.network().parameters().iter().enumerate() {
        for (which, group) in GROUPS.iter().enumerate() {
            entries.push(Entry {
                name: format!("{group}.{}", parameter.name),
                shape: parameter.dims().to_vec(),
                values: Box::new(move || match which {
                    0 => parameter.values(),
                    _ => {
                        let [mean, square] = trainer.optimizer().moments(index)?;
                        Ok(if which == 1 { mean } else { square })
                    }
                }),
            });
        }
    }
    file::write(path, &[(TRAINING, header)].into(), Stored::F32, entries)
}
