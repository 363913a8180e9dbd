//! The stage on the embedded world's real networks, with few steps, and an encoder that knows one name by heart.

use std::path::Path;

use half::f16;
use image::RgbImage;
use laioncele_core::Partition;
use laioncele_core::table::{Dropped, FaceBox, Identity, NameEmbedding as NameRow, NameVector};
use laioncele_core::testing::StepHarness;
use laioncele_core::{Digest, ImageId, NameId, Part};
use laioncele_encoder::{Activation, Encoder, EncoderConfig, Layer};
use laioncele_sdxl::{LoadOptions, TextEncoders};

use super::*;

const NAMES: [&str; 3] = ["Maria Johnson", "Peter Garcia", "Not Kept"];

fn mini() -> String {
    format!("{}/../../manifests/mini", env!("CARGO_MANIFEST_DIR"))
}

fn manifest(root: &Path, keys: &str, crop: &str) -> Manifest {
    let mini = mini();
    let text = format!(
        "[run]\nseed = 7\nbuckets = 1\n[source]\npath = \"captions\"\n[source.columns]\nurl = \"URL\"\ncaption = \"TEXT\"\n\
         [embedding_dims]\nname_tokens = 8\nname_channels = 128\nface = 512\nfeatures = 128\n\
         [models.sdxl]\nfolder = \"{mini}/sdxl-mini\"\n\
         [models.image_encoders]\nfirst = \"{mini}/sdxl-mini/image_encoder\"\nsecond = \"{mini}/sdxl-mini/image_encoder_2\"\n\
         [models.face]\ndetector = \"{mini}/face/retinaface_mobilenet025_dynamic.onnx\"\nrecognizer = \"{mini}/face/faceplugin_fr_feature_512.onnx\"\n\
         gender = \"{mini}/face/face_api_age_gender.onnx\"\n\
         [train_encoder]\ncrop = \"{crop}\"\n\
         [generate_samples]\nreferences = \"references\"\nimages_per_prompt = 2\nguidance = 4\nsteps = 2\nscheduler = \"model\"\n\
         prompts = {{ mood = [\"a person is sad\"], place = [\"a person in the snow\"] }}\n{keys}"
    );
    Manifest::parse(&root.join("m.toml"), &text).expect("a manifest")
}

fn harness(root: &Path, keys: &str, crop: &str) -> StepHarness {
    std::fs::create_dir_all(root.join("references")).expect("a folder");
    StepHarness::with_manifest(root, manifest(root, keys, crop)).expect("a harness")
}

fn name_rows() -> Vec<NameRow> {
    let folder = format!("{}/sdxl-mini", mini());
    let encoders = TextEncoders::load(Path::new(&folder), &LoadOptions::default());
    let encoders = encoders.expect("encoders");
    let row = |name: &&str| {
        let embedding = encoders.encode_name(name).expect("an embedding");
        NameRow {
            name_id: NameId::of(name),
            name: (*name).to_owned(),
            token_count: 2,
            embedding: NameVector(embedding.rows().iter().map(|v| f16::from_f32(*v)).collect()),
        }
    };
    NAMES.iter().map(row).collect()
}

/// Whatever the photo, this encoder predicts the first name, moved a little by the features.
fn encoder(name: &NameRow) -> Encoder {
    let config = EncoderConfig {
        input: 128,
        hidden: [2, 2],
        output_tokens: 8,
        output_channels: 128,
        activation: Activation::Gelu,
    };
    let layer = |(inputs, outputs): (usize, usize)| Layer {
        weight: (0..inputs * outputs)
            .map(|i| (i as f32).sin() * 0.01)
            .collect(),
        bias: vec![0.0; outputs],
    };
    let mut encoder = Encoder {
        input_mean: vec![0.0; 128],
        input_std: vec![1.0; 128],
        layers: config.layers().map(layer),
        config,
    };
    encoder.layers[2].bias = name.embedding.0.iter().map(|v| v.to_f32()).collect();
    encoder
}

fn file_part(harness: &StepHarness, name: &str, bytes: Vec<u8>) -> Part {
    let path = format!("tables/encoder/all/test-0.{name}");
    let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
    harness.store.put(&path, bytes).expect("a file");
    let (table, partition) = (TableId::Encoder, Partition::Whole);
    Part {
        table,
        partition,
        path,
        rows: 0,
        bytes: size,
        digest,
    }
}

/// The parts that the stage reads; the third name has no identity.
fn inputs(harness: &StepHarness) -> Vec<Part> {
    let names = name_rows();
    let files = encoder(&names[0]).to_bytes().expect("an encoder");
    let identity = |row: &NameRow| Identity {
        name_id: row.name_id,
        name: row.name.clone(),
        image_id: ImageId(1),
        similarity: 0.5,
        face_box: FaceBox(vec![0.0; 4]),
    };
    let identities = names[..2].iter().map(identity).collect();
    let bucket = Partition::Bucket(0);
    vec![
        file_part(harness, "encoder.json", files.config),
        file_part(harness, "encoder.safetensors", files.weights),
        harness.part(&bucket, identities).expect("a part"),
        harness.part::<NameRow>(&bucket, names).expect("a part"),
    ]
}

fn studio(harness: &StepHarness, parts: &[Part]) -> Studio {
    let of = |table| parts.iter().filter(|p| p.table == table).cloned().collect();
    Studio::open(&harness.manifest, &harness.store, &of).expect("a studio")
}

/// A portrait of the first name, drawn well enough for the detector.
fn portrait(harness: &StepHarness) -> RgbImage {
    let mut studio = studio(harness, &[]);
    studio.sampling.steps = 12;
    let name = studio.name_from_text(NAMES[0]).expect("a name");
    studio
        .draw(Some(&name), "a portrait of a person", 3)
        .expect("a portrait")
}

fn samples(harness: &StepHarness, chunk: u32) -> (Vec<Sample>, Record) {
    let record = harness
        .run(&GenerateSamples, &Partition::Chunk(chunk), inputs(harness))
        .expect("drawn");
    (harness.rows(&record).expect("samples"), record)
}

#[test]
fn people_and_the_plain_model_are_drawn() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut harness = harness(folder.path(), "", "face");
    let references = folder.path().join("references");
    portrait(&harness)
        .save(references.join("maria.png"))
        .expect("saved");
    RgbImage::new(64, 64)
        .save(references.join("nobody.png"))
        .expect("saved");
    std::fs::write(references.join("broken.png"), b"no picture").expect("written");
    assert_eq!(
        GenerateSamples
            .partitioning(&harness.manifest)
            .expect("a partitioning"),
        Partitioning::Chunks(4)
    );

    let (maria, first) = samples(&harness, 1);
    let shown: Vec<_> = maria.iter().map(|s| (s.group.as_str(), s.index)).collect();
    assert_eq!(
        shown,
        [("mood", 0), ("mood", 1), ("place", 0), ("place", 1)]
    );
    assert!(
        maria
            .iter()
            .all(|s| s.person == "maria" && !s.prompt.contains("person"))
    );
    let pictures: std::collections::BTreeSet<_> = maria.iter().map(|s| &s.image.bytes).collect();
    assert_eq!(pictures.len(), 4);
    harness.runtime_environment.threads = 1;
    assert_eq!(samples(&harness, 1).0, maria, "whatever the threads");

    for (chunk, reason) in [(0, "not_an_image"), (2, "no_face")] {
        let (none, record) = samples(&harness, chunk);
        let dropped: Vec<Dropped> = harness.rows(&record).expect("dropped");
        assert!(none.is_empty() && dropped.len() == 4);
        assert!(
            dropped.iter().all(|row| row.reason == reason),
            "{dropped:?}"
        );
    }

    let (plain, last) = samples(&harness, 3);
    let words: Vec<_> = plain
        .iter()
        .map(|s| (s.person.as_str(), s.prompt.as_str()))
        .collect();
    let wanted = [
        "a man is sad",
        "a woman is sad",
        "a man in the snow",
        "a woman in the snow",
    ];
    assert_eq!(words, wanted.map(|prompt| ("", prompt)));

    let records = [first, last];
    GenerateSamples
        .publish(&harness.store, &harness.manifest, &records)
        .expect("a sheet");
    let sheet = harness.store.get("samples/sheet.png").expect("the sheet");
    let picture = image::load_from_memory(&sheet).expect("a PNG");
    assert_eq!(
        (picture.width(), picture.height()),
        (3 * 132 + 4, 4 * 132 + 4)
    );
    GenerateSamples
        .publish(&harness.store, &harness.manifest, &records)
        .expect("a sheet");
    assert_eq!(
        harness.store.get("samples/sheet.png").expect("the sheet"),
        sheet
    );
}

#[test]
fn equations_four_and_five_hold() {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = harness(
        folder.path(),
        "delta = 2\neta = 30\ngendered = false\n",
        "whole",
    );
    let parts = inputs(&harness);
    let studio = studio(&harness, &parts);
    let name = studio
        .name_from_photo(&RgbImage::new(40, 30))
        .expect("a name");
    let rows: Vec<Vec<f32>> = name_rows()[..2]
        .iter()
        .map(|row| row.embedding.0.iter().map(|v| v.to_f32()).collect())
        .collect();
    let mean: Vec<f32> = rows[0]
        .iter()
        .zip(&rows[1])
        .map(|(a, b)| (a + b) / 2.0)
        .collect();
    let pulled = name
        .embedding
        .rows()
        .iter()
        .zip(&mean)
        .map(|(f, m)| m + 2.0 * (f - m));
    let pulled: Vec<f32> = pulled.collect();
    let length = pulled.iter().map(|v| v * v).sum::<f32>().sqrt();
    let prepended = studio.prepended(&name).expect("an embedding");
    let close = |(a, b): (&f32, &f32)| (a - b * 30.0 / length).abs() < 1e-4;
    assert!(prepended.rows().iter().zip(&pulled).all(close));
    assert!((prepended.norm() - 30.0).abs() < 1e-3);
    let text = studio.name_from_text(NAMES[0]).expect("a name");
    assert_eq!(
        studio.prepended(&text).expect("an embedding"),
        text.embedding
    );

    let by_mean = manifest(folder.path(), "eta = \"mean\"\ngendered = false\n", "whole");
    let of = |table| parts.iter().filter(|p| p.table == table).cloned().collect();
    let studio = Studio::open(&by_mean, &harness.store, &of).expect("a studio");
    let norm = |row: &Vec<f32>| row.iter().map(|v| v * v).sum::<f32>().sqrt();
    let wanted = (norm(&rows[0]) + norm(&rows[1])) / 2.0;
    let found = studio.prepended(&name).expect("an embedding").norm();
    assert!((found - wanted).abs() < 1e-3, "{found} {wanted}");
}

#[test]
fn interpolation_ends_at_both_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = harness(folder.path(), "gendered = false\n", "whole");
    let studio = studio(&harness, &[]);
    let [a, b] = [NAMES[0], NAMES[1]].map(|name| studio.name_from_text(name).expect("a name"));
    let pictures = studio
        .interpolate((&a, &b), 3, "a portrait of a person", 5)
        .expect("pictures");
    let alone = |name| {
        studio
            .draw(Some(name), "a portrait of a person", 5)
            .expect("a picture")
    };
    assert_eq!(pictures.len(), 3);
    assert_eq!((&pictures[0], &pictures[2]), (&alone(&a), &alone(&b)));
    assert!(pictures[1] != pictures[0] && pictures[1] != pictures[2]);
    let photo = RgbImage::new(10, 10);
    assert!(matches!(
        studio.name_from_photo(&photo),
        Err(DrawError::NoEncoder)
    ));
}

#[test]
fn what_does_not_fit_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = harness(folder.path(), "gendered = false\n", "whole");
    let mut parts = inputs(&harness);
    let mut narrow = encoder(&name_rows()[0]);
    narrow.config.input = 64;
    narrow.input_mean.truncate(64);
    narrow.input_std.truncate(64);
    narrow.layers[0].weight.truncate(2 * 64);
    let files = narrow.to_bytes().expect("an encoder");
    parts[0] = file_part(&harness, "narrow.encoder.json", files.config);
    parts[1] = file_part(&harness, "narrow.encoder.safetensors", files.weights);
    let of = |table| parts.iter().filter(|p| p.table == table).cloned().collect();
    let error = Studio::open(&harness.manifest, &harness.store, &of)
        .err()
        .expect("too narrow");
    assert!(
        error.to_string().contains("input is 64 wide; 128"),
        "{error}"
    );

    let text = "[generate_samples]\nreference = \"x\"\n";
    let wrong = StepHarness::new(folder.path(), text).expect("a harness");
    let error = GenerateSamples
        .settings(&wrong.manifest)
        .expect_err("no such key")
        .to_string();
    assert!(error.contains("did you mean `references`?"), "{error}");
}

/// Pinned: the same pictures on every machine and in every version.
#[test]
fn seeds_never_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = Plan::read(&manifest(folder.path(), "", "face")).expect("a plan");
    assert_eq!(
        plan.seed("maria", "a person is sad", 1),
        0x36ca_c593_4c46_104a
    );
}
