//! The pipeline on the embedded world's real networks, with an encoder that knows one name by heart.

use std::path::Path;

use image::RgbImage;
use laioncele_core::testing::StepHarness;
use laioncele_core::{Manifest, Part, TableId};
use laioncele_encoder::Crop;
use laioncele_sdxl::SamplingSettings;

use super::*;
use crate::testing::{
    NAMES, encoder_parts, memorizing_encoder, mini_manifest, name_rows, old_run_parts, run_parts,
};
use crate::{FaceSection, ImageEncoderSection, SdxlSection, Unconditional};

const PROMPT: &str = "a portrait of a person";

fn harness(root: &Path) -> StepHarness {
    let manifest = Manifest::parse(&root.join("m.toml"), &mini_manifest("")).expect("a manifest");
    StepHarness::with_manifest(root, manifest).expect("a harness")
}

/// Whole photos and two steps, so that any image has a name and is soon there.
fn config(manifest: &Manifest) -> GenerationConfig {
    GenerationConfig {
        sdxl: SdxlSection::from_manifest(manifest)
            .expect("[models.sdxl]")
            .files,
        unconditional: Unconditional::Model,
        image_encoders: ImageEncoderSection::from_manifest(manifest).expect("a section"),
        face: None,
        crop: Crop::Whole,
        sampling: SamplingSettings {
            scheduler: None,
            steps: 2,
            guidance: 4.0,
            ..SamplingSettings::default()
        },
        delta: 2.0,
        eta: Eta::Length(30.0),
    }
}

fn open(
    harness: &StepHarness,
    config: &GenerationConfig,
    parts: &[Part],
) -> Result<GenerationPipeline> {
    let of = |table: TableId| parts.iter().filter(|p| p.table == table).cloned().collect();
    let tables = RunTables::Run {
        store: &harness.store,
        dims: &harness.manifest.embedding_dims,
        parts: &of,
    };
    GenerationPipeline::open(config, &tables)
}

fn norm(row: &[f32]) -> f32 {
    row.iter().map(|v| v * v).sum::<f32>().sqrt()
}

#[test]
fn predicted_names_go_through_equations_four_and_five() {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = harness(folder.path());
    let parts = run_parts(&harness).expect("parts");
    let mut config = config(&harness.manifest);
    let pipeline = open(&harness, &config, &parts).expect("a pipeline");
    let photo = RgbImage::new(40, 30);
    let name = pipeline.name_from_photo(&photo).expect("a name");
    let rows: Vec<Vec<f32>> = name_rows().expect("names")[..2]
        .iter()
        .map(|row| row.embedding.0.iter().map(|v| v.to_f32()).collect())
        .collect();
    let mean = rows[0].iter().zip(&rows[1]).map(|(a, b)| (a + b) / 2.0);
    let found = name.embedding.rows().iter();
    let pulled: Vec<f32> = found.zip(mean).map(|(f, m)| m + 2.0 * (f - m)).collect();
    let prepended = pipeline.prepended(&name).expect("an embedding");
    let close = |(a, b): (&f32, &f32)| (a - b * 30.0 / norm(&pulled)).abs() < 1e-4;
    assert!(prepended.rows().iter().zip(&pulled).all(close));
    assert!((prepended.norm() - 30.0).abs() < 1e-3);

    config.eta = Eta::Mean(MeanLength::Mean);
    let pipeline = open(&harness, &config, &parts).expect("a pipeline");
    let wanted = (norm(&rows[0]) + norm(&rows[1])) / 2.0;
    let found = pipeline.prepended(&name).expect("an embedding").norm();
    assert!((found - wanted).abs() < 1e-3, "{found} {wanted}");
}

/// An earlier version's run, whose pack-shards wrote no sums, has the same numbers.
#[test]
fn statistics_are_the_same_with_and_without_sums() {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = harness(folder.path());
    let read = |parts: Vec<Part>| {
        let of = |table: TableId| parts.iter().filter(|p| p.table == table).cloned().collect();
        NameStatistics::read(&RunTables::Run {
            store: &harness.store,
            dims: &harness.manifest.embedding_dims,
            parts: &of,
        })
    };
    let sums = read(run_parts(&harness).expect("parts")).expect("statistics");
    let names = read(old_run_parts(&harness).expect("parts")).expect("statistics");
    assert_eq!((sums.names, &sums), (2, &names));
}

#[test]
fn names_from_texts_are_prepended_as_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = harness(folder.path());
    let pipeline = open(&harness, &config(&harness.manifest), &[]).expect("a pipeline");
    let name = pipeline.name_from_text(NAMES[0]).expect("a name");
    let prepended = pipeline.prepended(&name).expect("an embedding");
    assert_eq!(prepended, name.embedding);
}

#[test]
fn interpolation_ends_at_both_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = harness(folder.path());
    let pipeline = open(&harness, &config(&harness.manifest), &[]).expect("a pipeline");
    let [a, b] = [NAMES[0], NAMES[1]].map(|name| pipeline.name_from_text(name).expect("a name"));
    let images = pipeline
        .interpolate((&a, &b), 3, PROMPT, 5)
        .expect("images");
    let request = |name| SampleRequest {
        name: Some(name),
        prompt: PROMPT,
        seed: 5,
    };
    let ends = pipeline
        .generate(&[request(&a), request(&b)])
        .expect("images");
    assert_eq!(images.len(), 3);
    assert_eq!((&images[0], &images[2]), (&ends[0], &ends[1]));
    assert!(images[1] != images[0] && images[1] != images[2]);
}

#[test]
fn photos_need_an_encoder() {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = harness(folder.path());
    let config = config(&harness.manifest);
    let pipeline = open(&harness, &config, &[]).expect("a pipeline");
    let error = pipeline.name_from_photo(&RgbImage::new(10, 10));
    assert!(matches!(error, Err(GenerationError::NoEncoder)));
}

#[test]
fn no_photo_and_no_face_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = harness(folder.path());
    let section = FaceSection::from_manifest(&harness.manifest).expect("[models.face]");
    let config = GenerationConfig {
        face: Some(section.files),
        crop: Crop::Face,
        ..config(&harness.manifest)
    };
    let parts = run_parts(&harness).expect("parts");
    let pipeline = open(&harness, &config, &parts).expect("a pipeline");
    let none = pipeline.name_from_photos(&[]);
    assert!(matches!(none, Err(GenerationError::NoPhoto)));
    let empty = RgbImage::new(64, 64);
    let faceless = pipeline.name_from_photo(&empty);
    assert!(matches!(faceless, Err(GenerationError::NoFace)));
    assert_eq!(pipeline.word_for(&empty).expect("a word"), "person");
    assert_eq!(pipeline.words(), ["man", "woman"]);
}

#[test]
fn an_encoder_of_other_features_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = harness(folder.path());
    let mut narrow = memorizing_encoder(&name_rows().expect("names")[0]);
    narrow.config.input = 64;
    narrow.input_mean.truncate(64);
    narrow.input_std.truncate(64);
    narrow.layers[0].weight.truncate(2 * 64);
    let parts = encoder_parts(&harness, &narrow).expect("parts");
    let error = open(&harness, &config(&harness.manifest), &parts).err();
    let text = error.expect("too narrow").to_string();
    assert!(text.contains("input is 64 wide; 128"), "{text}");
}

#[test]
fn an_encoder_without_a_dataset_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = harness(folder.path());
    let encoder = memorizing_encoder(&name_rows().expect("names")[0]);
    let parts = encoder_parts(&harness, &encoder).expect("parts");
    let error = open(&harness, &config(&harness.manifest), &parts).err();
    let text = error.expect("no names").to_string();
    assert!(text.contains("pack-shards"), "{text}");
}
