//! The stage on real networks and rendered images, and its decisions on invented numbers.

use std::path::{Path, PathBuf};

use laioncele_core::Partition;
use laioncele_core::ledger::Record;
use laioncele_core::table::{
    Dropped, FaceBox, FaceVector, FaceVectors, Image, KnownName, Landmarks, Match, NamePeople,
    Photo, PhotoFace, UniquePhoto,
};
use laioncele_core::testing::StepHarness;
use laioncele_core::{DropReason, ImageId, Manifest, NameId, StageError, Step};
use laioncele_face::{FaceFiles, FaceNets, FaceOptions, cosine};
use proptest::prelude::*;

use crate::Settings;
use crate::score::ScorePhotos;
use crate::verify::{VerifyImages, decide};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn bucket() -> Partition {
    Partition::Bucket(0)
}

fn network(folder: &Path) -> FaceFiles {
    FaceFiles {
        detector: folder.join("retinaface_mobilenet025_dynamic.onnx"),
        recognizer: folder.join("faceplugin_fr_feature_512.onnx"),
        ..FaceFiles::default()
    }
}

fn networks() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests/mini/face")
}

/// A harness with the networks in `faces`, or with a manifest that names no model; `keys` go into `[verify_images]`.
fn harness(root: &Path, faces: Option<&Path>, keys: &str) -> StepHarness {
    let models = faces.map(network).map_or_else(String::new, |files| {
        format!(
            "[models.face]\ndetector = \"{}\"\nrecognizer = \"{}\"\n",
            files.detector.display(),
            files.recognizer.display()
        )
    });
    let text = format!(
        "[run]\nseed = 1\nbuckets = 1\n[source]\npath = \"captions\"\n[source.columns]\nurl = \"URL\"\ncaption = \"TEXT\"\n\
         [embedding_dims]\nname_tokens = 1\nname_channels = 1\nface = 512\nfeatures = 1\n{models}[verify_images]\n{keys}\n"
    );
    let manifest = Manifest::parse(&root.join("m.toml"), &text).expect("a manifest");
    StepHarness::with_manifest(root, manifest).expect("a harness")
}

fn image_file(file: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/face/tests/fixtures");
    std::fs::read(folder.join(file)).expect("an image")
}

/// A known name whose portraits are these images.
fn known(name: u64, portraits: &[&str]) -> KnownName {
    let nets = FaceNets::load(&network(&networks()), &FaceOptions::default()).expect("networks");
    let vector = |file: &&str| {
        let pixels = laioncele_image::decode(
            &image_file(file),
            &laioncele_image::Limits::default(),
            laioncele_image::Orientation::Upright,
        );
        let found = nets.faces(&pixels.expect("an image")).expect("faces");
        FaceVector(found.into_iter().next().expect("a face").vector)
    };
    KnownName {
        name_id: NameId(name),
        name: format!("Name {name}"),
        faces: FaceVectors(portraits.iter().map(vector).collect()),
        mean_face: FaceVector(vec![0.0; 512]),
        min_similarity: 0.9,
        mean_similarity: 0.9,
    }
}

fn photo(name: u64, image: u64, file: &str) -> Photo {
    Photo {
        name_id: NameId(name),
        image_id: ImageId(image),
        url: format!("http://a.example/{image}.png"),
        caption: String::new(),
        sha256: String::new(),
        image: Image {
            bytes: image_file(file),
            path: file.to_owned(),
        },
        width: 1,
        height: 1,
    }
}

/// Photos of names 1 and 2, in two parts and no order; photo 19 is a copy, name 9 is not known.
fn photos() -> [Vec<Photo>; 2] {
    [
        vec![
            photo(2, 20, "second-photo.png"),
            photo(1, 12, "second-photo.png"),
            photo(1, 11, "first-photo.png"),
            photo(1, 19, "first-photo.png"),
        ],
        vec![
            photo(9, 90, "first-photo.png"),
            photo(1, 14, "two.png"),
            photo(1, 13, "nobody.png"),
        ],
    ]
}

fn unique(photos: &[Vec<Photo>]) -> Vec<UniquePhoto> {
    let kept = photos.iter().flatten().filter(|p| p.image_id.0 != 19);
    kept.map(|p| UniquePhoto {
        name_id: p.name_id,
        image_id: p.image_id,
        average_hash: 0,
        copies: 0,
    })
    .collect()
}

fn two_people() -> Vec<KnownName> {
    let (a, b) = ("first-a.png", "first-b.png");
    vec![
        known(1, &[a, b, a, b]),
        known(2, &["second-a.png", "second-a.png"]),
    ]
}

fn score(
    harness: &StepHarness,
    photos: [Vec<Photo>; 2],
    known: Vec<KnownName>,
) -> Result<Record, StageError> {
    let mut inputs = vec![
        harness.part(&bucket(), unique(&photos))?,
        harness.part(&bucket(), known)?,
    ];
    for part in photos {
        inputs.push(harness.part(&bucket(), part)?);
    }
    harness.run(&ScorePhotos, &bucket(), inputs)
}

fn scores(harness: &StepHarness, photos: [Vec<Photo>; 2], known: Vec<KnownName>) -> Vec<PhotoFace> {
    let record = score(harness, photos, known).expect("scored");
    harness.rows(&record).expect("rows")
}

fn verify(harness: &StepHarness, rows: Vec<PhotoFace>) -> Result<Record, StageError> {
    let part = harness.part(&bucket(), rows)?;
    harness.run(&VerifyImages, &bucket(), vec![part])
}

fn reasons(harness: &StepHarness, record: &Record) -> Vec<(u64, DropReason)> {
    let rows: Vec<Dropped> = harness.rows(record).expect("dropped");
    rows.into_iter().map(|row| (row.id, row.reason)).collect()
}

#[test]
fn every_unique_photo_of_a_known_name_is_scored() -> Outcome {
    let folder = tempfile::tempdir()?;
    let harness = harness(folder.path(), Some(&networks()), "");
    let people = two_people();
    let record = score(&harness, photos(), people.clone())?;
    let balance = &record.balances[0];
    assert_eq!((balance.rows_in, balance.rows_out), (6, 5));
    assert_eq!(reasons(&harness, &record), [(90, DropReason::UnknownName)]);

    let rows: Vec<PhotoFace> = harness.rows(&record)?;
    let order: Vec<_> = rows
        .iter()
        .map(|row| (row.name_id.0, row.image_id.0))
        .collect();
    assert_eq!(order, [(1, 11), (1, 12), (1, 13), (1, 14), (2, 20)]);
    let similarity = |k: usize| rows[k].similarity.unwrap_or(f32::NAN);
    assert!(similarity(0) > similarity(1) + 0.2, "{rows:?}");
    assert!(similarity(4) > similarity(1) + 0.2, "{rows:?}");
    let [a, b] = [&people[0].faces.0[0].0, &people[0].faces.0[1].0];
    let face = &known(1, &["first-photo.png"]).faces.0[0].0;
    let mean = (cosine(face, a) + cosine(face, b)) / 2.0;
    assert!(
        (similarity(0) - mean).abs() < 1e-5,
        "{} {mean}",
        similarity(0)
    );
    assert_eq!((rows[2].faces, rows[2].similarity), (0, None));
    assert_eq!(rows[3].faces, 2);
    assert!(rows[3].similarity >= rows[3].second && rows[3].second.is_some());
    Ok(())
}

#[test]
fn a_threshold_decides_again_without_a_network() -> Outcome {
    let folder = tempfile::tempdir()?;
    let scoring = harness(folder.path(), Some(&networks()), "");
    let rows = scores(&scoring, photos(), two_people());
    let of = |image: u64| {
        rows.iter()
            .find(|row| row.image_id.0 == image)
            .expect("a row")
    };
    let (right, wrong) = (of(11).similarity, of(12).similarity);
    let between = (right.unwrap_or_default() + wrong.unwrap_or_default()) / 2.0;

    // Manifests without any model: the decision is on what was stored.
    let kept = |keys: &str| -> Result<(Vec<u64>, Vec<(u64, DropReason)>), StageError> {
        let harness = harness(folder.path(), None, keys);
        let record = verify(&harness, rows.clone())?;
        let matches: Vec<Match> = harness.rows(&record)?;
        let ids = matches.iter().map(|row| row.image_id.0).collect();
        Ok((ids, reasons(&harness, &record)))
    };
    let (ids, dropped) = kept(&format!("same_person_photo = {between}"))?;
    assert!(ids.contains(&11) && ids.contains(&20), "{ids:?}");
    assert!(
        dropped.contains(&(12, DropReason::OtherPerson)),
        "{dropped:?}"
    );
    assert!(dropped.contains(&(13, DropReason::NoFace)), "{dropped:?}");
    let (ids, _) = kept("same_person_photo = -1")?;
    assert_eq!(ids, [11, 12, 14, 20]);
    let (ids, dropped) = kept("same_person_photo = -1\nmin_face = 100")?;
    assert!(ids.is_empty() || ids == [14], "{ids:?}");
    assert!(
        dropped.contains(&(11, DropReason::FaceTooSmall)),
        "{dropped:?}"
    );
    let (ids, dropped) = kept("same_person_photo = 1")?;
    assert!(ids.is_empty() && dropped.len() == 5, "{ids:?}");
    Ok(())
}

#[test]
fn rows_do_not_depend_on_threads_or_order() -> Outcome {
    let people = two_people();
    let run = |threads: usize, photos: [Vec<Photo>; 2]| {
        let folder = tempfile::tempdir().expect("a folder");
        let mut harness = harness(folder.path(), Some(&networks()), "");
        harness.runtime_environment.threads = threads;
        scores(&harness, photos, people.clone())
    };
    let one = run(1, photos());
    assert_eq!(run(3, photos()), one);
    let [first, mut second] = photos();
    second.reverse();
    assert_eq!(run(2, [second, first]), one);
    Ok(())
}

#[test]
fn the_keys_hold_what_the_results_depend_on() -> Outcome {
    let folder = tempfile::tempdir()?;
    let manifest = |keys: &str| harness(folder.path(), Some(&networks()), keys).manifest;
    let settings = |step: &dyn Step, keys: &str| step.settings(&manifest(keys));
    assert_eq!(
        settings(&ScorePhotos, "")?,
        settings(&ScorePhotos, "same_person_photo = 0.5\nmin_face = 9")?
    );
    assert_eq!(
        settings(&VerifyImages, "same_person_photo = 0.42")?,
        serde_json::json!({ "same_person_photo": 0.42, "min_face": 40, "margin": null })
    );
    assert!(VerifyImages.models(&manifest(""))?.is_empty());
    let models = ScorePhotos.models(&manifest(""))?;
    let labels: Vec<_> = models.iter().map(|model| model.label.as_str()).collect();
    assert_eq!(labels, ["models.face.detector", "models.face.recognizer"]);
    for wrong in [
        "same_person_photo = 35",
        "margin = -0.1",
        "min_face = -1",
        "margn = 0.1",
    ] {
        let error = settings(&VerifyImages, wrong).expect_err(wrong).to_string();
        assert!(error.contains("[verify_images]"), "{error}");
    }
    Ok(())
}

#[test]
fn missing_networks_and_damaged_tables_are_named() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (people, none) = (two_people(), [Vec::new(), Vec::new()]);
    let lacking = harness(folder.path(), Some(folder.path()), "");
    let error = score(&lacking, photos(), people.clone()).expect_err("no networks");
    assert!(
        matches!(&error, StageError::Environment(text) if laioncele_core::error::chain(&**text).contains("retinaface")),
        "{error}"
    );
    assert!(
        scores(&lacking, none, people.clone()).is_empty(),
        "no photo, no network"
    );

    let whole = harness(folder.path(), Some(&networks()), "");
    let mut broken = photos();
    broken[0][2].image.bytes.truncate(700);
    let error = score(&whole, broken, people.clone()).expect_err("a broken photo");
    let text = "photo 000000000000000b of http://a.example/11.png no longer decodes";
    assert!(
        matches!(&error, StageError::Data(found) if laioncele_core::error::chain(&**found).contains(text)),
        "{error}"
    );

    let lost = unique(&photos());
    let inputs = vec![
        whole.part(&bucket(), lost)?,
        whole.part(&bucket(), people)?,
        whole.part(&bucket(), photos()[0].clone())?,
    ];
    let error = whole
        .run(&ScorePhotos, &bucket(), inputs)
        .expect_err("a lost photo");
    assert!(
        matches!(&error, StageError::Data(text) if laioncele_core::error::chain(&**text).contains("000000000000000d")),
        "{error}"
    );
    Ok(())
}

fn row(similarity: Option<f32>, second: Option<f32>, width: f32) -> PhotoFace {
    PhotoFace {
        name_id: NameId(1),
        image_id: ImageId(2),
        faces: u32::from(similarity.is_some()) + u32::from(second.is_some()),
        similarity,
        second,
        score: 0.9,
        face_box: FaceBox(vec![5.0, 5.0, 5.0 + width, 99.0]),
        landmarks: Landmarks(vec![0.0; 10]),
        embedding: FaceVector(vec![0.0; 512]),
    }
}

/// Photos of three names: the second has another person in many photos, the third strangers.
#[test]
fn names_of_two_people_are_counted() -> Outcome {
    let mut rows = Vec::new();
    let mut add = |name: u64, similarity: f32, axis: usize| {
        let mut photo = row(Some(similarity), None, 90.0);
        photo.name_id = NameId(name);
        photo.image_id = ImageId(rows.len() as u64);
        photo.embedding.0[axis] = 1.0;
        rows.push(photo);
    };
    for k in 0..8 {
        (1..4).for_each(|name| add(name, 0.9, 0));
        add(2, 0.1, 7);
        add(3, 0.1, 20 + k);
    }
    let folder = tempfile::tempdir()?;
    let harness = harness(folder.path(), None, "");
    let record = verify(&harness, rows)?;
    let people: Vec<NamePeople> = harness.rows(&record)?;
    let found = people
        .iter()
        .map(|p| (p.name_id.0, p.first, p.second, p.homonym));
    let expected = [(1, 8, 0, 0), (2, 8, 8, 1), (3, 8, 1, 0)];
    assert_eq!(found.collect::<Vec<_>>(), expected);
    assert_eq!(record.metrics["homonyms"], 1.0);
    Ok(())
}

fn reason(row: &PhotoFace, settings: &Settings) -> Option<DropReason> {
    decide(row, settings).err().map(|(reason, _)| reason)
}

proptest! {
    /// A photo matches exactly where its face is similar, large and clear enough.
    #[test]
    fn a_match_passes_every_test(similarity in -1.0f32..1.0, below in 0.0f32..1.0, width in 1.0f32..90.0, limit in -1.0f64..1.0, min_face in 1u32..90, margin in prop::option::of(0.0f64..1.0)) {
        let settings = Settings { same_person_photo: limit, min_face, margin };
        let second = similarity - below;
        let row = row(Some(similarity), Some(second), width);
        let similar = f64::from(similarity) >= limit;
        let clear = margin.is_none_or(|margin| f64::from(similarity) - f64::from(second) >= margin);
        let wide = f64::from(row.face_box.0[2] - row.face_box.0[0]) >= f64::from(min_face);
        let expected = match (similar && clear, wide) {
            (false, _) => Some(DropReason::OtherPerson),
            (true, false) => Some(DropReason::FaceTooSmall),
            (true, true) => None,
        };
        prop_assert_eq!(reason(&row, &settings), expected);
    }

    /// What matches also matches with lower demands.
    #[test]
    fn lower_thresholds_lose_no_match(similarity in -1.0f32..1.0, width in 1.0f32..90.0, limit in -1.0f64..1.0, min_face in 1u32..90, lower in 0.0f64..0.5) {
        let strict = Settings { same_person_photo: limit, min_face, margin: None };
        let mild = Settings { same_person_photo: limit - lower, min_face: min_face / 2, margin: None };
        let row = row(Some(similarity), None, width);
        prop_assert!(reason(&row, &strict).is_some() || reason(&row, &mild).is_none());
    }
}

#[test]
fn scores_are_in_the_details() {
    let settings = Settings::default();
    let detail = |row: &PhotoFace| decide(row, &settings).err().and_then(|(_, detail)| detail);
    assert_eq!(
        reason(&row(None, None, 0.0), &settings),
        Some(DropReason::NoFace)
    );
    assert_eq!(
        detail(&row(Some(0.25), Some(-0.125), 90.0)).as_deref(),
        Some("similarity 0.2500, second -0.1250, faces 2")
    );
    assert_eq!(
        detail(&row(Some(0.5), None, 31.0)).as_deref(),
        Some("31 pixels wide, similarity 0.5000, faces 1")
    );
    assert_eq!(
        reason(&row(Some(f32::NAN), None, 90.0), &settings),
        Some(DropReason::OtherPerson)
    );
}
