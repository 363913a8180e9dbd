use std::collections::BTreeMap;
use std::path::Path;

use laioncele_core::DropReason;
use laioncele_core::Partition;
use laioncele_core::decisions::{Decision, Decisions, HexId, Ruling};
use laioncele_core::ledger::Record;
use laioncele_core::table::{Dropped, FaceBox, FaceVector, FaceVectors, KnownName, Landmarks};
use laioncele_core::testing::StepHarness;
use proptest::prelude::*;

use super::*;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A name id, an image id and a similarity.
type Found = (u64, u64, f32);

fn bucket() -> Partition {
    Partition::Bucket(0)
}

fn matching(&(name, image, similarity): &Found) -> Match {
    Match {
        name_id: NameId(name),
        image_id: ImageId(image),
        similarity,
        faces: 1,
        face_box: FaceBox(vec![image as f32; 4]),
        landmarks: Landmarks(vec![0.0; 10]),
    }
}

fn known(name: u64) -> KnownName {
    let face = FaceVector(vec![0.5; 4]);
    KnownName {
        name_id: NameId(name),
        name: format!("Name {name}"),
        faces: FaceVectors(vec![face.clone(); 4]),
        mean_face: face,
        min_similarity: 0.9,
        mean_similarity: 0.9,
    }
}

/// The stage's task on matches in several parts and names 1 to 4.
fn run(root: &Path, keys: &str, parts: &[&[Found]]) -> Result<(StepHarness, Record), StageError> {
    let harness = StepHarness::new(root, &format!("[filter_counts]\n{keys}\n"))?;
    let mut inputs = vec![harness.part(&bucket(), (1..5).map(known).collect())?];
    for part in parts {
        inputs.push(harness.part(&bucket(), part.iter().map(matching).collect())?);
    }
    let record = harness.run(&FilterCounts, &bucket(), inputs)?;
    Ok((harness, record))
}

fn ids(harness: &StepHarness, record: &Record) -> Vec<(u64, u64)> {
    let rows: Vec<Identity> = harness.rows(record).expect("identities");
    rows.iter()
        .map(|row| (row.name_id.0, row.image_id.0))
        .collect()
}

/// Unit, id and reason of what was dropped.
fn dropped(harness: &StepHarness, record: &Record) -> Vec<(Unit, u64, DropReason)> {
    let rows: Vec<Dropped> = harness.rows(record).expect("dropped");
    rows.into_iter()
        .map(|row| (row.unit, row.id, row.reason))
        .collect()
}

#[test]
fn names_with_enough_photos_become_identities() -> Outcome {
    let folder = tempfile::tempdir()?;
    let parts: [&[Found]; 3] = [
        &[(2, 22, 0.5), (1, 11, 0.6), (1, 13, 0.9)],
        &[],
        &[(1, 12, 0.7), (2, 21, 0.5), (4, 41, 0.8)],
    ];
    let (harness, record) = run(folder.path(), "min_images = 3", &parts)?;
    let rows: Vec<Identity> = harness.rows(&record)?;
    assert_eq!(ids(&harness, &record), [(1, 11), (1, 12), (1, 13)]);
    assert_eq!((rows[1].name.as_str(), rows[1].similarity), ("Name 1", 0.7));
    assert_eq!(rows[1].face_box.0, [12.0; 4]);
    let few = |unit, id| (unit, id, DropReason::TooFewImages);
    assert_eq!(
        dropped(&harness, &record),
        [
            few(Unit::Name, 2),
            few(Unit::Name, 3),
            few(Unit::Name, 4),
            few(Unit::Image, 21),
            few(Unit::Image, 22),
            few(Unit::Image, 41)
        ]
    );
    let details: Vec<_> = harness
        .rows::<Dropped>(&record)?
        .into_iter()
        .map(|d| d.detail)
        .collect();
    assert_eq!(details[..3], ["2", "0", "1"].map(|n| Some(n.to_owned())));
    let balances: Vec<_> = record
        .balances
        .iter()
        .map(|a| (a.unit, a.rows_in, a.rows_out))
        .collect();
    assert_eq!(balances, [(Unit::Name, 4, 1), (Unit::Image, 6, 3)]);
    Ok(())
}

#[test]
fn what_people_struck_out_is_dropped_and_does_not_count() -> Outcome {
    let folder = tempfile::tempdir()?;
    let store = StepHarness::new(folder.path(), "")?.store;
    let mut decisions = Decisions::default();
    let (name, image) = (HexId(1), HexId(13));
    let rulings = [
        Ruling::StrikeIdentity { name: HexId(2) },
        Ruling::StrikePhoto { name, image },
    ];
    for ruling in rulings {
        let (who, when) = ("ada".to_owned(), String::new());
        decisions.append(&store, Decision { who, when, ruling })?;
    }
    let photos: [Found; 6] = [
        (1, 11, 0.6),
        (1, 12, 0.7),
        (1, 13, 0.9),
        (1, 14, 0.5),
        (2, 21, 0.9),
        (2, 22, 0.9),
    ];
    let keys = "min_images = 2\nmax_images = 2";
    let (harness, record) = run(folder.path(), keys, &[&photos])?;
    // The best that is left are kept: the one struck out takes nobody's place.
    assert_eq!(ids(&harness, &record), [(1, 11), (1, 12)]);
    let found = dropped(&harness, &record);
    for rejected in [
        (Unit::Name, 2),
        (Unit::Image, 13),
        (Unit::Image, 21),
        (Unit::Image, 22),
    ] {
        let row = (rejected.0, rejected.1, DropReason::Rejected);
        assert!(found.contains(&row), "{row:?}");
    }
    assert!(found.contains(&(Unit::Image, 14, DropReason::AboveCap)));
    Ok(())
}

#[test]
fn max_images_keeps_the_best_matches() -> Outcome {
    let folder = tempfile::tempdir()?;
    let photos: [Found; 5] = [
        (1, 15, 0.6),
        (1, 11, 0.5),
        (1, 14, 0.6),
        (1, 13, 0.9),
        (1, 12, 0.6),
    ];
    let keys = "min_images = 2\nmax_images = 3";
    let (harness, record) = run(folder.path(), keys, &[&photos[..2], &photos[2..]])?;
    assert_eq!(
        ids(&harness, &record),
        [(1, 12), (1, 13), (1, 14)],
        "the smaller id of equal matches"
    );
    let capped: Vec<_> = dropped(&harness, &record)
        .into_iter()
        .filter(|d| d.0 == Unit::Image)
        .collect();
    let above = |id| (Unit::Image, id, DropReason::AboveCap);
    assert_eq!(capped, [above(11), above(15)]);
    Ok(())
}

#[test]
fn empty_input_gives_empty_output() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (harness, record) = run(folder.path(), "", &[&[]])?;
    assert!(ids(&harness, &record).is_empty());
    assert_eq!(
        record.outputs_of(TableId::Identities).count(),
        1,
        "the table exists"
    );
    assert_eq!(dropped(&harness, &record).len(), 4);
    Ok(())
}

#[test]
fn wrong_settings_and_damaged_tables_are_rejected_by_name() -> Outcome {
    let folder = tempfile::tempdir()?;
    for wrong in [
        "min_images = 0",
        "max_images = 4",
        "max_image = 9",
        "min_images = \"five\"",
    ] {
        let error = run(folder.path(), wrong, &[&[]])
            .err()
            .expect(wrong)
            .to_string();
        assert!(error.contains("[filter_counts]"), "{error}");
    }
    let stranger: [Found; 1] = [(77, 1, 0.9)];
    let error = run(folder.path(), "min_images = 1", &[&stranger])
        .err()
        .expect("a stranger");
    assert!(
        matches!(&error, StageError::Data(text) if laioncele_core::error::chain(&**text).contains("known_names")),
        "{error}"
    );

    let harness = StepHarness::new(folder.path(), "")?;
    let names = harness.part(&bucket(), vec![known(1)])?;
    let mut broken = harness.part(&bucket(), vec![matching(&(1, 1, 0.5))])?;
    broken.path = "tables/matches/broken.parquet".to_owned();
    harness.store.put(&broken.path, b"no Parquet".to_vec())?;
    let error = harness
        .run(&FilterCounts, &bucket(), vec![names, broken])
        .expect_err("no Parquet");
    assert!(error.to_string().contains("broken.parquet"), "{error}");
    Ok(())
}

#[test]
fn key_holds_the_settings() -> Outcome {
    let folder = tempfile::tempdir()?;
    let harness = StepHarness::new(folder.path(), "")?;
    let expected = serde_json::json!({ "min_images": 5, "max_images": null });
    assert_eq!(FilterCounts.settings(&harness.manifest)?, expected);
    Ok(())
}

/// What the settings say, by a second way.
fn expected(photos: &BTreeMap<(u64, u64), f32>, min: usize, cap: Option<usize>) -> Vec<(u64, u64)> {
    let mut kept = Vec::new();
    for name in 1..5 {
        let mut own: Vec<_> = photos.iter().filter(|(key, _)| key.0 == name).collect();
        own.sort_by(|a, b| b.1.total_cmp(a.1).then(a.0.cmp(b.0)));
        if own.len() >= min {
            own.truncate(cap.unwrap_or(usize::MAX));
            kept.extend(own.into_iter().map(|(key, _)| *key));
        }
    }
    kept.sort_unstable();
    kept
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the matches, their order and the parts they are in: the best of names with enough
    /// stay.
    #[test]
    fn identities_equal_a_brute_force_selection(photos in prop::collection::btree_map((1u64..5, 0u64..12), (0u8..4).prop_map(|v| f32::from(v) / 4.0), 0..40), min in 1usize..8, over in prop::option::of(0usize..4), backwards: bool) {
        let folder = tempfile::tempdir().expect("a folder");
        let cap = over.map(|over| min + over);
        let mut keys = format!("min_images = {min}\n");
        if let Some(cap) = cap {
            keys += &format!("max_images = {cap}\n");
        }
        let mut rows: Vec<Found> = photos.iter().map(|(key, s)| (key.0, key.1, *s)).collect();
        if backwards {
            rows.reverse();
        }
        let (first, second) = rows.split_at(rows.len() / 3);
        let (harness, record) = run(folder.path(), &keys, &[first, second]).expect("a run");
        prop_assert_eq!(ids(&harness, &record), expected(&photos, min, cap));
    }
}
