//! Settings that only say how patiently, how fast or where something is done are in no key:
//! changing one runs nothing again. Each is tried alone, and a few that do count as a check of the
//! check.

use std::collections::BTreeMap;
use std::path::Path;

use laioncele_core::{CoreError, Manifest};

use crate::plan::inputs::settings;
use crate::registry;

const MINI: &str = "manifests/mini.toml";

/// Section, key and another value, in the embedded world's manifest.
const PATIENCE: [(&str, &str, &str); 26] = [
    ("generate_portraits", "keep_portraits", "\"none\""),
    ("run", "sync", "false"),
    ("download_images", "timeout_s", "9.5"),
    ("download_images", "connect_timeout_s", "1.5"),
    ("download_images", "retries", "7"),
    ("download_images", "backoff_s", "0.75"),
    ("download_images", "deadline_s", "99.0"),
    ("download_images", "concurrency", "3"),
    ("download_images", "per_host", "1"),
    ("download_images", "per_host_rate", "2.5"),
    ("download_images", "breaker_after", "17"),
    ("download_images", "memory", "\"100MB\""),
    ("download_images", "user_agent", "\"somebody\""),
    ("download_images", "proxy", "\"http://127.0.0.1:9\""),
    ("download_images", "contact", "\"https://example.org\""),
    ("train_encoder", "checkpoint_every", "100"),
    ("pack_shards", "sheets", "false"),
    ("pack_shards", "sheet_photos", "2"),
    ("models.sdxl", "batch", "3"),
    ("models.sdxl", "device", "\"cpu\""),
    ("models.face", "device", "\"cpu\""),
    ("models.image_encoders", "device", "\"cpu\""),
    ("models.face", "calibration", "\"elsewhere.toml\""),
    ("merge_names.second_opinion", "timeout_s", "5.0"),
    ("merge_names.second_opinion", "retries", "1"),
    ("merge_names.second_opinion", "concurrency", "2"),
];

/// What does count, in each of these sections.
const RESULTS: [(&str, &str, &str); 5] = [
    ("download_images", "max_bytes", "1_000_000"),
    ("train_encoder", "noise", "0.5"),
    ("pack_shards", "shard_bytes", "1000"),
    ("verify_images", "same_person_photo", "0.5"),
    ("merge_names.second_opinion", "model", "\"another\""),
];

/// The embedded world's manifest, with a second opinion, and `value` for `key`.
fn manifest(section: &str, key: &str, value: &str) -> Result<Manifest, CoreError> {
    let text = std::fs::read_to_string(MINI).expect("the embedded world's manifest");
    let mut table: toml::Table = toml::from_str(&text).expect("TOML");
    let opinion = "url = \"http://127.0.0.1:9/v1\"\nmodel = \"a\"\n";
    let opinion: toml::Table = toml::from_str(opinion).expect("TOML");
    let merging = table
        .get_mut("merge_names")
        .and_then(toml::Value::as_table_mut);
    merging
        .expect("a section")
        .insert("second_opinion".to_owned(), opinion.into());
    let value: toml::Table = toml::from_str(&format!("v = {value}")).expect("TOML");
    let mut place = &mut table;
    for name in section.split('.') {
        let empty = toml::Value::Table(toml::Table::new());
        let below = place.entry(name).or_insert(empty);
        place = below.as_table_mut().expect("a section");
    }
    place.insert(key.to_owned(), value["v"].clone());
    let text = toml::to_string(&table).expect("TOML");
    Manifest::parse(Path::new(MINI), &text)
}

/// All that the keys hold of a manifest: the settings of every step, and the models' files.
fn in_keys(manifest: &Manifest) -> Result<BTreeMap<String, String>, CoreError> {
    let mut all = BTreeMap::new();
    for step in registry::steps() {
        let name = step.spec().name;
        for (setting, value) in settings(&*step, manifest)? {
            all.insert(format!("{name} {setting}"), value);
        }
        for model in step.models(manifest)? {
            let path = model.path.display().to_string();
            all.insert(format!("{name} {}", model.label), path);
        }
        let partitioning = format!("{:?}", step.partitioning(manifest)?);
        all.insert(format!("{name} partitioning"), partitioning);
    }
    Ok(all)
}

#[test]
fn patience_speed_and_place_are_in_no_key() -> Result<(), CoreError> {
    let before = in_keys(&manifest("filter_counts", "min_images", "5")?)?;
    for (section, key, value) in PATIENCE {
        let after = in_keys(&manifest(section, key, value)?)?;
        assert_eq!(after, before, "[{section}] {key}");
    }
    for (section, key, value) in RESULTS {
        let after = in_keys(&manifest(section, key, value)?)?;
        assert_ne!(after, before, "[{section}] {key}");
    }
    Ok(())
}
