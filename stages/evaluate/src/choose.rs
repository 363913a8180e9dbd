//! Which people may be references, by images of them that somebody else drew by their names: the folders' side of
//! [`laioncele_inference::choice`].

use std::path::{Path, PathBuf};

use laioncele_core::Manifest;
use laioncele_face::{FaceNets, FaceOptions, Thresholds};
use laioncele_inference::choice::{Choice, Evidence, main_face, similarity};
use laioncele_inference::pool_of;
use laioncele_inference::references::{self, Person};
use rayon::prelude::*;

use crate::error::Result;
use crate::folders::image_files;
use crate::people::decoded;
use crate::settings::StageConfig;

/// Decides about everybody with photos in `references`, by the images in the sub-folder of `images` that has their name. The
/// judge of `[evaluate]` compares, and its calibrated threshold of a photo and portraits decides where none is given.
///
/// # Errors
/// Folders that cannot be read, missing or wrong models.
pub fn choose_people(
    manifest: &Manifest,
    images: &Path,
    references: &Path,
    threshold: Option<f64>,
    threads: usize,
) -> Result<Vec<Choice>> {
    let config = StageConfig::from_manifest(manifest)?;
    let threshold = match threshold {
        Some(threshold) => threshold,
        None => Thresholds::of(&config.face)?.same_person_photo,
    };
    let people = references::people(references)?;
    let nets = FaceNets::load(&config.face, &FaceOptions::default())?;
    let pool = pool_of(threads)?;
    let mut choices = Vec::with_capacity(people.len());
    for person in &people {
        let folder = images.join(&person.name);
        let files = match folder.is_dir() {
            true => image_files(&folder)?,
            false => Vec::new(),
        };
        let evidence = pool.install(|| evidence(person, &files, &nets))?;
        choices.push(Choice::of(&person.name, &evidence, threshold));
    }
    Ok(choices)
}

fn evidence(person: &Person, files: &[PathBuf], nets: &FaceNets) -> Result<Evidence> {
    let photos = person.usable_photos();
    let photo = |image| Ok(main_face(nets, image)?.1);
    let photos: Result<Vec<_>> = photos.par_iter().map(photo).collect();
    let photos: Vec<Vec<f32>> = photos?.into_iter().flatten().collect();
    let face = |path: &PathBuf| match decoded(path) {
        Some(image) => Ok(main_face(nets, &image)?.1),
        None => Ok(None),
    };
    let found: Result<Vec<_>> = files.par_iter().map(face).collect();
    let found: Vec<Vec<f32>> = found?.into_iter().flatten().collect();
    let similarities = found.iter().filter_map(|face| similarity(&photos, face));
    Ok(Evidence {
        photo_has_face: !photos.is_empty(),
        images: files.len(),
        similarities: similarities.collect(),
        faces: found.len(),
    })
}

#[cfg(test)]
mod tests {
    use laioncele_inference::choice::{Verdict, verdicts};

    use super::*;
    use crate::tests::{fixture, manifest};

    #[test]
    fn who_is_drawn_by_name_is_no_reference() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        for (from, to) in [
            ("first-photo.png", "photos/ada.png"),
            ("second-photo.png", "photos/bea.png"),
            ("nobody.png", "photos/cyd.png"),
            ("first-photo.png", "photos/dan.png"),
            ("first-photo.png", "photos/eve.png"),
            ("first-a.png", "named/ada/1.png"),
            ("first-b.png", "named/ada/2.png"),
            ("first-a.png", "named/bea/1.png"),
            ("nobody.png", "named/eve/1.png"),
        ] {
            let to = root.join(to);
            std::fs::create_dir_all(to.parent().expect("a folder")).expect("folders");
            std::fs::copy(fixture(from), to).expect("copied");
        }
        let (images, photos) = (root.join("named"), root.join("photos"));
        let choices = choose_people(&manifest(root, ""), &images, &photos, None, 0);
        let choices = choices.expect("choices");
        let words: Vec<_> = (choices.iter())
            .map(|c| (c.person.as_str(), c.verdict))
            .collect();
        let expected = [
            ("ada", Verdict::DrawnByName),
            ("bea", Verdict::Chosen),
            ("cyd", Verdict::NoFaceInPhotos),
            ("dan", Verdict::NoImages),
            ("eve", Verdict::NoFaceInImages),
        ];
        assert_eq!(words, expected);
        assert_eq!((choices[0].images, choices[0].faces), (2, 2));
        assert!(choices[0].similarity > choices[1].similarity);
        let strict = choose_people(&manifest(root, ""), &images, &photos, Some(-1.0), 1);
        let strict = strict.expect("choices");
        assert_eq!(strict[1].verdict, Verdict::DrawnByName);
        assert_eq!(verdicts(&strict)["drawn_by_name"], 2);
    }
}
