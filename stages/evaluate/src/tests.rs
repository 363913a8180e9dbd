//! The step on a few images of the embedded world's people, with its real networks.

use std::path::{Path, PathBuf};

use laioncele_clip::{ImageEncoder, TextEncoder, cosine};
use laioncele_core::Partition;
use laioncele_core::table::{Dropped, Image};
use laioncele_core::testing::StepHarness;
use laioncele_nn::LoadOptions;

use super::*;

fn mini() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests/mini")
}

/// An image that the face networks were recorded with: `first-*` and `second-*` show two people.
pub(crate) fn fixture(name: &str) -> PathBuf {
    let fixtures = "../../models/face/tests/fixtures";
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(fixtures)
        .join(name)
}

pub(crate) fn manifest(root: &Path, keys: &str) -> Manifest {
    Manifest::parse(&root.join("m.toml"), &manifest_text(keys)).expect("a manifest")
}

/// The manifest with a gender network.
pub(crate) fn with_gender(root: &Path) -> Manifest {
    let network = mini().join("face/face_api_age_gender.onnx");
    let key = format!("gender = \"{}\"\n[generate_samples]", network.display());
    let text = manifest_text("").replace("[generate_samples]", &key);
    Manifest::parse(&root.join("m.toml"), &text).expect("a manifest")
}

fn manifest_text(keys: &str) -> String {
    let mini = mini().display().to_string();
    format!(
        "[run]\nseed = 7\nbuckets = 1\n[source]\npath = \"captions\"\n[source.columns]\nurl = \"URL\"\ncaption = \"TEXT\"\n\
         [embedding_dims]\nname_tokens = 8\nname_channels = 128\nface = 512\nfeatures = 128\n\
         [models.sdxl]\nfolder = \"{mini}/sdxl-mini\"\n\
         [models.image_encoders]\nfirst = \"{mini}/sdxl-mini/image_encoder\"\nsecond = \"{mini}/sdxl-mini/image_encoder_2\"\n\
         [models.face]\ndetector = \"{mini}/face/retinaface_mobilenet025_dynamic.onnx\"\nrecognizer = \"{mini}/face/faceplugin_fr_feature_512.onnx\"\n\
         [generate_samples]\nreferences = \"references\"\n{keys}"
    )
}

fn harness(root: &Path, keys: &str) -> StepHarness {
    let references = root.join("references");
    std::fs::create_dir_all(&references).expect("a folder");
    for (from, to) in [
        ("first-photo.png", "ada.png"),
        ("second-photo.png", "bea.png"),
    ] {
        std::fs::copy(fixture(from), references.join(to)).expect("copied");
    }
    StepHarness::with_manifest(root, manifest(root, keys)).expect("a harness")
}

fn sample(person: &str, prompt: &str, index: u32, file: &str) -> Sample {
    let bytes =
        std::fs::read(fixture(file)).unwrap_or_else(|_| b"\x89PNG\r\n\x1a\nbroken".to_vec());
    Sample {
        method: if person == BASE_MODEL { PLAIN } else { OURS }.to_owned(),
        person: person.to_owned(),
        group: "mood".to_owned(),
        prompt: prompt.to_owned(),
        word: "person".to_owned(),
        word_given: false,
        gender_guess: None,
        gender_probability: None,
        index,
        seed: u64::from(index) + 100,
        image: Image {
            bytes,
            path: file.to_owned(),
        },
    }
}

const PROMPT: &str = "a portrait of a person";

/// Ada and Bea with two images each, one of Bea's without a face; one more that is broken; the base
/// model's two.
fn samples() -> Vec<Sample> {
    vec![
        sample("bea", PROMPT, 1, "nobody.png"),
        sample("ada", PROMPT, 0, "first-a.png"),
        sample("ada", PROMPT, 1, "first-b.png"),
        sample("bea", PROMPT, 0, "second-a.png"),
        sample("bea", PROMPT, 2, "broken"),
    ]
}

fn base_model_samples() -> Vec<Sample> {
    vec![
        sample(BASE_MODEL, PROMPT, 0, "two.png"),
        sample(BASE_MODEL, PROMPT, 1, "close-up.png"),
    ]
}

fn evaluate(harness: &StepHarness) -> Result<Record, StageError> {
    let part = |k, rows| {
        harness
            .part::<Sample>(&Partition::Chunk(k), rows)
            .expect("a part")
    };
    let inputs = vec![part(0, samples()), part(1, base_model_samples())];
    harness.run(&Evaluate, &Partition::Whole, inputs)
}

fn find(rows: &[EvaluationScore], metric: &str) -> Option<(f64, u64)> {
    find_of(rows, OURS, metric).or_else(|| find_of(rows, "", metric))
}

fn find_of(rows: &[EvaluationScore], system: &str, metric: &str) -> Option<(f64, u64)> {
    let mut rows = rows
        .iter()
        .filter(|r| r.system == system && r.group == "all");
    let row = rows.find(|r| r.metric == metric);
    row.map(|r| (r.value, r.count))
}

/// The recorded face of a fixture.
fn recorded(name: &str) -> Vec<f32> {
    let text = std::fs::read(fixture("faces.json")).expect("faces.json");
    let faces: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    serde_json::from_value(faces[name][0]["vector"].clone()).expect("a vector")
}

#[test]
fn run_scores_samples() {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = harness(folder.path(), "");
    let record = evaluate(&harness).expect("evaluated");
    let rows: Vec<EvaluationScore> = harness.rows(&record).expect("rows");
    let account = &record.balances[0];
    assert_eq!(
        (account.unit, account.rows_in, account.rows_out),
        (Unit::Sample, 7, 6)
    );
    let dropped: Vec<Dropped> = harness.rows(&record).expect("rows");
    assert_eq!(dropped.len(), 1);
    assert_eq!(
        (dropped[0].id, dropped[0].reason.as_str()),
        (102, "corrupt")
    );

    assert_eq!(find(&rows, "people"), Some((2.0, 2)));
    assert_eq!(find(&rows, "references_found"), Some((1.0, 2)));
    assert_eq!(find(&rows, "faces_found"), Some((0.75, 4)));
    assert_eq!(find(&rows, "same_recognizer"), Some((1.0, 1)));
    assert_eq!(find(&rows, "same_person_auc"), Some((1.0, 3)));
    assert_eq!(find(&rows, "clip_ti").map(|(_, n)| n), Some(4));
    assert!(find(&rows, "frechet_clip").is_some_and(|(d, n)| d > 0.0 && n == 4));
    // Ada's two; Bea's are of different sizes.
    assert!(find(&rows, "seed_pixel_difference").is_some_and(|(d, n)| d > 0.01 && n == 1));
    assert_eq!(find(&rows, "fid"), None);
}

#[test]
fn face_cosines_equal_recorded_embeddings() {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = harness(folder.path(), "");
    let rows: Vec<EvaluationScore> = harness
        .rows(&evaluate(&harness).expect("evaluated"))
        .expect("rows");
    let near = |metric: &str, pairs: &[(&str, &str)]| {
        let cosines = pairs
            .iter()
            .map(|(a, b)| f64::from(cosine(&recorded(a), &recorded(b))));
        let known = cosines.sum::<f64>() / pairs.len() as f64;
        let (found, count) = find(&rows, metric).expect(metric);
        assert_eq!(count, pairs.len() as u64, "{metric}");
        assert!((found - known).abs() < 2e-3, "{metric}: {found} {known}");
    };
    let (a, b, c) = ("first-a.png", "first-b.png", "second-a.png");
    let (ada, bea) = ("first-photo.png", "second-photo.png");
    near("same_person_mean", &[(a, b)]);
    near("random_pair_mean", &[(a, c), (b, c)]);
    near("reference_mean", &[(a, ada), (b, ada), (c, bea)]);
    near("reference_similarity", &[(a, ada), (b, ada), (c, bea)]);
    near("random_reference_mean", &[(a, bea), (b, bea), (c, ada)]);
    // Bea's other image has no face, so that hers has no partner.
    near("id_consistency", &[(a, b), (b, a)]);
    near("id_consistency_one_partner", &[(a, b), (b, a)]);
}

#[test]
fn clip_ti_uses_the_text_tower_of_the_image_encoder() {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = harness(folder.path(), "");
    let rows: Vec<EvaluationScore> = harness
        .rows(&evaluate(&harness).expect("evaluated"))
        .expect("rows");
    let (sdxl, options) = (mini().join("sdxl-mini"), LoadOptions::default());
    let image = ImageEncoder::load(&sdxl.join("image_encoder_2"), &options).expect("a tower");
    let (tokenizer, model) = (sdxl.join("tokenizer_2"), sdxl.join("text_encoder_2"));
    let text = TextEncoder::load(&tokenizer, &model, true, &options).expect("a tower");
    let prompt = text.text_embeds(PROMPT).expect("an embedding");
    let cosine_of = |file: &str| {
        let pixels = image::open(fixture(file)).expect("an image").to_rgb8();
        f64::from(cosine(
            &image.image_embeds(&pixels).expect("an embedding"),
            &prompt,
        ))
    };
    let known = 50.0 * (cosine_of("two.png") + cosine_of("close-up.png"));
    let (found, count) = find_of(&rows, PLAIN, "clip_ti").expect("a row");
    assert_eq!(count, 2);
    assert!((found - known).abs() < 5e-5, "{found} {known}");
}

#[test]
fn clip_ti_is_left_out_with_a_note_without_a_text_tower() {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = harness(folder.path(), "[evaluate]\nclip = \"first\"");
    let record = evaluate(&harness).expect("evaluated");
    let rows: Vec<EvaluationScore> = harness.rows(&record).expect("rows");
    assert!(rows.iter().all(|row| !row.metric.contains("clip_ti")));
    assert!(find(&rows, "frechet_clip").is_some());
    Evaluate
        .publish(&harness.store, &harness.manifest, &[record])
        .expect("published");
    let table = harness.store.get(TABLE).expect("a table");
    let table = String::from_utf8_lossy(&table);
    assert!(
        table.contains("CLIP-TI is left out: the image encoder's folder holds no text tower"),
        "{table}"
    );
}

#[test]
fn result_is_independent_of_threads_and_published() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut harness = harness(folder.path(), "");
    let records = [1, 3].map(|threads| {
        harness.runtime_environment.threads = threads;
        evaluate(&harness).expect("evaluated")
    });
    let digest = |record: &Record| {
        let mut parts = record.outputs_of(TableId::Evaluation);
        parts.next().map(|part| part.digest)
    };
    assert!(digest(&records[0]).is_some());
    assert_eq!(digest(&records[0]), digest(&records[1]));
    Evaluate
        .publish(&harness.store, &harness.manifest, &records[..1])
        .expect("published");
    let table = harness.store.get(TABLE).expect("a table");
    let table = String::from_utf8_lossy(&table);
    for part in [
        "| metric | all | 95 % | sample size |",
        "| faces found | 75 % |",
        "| people | 2 |  | 2 |",
        "SDXL's second text encoder",
        "One recognizer both",
    ] {
        assert!(table.contains(part), "{part} in {table}");
    }
    let json: serde_json::Value =
        serde_json::from_slice(&harness.store.get(TABLE_JSON).expect("JSON")).expect("JSON");
    assert!(
        json["notes"]
            .as_array()
            .is_some_and(|notes| notes.len() >= 4)
    );
    for (path, _) in TABLES {
        let table = harness.store.get(path).expect("a table");
        assert!(
            String::from_utf8_lossy(&table).contains("CLIP-TI"),
            "{path}"
        );
    }
    assert!(
        !harness
            .store
            .put_changed(TABLE, table.as_bytes().to_vec())
            .expect("compared")
    );
}

#[test]
fn judge_is_in_the_key_and_must_be_a_recognizer() {
    let folder = tempfile::tempdir().expect("a folder");
    let (copy, face) = (folder.path().join("judge.onnx"), mini().join("face"));
    std::fs::copy(face.join("faceplugin_fr_feature_512.onnx"), &copy).expect("copied");
    let with_judge = |path: &Path| {
        harness(
            folder.path(),
            &format!(
                "[evaluate]\njudge = {{ recognizer = \"{}\" }}",
                path.display()
            ),
        )
    };
    // The same file under another name is the same judge.
    let same = with_judge(&copy);
    let rows: Vec<EvaluationScore> = same
        .rows(&evaluate(&same).expect("evaluated"))
        .expect("rows");
    assert_eq!(find(&rows, "same_recognizer"), Some((1.0, 1)));
    let models = Evaluate.models(&same.manifest).expect("models");
    let of = |label: &str| {
        models
            .iter()
            .find(|m| m.label == label)
            .map(|m| m.path.clone())
    };
    assert_eq!(of("models.face.recognizer"), Some(copy));
    assert_eq!(
        of("models.face.filter"),
        Some(face.join("faceplugin_fr_feature_512.onnx"))
    );
    assert!(models.iter().all(|m| m.path.exists()));

    let wrong = with_judge(&face.join("face_api_age_gender.onnx"));
    let error = evaluate(&wrong).expect_err("no recognizer").to_string();
    assert!(
        error.contains("face_api_age_gender.onnx is not a face recognizer"),
        "{error}"
    );
}

#[test]
fn unknown_key_error_names_the_nearest() {
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = manifest(folder.path(), "[evaluate]\nclp = \"first\"");
    let error = Evaluate
        .settings(&manifest)
        .expect_err("refused")
        .to_string();
    assert!(error.contains("clp") && error.contains("clip"), "{error}");
}

/// A folder of its own is in the key by its digest under a label of its own, and the text encoder stays SDXL's second.
#[test]
fn an_image_encoder_of_its_own_goes_with_sdxls_text() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = |clip: &str| format!("[evaluate]\nclip = \"{clip}\"\n");
    let words = mini().join("words/image_encoder");
    let own = manifest(folder.path(), &keys(&words.display().to_string()));
    let config = StageConfig::from_manifest(&own).expect("a config");
    assert_eq!(config.image_folder(), words);
    let labels: Vec<String> = config.networks().into_iter().map(|m| m.label).collect();
    assert_eq!(labels[0], "evaluate.clip");
    assert!(labels.contains(&"models.sdxl.text_encoder_2".to_owned()));
    assert!(!labels.iter().any(|label| label.contains("image_encoders")));
    assert_eq!(config.key_settings()["clip"], "folder");
    let error = StageConfig::from_manifest(&manifest(folder.path(), &keys("third")));
    let error = error.expect_err("no such folder").to_string();
    assert!(error.contains("`first`, `second` or a folder"), "{error}");
}
