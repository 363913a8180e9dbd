//! An SDXL folder of random weights: the configurations copied, every tensor that they ask for
//! sampled and streamed out.
//!
//! Which tensors there are is asked of the loader itself ([`laioncele_sdxl::part_shapes`]); a test
//! compares their number and size with SDXL's known ones.

mod configs;
mod weights;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use laioncele_sdxl::part_shapes;

pub use weights::Stored;

/// What is written.
#[derive(Debug, Clone)]
pub struct Form {
    /// The folder whose configurations are taken; SDXL base 1.0's without one.
    pub like: Option<PathBuf>,
    /// The folder whose tokenizers are taken.
    pub tokenizers: Option<PathBuf>,
    /// How numbers are stored.
    pub dtype: Stored,
    /// Seed of all weights.
    pub seed: u64,
}

/// A written weight file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its part: `unet`, `vae`, `text_encoder`, `text_encoder_2`.
    pub part: &'static str,
    /// Tensors in it.
    pub tensors: usize,
    /// Numbers in it.
    pub parameters: u64,
}

/// Why a folder could not be written.
#[derive(Debug, thiserror::Error)]
pub enum RandomError {
    /// The folder is there already.
    #[error("{0} is there already; name a folder that is not")]
    Exists(PathBuf),
    /// A file could not be read or written.
    #[error("cannot read or write {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The configurations are not those of an SDXL.
    #[error(transparent)]
    Sdxl(#[from] laioncele_sdxl::Error),
}

impl RandomError {
    pub(crate) fn at(path: &Path) -> impl Fn(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            path: path.clone(),
            source,
        }
    }
}

/// Writes `folder`.
///
/// # Errors
/// [`RandomError`]; what was written until then stays.
pub fn write(folder: &Path, form: &Form) -> Result<Vec<Written>, RandomError> {
    if folder.exists() {
        return Err(RandomError::Exists(folder.to_owned()));
    }
    configs::write(folder, form)?;
    let mut written = Vec::new();
    for (part, shapes) in part_shapes(folder)? {
        let stem = if part.starts_with("text_encoder") {
            "model"
        } else {
            "diffusion_pytorch_model"
        };
        let file = folder.join(part).join(form.dtype.file_name(stem));
        weights::write(&file, &shapes, form.dtype, form.seed, part)?;
        written.push(Written {
            part,
            tensors: shapes.len(),
            parameters: shapes.iter().map(|(_, shape)| weights::count(shape)).sum(),
        });
    }
    Ok(written)
}

/// A folder of this repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

/// Copies the files of `from` into `to`, which is made.
fn copy_files(from: &Path, to: &Path) -> Result<(), RandomError> {
    fs::create_dir_all(to).map_err(RandomError::at(to))?;
    for entry in fs::read_dir(from).map_err(RandomError::at(from))? {
        let entry = entry.map_err(RandomError::at(from))?;
        let path = entry.path();
        if path.is_file() {
            fs::copy(&path, to.join(entry.file_name())).map_err(RandomError::at(&path))?;
        }
    }
    Ok(())
}
