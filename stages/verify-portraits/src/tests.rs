//! The stage on real networks and rendered images, and its decisions on invented numbers.

use std::path::Path;

use half::f16;
use laioncele_core::Partition;
use laioncele_core::ledger::Record;
use laioncele_core::table::{
    Dropped, FaceBox, FaceVector, Image, KnownName, Landmarks, NameEmbedding, NameVector, Portrait,
    PortraitFace,
};
use laioncele_core::testing::StepHarness;
use laioncele_core::{DropReason, Manifest, NameId, StageError, Step, Unit};
use laioncele_face::cosine;
use proptest::prelude::*;

use crate::score::ScorePortraits;
use crate::verify::{VerifyPortraits, decide, mean_face};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn bucket() -> Partition {
    Partition::Bucket(0)
}

/// A harness with the embedded world's networks in `faces`, or with a manifest that names no model.
fn harness(root: &Path, faces: Option<&Path>, same_person: f64) -> StepHarness {
    let models = faces.map_or_else(String::new, |folder| {
        let file = |name: &str| folder.join(name).display().to_string();
        format!(
            "[models.face]\ndetector = \"{}\"\nrecognizer = \"{}\"\n",
            file("retinaface_mobilenet025_dynamic.onnx"),
            file("faceplugin_fr_feature_512.onnx")
        )
    });
    let text = format!(
        "[run]\nseed = 1\nbuckets = 1\n[source]\npath = \"captions\"\n[source.columns]\nurl = \"URL\"\ncaption = \"TEXT\"\n\
         [embedding_dims]\nname_tokens = 1\nname_channels = 1\nface = 512\nfeatures = 1\n\
         {models}[verify_portraits]\nsame_person = {same_person}\n"
    );
    let manifest = Manifest::parse(&root.join("m.toml"), &text).expect("a manifest");
    StepHarness::with_manifest(root, manifest).expect("a harness")
}

fn networks() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests/mini/face")
}

fn image_file(file: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/face/tests/fixtures");
    std::fs::read(folder.join(file)).expect("an image")
}

fn portraits(name: u64, files: &[&str]) -> Vec<Portrait> {
    let row = |(index, file): (u32, &&str)| Portrait {
        name_id: NameId(name),
        index,
        seed: 0,
        image: Image {
            bytes: image_file(file),
            path: (*file).to_owned(),
        },
        settings: String::new(),
    };
    (0u32..).zip(files).map(row).collect()
}

fn name(id: u64) -> NameEmbedding {
    NameEmbedding {
        name_id: NameId(id),
        name: format!("Name {id}"),
        token_count: 1,
        embedding: NameVector(vec![f16::ZERO]),
    }
}

/// Names 1 and 3 are one person each; the others have a stranger, nobody, a crowd, and two that disagree.
fn cast() -> Vec<Portrait> {
    let (a, b, photo) = ("first-a.png", "first-b.png", "first-photo.png");
    let mut all = portraits(
        3,
        &[
            "second-a.png",
            "second-a.png",
            "second-a.png",
            "second-a.png",
        ],
    );
    all.extend(portraits(1, &[a, b, photo, a]));
    all.extend(portraits(2, &[a, b, a, "second-a.png"]));
    all.extend(portraits(4, &[a, b, "nobody.png", "two.png"]));
    all.extend(portraits(5, &[a, "two.png", a, b]));
    all.extend(portraits(6, &[a, "second-a.png"]));
    all
}

fn score(harness: &StepHarness, all: Vec<Portrait>) -> Result<Record, StageError> {
    let part = harness.part(&bucket(), all)?;
    harness.run(&ScorePortraits, &bucket(), vec![part])
}

fn verify(harness: &StepHarness, faces: Vec<PortraitFace>) -> Result<Record, StageError> {
    let names = harness.part(&bucket(), (1..9).map(name).collect())?;
    let faces = harness.part(&bucket(), faces)?;
    harness.run(&VerifyPortraits, &bucket(), vec![faces, names])
}

fn known(harness: &StepHarness, record: &Record) -> Vec<u64> {
    let rows: Vec<KnownName> = harness.rows(record).expect("known names");
    rows.iter().map(|row| row.name_id.0).collect()
}

#[test]
fn names_are_known_by_their_portraits_alone() -> Outcome {
    let folder = tempfile::tempdir()?;
    let scoring = harness(folder.path(), Some(&networks()), 0.7);
    let scored = score(&scoring, cast())?;
    assert_eq!(
        (scored.balances[0].unit, scored.balances[0].rows_out),
        (Unit::Portrait, 22)
    );
    let faces: Vec<PortraitFace> = scoring.rows(&scored)?;
    assert!(faces.is_sorted_by_key(|face| (face.name_id, face.index)));

    // A manifest without any model: the decision is on what was stored.
    let deciding = harness(folder.path(), None, 0.7);
    let record = verify(&deciding, faces.clone())?;
    assert_eq!(known(&deciding, &record), [1, 3]);
    let rows: Vec<KnownName> = deciding.rows(&record)?;
    let [a, b] = [&faces[0].embedding, &faces[1].embedding];
    assert_eq!((rows[0].name.as_str(), &rows[0].faces.0[1]), ("Name 1", b));
    assert!(rows[0].min_similarity >= 0.7 && rows[0].min_similarity <= cosine(&a.0, &b.0));
    assert!(rows[0].min_similarity < rows[0].mean_similarity);
    assert!((cosine(&rows[0].mean_face.0, &rows[0].mean_face.0) - 1.0).abs() < 1e-6);
    let dropped: Vec<Dropped> = deciding.rows(&record)?;
    let reasons: Vec<_> = dropped.iter().map(|d| (d.id, d.reason.as_str())).collect();
    assert_eq!(
        reasons,
        [
            (2, "different_people"),
            (4, "no_face"),
            (5, "several_faces"),
            (6, "different_people")
        ]
    );
    assert_eq!(dropped[1].detail.as_deref(), Some("faces 1 1 0 2"));

    // Without a threshold to speak of, the names that have faces are known; with one that no pair reaches, none is.
    let low = harness(folder.path(), None, -1.0);
    assert_eq!(known(&low, &verify(&low, faces.clone())?), [1, 2, 3]);
    let high = harness(folder.path(), None, 0.99);
    assert_eq!(known(&high, &verify(&high, faces)?), [3]);
    Ok(())
}

#[test]
fn rows_do_not_depend_on_threads_or_order() -> Outcome {
    let run = |threads: usize, all: Vec<Portrait>| -> Result<Vec<PortraitFace>, StageError> {
        let folder = tempfile::tempdir().map_err(StageError::environment)?;
        let mut harness = harness(folder.path(), Some(&networks()), 0.7);
        harness.runtime_environment.threads = threads;
        let record = score(&harness, all)?;
        Ok(harness.rows(&record)?)
    };
    let mut backwards = cast();
    backwards.reverse();
    let one = run(1, cast())?;
    assert_eq!(run(3, cast())?, one);
    assert_eq!(run(2, backwards)?, one);
    Ok(())
}

#[test]
fn the_keys_hold_what_the_results_depend_on() -> Outcome {
    let folder = tempfile::tempdir()?;
    let at = |same_person| harness(folder.path(), Some(&networks()), same_person).manifest;
    let settings = |step: &dyn Step, same_person| step.settings(&at(same_person));
    assert_eq!(
        settings(&ScorePortraits, 0.4)?,
        settings(&ScorePortraits, 0.5)?
    );
    assert_eq!(
        settings(&VerifyPortraits, 0.4)?,
        serde_json::json!({ "same_person": 0.4 })
    );
    assert!(VerifyPortraits.models(&at(0.4))?.is_empty());
    let labels: Vec<_> = ScorePortraits
        .models(&at(0.4))?
        .into_iter()
        .map(|m| m.label)
        .collect();
    assert_eq!(labels, ["models.face.detector", "models.face.recognizer"]);
    for wrong in [40.0, -1.5] {
        let error = settings(&VerifyPortraits, wrong).expect_err("no cosine");
        assert!(error.to_string().contains("same_person"), "{error}");
    }
    Ok(())
}

#[test]
fn missing_networks_and_broken_portraits_are_named() -> Outcome {
    let folder = tempfile::tempdir()?;
    let lacking = harness(folder.path(), Some(folder.path()), 0.7);
    let error = score(&lacking, cast()).expect_err("no networks");
    assert!(
        matches!(&error, StageError::Environment(text) if laioncele_core::error::chain(&**text).contains("retinaface")),
        "{error}"
    );
    assert_eq!(score(&lacking, Vec::new())?.balances[0].rows_in, 0);

    let whole = harness(folder.path(), Some(&networks()), 0.7);
    let mut broken = portraits(0xab, &["first-a.png", "first-b.png"]);
    broken[1].image.bytes.truncate(900);
    let error = score(&whole, broken).expect_err("a broken portrait");
    let text = "portrait 1 of name 00000000000000ab no longer decodes";
    assert!(
        matches!(&error, StageError::Data(found) if laioncele_core::error::chain(&**found).contains(text)),
        "{error}"
    );

    let stranger = vec![face(77, 0, 1, 0.0); 4];
    let wide = stranger.into_iter().map(|f| PortraitFace {
        embedding: FaceVector(vec![0.5; 512]),
        ..f
    });
    let error = verify(&whole, wide.collect()).expect_err("a name without text");
    assert!(error.to_string().contains("name_embeddings"), "{error}");
    Ok(())
}

/// A portrait with `faces` faces, the first at `angle` in the plane.
fn face(name: u64, index: u32, faces: u32, angle: f32) -> PortraitFace {
    PortraitFace {
        name_id: NameId(name),
        index,
        faces,
        score: 0.9,
        face_box: FaceBox(vec![0.0; 4]),
        landmarks: Landmarks(vec![0.0; 10]),
        embedding: FaceVector(vec![angle.cos(), angle.sin()]),
    }
}

fn name_of(angles: &[(u32, f32)]) -> Vec<PortraitFace> {
    let portraits = (0u32..).zip(angles);
    portraits
        .map(|(i, (faces, angle))| face(1, i, *faces, *angle))
        .collect()
}

proptest! {
    /// Known exactly where there are four portraits of one face each, and all six pairs agree.
    #[test]
    fn names_are_known_where_all_pairs_of_four_agree(angles in prop::collection::vec((0u32..3, -1.5f32..1.5), 1..5), limit in -1.0f64..1.0) {
        let portraits = name_of(&angles);
        let mut lowest = f32::INFINITY;
        for (i, a) in portraits.iter().enumerate() {
            for b in &portraits[..i] {
                lowest = lowest.min(cosine(&a.embedding.0, &b.embedding.0));
            }
        }
        let single = angles.iter().all(|(faces, _)| *faces == 1);
        let same = lowest >= limit as f32;
        match decide(&portraits, limit) {
            Ok([min, mean]) => {
                prop_assert!(single && same && angles.len() == 4);
                prop_assert!(min == lowest && mean >= min - 1e-6 && mean <= 1.0 + 1e-6);
            }
            Err((DropReason::NoFace, _)) => prop_assert!(angles.len() < 2 || angles.iter().any(|a| a.0 == 0)),
            Err((DropReason::SeveralFaces, _)) => prop_assert!(!single && angles.iter().all(|a| a.0 > 0)),
            Err((reason, _)) => {
                prop_assert_eq!(reason, DropReason::DifferentPeople);
                prop_assert!(single && (!same || angles.len() < 4));
            }
        }
    }

    /// A name that a lazy run stops at is dropped whether or not the other two portraits are generated.
    #[test]
    fn lazy_and_eager_runs_drop_the_same_names(angles in prop::collection::vec(-1.5f32..1.5, 4), limit in -1.0f64..1.0) {
        let all = name_of(&angles.iter().map(|a| (1, *a)).collect::<Vec<_>>());
        let pair = cosine(&all[0].embedding.0, &all[1].embedding.0);
        if pair < limit as f32 {
            prop_assert!(decide(&all, limit).is_err() && decide(&all[..2], limit).is_err());
        }
    }

    /// The mean face has unit length and is nearer to the faces on average than any of them.
    #[test]
    fn the_mean_face_is_in_the_middle(angles in prop::collection::vec(-1.0f32..1.0, 1..5)) {
        let faces: Vec<_> = angles.iter().map(|a| FaceVector(vec![a.cos(), a.sin()])).collect();
        let mean = mean_face(&faces);
        prop_assert!((cosine(&mean.0, &mean.0) - 1.0).abs() < 1e-5);
        let nearness = |from: &FaceVector| faces.iter().map(|f| cosine(&from.0, &f.0)).sum::<f32>();
        prop_assert!(faces.iter().all(|face| nearness(&mean) >= nearness(face) - 1e-4));
    }
}

#[test]
fn faces_that_cancel_out_have_no_mean() {
    let faces = [FaceVector(vec![1.0, 0.0]), FaceVector(vec![-1.0, 0.0])];
    assert_eq!(mean_face(&faces), FaceVector(vec![0.0, 0.0]));
}
