//! Both steps on small tables: the embedded world's image encoders, and a network that learns from
//! known features.

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use half::f16;
use image::{ImageFormat, Rgb, RgbImage};
use laioncele_core::ledger::Record;
use laioncele_core::spec::{Progress, TaskSpec};
use laioncele_core::table::{
    Dropped, FaceBox, FeatureVector, Identity, Image, LaionCele, NameVector, Photo, PhotoFeature,
};
use laioncele_core::task::{ProgressReporter, WorkerContext};
use laioncele_core::testing::StepHarness;
use laioncele_core::{ImageId, Manifest, NameId, Part, Partition, StageError, TableId, Task};
use laioncele_encoder::Encoder;
use laioncele_inference::{ImageEncoderSection, ModelLoader};

use super::*;

mod portraits;
mod runs;

const SETTINGS: &str = concat!(
    "[models.image_encoders]\nfirst = \"",
    env!("CARGO_MANIFEST_DIR"),
    "/../../manifests/mini/sdxl-mini/image_encoder\"\nsecond = \"",
    env!("CARGO_MANIFEST_DIR"),
    "/../../manifests/mini/sdxl-mini/image_encoder_2\"\n",
    "[train_encoder]\nsteps = 400\nbatch = 16\nlearning_rate = 0.01\nhidden = 24\nnoise = 0.05\nvalidation = 0.1\ncurve_every = 4\ncheckpoint_every = 50\n"
);

/// Forty people with four photos each; the name embedding is a smooth function of the features.
fn people() -> (Vec<LaionCele>, Vec<PhotoFeature>) {
    let (mut rows, mut features) = (Vec::new(), Vec::new());
    for person in 0..40u64 {
        let wave = |k: usize| ((person * 7 + k as u64 * 13) as f32 * 0.37).sin();
        let name: Vec<f16> = (0..32)
            .map(|k| f16::from_f32(3.0 + wave(k % 3) * (k % 5) as f32))
            .collect();
        for photo in 0..4 {
            let image_id = ImageId(person * 10 + photo);
            let jitter = |k: usize| ((image_id.0 + k as u64) as f32).cos() * 0.01;
            let vector = (0..3).map(|k| 5.0 + 2.0 * wave(k) + jitter(k)).collect();
            features.push(PhotoFeature {
                name_id: NameId(person),
                image_id,
                features: FeatureVector(vector),
            });
            rows.push(example(NameId(person), image_id, &name));
        }
    }
    (rows, features)
}

fn example(name_id: NameId, image_id: ImageId, name: &[f16]) -> LaionCele {
    LaionCele {
        name_id,
        name: format!("Person {name_id}"),
        name_embedding: NameVector(name.to_vec()),
        image: Image {
            bytes: vec![1, 2, 3],
            path: "x.jpg".to_owned(),
        },
        caption: String::new(),
        url: String::new(),
        image_id,
        sha256: String::new(),
        average_hash: 0,
        similarity: 0.5,
        face_box: FaceBox(vec![0.0; 4]),
        width: 1,
        height: 1,
    }
}

fn inputs(harness: &StepHarness) -> Vec<Part> {
    let (rows, features) = people();
    let (first, second) = features.split_at(70);
    let bucket = Partition::Bucket;
    vec![
        harness.part(&bucket(0), rows).expect("a part"),
        harness.part(&bucket(0), first.to_vec()).expect("a part"),
        harness.part(&bucket(1), second.to_vec()).expect("a part"),
    ]
}

fn trained(root: &Path, threads: usize) -> (StepHarness, Record) {
    let mut harness = StepHarness::new(root, SETTINGS).expect("a harness");
    harness.runtime_environment.threads = threads;
    let record = harness
        .run(&train::TrainEncoder, &Partition::Whole, inputs(&harness))
        .expect("trained");
    (harness, record)
}

fn file(harness: &StepHarness, record: &Record, name: &str) -> Vec<u8> {
    let part = record
        .outputs
        .iter()
        .find(|part| part.path.ends_with(name))
        .expect("the file");
    harness.store.get(&part.path).expect("bytes").to_vec()
}

fn digests(record: &Record) -> Vec<laioncele_core::Digest> {
    record
        .outputs_of(TableId::Encoder)
        .map(|part| part.digest)
        .collect()
}

#[test]
fn training_predicts_names_of_unseen_people() {
    let folder = tempfile::tempdir().expect("a folder");
    let (harness, record) = trained(folder.path(), 2);
    assert_eq!(record.metrics["validation_people"], 4.0);
    assert_eq!(record.metrics["training_photos"], 144.0);
    assert!(
        record.metrics["validation_explained"] > 0.8,
        "{:?}",
        record.metrics
    );
    let encoder = Encoder::from_bytes(
        &file(&harness, &record, "encoder.json"),
        &file(&harness, &record, "encoder.safetensors"),
    )
    .expect("an encoder");
    let (rows, features) = people();
    let predicted = encoder
        .predict(&features[9].features.0)
        .expect("three features");
    let pairs = predicted.iter().zip(&rows[9].name_embedding.0);
    assert!(
        pairs.clone().all(|(p, t)| (p - t.to_f32()).abs() < 1.0),
        "{predicted:?}"
    );
    let curve = String::from_utf8(file(&harness, &record, "loss.csv")).expect("text");
    assert_eq!(curve.lines().count(), 101);
    assert_eq!(
        (record.balances[0].rows_in, record.balances[0].rows_out),
        (160, 160)
    );
}

#[test]
fn weights_are_independent_of_threads() {
    let folders = [
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    ];
    let (_, one) = trained(folders[0].path(), 1);
    let (_, three) = trained(folders[1].path(), 3);
    assert_eq!(digests(&one), digests(&three));
}

/// Asks to stop after `left` reports.
struct StopAfter {
    left: std::sync::Mutex<u64>,
    cancelled: Arc<AtomicBool>,
}

impl ProgressReporter for StopAfter {
    fn progress(&self, _: Progress) {
        let mut left = self.left.lock().expect("the lock");
        *left = left.saturating_sub(1);
        self.cancelled.store(*left == 0, Ordering::Relaxed);
    }
}

/// Runs the step as the harness does, but stops it after `steps`.
fn interrupt(harness: &StepHarness, inputs: Vec<Part>, steps: u64) {
    let ended = limited(harness, inputs, steps);
    assert!(matches!(ended, Err(StageError::Cancelled)));
}

/// Runs the step as the harness does with at most so many steps, and commits nothing.
fn limited(harness: &StepHarness, inputs: Vec<Part>, steps: u64) -> Result<(), StageError> {
    let (step, partition) = (train::TrainEncoder, Partition::Whole);
    let key_parts = harness.key_parts(&step, &inputs).expect("settings");
    let key = key_parts.key(step.spec().name, &partition);
    let spec = TaskSpec {
        stage: step.spec().stage,
        step: step.spec().name.to_owned(),
        partition,
        key,
        key_parts,
        inputs,
        lists: Vec::new(),
        again: None,
    };
    let cancelled = Arc::new(AtomicBool::new(false));
    let context = WorkerContext {
        manifest: harness.manifest.clone(),
        store: harness.store.clone(),
        resources: Arc::default(),
        runtime_environment: harness.runtime_environment.clone(),
        cancelled: cancelled.clone(),
        rows: laioncele_core::spec::RowCare::default(),
    };
    let report = StopAfter {
        left: std::sync::Mutex::new(steps),
        cancelled,
    };
    let mut task = Task::new(spec, "interrupted".to_owned(), context, Box::new(report))
        .expect("a task without lists");
    step.run(&mut task)
}

#[test]
fn resumed_training_equals_uninterrupted_training() {
    let folders = [
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    ];
    let (_, whole) = trained(folders[0].path(), 1);
    let harness = StepHarness::new(folders[1].path(), SETTINGS).expect("a harness");
    let parts = inputs(&harness);
    interrupt(&harness, parts.clone(), 133);
    let left = harness.store.list("cache/checkpoints").expect("a list");
    assert_eq!(left.len(), 2, "{left:?}");
    let bytes = |at: usize| harness.store.get(&left[at]).expect("a checkpoint");
    let before = [bytes(0), bytes(1)];
    interrupt(&harness, parts.clone(), 90);
    assert!(before[0] != bytes(0) && before[1] != bytes(1));
    let resumed = harness
        .run(&train::TrainEncoder, &Partition::Whole, parts)
        .expect("trained");
    assert_eq!(
        (digests(&resumed), &resumed.metrics),
        (digests(&whole), &whole.metrics)
    );
    assert!(
        harness
            .store
            .list("cache/checkpoints")
            .expect("a list")
            .is_empty()
    );
}

#[test]
fn damaged_checkpoint_restarts_training() {
    let folders = [
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    ];
    let (_, whole) = trained(folders[0].path(), 1);
    let harness = StepHarness::new(folders[1].path(), SETTINGS).expect("a harness");
    let parts = inputs(&harness);
    interrupt(&harness, parts.clone(), 20);
    for path in harness.store.list("cache/checkpoints").expect("a list") {
        let written = harness.store.put(&path, &b"no checkpoint"[..]);
        written.expect("written");
    }
    let again = harness
        .run(&train::TrainEncoder, &Partition::Whole, parts)
        .expect("trained");
    assert_eq!(digests(&again), digests(&whole));
}

#[test]
fn publish_is_idempotent() {
    let folder = tempfile::tempdir().expect("a folder");
    let (harness, record) = trained(folder.path(), 1);
    let publish = || {
        train::TrainEncoder
            .publish(
                &harness.store,
                &harness.manifest,
                std::slice::from_ref(&record),
            )
            .expect("published");
    };
    publish();
    let path = harness.store.local_path("encoder/encoder.safetensors");
    let written = || {
        std::fs::metadata(&path)
            .expect("the file")
            .modified()
            .expect("a time")
    };
    let before = written();
    publish();
    assert_eq!(written(), before);
    Encoder::load(&harness.store.local_path("encoder")).expect("loads");
    assert!(harness.store.exists("encoder/loss.csv").expect("the store"));
}

#[test]
fn empty_dataset_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = StepHarness::new(folder.path(), SETTINGS).expect("a harness");
    let error = harness
        .run(&train::TrainEncoder, &Partition::Whole, Vec::new())
        .expect_err("no people");
    assert!(
        matches!(&error, StageError::Data(text) if laioncele_core::error::chain(&**text).contains("no people to train on")),
        "{error}"
    );
}

#[test]
fn photos_without_features_are_dropped() {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = StepHarness::new(folder.path(), SETTINGS).expect("a harness");
    let mut parts = inputs(&harness);
    parts.pop();
    let record = harness
        .run(&train::TrainEncoder, &Partition::Whole, parts)
        .expect("trained");
    assert_eq!(
        (record.balances[0].rows_in, record.balances[0].rows_out),
        (160, 70)
    );
    assert_eq!(harness.rows::<Dropped>(&record).expect("rows").len(), 90);
}

fn feature_harness(root: &Path, crop: &str) -> StepHarness {
    feature_harness_with(root, &format!("crop = \"{crop}\"\n"))
}

/// With settings of `[train_encoder]`.
fn feature_harness_with(root: &Path, settings: &str) -> StepHarness {
    let mini = format!(
        "{}/../../manifests/mini/sdxl-mini",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = format!(
        "[run]\nseed = 1\nbuckets = 1\n[source]\npath = \"c\"\n[source.columns]\nurl = \"U\"\ncaption = \"T\"\n\
         [embedding_dims]\nname_tokens = 8\nname_channels = 128\nface = 4\nfeatures = 128\n\
         [models.image_encoders]\nfirst = \"{mini}/image_encoder\"\nsecond = \"{mini}/image_encoder_2\"\n\
         [train_encoder]\n{settings}"
    );
    let manifest = Manifest::parse(&root.join("m.toml"), &text).expect("a manifest");
    StepHarness::with_manifest(root, manifest).expect("a harness")
}

fn image(seed: u8) -> RgbImage {
    RgbImage::from_fn(90, 70, |x, y| {
        Rgb([
            (x * 3) as u8 ^ seed,
            (y * 2) as u8,
            ((x * y) as u8).wrapping_add(seed),
        ])
    })
}

/// Three photos of one name, the first two of which its identity has.
fn photo_parts(harness: &StepHarness) -> Vec<Part> {
    let photo = |k: u64| {
        let mut bytes = Vec::new();
        image(k as u8)
            .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
            .expect("a file");
        Photo {
            name_id: NameId(1),
            image_id: ImageId(k),
            url: format!("http://a.example/{k}.png"),
            caption: String::new(),
            image: Image {
                bytes,
                path: format!("{k}.png"),
            },
            sha256: String::new(),
            width: 90,
            height: 70,
        }
    };
    let bucket = Partition::Bucket(0);
    vec![
        harness
            .part(&bucket, vec![photo(3), photo(2), photo(1)])
            .expect("a part"),
        identity_part(harness, &[1, 2]),
    ]
}

/// The identity's photos, all with the face at one place.
fn identity_part(harness: &StepHarness, photos: &[u64]) -> Part {
    let identity = |k: &u64| Identity {
        name_id: NameId(1),
        name: "Mira Castellan".to_owned(),
        image_id: ImageId(*k),
        similarity: 0.5,
        face_box: FaceBox(vec![20.0, 20.0, 40.0, 44.0]),
    };
    let rows = photos.iter().map(identity).collect();
    harness.part(&Partition::Bucket(0), rows).expect("a part")
}

fn features(crop: &str) -> (Vec<PhotoFeature>, Record) {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = feature_harness(folder.path(), crop);
    let parts = photo_parts(&harness);
    let record = harness
        .run(&features::PhotoFeatures, &Partition::Bucket(0), parts)
        .expect("encoded");
    (harness.rows(&record).expect("rows"), record)
}

#[test]
fn features_are_of_face_crop_or_whole_photo() {
    let (whole, record) = features("whole");
    assert_eq!(
        whole.iter().map(|row| row.image_id.0).collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!(record.balances[0].rows_in, 2);
    let (face, record) = features("face");
    assert_eq!(face.len(), 2);
    assert_eq!(
        (record.balances[0].rows_in, record.balances[0].rows_out),
        (2, 2)
    );
    assert_ne!(face[0].features, whole[0].features);
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = feature_harness(folder.path(), "face").manifest;
    let section = ImageEncoderSection::from_manifest(&manifest).expect("a section");
    let loader = ModelLoader::without_task(&manifest.embedding_dims);
    let encoders = loader.image_encoders(&section).expect("encoders");
    let crop = laioncele_encoder::Crop::Face.apply(&image(1), [20.0, 20.0, 40.0, 44.0]);
    assert_eq!(
        face[0].features.0,
        encoders.feature(&crop).expect("features")
    );
}

/// What an earlier task encoded is not encoded again: only the photos that come in by another threshold are.
#[test]
fn features_are_taken_over_where_photo_and_crop_are_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = feature_harness(folder.path(), "face");
    let photos = photo_parts(&harness).swap_remove(0);
    let run = |harness: &StepHarness, identities: Part| {
        let parts = vec![photos.clone(), identities];
        let record = harness.run(&features::PhotoFeatures, &Partition::Bucket(0), parts);
        let record = record.expect("encoded");
        let rows: Vec<PhotoFeature> = harness.rows(&record).expect("rows");
        (rows, record.metrics["photos_reused"])
    };
    let (first, reused) = run(&harness, identity_part(&harness, &[1, 2]));
    assert_eq!((first.len(), reused), (2, 0.0));
    let (more, reused) = run(&harness, identity_part(&harness, &[1, 2, 3]));
    assert_eq!((more.len(), reused, &more[..2]), (3, 2.0, &first[..]));
    let (fewer, reused) = run(&harness, identity_part(&harness, &[2]));
    assert_eq!((fewer.len(), reused, &fewer[0]), (1, 1.0, &first[1]));
    // A face elsewhere is another crop.
    let moved = vec![Identity {
        name_id: NameId(1),
        name: "Mira Castellan".to_owned(),
        image_id: ImageId(1),
        similarity: 0.5,
        face_box: FaceBox(vec![10.0, 20.0, 40.0, 44.0]),
    }];
    let part = harness.part(&Partition::Bucket(0), moved).expect("a part");
    let (moved, reused) = run(&harness, part);
    assert_eq!(reused, 0.0);
    assert_ne!(moved[0].features, first[0].features);
    // Other settings: nothing is taken over, though the ledger is the same.
    let whole = feature_harness(folder.path(), "whole");
    let (_, reused) = run(&whole, identity_part(&whole, &[1, 2]));
    assert_eq!(reused, 0.0);
}
