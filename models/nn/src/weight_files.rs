//! Which files hold a folder's weights: one, its half-precision variant, or the shards of an index.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::config::JsonFile;
use crate::error::{Error, Result};
use crate::foreign;

/// Which of a folder's weight files to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightVariant {
    /// Full precision if it is there, else half precision.
    #[default]
    Any,
    /// Full precision only.
    Full,
    /// Half precision (`.fp16.`) only.
    Half,
}

#[derive(Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

/// A folder's weight files of the wanted variant.
pub(crate) struct WeightFiles {
    /// The file that names the shards.
    pub(crate) index: Option<PathBuf>,
    /// The one whole file, or the shards.
    pub(crate) weights: Vec<PathBuf>,
}

impl WeightFiles {
    /// The whole file where there is one: an index beside it is of an earlier export.
    pub(crate) fn find(folder: &Path, stem: &str, variant: WeightVariant) -> Result<Self> {
        let full = (
            format!("{stem}.safetensors"),
            format!("{stem}.safetensors.index.json"),
        );
        let half = (
            format!("{stem}.fp16.safetensors"),
            format!("{stem}.safetensors.index.fp16.json"),
        );
        let candidates = match variant {
            WeightVariant::Any => vec![full, half],
            WeightVariant::Full => vec![full],
            WeightVariant::Half => vec![half],
        };
        for (whole, index) in &candidates {
            let (whole, index) = (folder.join(whole), folder.join(index));
            if whole.is_file() {
                return Ok(Self {
                    index: None,
                    weights: vec![whole],
                });
            }
            if index.is_file() {
                return Ok(Self {
                    weights: shard_files(folder, &index)?,
                    index: Some(index),
                });
            }
        }
        Err(Error::NoWeights {
            folder: folder.into(),
            tried: candidates
                .into_iter()
                .flat_map(|(whole, index)| [whole, index])
                .collect(),
            pickles: foreign::pickles(folder),
        })
    }
}

fn shard_files(folder: &Path, index: &Path) -> Result<Vec<PathBuf>> {
    let json = JsonFile::read(index)?;
    let index: ShardIndex = json.parse()?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    if names.is_empty() {
        return Err(json.unsupported("weight_map", "{}", "the file of each tensor"));
    }
    for name in &names {
        // A shard lies beside its index; anything else would let a model folder read other files.
        if Path::new(name)
            .file_name()
            .is_none_or(|base| base != name.as_str())
        {
            return Err(json.unsupported("weight_map", name, "file names without a folder"));
        }
    }
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}
