//! The checks of models: each is loaded as a worker would load it, as far as that is cheap.

use std::path::PathBuf;

use laioncele_clip::{ImageEncoders, VisionModel};
use laioncele_core::error::chain;
use laioncele_core::file_digests::FileDigests;
use laioncele_core::{CoreError, Manifest, StageName, Step};
use laioncele_extract_names::check_engine;
use laioncele_face::{FaceFiles, FaceNets, FaceOptions};
use laioncele_inference::{
    FaceSection, ImageEncoderSection, SdxlSection, SingleFile, single_files,
};
use laioncele_nn::{DeviceChoice, LoadOptions, ResolvedDevice};
use laioncele_sdxl::{NAME_TOKENS, SamplingSettings, SdxlFiles};

use super::memory::Weights;
use super::{Check, baselines};
use crate::words::{grouped, size};

/// Which models are checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    ner: bool,
    sdxl: bool,
    image_encoders: bool,
    face: bool,
    gender: bool,
    judge: bool,
    /// What LaionCele is compared with.
    baselines: bool,
    /// The settings that portraits are generated with.
    portraits: bool,
    /// The settings that samples are generated with.
    samples: bool,
}

impl Wanted {
    /// All that a manifest can name.
    pub(super) fn all() -> Self {
        Self {
            ner: true,
            sdxl: true,
            image_encoders: true,
            face: true,
            gender: true,
            judge: true,
            baselines: true,
            portraits: true,
            samples: true,
        }
    }

    /// Those that `steps` load.
    pub(super) fn by(manifest: &Manifest, steps: &[&dyn Step]) -> Result<Self, CoreError> {
        let mut labels = Vec::new();
        for step in steps {
            labels.extend(step.models(manifest)?.into_iter().map(|model| model.label));
        }
        let uses = |start: &str| labels.iter().any(|label| label.starts_with(start));
        let has = |stage: StageName| steps.iter().any(|step| step.spec().stage == stage);
        Ok(Self {
            ner: uses("models.ner"),
            sdxl: uses("models.sdxl."),
            image_encoders: uses("models.image_encoders."),
            face: uses("models.face."),
            gender: uses("models.face.gender"),
            judge: has(StageName::Evaluate),
            baselines: uses("models.ip_adapter.") || uses("models.photomaker."),
            portraits: has(StageName::GeneratePortraits),
            samples: has(StageName::GenerateSamples),
        })
    }
}

/// Checks the wanted models; `deep` reads all weights.
pub(super) fn check(
    manifest: &Manifest,
    wanted: Wanted,
    deep: bool,
    weights: &mut Weights,
) -> Vec<Check> {
    let mut checks = Vec::new();
    if wanted.ner {
        checks.push(ner(manifest));
    }
    if wanted.sdxl {
        checks.extend(sdxl(manifest, wanted, deep, weights));
    }
    if wanted.image_encoders {
        checks.push(image_encoders(manifest, deep, weights));
    }
    if wanted.face {
        checks.push(faces(manifest, wanted.gender));
    }
    if wanted.judge {
        checks.extend(judge(manifest));
        checks.extend(inception(manifest));
    }
    if wanted.baselines {
        checks.extend(baselines::check(manifest, deep));
    }
    checks
}

/// The NER engine. A spaCy package contains its own digests.
fn ner(manifest: &Manifest) -> Check {
    let folder = manifest.model::<NerFolder>("ner").ok();
    let folder = folder.map(|ner| manifest.resolve(&ner.folder));
    let found = check_engine(manifest).map(|()| "loads".to_owned());
    Check::new(
        "models.ner",
        folder.as_deref(),
        found.map_err(|e| chain(&e)),
    )
}

/// What is shown of `[models.ner]`.
#[derive(serde::Deserialize)]
struct NerFolder {
    folder: PathBuf,
}

/// The parts of SDXL, and whether they fit each other, `[embedding_dims]` and the settings of those
/// who generate.
fn sdxl(manifest: &Manifest, wanted: Wanted, deep: bool, weights: &mut Weights) -> Vec<Check> {
    let files = match SdxlSection::from_manifest(manifest) {
        Ok(section) => section.files,
        Err(error) => return vec![Check::new("models.sdxl", None, Err(chain(&error)))],
    };
    let parts = files.check(deep);
    let mut checks: Vec<Check> = parts
        .iter()
        .map(|part| {
            let found = part.found.as_ref().map_err(|e| chain(e)).map(|facts| {
                weights.sdxl += facts.bytes;
                told(&facts.files, facts.parameters, facts.bytes)
            });
            Check::new(
                &format!("models.sdxl.{}", part.part),
                Some(&part.path),
                found,
            )
        })
        .collect();
    if checks.iter().all(|check| check.ok) {
        let path = Some(manifest.path());
        checks.push(Check::new("embedding_dims", path, fit(manifest, &files)));
        checks.extend(generation(manifest, wanted));
    }
    checks.push(device(files.device));
    checks
}

/// What each single file was recognized as, by which names, and its digests.
pub(super) fn recognized(manifest: &Manifest) -> Vec<Check> {
    let Ok(section) = SdxlSection::from_manifest(manifest) else {
        return Vec::new();
    };
    let digests = FileDigests::open(None);
    let check = |file: SingleFile| {
        let found = file.found.clone().and_then(|found| {
            let digest = digests.of(&file.path).map_err(|e| chain(&e))?;
            let (digest, sha256) = (digest.short(), file.sha256().map_err(|e| e.to_string())?);
            Ok(format!(
                "{}, by {}; BLAKE3 {digest}, SHA-256 {sha256}",
                found.what, found.rule
            ))
        });
        Check::new(&format!("{} (kind)", file.label), Some(&file.path), found)
    };
    let files = single_files(&section.files).into_iter();
    files.map(check).collect()
}

/// Where images are generated.
fn device(choice: DeviceChoice) -> Check {
    let found = match choice.resolve() {
        Ok(ResolvedDevice::Gpu(number, gpu)) => {
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

/// The settings of generate-portraits and generate-samples, held against the model. Sections that are
/// wrong in themselves are told with the settings of their steps.
fn generation(manifest: &Manifest, wanted: Wanted) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut add = |name: &str, files: &SdxlFiles, sampling: &SamplingSettings| {
        let found = files.check_sampling(sampling).map_err(|e| chain(&e));
        let found = found.map(|kind| format!("{} steps of {}", sampling.steps, kind.name()));
        checks.push(Check::new(name, Some(manifest.path()), found));
    };
    if wanted.portraits
        && let Ok(config) = laioncele_generate_portraits::StageConfig::from_manifest(manifest)
    {
        let sampling = config.settings.sampling();
        add("generate_portraits", &config.sdxl.files, &sampling);
    }
    if wanted.samples
        && let Ok(config) = laioncele_generate_samples::StageConfig::from_manifest(manifest)
    {
        let sampling = config.settings.sampling();
        add("generate_samples", &config.sdxl.files, &sampling);
    }
    checks
}

fn image_encoders(manifest: &Manifest, deep: bool, weights: &mut Weights) -> Check {
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
        files.device.resolve().map_err(|e| chain(&e))?;
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
        weights.image_encoders += bytes;
        Ok(told(&[], parameters, bytes))
    };
    let found = found();
    Check::new(label, Some(&files.first), found)
}

/// The face networks. Each runs once.
fn faces(manifest: &Manifest, gender: bool) -> Check {
    let label = "models.face";
    let section = match FaceSection::from_manifest(manifest) {
        Ok(section) if gender => section,
        Ok(section) => section.without_gender(),
        Err(error) => return Check::new(label, None, Err(chain(&error))),
    };
    let width = match load_faces(&section.files) {
        Ok(width) => width,
        // The error names the file that it concerns.
        Err(error) => return Check::new(label, None, Err(error)),
    };
    let said = manifest.embedding_dims.face;
    let found = if width == said {
        Ok(format!("embeddings of {width}"))
    } else {
        Err(format!(
            "[embedding_dims] face = {said}, but the recognizer gives {width}"
        ))
    };
    Check::new(label, Some(&section.files.recognizer), found)
}

/// The networks that judge the samples, where they are others.
fn judge(manifest: &Manifest) -> Option<Check> {
    let config = laioncele_evaluate::StageConfig::from_manifest(manifest).ok()?;
    config.settings.judge.as_ref()?;
    let found = load_faces(&config.face).map(|width| format!("embeddings of {width}"));
    Some(Check::new(
        "evaluate.judge",
        Some(&config.face.recognizer),
        found,
    ))
}

/// The network that FID is taken with, where there is one. It runs once, on gray.
fn inception(manifest: &Manifest) -> Option<Check> {
    let config = laioncele_evaluate::StageConfig::from_manifest(manifest).ok()?;
    let settings = config.settings.inception.as_ref()?;
    let loaded = laioncele_evaluate::Inception::load(settings, config.face.device);
    let found = loaded.map(|network| format!("features of {}", network.width()));
    let found = found.map_err(|e| chain(&e));
    Some(Check::new(
        "evaluate.inception",
        Some(&settings.network),
        found,
    ))
}

/// Loads the networks; the numbers of an embedding.
fn load_faces(files: &FaceFiles) -> Result<usize, String> {
    let nets = FaceNets::load(files, &FaceOptions::default());
    nets.map(|nets| nets.width()).map_err(|e| chain(&e))
}

/// `2,567,463,684 parameters, 10.27 GB in memory; model.fp16.safetensors`
fn told(files: &[PathBuf], parameters: u64, bytes: u64) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_shown_as_parameters_and_bytes() {
        let files = [PathBuf::from("a/model.fp16.safetensors")];
        let text = told(&files, 1_500_000, 3_000_000);
        let expected = "1,500,000 parameters, 3.00 MB in memory; model.fp16.safetensors";
        assert_eq!(text, expected);
    }
}
