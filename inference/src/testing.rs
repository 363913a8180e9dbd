//! An invented run for tests of the generation pipeline and of generate-samples: three names that the embedded world's
//! SDXL encodes, two of which have identities, and an encoder that predicts the first name whatever a photo shows.

use std::path::{Path, PathBuf};

use half::f16;
use laioncele_core::Partition;
use laioncele_core::table::{FaceBox, Identity, NameEmbedding, NameSum, NameSums, NameVector};
use laioncele_core::testing::StepHarness;
use laioncele_core::{CoreError, Digest, ImageId, NameId, Part, TableId};
use laioncele_encoder::{Activation, CONFIG_FILE, Encoder, EncoderConfig, Layer, WEIGHTS_FILE};
use laioncele_sdxl::{LoadOptions, TextEncoders};

use crate::ModelError;

/// The run's names; the last one has no identity.
pub const NAMES: [&str; 3] = ["Maria Johnson", "Peter Garcia", "Not Kept"];

/// The folder of the embedded world's models.
pub fn mini_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/mini")
}

/// A manifest's text: the embedded world's models, and `sections`.
pub fn mini_manifest(sections: &str) -> String {
    let mini = mini_folder();
    let mini = mini.display();
    format!(
        "[run]\nseed = 7\nbuckets = 1\n[source]\npath = \"captions\"\n[source.columns]\nurl = \"URL\"\ncaption = \"TEXT\"\n\
         [embedding_dims]\nname_tokens = 8\nname_channels = 128\nface = 512\nfeatures = 128\n\
         [models.sdxl]\nfolder = \"{mini}/sdxl-mini\"\n\
         [models.image_encoders]\nfirst = \"{mini}/sdxl-mini/image_encoder\"\nsecond = \"{mini}/sdxl-mini/image_encoder_2\"\n\
         [models.face]\ndetector = \"{mini}/face/retinaface_mobilenet025_dynamic.onnx\"\nrecognizer = \"{mini}/face/faceplugin_fr_feature_512.onnx\"\n\
         gender = \"{mini}/face/face_api_age_gender.onnx\"\n{sections}"
    )
}

/// The rows of [`NAMES`], encoded.
///
/// # Errors
/// A model's error.
pub fn name_rows() -> Result<Vec<NameEmbedding>, ModelError> {
    let folder = mini_folder().join("sdxl-mini");
    let encoders = TextEncoders::load(&folder, &LoadOptions::default())?;
    let row = |name: &&str| {
        let embedding = encoders.encode_name(name)?;
        Ok(NameEmbedding {
            name_id: NameId::of(name),
            name: (*name).to_owned(),
            token_count: 2,
            embedding: NameVector(embedding.rows().iter().map(|v| f16::from_f32(*v)).collect()),
        })
    };
    NAMES.iter().map(row).collect()
}

/// Whatever the photo, this encoder predicts `name`, moved a little by the features.
pub fn memorizing_encoder(name: &NameEmbedding) -> Encoder {
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

/// Stores the two files of `encoder` as parts of the table `encoder`.
///
/// # Errors
/// An encoder that cannot be written, store errors.
pub fn encoder_parts(
    harness: &StepHarness,
    encoder: &Encoder,
) -> Result<[Part; 2], Box<dyn std::error::Error>> {
    let files = encoder.to_bytes()?;
    let part = |name: &str, bytes: Vec<u8>| -> Result<Part, CoreError> {
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        let path = format!("tables/encoder/all/{}.{name}", digest.short());
        harness.store.put(&path, bytes)?;
        Ok(Part {
            table: TableId::Encoder,
            partition: Partition::Whole,
            path,
            rows: 0,
            bytes: size,
            digest,
        })
    };
    Ok([
        part(CONFIG_FILE, files.config)?,
        part(WEIGHTS_FILE, files.weights)?,
    ])
}

/// Stores what the pipeline reads of a run: the encoder, and the sums of the names with identities.
///
/// # Errors
/// A model's error, store errors.
pub fn run_parts(harness: &StepHarness) -> Result<Vec<Part>, Box<dyn std::error::Error>> {
    let names = name_rows()?;
    let mut parts = encoder_parts(harness, &memorizing_encoder(&names[0]))?.to_vec();
    // As of two buckets.
    for (bucket, name) in (0..).zip(&names[..2]) {
        let sums: Vec<f64> = name.embedding.0.iter().map(|v| v.to_f64()).collect();
        let row = NameSum {
            names: 1,
            lengths: sums.iter().map(|v| v * v).sum::<f64>().sqrt(),
            sums: NameSums(sums),
        };
        parts.push(harness.part(&Partition::Bucket(bucket), vec![row])?);
    }
    Ok(parts)
}

/// What the pipeline reads of a run that has no sums yet: the encoder, the identities, the name embeddings.
///
/// # Errors
/// A model's error, store errors.
pub fn old_run_parts(harness: &StepHarness) -> Result<Vec<Part>, Box<dyn std::error::Error>> {
    let names = name_rows()?;
    let identity = |row: &NameEmbedding| Identity {
        name_id: row.name_id,
        name: row.name.clone(),
        image_id: ImageId(1),
        similarity: 0.5,
        face_box: FaceBox(vec![0.0; 4]),
    };
    let identities: Vec<Identity> = names[..2].iter().map(identity).collect();
    let bucket = Partition::Bucket(0);
    let mut parts = encoder_parts(harness, &memorizing_encoder(&names[0]))?.to_vec();
    parts.push(harness.part(&bucket, identities)?);
    parts.push(harness.part(&bucket, names)?);
    Ok(parts)
}
