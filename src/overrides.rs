//! `--set SECTION.KEY=VALUE`: settings of the command line over those of the manifest's file.

use laioncele_core::manifest::Assignment;
use laioncele_core::{CoreError, Manifest, StageName};
use laioncele_inference::{
    FaceSection, ImageEncoderSection, IpAdapterSection, PhotoMakerSection, SdxlSection,
};

use crate::failure::Failure;
use crate::registry;
use crate::world_web::WorldWeb;

/// `manifest` with what `set` says instead.
///
/// # Errors
/// An unknown section or key, with the nearest valid one; a value of another type.
pub(crate) fn with_settings(manifest: Manifest, set: &[Assignment]) -> Result<Manifest, Failure> {
    if set.is_empty() {
        return Ok(manifest);
    }
    let manifest = manifest.with_settings(set)?;
    for assignment in set {
        check(&manifest, assignment.path())?;
    }
    Ok(manifest)
}

/// Reads the section that `path` leads into, whichever command would read it later: a key that nobody knows must not be passed over.
fn check(manifest: &Manifest, path: &[String]) -> Result<(), Failure> {
    let mut names = path.iter().map(String::as_str);
    match (names.next(), names.next()) {
        (Some("models"), Some(model)) => Ok(check_model(manifest, model)?),
        (Some("mini_world"), _) => WorldWeb::of(manifest).map(drop),
        (Some("finetune"), _) => {
            Ok(laioncele_finetune_run::Settings::from_manifest(manifest).map(drop)?)
        }
        (Some(section), _) => Ok(check_stage(manifest, section)?),
        _ => Ok(()),
    }
}

/// Reads the settings of the stage whose section is `section`.
fn check_stage(manifest: &Manifest, section: &str) -> Result<(), CoreError> {
    let steps = registry::steps();
    let of_stage = |stage: StageName| stage.as_str().replace('-', "_") == section;
    let mut steps = steps.iter().filter(|step| of_stage(step.spec().stage));
    steps.try_for_each(|step| step.settings(manifest).map(drop))
}

fn check_model(manifest: &Manifest, model: &str) -> Result<(), CoreError> {
    match model {
        "ner" => check_stage(manifest, "extract_names"),
        "sdxl" => SdxlSection::from_manifest(manifest).map(drop),
        "face" => FaceSection::from_manifest(manifest).map(drop),
        "image_encoders" => ImageEncoderSection::from_manifest(manifest).map(drop),
        "ip_adapter" => IpAdapterSection::from_manifest(manifest).map(drop),
        "photomaker" => PhotoMakerSection::from_manifest(manifest).map(drop),
        _ => Ok(()),
    }
}
