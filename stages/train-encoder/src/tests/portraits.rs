//! `images = "portraits"`: features of portraits, and a training on them.

use laioncele_core::Unit;
use laioncele_core::table::{FaceVector, Landmarks, Portrait, PortraitFace};

use super::*;

fn png(seed: u8) -> Image {
    let mut bytes = Vec::new();
    let written = image(seed).write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png);
    written.expect("a file");
    let path = format!("{seed}.png");
    Image { bytes, path }
}

/// Two names with two portraits each; the first is an identity. Its second portrait shows no face.
fn parts(harness: &StepHarness) -> Vec<Part> {
    let (mut portraits, mut faces) = (Vec::new(), Vec::new());
    for name in [1, 2] {
        for index in 0..2 {
            portraits.push(Portrait {
                name_id: NameId(name),
                index,
                seed: 0,
                image: png(index as u8),
                settings: String::new(),
            });
            let there = name != 1 || index == 0;
            faces.push(PortraitFace {
                name_id: NameId(name),
                index,
                faces: u32::from(there),
                score: 0.9,
                face_box: FaceBox(vec![20.0, 20.0, 40.0, 44.0]),
                landmarks: Landmarks(vec![0.0; 10]),
                embedding: FaceVector(vec![0.0; 4]),
            });
        }
    }
    let bucket = Partition::Bucket(0);
    vec![
        harness.part(&bucket, portraits).expect("a part"),
        harness.part(&bucket, faces).expect("a part"),
        identity_part(harness, &[1, 2]),
    ]
}

fn portrait_harness(root: &Path, crop: &str) -> StepHarness {
    feature_harness_with(
        root,
        &format!("images = \"portraits\"\ncrop = \"{crop}\"\n"),
    )
}

#[test]
fn features_are_of_the_identities_portraits() {
    let folder = tempfile::tempdir().expect("a folder");
    for (crop, expected) in [("whole", 2), ("face", 1)] {
        let harness = portrait_harness(folder.path(), crop);
        let step = features::PhotoFeatures;
        let reads = step.reads(&harness.manifest);
        assert!(reads.iter().any(|read| read.table == TableId::Portraits));
        assert!(reads.iter().all(|read| read.table != TableId::Photos));
        let record = harness.run(&step, &Partition::Bucket(0), parts(&harness));
        let record = record.expect("encoded");
        let rows: Vec<PhotoFeature> = harness.rows(&record).expect("rows");
        assert_eq!(rows.len(), expected);
        assert!(rows.iter().all(|row| row.name_id == NameId(1)));
        let balance = &record.balances[0];
        let counts = (balance.unit, balance.rows_in, balance.rows_out);
        assert_eq!(counts, (Unit::Portrait, 2, expected as u64));
        let dropped = harness.rows::<Dropped>(&record).expect("rows");
        assert_eq!(dropped.len(), 2 - expected);
    }
}

/// The same people and the same split, whatever their pictures are.
#[test]
fn training_on_portraits_has_the_same_people() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = format!("{SETTINGS}images = \"portraits\"\n");
    let harness = StepHarness::new(folder.path(), &settings).expect("a harness");
    let (rows, mut features) = people();
    // Portraits have ids of their own, and there are two of each person.
    let mut number = 0;
    features.retain_mut(|row| {
        row.image_id = ImageId(1_000_000 + row.image_id.0);
        number += 1;
        number % 2 == 0
    });
    let bucket = Partition::Bucket;
    let inputs = vec![
        harness.part(&bucket(0), rows).expect("a part"),
        harness.part(&bucket(0), features).expect("a part"),
    ];
    let record = harness.run(&train::TrainEncoder, &Partition::Whole, inputs);
    let record = record.expect("trained");
    let (_, photos) = trained(tempfile::tempdir().expect("a folder").path(), 1);
    for metric in ["training_people", "validation_people"] {
        assert_eq!(record.metrics[metric], photos.metrics[metric]);
    }
    assert_eq!(record.metrics["training_photos"], 72.0);
    assert!(record.metrics["validation_explained"] > 0.8);
}
