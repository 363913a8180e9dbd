//! Reference photos of who was taken down: the folder is the user's, so they are named and not deleted.

use std::path::PathBuf;

use laioncele_core::Manifest;
use laioncele_core::forgotten::Forgotten;
use laioncele_generate_samples::StageConfig;

/// The photos in the manifest's `references` whose file or folder has the name of somebody who was taken down. While they are there
/// a run draws that person again.
pub(crate) fn reference_photos(manifest: &Manifest, stones: &Forgotten) -> Vec<PathBuf> {
    let config = StageConfig::from_manifest(manifest);
    // A manifest without references has none; what is wrong with it is told by what needs it.
    let people = config.and_then(|config| config.candidates(manifest));
    let mut people = people.unwrap_or_default();
    people.retain(|person| stones.is_named_in(&person.name));
    people
        .into_iter()
        .flat_map(|person| person.photos)
        .collect()
}
