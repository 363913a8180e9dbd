//! Tokens, text states and pooled vectors against transformers' own.

use crate::common::{assert_close, fixture, golden, ids, json_lines, manifest, numbers};
use candle_core::{DType, Tensor};
use laioncele_clip::{TextModel, Tokenizer};
use laioncele_nn::{LoadOptions, WeightVariant};

fn load(folder: &str, with_projection: bool) -> TextModel {
    TextModel::load(&fixture(folder), with_projection, &LoadOptions::default())
        .expect("a text tower")
}

#[test]
fn tokens_are_exact() {
    let one = Tokenizer::load(&fixture("model/tokenizer")).expect("tokenizer");
    let two = Tokenizer::load(&fixture("model/tokenizer_2")).expect("tokenizer_2");
    let newer = Tokenizer::load(&fixture("variants/tokenizer_2-newer")).expect("newer");
    let lines = json_lines("tokens.jsonl");
    assert_eq!(lines.len(), 45);
    for line in &lines {
        let text = line["text"].as_str().expect("text");
        assert_eq!(
            one.encode(text).ids,
            ids(&line["ids_1"]),
            "tokenizer, {text:?}"
        );
        assert_eq!(
            two.encode(text).ids,
            ids(&line["ids_2"]),
            "tokenizer_2, {text:?}"
        );
    }
    for line in json_lines("tokens_newer.jsonl") {
        let text = line["text"].as_str().expect("text");
        assert_eq!(
            newer.encode(text).ids,
            ids(&line["ids_2"]),
            "newer tokenizer_2, {text:?}"
        );
    }
}

#[test]
fn tokenizer_json_gives_the_same_tokens() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = fixture("model/tokenizer_2");
    let read = |name: &str| std::fs::read_to_string(source.join(name)).expect("a file");
    let vocab: serde_json::Value = serde_json::from_str(&read("vocab.json")).expect("JSON");
    let merges = read("merges.txt");
    let pairs: Vec<Vec<&str>> = merges
        .lines()
        .skip(1)
        .map(|line| line.split(' ').collect())
        .collect();
    let whole = serde_json::json!({"model": {"type": "BPE", "vocab": vocab, "merges": pairs}});
    std::fs::write(folder.path().join("tokenizer.json"), whole.to_string()).expect("written");
    std::fs::write(
        folder.path().join("tokenizer_config.json"),
        read("tokenizer_config.json"),
    )
    .expect("written");
    let tokenizer = Tokenizer::load(folder.path()).expect("tokenizer");
    for line in json_lines("tokens.jsonl") {
        let text = line["text"].as_str().expect("text");
        assert_eq!(tokenizer.encode(text).ids, ids(&line["ids_2"]), "{text:?}");
    }
}

#[test]
fn text_states_match() {
    let (one, two) = (
        load("model/text_encoder", false),
        load("model/text_encoder_2", true),
    );
    let lines = json_lines("tokens.jsonl");
    let chosen: Vec<usize> =
        serde_json::from_value(manifest()["cases"]["encoded_prompts"].clone()).expect("cases");
    let rows =
        |key: &str| -> Vec<Vec<u32>> { chosen.iter().map(|i| ids(&lines[*i][key])).collect() };
    let text = golden("text");
    let first = one.forward(&rows("ids_1")).expect("states");
    let second = two.forward(&rows("ids_2")).expect("states");
    assert_close(
        "penultimate_1",
        &numbers(first.penultimate()),
        &text["penultimate_1"],
        2e-5,
    );
    assert_close(
        "penultimate_2",
        &numbers(second.penultimate()),
        &text["penultimate_2"],
        2e-5,
    );
    assert_close("pooled", &numbers(&second.pooled), &text["pooled"], 2e-5);

    let stages = golden("text_stages");
    let portrait = lines
        .iter()
        .find(|line| line["text"] == "a portrait of a person")
        .expect("the prompt");
    for (name, model, key) in [("encoder_1", &one, "ids_1"), ("encoder_2", &two, "ids_2")] {
        let states = model.forward(&[ids(&portrait[key])]).expect("states");
        for (i, state) in states.hidden_states.iter().enumerate() {
            let what = format!("{name}.hidden_states.{i}");
            assert_close(&what, &numbers(state), &stages[&what], 2e-5);
        }
        let what = format!("{name}.last_hidden_state");
        assert_close(
            &what,
            &numbers(&states.last_hidden_state),
            &stages[&what],
            2e-5,
        );
    }
}

#[test]
fn pooling_follows_the_configured_end_token() {
    let pooling = golden("pooling");
    let rows: Vec<Vec<u32>> = pooling["ids"]
        .to_dtype(DType::U32)
        .and_then(|t| t.to_vec2())
        .expect("ids");
    let model = load("model/text_encoder_2", true);
    let states = model.forward(&rows).expect("states");
    assert_close(
        "largest id",
        &numbers(&states.pooled),
        &pooling["pooled_largest_id"],
        2e-5,
    );

    let folder = tempfile::tempdir().expect("a folder");
    let source = fixture("model/text_encoder_2");
    std::fs::copy(
        source.join("model.safetensors"),
        folder.path().join("model.safetensors"),
    )
    .expect("copied");
    let config = std::fs::read_to_string(source.join("config.json")).expect("config");
    assert!(config.contains("\"eos_token_id\": 2"));
    let config = config.replace("\"eos_token_id\": 2", "\"eos_token_id\": 1073");
    std::fs::write(folder.path().join("config.json"), config).expect("written");
    let model =
        TextModel::load(folder.path(), true, &LoadOptions::default()).expect("a text tower");
    let states = model.forward(&rows).expect("states");
    assert_close(
        "first end token",
        &numbers(&states.pooled),
        &pooling["pooled_eos_token_id"],
        2e-5,
    );
}

#[test]
fn half_precision_files_are_found_and_read() {
    let model = load("variants/text_encoder_2-fp16", true);
    assert!(model.files()[0].ends_with("model.fp16.safetensors"));
    let rows: Vec<Vec<u32>> = golden("text")["ids_2"]
        .to_dtype(DType::U32)
        .and_then(|t| t.to_vec2())
        .expect("ids");
    let states = model.forward(&rows).expect("states");
    let half = golden("text_fp16_weights");
    assert_close(
        "penultimate_2",
        &numbers(states.penultimate()),
        &half["penultimate_2"],
        2e-5,
    );
    assert_close("pooled", &numbers(&states.pooled), &half["pooled"], 2e-5);
    let full = LoadOptions {
        variant: WeightVariant::Full,
        ..LoadOptions::default()
    };
    let error = TextModel::load(&fixture("variants/text_encoder_2-fp16"), true, &full)
        .expect_err("no full weights");
    assert!(error.to_string().contains("model.safetensors"), "{error}");
}

#[test]
fn sharded_weights_equal_whole_ones() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = fixture("model/text_encoder_2");
    std::fs::copy(
        source.join("config.json"),
        folder.path().join("config.json"),
    )
    .expect("copied");
    let tensors =
        candle_core::safetensors::load(source.join("model.safetensors"), &candle_core::Device::Cpu)
            .expect("weights");
    let mut weight_map = serde_json::Map::new();
    for shard in 0..2 {
        let name = format!("model-0000{}-of-00002.safetensors", shard + 1);
        let part: std::collections::HashMap<String, Tensor> = tensors
            .iter()
            .filter(|(key, _)| key.len() % 2 == shard)
            .map(|(k, t)| (k.clone(), t.clone()))
            .collect();
        for key in part.keys() {
            weight_map.insert(key.clone(), name.clone().into());
        }
        candle_core::safetensors::save(&part, folder.path().join(&name)).expect("a shard");
    }
    let index = serde_json::json!({"metadata": {}, "weight_map": weight_map});
    std::fs::write(
        folder.path().join("model.safetensors.index.json"),
        index.to_string(),
    )
    .expect("an index");
    let sharded =
        TextModel::load(folder.path(), true, &LoadOptions::default()).expect("a text tower");
    assert_eq!(sharded.files().len(), 2);
    let rows = vec![vec![1, 2, 3]];
    let whole = load("model/text_encoder_2", true)
        .forward(&rows)
        .expect("states");
    assert_eq!(
        numbers(&sharded.forward(&rows).expect("states").pooled),
        numbers(&whole.pooled)
    );
}

#[test]
fn a_batch_equals_its_rows() {
    let model = load("model/text_encoder_2", true);
    let rows: Vec<Vec<u32>> = golden("text")["ids_2"]
        .to_dtype(DType::U32)
        .and_then(|t| t.to_vec2())
        .expect("ids");
    let batch = model.forward(&rows).expect("states");
    for (i, row) in rows.iter().enumerate() {
        let single = model.forward(std::slice::from_ref(row)).expect("states");
        let expected = batch.penultimate().get(i).expect("a row");
        assert_close(
            "a row alone",
            &numbers(single.penultimate()),
            &expected,
            1e-5,
        );
    }
}
