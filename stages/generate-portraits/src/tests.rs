//! The stage on the embedded world's real networks, with few steps.

use std::path::Path;

use half::f16;
use laioncele_core::Partition;
use laioncele_core::ledger::Record;
use laioncele_core::spec::Again;
use laioncele_core::table::{Dropped, NameVector};
use laioncele_core::testing::StepHarness;
use laioncele_sdxl::{LoadOptions, TextEncoders};

use super::*;

fn mini() -> String {
    format!("{}/../../manifests/mini", env!("CARGO_MANIFEST_DIR"))
}

/// A harness on `root` with `keys` in `[generate_portraits]`; two steps are enough to tell images apart.
fn harness(root: &Path, keys: &str, same_person: f32) -> StepHarness {
    let text = manifest_text(keys, same_person);
    let manifest = Manifest::parse(&root.join("m.toml"), &text).expect("a manifest");
    StepHarness::with_manifest(root, manifest).expect("a harness")
}

fn manifest_text(keys: &str, same_person: f32) -> String {
    let mini = mini();
    format!(
        "[run]\nseed = 7\nbuckets = 1\n[source]\npath = \"captions\"\n[source.columns]\nurl = \"URL\"\ncaption = \"TEXT\"\n\
         [embedding_dims]\nname_tokens = 8\nname_channels = 128\nface = 512\nfeatures = 128\n\
         [models.sdxl]\nfolder = \"{mini}/sdxl-mini\"\n\
         [models.face]\ndetector = \"{mini}/face/retinaface_mobilenet025_dynamic.onnx\"\nrecognizer = \"{mini}/face/faceplugin_fr_feature_512.onnx\"\n\
         [verify_portraits]\nsame_person = {same_person}\n\
         [generate_portraits]\nguidance = 4\n{keys}"
    )
}

fn names(texts: &[&str]) -> Vec<NameEmbedding> {
    let folder = format!("{}/sdxl-mini", mini());
    let encoders = TextEncoders::load(Path::new(&folder), &LoadOptions::default());
    let encoders = encoders.expect("encoders");
    let row = |text: &&str| {
        let embedding = encoders.encode_name(text).expect("an embedding");
        NameEmbedding {
            name_id: NameId::of(text),
            name: (*text).to_owned(),
            token_count: 2,
            embedding: NameVector(embedding.rows().iter().map(|v| f16::from_f32(*v)).collect()),
        }
    };
    texts.iter().map(row).collect()
}

fn run(harness: &StepHarness, names: &[NameEmbedding]) -> Record {
    let bucket = Partition::Bucket(0);
    let part = harness.part(&bucket, names.to_vec()).expect("a part");
    harness
        .run(&GeneratePortraits, &bucket, vec![part])
        .expect("generated")
}

fn portraits(harness: &StepHarness, record: &Record) -> Vec<Portrait> {
    harness.rows(record).expect("portraits")
}

#[test]
fn portraits_depend_on_their_seed_alone() {
    let all = names(&["Maria Johnson", "Peter Garcia", "Nobody Atall"]);
    let keys = "steps = 2\nlazy = false\n";
    let generate = |names: &[NameEmbedding], threads| {
        let folder = tempfile::tempdir().expect("a folder");
        let mut harness = harness(folder.path(), keys, 0.4);
        harness.runtime_environment.threads = threads;
        portraits(&harness, &run(&harness, names))
    };
    let together = generate(&all, 2);
    assert_eq!(together.len(), 12);
    assert!(together.is_sorted_by_key(|p| (p.name_id, p.index)));
    let images: std::collections::BTreeSet<_> = together.iter().map(|p| &p.image.bytes).collect();
    assert_eq!(images.len(), 12, "twelve different images");
    assert_eq!(generate(&all, 1), together, "whatever the threads");
    let alone = generate(&all[1..2], 1);
    let same: Vec<_> = together
        .iter()
        .filter(|p| p.name_id == all[1].name_id)
        .collect();
    assert_eq!(
        alone.iter().collect::<Vec<_>>(),
        same,
        "whatever is generated beside it"
    );
    let image = image::load_from_memory(&together[0].image.bytes).expect("a PNG");
    assert_eq!((image.width(), image.height()), (128, 128));
}

#[test]
fn lazy_runs_generate_the_same_portraits_or_fewer() {
    let all = names(&["Maria Johnson", "Peter Garcia"]);
    let record = |keys: &str, same_person: f32| {
        let folder = tempfile::tempdir().expect("a folder");
        let harness = harness(folder.path(), keys, same_person);
        let record = run(&harness, &all);
        let pairs: Vec<PortraitPair> = harness.rows(&record).expect("pairs");
        (portraits(&harness, &record), pairs, record.metrics)
    };
    let (eager, no_pairs, metrics) = record("steps = 8\nlazy = false\n", 0.4);
    assert!(no_pairs.is_empty() && metrics["portraits_saved"] == 0.0);
    // No two portraits agree entirely: the third and fourth are never generated.
    let (two, pairs, metrics) = record("steps = 8\n", 1.0);
    assert_eq!(
        two,
        eager
            .iter()
            .filter(|p| p.index < 2)
            .cloned()
            .collect::<Vec<_>>()
    );
    assert!(pairs.iter().all(|pair| pair.drawn == 2) && metrics["portraits_saved"] == 4.0);
    // Every pair of single faces agrees by at least -1.
    let (some, pairs, metrics) = record("steps = 8\n", -1.0);
    for pair in &pairs {
        let generated: Vec<_> = some.iter().filter(|p| p.name_id == pair.name_id).collect();
        let wanted = if pair.similarity.is_some() { 4 } else { 2 };
        assert_eq!((generated.len(), pair.drawn), (wanted, wanted as u32));
        assert!(generated.iter().all(|portrait| eager.contains(portrait)));
    }
    assert!(
        pairs.iter().any(|pair| pair.similarity.is_some()),
        "{pairs:?}"
    );
    assert_eq!(metrics["portraits"], some.len() as f64);
}

#[test]
fn another_threshold_generates_only_what_is_missing() {
    let all = names(&["Maria Johnson"]);
    let folder = tempfile::tempdir().expect("a folder");
    let first = harness(folder.path(), "steps = 2\n", 1.0);
    let two = portraits(&first, &run(&first, &all));
    assert_eq!(two.len(), 2);
    let eager = harness(folder.path(), "steps = 2\nlazy = false\n", 1.0);
    let record = run(&eager, &all);
    let four = portraits(&eager, &record);
    assert_eq!((four.len(), record.metrics["portraits_reused"]), (4, 2.0));
    assert_eq!(four[..2], two[..]);
    let lower = harness(folder.path(), "steps = 2\n", 0.999);
    let record = run(&lower, &all);
    assert_eq!(
        (
            portraits(&lower, &record),
            record.metrics["portraits_reused"]
        ),
        (two, 2.0)
    );
    let other = harness(folder.path(), "steps = 3\n", 1.0);
    assert_eq!(
        run(&other, &all).metrics["portraits_reused"],
        0.0,
        "other settings, other images"
    );
}

/// A lossless portrait becomes one of another format without being generated again; a lossy one does not.
#[test]
fn formats_are_stored_and_taken_over() {
    let all = names(&["Maria Johnson"]);
    let folder = tempfile::tempdir().expect("a folder");
    let generate = |keys: &str| {
        let harness = harness(
            folder.path(),
            &format!("steps = 2\nlazy = false\n{keys}"),
            1.0,
        );
        let record = run(&harness, &all);
        let reused = record.metrics["portraits_reused"];
        (portraits(&harness, &record), reused)
    };
    let pixels = |portraits: &[Portrait]| {
        let decoded = portraits
            .iter()
            .map(|p| image::load_from_memory(&p.image.bytes));
        let decoded: Result<Vec<_>, _> = decoded
            .map(|i| i.map(image::DynamicImage::into_rgb8))
            .collect();
        decoded.expect("images")
    };
    let (png, _) = generate("");
    let (webp, reused) = generate("format = \"webp\"\n");
    assert_eq!((reused, pixels(&webp)), (4.0, pixels(&png)));
    assert!(
        webp[0].image.bytes.starts_with(b"RIFF")
            && Path::new(&webp[0].image.path).extension() == Some("webp".as_ref())
    );
    assert_eq!(webp[0].settings, png[0].settings);
    let (jpeg, reused) = generate("format = \"jpeg\"\njpeg_quality = 80\n");
    assert_eq!((jpeg.len(), reused), (4, 4.0));
    assert!(jpeg[0].image.bytes.starts_with(&[0xff, 0xd8]) && jpeg[0].settings != png[0].settings);
    // As if it had been generated at once.
    let fresh = tempfile::tempdir().expect("a folder");
    let keys = "steps = 2\nlazy = false\nformat = \"jpeg\"\njpeg_quality = 80\n";
    let once = harness(fresh.path(), keys, 1.0);
    assert_eq!(portraits(&once, &run(&once, &all)), jpeg);
    // From a folder that has nothing else.
    let other = harness(fresh.path(), "steps = 2\nlazy = false\n", 1.0);
    let record = run(&other, &all);
    assert_eq!(
        record.metrics["portraits_reused"], 0.0,
        "a lossy portrait is no source"
    );
    assert_eq!(portraits(&other, &record), png);
}

#[test]
fn names_with_portraits_that_are_not_finite_are_dropped() {
    let mut all = names(&["Maria Johnson", "Peter Garcia"]);
    all[1].embedding.0[5] = f16::NAN;
    let folder = tempfile::tempdir().expect("a folder");
    let harness = harness(folder.path(), "steps = 1\nlazy = false\n", 0.4);
    let record = run(&harness, &all);
    assert_eq!(portraits(&harness, &record).len(), 4);
    let dropped: Vec<Dropped> = harness.rows(&record).expect("dropped");
    assert_eq!(
        (dropped.len(), dropped[0].reason.as_str()),
        (1, "bad_portrait")
    );
    assert_eq!(dropped[0].name_id, Some(all[1].name_id));
}

#[test]
fn the_key_holds_what_the_result_depends_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = |keys: &str, same_person: f32| {
        let harness = harness(folder.path(), keys, same_person);
        let labels = GeneratePortraits.models(&harness.manifest).expect("models");
        assert!(labels.iter().all(|model| model.path.exists()));
        let settings = GeneratePortraits
            .settings(&harness.manifest)
            .expect("settings");
        (
            settings,
            labels.iter().any(|m| m.label.starts_with("models.face")),
        )
    };
    assert_ne!(settings("", 0.4), settings("", 0.5));
    assert_eq!(
        settings("lazy = false\n", 0.4),
        settings("lazy = false\n", 0.5)
    );
    assert!(settings("", 0.4).1 && !settings("lazy = false\n", 0.4).1);
    assert_eq!(settings("", 0.4), settings("jpeg_quality = 7\n", 0.4));
    assert_ne!(settings("", 0.4), settings("format = \"webp\"\n", 0.4));
    let quality = |q: u8| settings(&format!("format = \"jpeg\"\njpeg_quality = {q}\n"), 0.4);
    assert_ne!(quality(7), quality(8));
    let wrong = harness(folder.path(), "jpeg_quality = 0\n", 0.4);
    assert!(GeneratePortraits.settings(&wrong.manifest).is_err());
    let wrong = harness(folder.path(), "scheduler = \"ddpm\"\n", 0.4);
    assert!(GeneratePortraits.settings(&wrong.manifest).is_err());
    let wrong = harness(folder.path(), "width = 100\n", 0.4);
    let bucket = Partition::Bucket(0);
    let part = wrong.part(&bucket, names(&["A"])).expect("a part");
    let error = wrong
        .run(&GeneratePortraits, &bucket, vec![part])
        .expect_err("no such width");
    assert!(error.to_string().contains("width = 100"), "{error}");
}

/// What guidance guides away from is in the key, and earlier portraits that were generated otherwise are not taken over;
/// the model's own is as before it could be set.
#[test]
fn the_unconditional_embedding_is_part_of_a_portrait() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = |line: &str| {
        let sdxl = format!("[models.sdxl]\n{line}");
        let text = manifest_text("", 0.4).replace("[models.sdxl]\n", &sdxl);
        let manifest = Manifest::parse(&folder.path().join("m.toml"), &text).expect("a manifest");
        StageConfig::from_manifest(&manifest).expect("a config")
    };
    let key = KeyParts::default();
    let name = &names(&["Mira Castellan"])[0];
    let (own, model, empty) = (
        config(""),
        config("unconditional = \"model\"\n"),
        config("unconditional = \"empty\"\n"),
    );
    let digest = |config: &StageConfig| config.digest(&key, PIXELS_VERSION, name);
    assert_eq!(own.key_settings(), model.key_settings());
    assert_eq!(digest(&own), digest(&model));
    assert_ne!(own.key_settings(), empty.key_settings());
    assert_ne!(digest(&own), digest(&empty));
    assert_eq!(
        own.key_settings()["models"]["sdxl"]
            .as_object()
            .map(serde_json::Map::len),
        Some(1)
    );
}

/// Pinned: portraits of earlier runs are found again by their seeds.
#[test]
fn seeds_never_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let config =
        StageConfig::from_manifest(&harness(folder.path(), "", 0.4).manifest).expect("a config");
    assert_eq!(
        config.seed(NameId::of("Mira Castellan"), 3),
        0x8fbd_9e8b_de3b_6cca
    );
}

/// Of a result from which images were pruned, and which is made whole, the names that kept theirs are not generated again, and
/// what is written is what was written at first.
#[test]
fn pruned_portraits_are_drawn_again_and_others_taken_over() {
    let all = names(&["Maria Johnson", "Peter Garcia"]);
    let folder = tempfile::tempdir().expect("a folder");
    let harness = harness(folder.path(), "steps = 2\nlazy = false\n", 1.0);
    let whole = run(&harness, &all);
    let mut rows = portraits(&harness, &whole);
    let kept = rows[0].name_id;
    let others = rows.iter_mut().filter(|row| row.name_id != kept);
    others.for_each(Portrait::prune);
    let bucket = Partition::Bucket(0);
    let smaller = harness.part(&bucket, rows).expect("a part");
    let mut pruned = whole.clone();
    let mut parts = pruned.outputs.iter_mut();
    let part = parts.find(|part| part.table == TableId::Portraits);
    let part = part.expect("portraits");
    (part.path, part.bytes) = (smaller.path, smaller.bytes);
    let ledger = laioncele_core::ledger::Ledger::new(harness.store.clone());
    let attempt = whole.attempt.as_str();
    ledger.replace(&pruned, attempt).expect("replaced");
    let part = harness.part(&bucket, all).expect("a part");
    let again = harness
        .again(
            &GeneratePortraits,
            &bucket,
            vec![part],
            Again::whole(attempt),
        )
        .expect("generated");
    assert_eq!(again.metrics["portraits_reused"], 4.0);
    let digests = |record: &Record| {
        let parts = record.outputs_of(TableId::Portraits);
        parts.map(|part| part.digest).collect::<Vec<_>>()
    };
    assert_eq!(digests(&again), digests(&whole));
}
