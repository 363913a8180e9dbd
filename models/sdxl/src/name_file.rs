//! Names as files, to take from one run to another, and to any model with the same text encoders.

use std::collections::HashMap;
use std::path::Path;

use laioncele_nn::TensorFile;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::error::{Error, Result};
use crate::inversion::Inversion;
use crate::name::{NAME_TOKENS, NameTensor};

/// The file's only tensor: [8, width] float32.
const TENSOR: &str = "name_embedding";

/// The key that says which version of this format a file is in.
const VERSION_KEY: &str = "laioncele.name";
const VERSION: &str = "1";

/// The key that says whether Equations 4 and 5 are applied already.
const EQUATIONS_KEY: &str = "laioncele.equations_4_5";

/// A name embedding with what is known of where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct NameFile {
    /// The embedding.
    pub name: NameTensor,
    /// Whether it is prepended as it is: a text encoder's own name, or a predicted one after
    /// Equations 4 and 5.
    pub finished: bool,
    /// What else is known: the digests of the trained encoder and of the text encoders, whose name
    /// it is.
    pub about: Vec<(String, String)>,
}

/// What a file of a name holds.
#[derive(Debug, Clone, PartialEq)]
pub enum NameSource {
    /// A name embedding.
    Embedding(NameFile),
    /// A textual inversion, whose word is encoded like any name.
    Inversion(Inversion),
}

impl NameSource {
    /// Reads a file that [`NameFile::write`] wrote, or recognizes a textual inversion.
    ///
    /// # Errors
    /// A file that cannot be read, or is neither.
    pub fn read(path: &Path) -> Result<Self> {
        let file = TensorFile::open(path)?;
        let refuse = |reason: String| Error::NameFile {
            path: path.into(),
            reason,
        };
        let Some(tensor) = file.tensors().get(TENSOR) else {
            let vectors = ["clip_l", "clip_g", "emb_params"];
            return match vectors.iter().any(|key| file.tensors().contains_key(*key)) {
                true => Ok(Self::Inversion(Inversion::of_file(path))),
                false => Err(refuse(format!("has no {TENSOR}, nor clip_l and clip_g"))),
            };
        };
        let metadata = file.metadata();
        let version = metadata.get(VERSION_KEY).map_or("none", String::as_str);
        if version != VERSION {
            return Err(refuse(format!(
                "is of version {version}; {VERSION} is read"
            )));
        }
        let [rows, width] = tensor.shape[..] else {
            return Err(refuse(format!("has {TENSOR} of {:?}", tensor.shape)));
        };
        if rows != NAME_TOKENS {
            return Err(refuse(format!("has {rows} rows instead of {NAME_TOKENS}")));
        }
        let own = |(key, _): &(&String, &String)| *key != VERSION_KEY && *key != EQUATIONS_KEY;
        let about = metadata.iter().filter(own);
        Ok(Self::Embedding(NameFile {
            name: NameTensor::new(file.numbers(TENSOR)?, width)?,
            finished: metadata.get(EQUATIONS_KEY).map(String::as_str) == Some("applied"),
            about: about.map(|(k, v)| (k.clone(), v.clone())).collect(),
        }))
    }
}

impl NameFile {
    /// Writes it to `path`, in place of what is there.
    ///
    /// # Errors
    /// [`Error::Write`]
    pub fn write(&self, path: &Path) -> Result<()> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Write {
            path: path.into(),
            source,
        };
        let rows = self.name.rows().iter().flat_map(|v| v.to_le_bytes());
        let bytes: Vec<u8> = rows.collect();
        let shape = vec![NAME_TOKENS, self.name.width()];
        let view = TensorView::new(Dtype::F32, shape, &bytes).map_err(|e| failed(Box::new(e)))?;
        let mut metadata: HashMap<String, String> = self.about.iter().cloned().collect();
        metadata.insert(VERSION_KEY.into(), VERSION.into());
        let applied = if self.finished {
            "applied"
        } else {
            "not applied"
        };
        metadata.insert(EQUATIONS_KEY.into(), applied.into());
        let bytes = safetensors::serialize([(TENSOR, view)], Some(metadata));
        let bytes = bytes.map_err(|e| failed(Box::new(e)))?;
        std::fs::write(path, bytes).map_err(|e| failed(Box::new(e)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_name_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("mira.safetensors");
        let rows: Vec<f32> = (0..24u8).map(f32::from).collect();
        let file = NameFile {
            name: NameTensor::new(rows, 3).expect("a name"),
            finished: true,
            about: vec![("laioncele.encoder".into(), "ab12".into())],
        };
        file.write(&path).expect("written");
        let read = NameSource::read(&path).expect("a name");
        assert_eq!(read, NameSource::Embedding(file));
        let inversion = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/variants/textual-inversion/mira.safetensors");
        let read = NameSource::read(&inversion).expect("an inversion");
        assert_eq!(read, NameSource::Inversion(Inversion::of_file(&inversion)));
        let lora = inversion.with_file_name("../lora/peft.safetensors");
        let error = NameSource::read(&lora).expect_err("a LoRA").to_string();
        assert!(error.contains("name_embedding"), "{error}");
    }
}
