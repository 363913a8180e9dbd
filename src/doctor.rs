//! The checks of `doctor`: whether everything that a manifest names exists, is intact and fits
//! together, before a run spends hours on it.

use std::fs;
use std::path::{Path, PathBuf};

use laioncele_clip::{ImageEncoders, VisionModel};
use laioncele_core::error::chain;
use laioncele_core::{Manifest, Step};
use laioncele_extract_names::check_source;
use laioncele_face::{FaceNets, FaceOptions};
use laioncele_inference::{FaceSection, ImageEncoderSection, SdxlSection};
use laioncele_ner::Ner;
use laioncele_nn::{DeviceChoice, LoadOptions, ResolvedDevice};
use laioncele_sdxl::{NAME_TOKENS, SdxlFiles};
use serde::Serialize;

use crate::plan::inputs;
use crate::words::{count, grouped, size};

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// What was checked: `source`, `models.sdxl.unet`, `embedding_dims`, `memory`, …
    pub check: String,
    /// Whether the check passed.
    pub ok: bool,
    /// Its file or folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// What was found, or the error.
    pub detail: String,
}

impl Check {
    fn new(check: &str, path: Option<&Path>, found: Result<String, String>) -> Self {
        Self {
            check: check.to_owned(),
            ok: found.is_ok(),
            path: path.map(Path::to_owned),
            detail: found.unwrap_or_else(|error| error),
        }
    }
}

/// Models with checks of their own; the others only have to exist.
const LOADED: [&str; 4] = [
    "models.ner",
    "models.sdxl",
    "models.face",
    "models.image_encoders",
];

/// Runs all checks. `deep` reads all weights of SDXL and of the image encoders.
pub(crate) fn examine(manifest: &Manifest, steps: &[Box<dyn Step>], deep: bool) -> Vec<Check> {
    let mut checks = settings(manifest, steps);
    checks.push(source(manifest));
    checks.extend(files(manifest, steps));
    let mut memory = Memory::default();
    checks.extend(sdxl(manifest, deep, &mut memory));
    checks.push(image_encoders(manifest, deep, &mut memory));
    checks.push(faces(manifest));
    checks.push(memory.check());
    checks
}

/// The settings of each step; one entry if all are valid.
fn settings(manifest: &Manifest, steps: &[Box<dyn Step>]) -> Vec<Check> {
    let path = Some(manifest.path());
    let read = steps
        .iter()
        .map(|step| (step, inputs::settings(&**step, manifest)));
    let wrong: Vec<Check> = read
        .filter_map(|(step, read)| Some((step, read.err()?)))
        .map(|(step, error)| Check::new(step.spec().name, path, Err(chain(&error))))
        .collect();
    if wrong.is_empty() {
        let text = format!("valid for {}", count(steps.len(), "step"));
        return vec![Check::new("settings", path, Ok(text))];
    }
    wrong
}

/// The captions' files, and the columns that the manifest maps: the verdict that `run` begins with.
fn source(manifest: &Manifest) -> Check {
    let path = manifest.resolve(manifest.source.path.first());
    let found = check_source(manifest).map_err(|e| chain(&e));
    let found = found.map(|source| {
        let (files, rows) = (count(source.files, "file"), grouped(source.rows));
        let uncounted = match source.uncounted {
            0 => String::new(),
            files => format!(" and those of {}, not counted yet", count(files, "file")),
        };
        let mut text = format!("{files}, {rows} rows{uncounted}, {}", size(source.bytes));
        for (layout, files) in &source.layouts {
            let of = match source.layouts.len() {
                1 => String::new(),
                _ => format!("{}: ", count(*files, "file")),
            };
            text += &format!("; {of}{layout}");
        }
        text
    });
    Check::new("source", Some(&path), found)
}

/// The models that are not loaded below. The NER package contains its own digests.
fn files(manifest: &Manifest, steps: &[Box<dyn Step>]) -> Vec<Check> {
    let models = steps.iter().filter_map(|step| step.models(manifest).ok());
    let mut models: Vec<(String, PathBuf)> = models.flatten().map(|m| (m.label, m.path)).collect();
    models.sort();
    models.dedup();
    let mut checks = Vec::new();
    for (label, path) in models {
        let found = match label.as_str() {
            "models.ner" => Ner::load(&path)
                .map(|_| "all digests match".to_owned())
                .map_err(|e| chain(&e)),
            other if LOADED.iter().any(|loaded| other.starts_with(loaded)) => continue,
            _ if path.exists() => Ok("exists".to_owned()),
            _ => Err("missing".to_owned()),
        };
        checks.push(Check::new(&label, Some(&path), found));
    }
    checks
}

/// The parts of SDXL, and whether they fit each other and `[embedding_dims]`.
fn sdxl(manifest: &Manifest, deep: bool, memory: &mut Memory) -> Vec<Check> {
    let files = match SdxlSection::from_manifest(manifest) {
        Ok(section) => section.files,
        Err(error) => return vec![Check::new("models.sdxl", None, Err(chain(&error)))],
    };
    let parts = files.check(deep);
    let mut checks: Vec<Check> = parts
        .iter()
        .map(|part| {
            let found = part.found.as_ref().map_err(|e| chain(e)).map(|facts| {
                memory.needed += facts.bytes;
                weights(&facts.files, facts.parameters, facts.bytes)
            });
            Check::new(
                &format!("models.sdxl.{}", part.part),
                Some(&part.path),
                found,
            )
        })
        .collect();
    if checks.iter().all(|check| check.ok) {
        checks.push(Check::new(
            "embedding_dims",
            Some(manifest.path()),
            fit(manifest, &files),
        ));
    }
    checks.push(device(files.device, memory));
    checks
}

/// Where images are generated.
fn device(choice: DeviceChoice, memory: &mut Memory) -> Check {
    let found = match choice.resolve() {
        Ok(ResolvedDevice::Gpu(number, gpu)) => {
            memory.of_gpu = Some(gpu.memory);
            let memory = size(gpu.memory);
            Ok(format!("{}, {memory}", ResolvedDevice::Gpu(number, gpu)))
        }
        Ok(processor) => Ok(processor.to_string()),
        Err(error) => Err(chain(&error)),
    };
    Check::new("models.sdxl.device", None, found)
}

fn fit(manifest: &Manifest, files: &SdxlFiles) -> Result<String, String> {
    let found = files.check_together().map_err(|e| chain(&e))?;
    let dims = &manifest.embedding_dims;
    if (dims.name_tokens, dims.name_channels) != (NAME_TOKENS, found.name) {
        return Err(format!(
            "[embedding_dims] says {} x {}, but the name embeddings of [models.sdxl] are {NAME_TOKENS} x {}",
            dims.name_tokens, dims.name_channels, found.name
        ));
    }
    let edge = found.image_size;
    Ok(format!(
        "name embeddings of {NAME_TOKENS} x {}, images of {edge} x {edge}",
        found.name
    ))
}

fn image_encoders(manifest: &Manifest, deep: bool, memory: &mut Memory) -> Check {
    let label = "models.image_encoders";
    let files = match ImageEncoderSection::from_manifest(manifest) {
        Ok(files) => files,
        Err(error) => return Check::new(label, None, Err(chain(&error))),
    };
    let options = LoadOptions {
        dtype: files.precision.dtype(),
        dry: !deep,
        ..LoadOptions::default()
    };
    let mut found = || {
        let encoders = ImageEncoders::load(&files.first, &files.second, &options);
        let width = encoders.map_err(|e| chain(&e))?.width();
        if width != manifest.embedding_dims.features {
            let said = manifest.embedding_dims.features;
            return Err(format!(
                "[embedding_dims] features = {said}, but the encoders give {width}"
            ));
        }
        let mut parameters = 0;
        for folder in [&files.first, &files.second] {
            let shapes = VisionModel::shapes(folder).map_err(|e| chain(&e))?;
            let numbers = |(_, shape): &(String, Vec<usize>)| shape.iter().product::<usize>();
            parameters += shapes.iter().map(numbers).sum::<usize>() as u64;
        }
        let bytes = parameters * options.dtype.size_in_bytes() as u64;
        memory.needed += bytes;
        Ok(weights(&[], parameters, bytes))
    };
    let found = found();
    Check::new(label, Some(&files.first), found)
}

/// The face networks. Each runs once.
fn faces(manifest: &Manifest) -> Check {
    let label = "models.face";
    let files = match FaceSection::from_manifest(manifest) {
        Ok(section) => section.files,
        Err(error) => return Check::new(label, None, Err(chain(&error))),
    };
    let nets = match FaceNets::load(&files, &FaceOptions::default()) {
        Ok(nets) => nets,
        // The error names the file that it concerns.
        Err(error) => return Check::new(label, None, Err(chain(&error))),
    };
    let (width, said) = (nets.width(), manifest.embedding_dims.face);
    let found = if width == said {
        Ok(format!("embeddings of {width}"))
    } else {
        Err(format!(
            "[embedding_dims] face = {said}, but the recognizer gives {width}"
        ))
    };
    Check::new(label, Some(&files.recognizer), found)
}

/// `2,567,463,684 parameters, 10.27 GB in memory; model.fp16.safetensors`
fn weights(files: &[PathBuf], parameters: u64, bytes: u64) -> String {
    if parameters == 0 {
        return "valid".to_owned();
    }
    let names = files.iter().filter_map(|file| file.file_name());
    let names: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
    let text = format!(
        "{} parameters, {} in memory",
        grouped(parameters),
        size(bytes)
    );
    match names.as_slice() {
        [] => text,
        names => format!("{text}; {}", names.join(", ")),
    }
}

/// The memory that a worker's weights need.
#[derive(Default)]
struct Memory {
    needed: u64,
    /// Memory of the GPU, if the weights are loaded there.
    of_gpu: Option<u64>,
}

impl Memory {
    fn check(&self) -> Check {
        let needed = format!("a worker's weights take {}", size(self.needed));
        let found = match (self.of_gpu, available()) {
            (Some(all), _) if all < self.needed => {
                Err(format!("{needed}; the GPU has {}", size(all)))
            }
            (Some(all), _) => Ok(format!("{needed} of the GPU's {}", size(all))),
            (None, None) => Ok(needed),
            (None, Some(free)) if free < self.needed => {
                Err(format!("{needed}; {} are free", size(free)))
            }
            (None, Some(free)) => Ok(format!("{needed}; {} are free", size(free))),
        };
        Check::new("memory", None, found)
    }
}

/// Free memory in bytes; `None` if the system does not tell.
fn available() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find(|line| line.starts_with("MemAvailable:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_memory_is_a_failed_check() {
        let memory = |needed| Memory {
            needed,
            ..Memory::default()
        };
        assert!(memory(1).check().ok);
        if available().is_some() {
            let check = memory(u64::MAX).check();
            assert!(!check.ok && check.detail.contains("free"), "{check:?}");
        }
        let of_gpu = Some(1_000_000);
        let on_gpu = |needed| Memory { needed, of_gpu }.check();
        assert!(on_gpu(1_000_000).ok);
        assert!(!on_gpu(1_000_001).ok);
    }

    #[test]
    fn weights_are_shown_as_parameters_and_bytes() {
        let files = [PathBuf::from("a/model.fp16.safetensors")];
        let text = weights(&files, 1_500_000, 3_000_000);
        let expected = "1,500,000 parameters, 3.00 MB in memory; model.fp16.safetensors";
        assert_eq!(text, expected);
    }
}
