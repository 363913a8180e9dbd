//! LoRA: low-rank differences that are merged into the weights while they are read, once, so that a
//! step costs what it costs without them.

mod difference;
mod file;
#[cfg(test)]
mod merged_tests;
mod names;
mod peft;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use laioncele_nn::WeightChange;

use crate::error::Result;
pub(crate) use file::LoraFile;
pub(crate) use names::{ModuleNames, TEXT_1, TEXT_2, UNET};

/// A LoRA file and how strongly it counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Lora {
    /// A safetensors file: LoRA, LoCon or DoRA, of kohya's, PEFT's or diffusers' names.
    pub file: PathBuf,
    /// What its differences are multiplied by: any finite number, 1 as trained.
    pub strength: f64,
}

impl FromStr for Lora {
    type Err = String;

    /// `FILE`, or `FILE:STRENGTH`.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let strength = |text: &str| text.parse::<f64>().ok().filter(|s| s.is_finite());
        let (file, strength) = match text.rsplit_once(':') {
            Some((file, number)) => match strength(number) {
                Some(strength) => (file, strength),
                None if number.ends_with(".safetensors") || number.contains('/') => (text, 1.0),
                None => return Err(format!("the strength {number:?} is no finite number")),
            },
            None => (text, 1.0),
        };
        if file.is_empty() {
            return Err("a LoRA is a file, or a file, a colon and a strength".into());
        }
        Ok(Self {
            file: file.into(),
            strength,
        })
    }
}

/// The opened LoRAs of a model.
#[derive(Debug)]
pub(crate) struct Loras {
    files: Vec<(LoraFile, f64)>,
}

impl Loras {
    /// Opens the files and holds each against the model.
    ///
    /// # Errors
    /// A file that cannot be read; [`crate::Error::Lora`] of one that does not fit.
    pub(crate) fn open(loras: &[Lora], names: &ModuleNames) -> Result<Arc<Self>> {
        let open = |lora: &Lora| Ok((LoraFile::open(&lora.file, names)?, lora.strength));
        let files = loras.iter().map(open).collect::<Result<_>>()?;
        Ok(Arc::new(Self { files }))
    }

    /// What they change of a part ([`UNET`], [`TEXT_1`], [`TEXT_2`]); `None` where it is nothing.
    pub(crate) fn change(self: &Arc<Self>, part: &'static str) -> Option<Arc<dyn WeightChange>> {
        let start = format!("{part}.");
        let concerned = |(file, _): &(LoraFile, f64)| {
            let mut modules = file.modules();
            modules.any(|module| module.starts_with(&start))
        };
        let any = self.files.iter().any(concerned);
        any.then(|| {
            Arc::new(PartChange {
                loras: self.clone(),
                part,
            }) as Arc<dyn WeightChange>
        })
    }

    /// For each file the modules that it changes, by part.
    pub(crate) fn counts(&self) -> Vec<BTreeMap<&str, usize>> {
        let count = |(file, _): &(LoraFile, f64)| {
            let mut counts = BTreeMap::new();
            for part in file.modules().filter_map(|module| module.split('.').next()) {
                let known = [UNET, TEXT_1, TEXT_2].into_iter().find(|p| *p == part);
                *counts.entry(known.unwrap_or_default()).or_insert(0) += 1;
            }
            counts
        };
        self.files.iter().map(count).collect()
    }
}

/// The change of one part's weights.
struct PartChange {
    loras: Arc<Loras>,
    part: &'static str,
}

impl PartChange {
    /// The module of a weight by its name within the part; a text encoder may be saved without
    /// `text_model.`.
    fn modules(&self, name: &str) -> impl Iterator<Item = String> {
        let module = name.strip_suffix(".weight").map(str::to_owned);
        let part = self.part;
        let names = module.into_iter().flat_map(move |module| {
            let bare = (part != UNET).then(|| format!("{part}.text_model.{module}"));
            [Some(format!("{part}.{module}")), bare]
        });
        names.flatten()
    }
}

impl WeightChange for PartChange {
    fn concerns(&self, name: &str) -> bool {
        let concerned = |module: String| (self.loras.files).iter().any(|(f, _)| f.has(&module));
        self.modules(name).any(concerned)
    }

    /// W + Σ s ΔW: each difference is taken from the untouched weight, and they are added up in
    /// float64, so that their order does not show.
    fn apply(&self, name: &str, shape: &[usize], values: &mut [f32]) -> laioncele_nn::Result<()> {
        let mut sums = vec![0f64; values.len()];
        for module in self.modules(name) {
            for (file, strength) in &self.loras.files {
                let difference = file.difference(&module, values, shape, *strength);
                let difference =
                    difference.map_err(|error| laioncele_nn::Error::Change(Box::new(error)))?;
                for (sum, d) in sums.iter_mut().zip(difference.into_iter().flatten()) {
                    *sum += f64::from(d);
                }
            }
        }
        for (value, sum) in values.iter_mut().zip(sums) {
            *value = (f64::from(*value) + sum) as f32;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lora_is_a_file_and_perhaps_a_strength() {
        let read = |text: &str| text.parse::<Lora>().map(|l| (l.file, l.strength));
        let lora = |file: &str, strength| Ok((PathBuf::from(file), strength));
        assert_eq!(read("a/b.safetensors"), lora("a/b.safetensors", 1.0));
        assert_eq!(read("a.safetensors:0.8"), lora("a.safetensors", 0.8));
        assert_eq!(read("a.safetensors:-1"), lora("a.safetensors", -1.0));
        assert_eq!(read("c:/b.safetensors"), lora("c:/b.safetensors", 1.0));
        for wrong in ["", ":1", "a:inf", "a:NaN", "a:strong"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
