//! The three steps on the embedded world's networks: somebody whom its SDXL knows, somebody whom it does not, and nobody.

use std::path::Path;

use laioncele_core::table::{Dropped, NamedImage, ReferenceVerdict};
use laioncele_core::testing::StepHarness;
use laioncele_core::{DropReason, Part, Partition};
use laioncele_inference::testing::mini_manifest;

use super::*;

fn manifest(root: &Path, keys: &str) -> Manifest {
    let sections = format!(
        "[generate_samples]\nreferences = \"references\"\nguidance = 3\nsteps = 20\nwidth = 128\nheight = 128\nscheduler = \"model\"\n\
         prompts = [\"a person is sad\"]\nimages_per_prompt = 1\ngendered = false\nchoice_images = 2\n{keys}"
    );
    Manifest::parse(&root.join("m.toml"), &mini_manifest(&sections)).expect("a manifest")
}

const CHOOSE: &str = "choose_references = true\nreference_threshold = 0.6\n";

fn harness(root: &Path, keys: &str) -> StepHarness {
    std::fs::create_dir_all(root.join("references")).expect("a folder");
    StepHarness::with_manifest(root, manifest(root, keys)).expect("a harness")
}

/// A photo of a person who has one: what the base model draws of the name `shown`.
fn photo(root: &Path, file: &str, shown: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = harness(folder.path(), CHOOSE);
    std::fs::write(folder.path().join(format!("references/{shown}.png")), b"x").expect("written");
    let drawn = run(&harness, 0, Vec::new(), 0);
    let rows: Vec<NamedImage> = harness.rows(&drawn).expect("images");
    std::fs::write(root.join("references").join(file), &rows[1].image.bytes).expect("written");
}

fn run(harness: &StepHarness, step: usize, inputs: Vec<Part>, chunk: u32) -> Record {
    let record = harness.run(&*steps()[step], &Partition::Chunk(chunk), inputs);
    record.expect("a record")
}

#[test]
fn whom_the_base_model_draws_by_name_is_no_reference() {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = harness(folder.path(), CHOOSE);
    // The first is known; of the second the photo shows another; of the third nobody.
    photo(folder.path(), "Freya_Marchetti.png", "Freya Marchetti");
    photo(folder.path(), "Conrad_Quill.png", "Freya_Marchetti");
    image::RgbImage::new(64, 64)
        .save(folder.path().join("references/nobody.png"))
        .expect("saved");
    let (mut faces, mut images) = (Vec::new(), Vec::new());
    for chunk in 0..3 {
        let drawn = run(&harness, 0, Vec::new(), chunk);
        images.extend(harness.rows::<NamedImage>(&drawn).expect("images"));
        let inputs: Vec<Part> = drawn.outputs_of(TableId::NamedImages).cloned().collect();
        let scored = run(&harness, 1, inputs, chunk);
        faces.extend(scored.outputs_of(TableId::NamedFaces).cloned());
    }
    assert_eq!(images.len(), 6);
    let decided = run(&harness, 2, faces.clone(), 0);
    let verdicts: Vec<ReferenceVerdict> = harness.rows(&decided).expect("verdicts");
    let words: Vec<_> = verdicts
        .iter()
        .map(|v| (v.person.as_str(), v.verdict.as_str(), v.images))
        .collect();
    let expected = [
        ("Conrad_Quill", "chosen", 2),
        ("Freya_Marchetti", "drawn_by_name", 2),
        ("nobody", "no_face_in_photos", 2),
    ];
    assert_eq!(words, expected, "{verdicts:?}");
    let chosen: Vec<ChosenPerson> = harness.rows(&decided).expect("people");
    assert_eq!(chosen.len(), 1);
    let dropped: Vec<Dropped> = harness.rows(&decided).expect("dropped");
    let reasons: Vec<_> = dropped.iter().map(|row| row.reason).collect();
    assert_eq!(reasons, [DropReason::DrawnByName, DropReason::NoFace]);
    let balance = &decided.balances[0];
    assert_eq!((balance.rows_in, balance.rows_out), (3, 1));

    // The list is published, one chosen person is enough, and two are asked for in vain.
    let step = &steps()[2];
    let records = [decided];
    step.publish(&harness.store, &harness.manifest, &records)
        .expect("published");
    let list = harness
        .store
        .get("references/verdicts.csv")
        .expect("a list");
    assert!(String::from_utf8_lossy(&list).contains("\"Conrad_Quill\",chosen,"));
    let check = |manifest: &Manifest| step.check_results(&harness.store, manifest, &records);
    check(&harness.manifest).expect("enough");
    let two = manifest(folder.path(), &format!("{CHOOSE}people = 2\n"));
    let error = check(&two).expect_err("too few").to_string();
    let told = "people = 2, but 1 of 3 candidates may be references (chosen: 1, drawn_by_name: 1, no_face_in_photos: 1)";
    assert!(error.contains(told), "{error}");

    // Another threshold decides again by what was stored.
    let strict = StepHarness::with_manifest(
        folder.path(),
        manifest(
            folder.path(),
            "choose_references = true\nreference_threshold = -1\n",
        ),
    )
    .expect("a harness");
    let decided = run(&strict, 2, faces, 0);
    assert!(
        strict
            .rows::<ChosenPerson>(&decided)
            .expect("people")
            .is_empty()
    );
    let error = step.check_results(&strict.store, &strict.manifest, &[decided]);
    let error = error.expect_err("nobody").to_string();
    assert!(
        error.contains("choose_references: 0 of 3 candidates"),
        "{error}"
    );
}

#[test]
fn without_the_setting_nobody_is_asked_and_keys_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("references")).expect("a folder");
    std::fs::write(folder.path().join("references/ada.png"), b"x").expect("written");
    let (off, on) = (manifest(folder.path(), ""), manifest(folder.path(), CHOOSE));
    for step in steps() {
        let of = |manifest| step.partitioning(manifest).expect("a partitioning");
        assert_eq!(of(&off), Partitioning::Chunks(0));
        assert_eq!(of(&on), Partitioning::Chunks(1));
        assert!(step.settings(&off).expect("settings").is_null());
        assert!(step.models(&off).expect("models").is_empty());
    }
    let samples = crate::steps();
    for step in &samples[3..5] {
        let settings = |manifest| step.settings(manifest).expect("settings");
        assert_eq!(settings(&off), settings(&on));
        let reads = |manifest| step.reads(manifest).len();
        assert_eq!(reads(&off) + 1, reads(&on), "who was chosen");
    }
}

/// Another photo draws nothing, another threshold scores nothing, another prompt draws.
#[test]
fn each_step_depends_on_what_it_looks_at() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("references")).expect("a folder");
    std::fs::write(folder.path().join("references/ada.png"), b"x").expect("written");
    let settings = |keys: &str| -> Vec<serde_json::Value> {
        let manifest = manifest(folder.path(), &format!("choose_references = true\n{keys}"));
        let of = |step: &dyn Step| step.settings(&manifest).expect("settings");
        steps().iter().map(|step| of(&**step)).collect()
    };
    let first = settings("");
    assert_eq!(first[2]["reference_threshold"], 0.35, "the recognizer's");
    let changed = |keys: &str| {
        let pairs = first.iter().zip(settings(keys));
        pairs.map(|(a, b)| *a != b).collect::<Vec<_>>()
    };
    assert_eq!(changed("reference_threshold = 0.5"), [false, false, true]);
    assert_eq!(changed("photos = 1"), [false, true, false]);
    assert_eq!(
        changed("choice_prompts = [\"a man\"]"),
        [true, false, false]
    );
    let on = manifest(folder.path(), CHOOSE);
    let labels = |step: usize| {
        let models = steps()[step].models(&on).expect("models");
        models.into_iter().map(|m| m.label).collect::<Vec<_>>()
    };
    assert!(!labels(0).contains(&"references".to_owned()));
    assert_eq!(
        labels(1),
        [
            "references",
            "models.face.detector",
            "models.face.recognizer"
        ]
    );
    for (keys, part) in [
        ("choice_images = 0", "choice_images"),
        ("choice_prompts = [\"a cat\"]", "\"a cat\""),
        ("reference_threshold = 40", "between -1 and 1"),
    ] {
        let text = mini_manifest(&format!(
            "[generate_samples]\nreferences = \"references\"\n{keys}\n"
        ));
        let manifest = Manifest::parse(&folder.path().join("m.toml"), &text).expect("a manifest");
        let error = StageConfig::from_manifest(&manifest).expect_err("impossible");
        assert!(error.to_string().contains(part), "{error}");
    }
}
