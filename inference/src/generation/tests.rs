//! The pipeline on the embedded world's real networks, with an encoder that knows one name by heart.

use std::path::Path;

use image::RgbImage;
use laioncele_core::testing::StepHarness;
use laioncele_core::{Manifest, Part, TableId};
use laioncele_encoder::Crop;
use laioncele_sdxl::{NameTensor, NegativePrompt, SamplingSettings};

use super::*;
use crate::testing::{
    NAMES, encoder_parts, memorizing_encoder, mini_manifest, name_rows, old_run_parts, run_parts,
};
use crate::{FaceSection, ImageEncoderSection, SdxlSection};

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
        negative: NegativePrompt::Model,
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

/// How far along the line between both names `f` lies from their mean, in half their distance; it must lie on that line.
fn along(f: &NameTensor, names: &[Vec<f32>; 2]) -> f64 {
    let pairs = names[0].iter().zip(&names[1]);
    let (mut dot, mut length) = (0.0, 0.0);
    let mut moved = Vec::new();
    for ((a, b), f) in pairs.zip(f.rows()) {
        let (mean, half) = (f64::from(a + b) / 2.0, f64::from(a - b) / 2.0);
        let away = f64::from(*f) - mean;
        (dot, length) = (dot + away * half, length + half * half);
        moved.push((away, half));
    }
    let share = dot / length;
    let off: f64 = moved
        .iter()
        .map(|(away, half)| (away - share * half).powi(2))
        .sum();
    assert!(off < 1e-4 * length, "{off} beside the line");
    share
}

/// Of two names the covariance is known: both are half their distance from the mean, so that the variance in halves is
/// (1 + 1) / (2 - 1).
#[test]
fn random_names_have_the_names_covariance() {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = harness(folder.path());
    let parts = old_run_parts(&harness).expect("parts");
    let of = |table: TableId| parts.iter().filter(|p| p.table == table).cloned().collect();
    let tables = RunTables::Run {
        store: &harness.store,
        dims: &harness.manifest.embedding_dims,
        parts: &of,
    };
    let rows = name_rows().expect("names");
    let numbers = |at: usize| rows[at].embedding.0.iter().map(|v| v.to_f32()).collect();
    let names: [Vec<f32>; 2] = [numbers(0), numbers(1)];
    let draw = |seed| along(&fictional(&tables, seed).expect("a name"), &names);
    assert_eq!(draw(3), draw(3));
    let shares: Vec<f64> = (0..400).map(draw).collect();
    let mean = shares.iter().sum::<f64>() / 400.0;
    let variance = shares.iter().map(|share| share * share).sum::<f64>() / 400.0;
    assert!(mean.abs() < 0.2, "{mean}");
    assert!((variance - 2.0).abs() < 0.4, "{variance}");

    // What is published draws alike.
    let spread = NameSpread::of_run(&tables).expect("a spread");
    let bytes = spread.to_bytes().expect("bytes");
    let spread = NameSpread::from_bytes(&bytes, 8, 128).expect("a spread");
    let draw = |seed| along(&spread.fictional(seed).expect("a name"), &names);
    assert_eq!(draw(3), draw(3));
    let squares = (0..400).map(|seed| draw(seed).powi(2));
    let variance = squares.sum::<f64>() / 400.0;
    assert!((variance - 2.0).abs() < 0.8, "{variance}");
    // A mean of half as many numbers is not that of the file.
    assert!(NameSpread::from_bytes(&bytes, 8, 64).is_err());
    assert!(NameSpread::from_bytes(b"no tensors", 8, 128).is_err());
}

/// A published folder predicts and guides as its run does; without its files it says which is missing.
#[test]
fn a_published_folder_is_the_runs_encoder() {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = harness(folder.path());
    let config = config(&harness.manifest);
    let parts = run_parts(&harness).expect("parts");
    let pipeline = open(&harness, &config, &parts).expect("a pipeline");
    let photo = RgbImage::new(40, 30);
    let name = pipeline.name_from_photo(&photo).expect("a name");

    let published = folder.path().join("published");
    let encoder = memorizing_encoder(&name_rows().expect("names")[0]);
    std::fs::create_dir(&published).expect("a folder");
    encoder.save(&published).expect("saved");
    let write =
        |file: &str, bytes: &[u8]| std::fs::write(published.join(file), bytes).expect("written");
    let bytes = laioncele_encoder::config_with_crop(&encoder.config, Crop::Whole).expect("bytes");
    write("encoder.json", &bytes);
    let error = EncoderFolder::open(&published)
        .err()
        .expect("no mean")
        .to_string();
    assert!(error.contains("name_mean.safetensors"), "{error}");
    let of = |table: TableId| parts.iter().filter(|p| p.table == table).cloned().collect();
    let tables = RunTables::Run {
        store: &harness.store,
        dims: &harness.manifest.embedding_dims,
        parts: &of,
    };
    let statistics = NameStatistics::read(&tables).expect("statistics");
    let floats = |values: &[f32]| {
        values
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    let (mean, length) = (
        floats(statistics.mean.rows()),
        floats(&[statistics.mean_length]),
    );
    let view = |shape: Vec<usize>, data| {
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, data)
            .expect("a tensor")
    };
    let views = [
        ("mean", view(vec![8, 128], &mean)),
        ("length", view(vec![1], &length)),
    ];
    write(
        "name_mean.safetensors",
        &safetensors::serialize(views, None).expect("bytes"),
    );
    write(
        "inference.json",
        br#"{"delta": 2.0, "eta": "mean", "image_encoders": {"precision": "f32", "blake3": {}}}"#,
    );

    let opened = EncoderFolder::open(&published).expect("a folder");
    assert_eq!(
        (opened.inference.delta, opened.eta),
        (2.0, Eta::Mean(MeanLength::Mean))
    );
    let predictor =
        NamePredictor::of_folder(&opened, &config.image_encoders, None).expect("a predictor");
    let again = predictor.name_from_photos(&[photo]).expect("a name");
    assert_eq!(again, name);
    let guided = opened
        .statistics()
        .guided(&again.embedding, 2.0, Eta::Length(30.0));
    assert_eq!(
        guided.expect("guided"),
        pipeline.prepended(&name).expect("an embedding")
    );
    assert!(opened.spread().expect("none").is_none());
    write("inference.json", b"{\"delta\": 1}");
    let error = EncoderFolder::open(&published)
        .err()
        .expect("no eta")
        .to_string();
    assert!(error.contains("inference.json"), "{error}");
}
