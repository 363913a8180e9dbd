//! Damaged and foreign folders end in an error that names the thing.

use std::fs;
use std::path::Path;

use crate::common::fixture;
use laioncele_clip::{TextModel, Tokenizer};
use laioncele_nn::{Error, LoadOptions};
use tempfile::TempDir;

/// A copy of the second text encoder whose config and weights a test may spoil.
fn copy() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["config.json", "model.safetensors"] {
        fs::copy(
            fixture("model/text_encoder_2").join(name),
            folder.path().join(name),
        )
        .expect("copied");
    }
    folder
}

fn load(folder: &Path) -> Error {
    TextModel::load(folder, true, &LoadOptions::default())
        .expect_err("a spoilt folder must not load")
}

fn edit(folder: &TempDir, from: &str, to: &str) {
    let path = folder.path().join("config.json");
    let text = fs::read_to_string(&path).expect("config");
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).expect("written");
}

#[test]
fn load_names_truncated_weight_files() {
    let folder = copy();
    let path = folder.path().join("model.safetensors");
    let bytes = fs::read(&path).expect("weights");
    for length in [0, 7, 100, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).expect("written");
        let error = load(folder.path());
        assert!(
            matches!(&error, Error::Safetensors { path: found, .. } if *found == path),
            "{length}: {error}"
        );
    }
}

#[test]
fn load_lists_all_differing_tensors() {
    let folder = copy();
    edit(
        &folder,
        "\"num_hidden_layers\": 4",
        "\"num_hidden_layers\": 3",
    );
    edit(&folder, "\"projection_dim\": 48", "\"projection_dim\": 47");
    let Error::Tensors { report, .. } = load(folder.path()) else {
        panic!("another error")
    };
    assert_eq!(report.unexpected.len(), 16);
    assert!(report.missing.is_empty());
    assert_eq!(
        report.misshapen,
        [(
            "text_projection.weight".to_string(),
            vec![47, 40],
            vec![48, 40]
        )]
    );
    let folder = copy();
    edit(
        &folder,
        "\"num_hidden_layers\": 4",
        "\"num_hidden_layers\": 5",
    );
    let Error::Tensors { report, .. } = load(folder.path()) else {
        panic!("another error")
    };
    assert_eq!(report.missing.len(), 16);
    let shown = report.to_string();
    let query = "missing text_model.encoder.layers.4.self_attn.q_proj.weight: expected [40, 40]";
    assert!(shown.contains(query), "{shown}");
    assert!(
        shown.ends_with("16 missing") && shown.lines().count() == 10,
        "{shown}"
    );
}

#[test]
fn load_rejects_absurd_dimensions_by_key() {
    for (from, to, key) in [
        (
            "\"hidden_size\": 40",
            "\"hidden_size\": 4000000000",
            "hidden_size",
        ),
        (
            "\"num_hidden_layers\": 4",
            "\"num_hidden_layers\": 1000000",
            "num_hidden_layers",
        ),
        (
            "\"num_attention_heads\": 5",
            "\"num_attention_heads\": 0",
            "hidden_size",
        ),
        (
            "\"num_attention_heads\": 5",
            "\"num_attention_heads\": 7",
            "hidden_size",
        ),
    ] {
        let folder = copy();
        edit(&folder, from, to);
        let error = load(folder.path());
        assert!(
            matches!(&error, Error::Unsupported { key: found, .. } if found == key),
            "{error}"
        );
    }
    let folder = copy();
    edit(
        &folder,
        "\"hidden_act\": \"gelu\"",
        "\"hidden_act\": \"relu\"",
    );
    assert!(matches!(load(folder.path()), Error::Json { .. }));
}

#[test]
fn load_rejects_non_finite_weights() {
    let folder = copy();
    let path = folder.path().join("model.safetensors");
    let mut bytes = fs::read(&path).expect("weights");
    let at = bytes.len() - 4;
    bytes[at..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, bytes).expect("written");
    assert!(matches!(load(folder.path()), Error::NotFinite { .. }));
}

#[test]
fn a_shard_index_cannot_reach_other_folders() {
    let folder = copy();
    // A whole file of weights would be read before an index.
    fs::remove_file(folder.path().join("model.safetensors")).expect("removed");
    let index = r#"{"weight_map": {"a": "../model.safetensors"}}"#;
    fs::write(folder.path().join("model.safetensors.index.json"), index).expect("written");
    assert!(matches!(load(folder.path()), Error::Unsupported { .. }));
}

#[test]
fn forward_rejects_ids_and_lengths_out_of_range() {
    let model = TextModel::load(
        &fixture("model/text_encoder_2"),
        true,
        &LoadOptions::default(),
    )
    .expect("a tower");
    assert!(matches!(
        model.forward(&[vec![1, 2_000_000]]),
        Err(Error::TokenId { id: 2_000_000, .. })
    ));
    assert!(matches!(
        model.forward(&[vec![1; 78]]),
        Err(Error::TokenCount {
            length: 78,
            most: 77
        })
    ));
    assert!(matches!(
        model.forward(&[vec![1; 3], vec![1; 2]]),
        Err(Error::TokenCount { .. })
    ));
    assert!(matches!(model.forward(&[]), Err(Error::TokenCount { .. })));
}

#[test]
fn tokenizer_load_names_the_missing_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = Tokenizer::load(folder.path()).expect_err("nothing there");
    assert!(
        error.to_string().contains("tokenizer_config.json"),
        "{error}"
    );
}
