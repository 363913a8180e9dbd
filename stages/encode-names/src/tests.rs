//! The stage on the embedded world's real text encoders.

use std::path::Path;

use laioncele_core::DropReason;
use laioncele_core::NameId;
use laioncele_core::Partition;
use laioncele_core::ledger::Record;
use laioncele_core::table::{Alias, Dropped};
use laioncele_core::testing::StepHarness;
use laioncele_sdxl::LoadOptions;

use super::*;

const LONG: &str = "Wolfeschlegelsteinhausenbergerdorff Xquzzyqtl";

fn mini() -> String {
    format!(
        "{}/../../manifests/mini/sdxl-mini",
        env!("CARGO_MANIFEST_DIR")
    )
}

fn harness(root: &Path, sections: &str, channels: usize) -> StepHarness {
    let text = format!(
        "[run]\nseed = 1\nbuckets = 1\n[source]\npath = \"captions\"\n[source.columns]\nurl = \"URL\"\ncaption = \"TEXT\"\n\
         [embedding_dims]\nname_tokens = 8\nname_channels = {channels}\nface = 4\nfeatures = 3\n\
         [models.sdxl]\nfolder = \"{}\"\n{sections}",
        mini()
    );
    let manifest = Manifest::parse(&root.join("m.toml"), &text).expect("a manifest");
    StepHarness::with_manifest(root, manifest).expect("a harness")
}

fn name(text: &str) -> Name {
    let alias = Alias {
        spelling: text.to_owned(),
        mentions: 3,
        merged_by: "canonical".to_owned(),
    };
    Name {
        name_id: NameId::of(text),
        name: text.to_owned(),
        aliases: vec![alias],
        mentions: 3,
        images: 3,
    }
}

fn run(harness: &StepHarness, names: &[&str]) -> Result<Record, StageError> {
    let bucket = Partition::Bucket(0);
    let rows = names.iter().map(|text| name(text)).collect();
    let part = harness.part(&bucket, rows).expect("a part");
    harness.run(&EncodeNames, &bucket, vec![part])
}

#[test]
fn rows_are_the_text_encoders_embeddings() {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = harness(folder.path(), "", 128);
    let record = run(&harness, &["Mira Castellan", LONG]).expect("encoded");
    let rows: Vec<NameEmbedding> = harness.rows(&record).expect("rows");
    let encoders = TextEncoders::load(Path::new(&mini()), &LoadOptions::default());
    let encoders = encoders.expect("encoders");
    assert_eq!(rows.len(), 2);
    for row in &rows {
        let direct = encoders.encode_name(&row.name).expect("an embedding");
        assert_eq!(
            row.token_count as usize,
            direct.token_count().expect("counted")
        );
        // f16 keeps eleven bits of each number.
        let close = |a: f16, b: f32| (a.to_f32() - b).abs() <= b.abs() / 1024.0 + 1e-6;
        assert_eq!(row.embedding.0.len(), direct.rows().len());
        assert!(
            row.embedding
                .0
                .iter()
                .zip(direct.rows())
                .all(|(a, b)| close(*a, *b))
        );
    }
    assert!(rows[0].name_id < rows[1].name_id);
    assert_eq!(record.metrics["names_above_eight_tokens"], 1.0);
}

#[test]
fn names_of_many_tokens_are_truncated_or_dropped() {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = harness(
        folder.path(),
        "[encode_names]\non_overflow = \"drop\"\n",
        128,
    );
    let record = run(&harness, &["Mira Castellan", LONG]).expect("encoded");
    let rows: Vec<NameEmbedding> = harness.rows(&record).expect("rows");
    assert_eq!(rows.len(), 1);
    let dropped: Vec<Dropped> = harness.rows(&record).expect("rows");
    assert_eq!(dropped[0].reason, DropReason::TooManyTokens);
    assert!(
        dropped[0]
            .detail
            .as_deref()
            .and_then(|d| d.parse().ok())
            .is_some_and(|n: u32| n > 8)
    );
}

#[test]
fn output_does_not_depend_on_threads() {
    let outputs = [1, 2, 5].map(|threads| {
        let folder = tempfile::tempdir().expect("a folder");
        let mut harness = harness(folder.path(), "", 128);
        harness.runtime_environment.threads = threads;
        let names = [
            "Mira Castellan",
            "Theo Brandt",
            "A",
            "Ödön von Horváth",
            LONG,
        ];
        let record = run(&harness, &names).expect("encoded");
        record
            .outputs_of(TableId::NameEmbeddings)
            .map(|p| p.digest)
            .collect::<Vec<_>>()
    });
    assert!(outputs[0] == outputs[1] && outputs[1] == outputs[2]);
}

#[test]
fn an_empty_bucket_writes_an_empty_table() {
    let folder = tempfile::tempdir().expect("a folder");
    let record = run(&harness(folder.path(), "", 128), &[]).expect("nothing to do");
    assert_eq!(
        record
            .outputs_of(TableId::NameEmbeddings)
            .map(|p| p.rows)
            .sum::<u64>(),
        0
    );
}

#[test]
fn wrong_dims_and_settings_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = run(&harness(folder.path(), "", 64), &["A"])
        .expect_err("wrong dims")
        .to_string();
    assert!(error.contains("8 x 128"), "{error}");
    let harness = harness(
        folder.path(),
        "[encode_names]\non_overflow = \"cut\"\n",
        128,
    );
    assert!(EncodeNames.settings(&harness.manifest).is_err());
}

#[test]
fn the_key_holds_text_models_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = harness(folder.path(), "", 128);
    let models = EncodeNames.models(&harness.manifest).expect("models");
    assert!(models.iter().all(|model| model.path.exists()));
    assert!(!models.iter().any(|model| model.label.contains("unet")));
}
