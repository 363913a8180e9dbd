//! The stage on the embedded world's real networks, with few steps, and an encoder that knows one name by heart.

use std::path::Path;

use image::RgbImage;
use laioncele_core::table::{Dropped, Sample};
use laioncele_core::testing::StepHarness;
use laioncele_core::{DropReason, Partition};
use laioncele_inference::generation::{GenerationPipeline, SampleRequest};
use laioncele_inference::testing::{NAMES, mini_manifest, run_parts};

use super::*;

fn manifest(root: &Path, keys: &str) -> Manifest {
    let sections = format!(
        "[train_encoder]\ncrop = \"face\"\n\
         [generate_samples]\nreferences = \"references\"\nimages_per_prompt = 2\nguidance = 4\nsteps = 2\nscheduler = \"model\"\n\
         prompts = {{ mood = [\"a person is sad\"], place = [\"a person in the snow\"] }}\n{keys}"
    );
    Manifest::parse(&root.join("m.toml"), &mini_manifest(&sections)).expect("a manifest")
}

fn harness(root: &Path) -> StepHarness {
    std::fs::create_dir_all(root.join("references")).expect("a folder");
    StepHarness::with_manifest(root, manifest(root, "")).expect("a harness")
}

/// A portrait of the first name, with steps enough for the detector.
fn portrait(harness: &StepHarness) -> RgbImage {
    let mut config = StageConfig::from_manifest(&harness.manifest).expect("a config");
    config.settings.steps = 12;
    let tables = RunTables::Run {
        store: &harness.store,
        dims: &harness.manifest.embedding_dims,
        parts: &|_| Vec::new(),
    };
    let pipeline = GenerationPipeline::open(&config.generation(), &tables).expect("a pipeline");
    let name = pipeline.name_from_text(NAMES[0]).expect("a name");
    let request = SampleRequest {
        name: Some(&name),
        prompt: "a portrait of a person",
        seed: 3,
    };
    pipeline.generate(&[request]).expect("a portrait").remove(0)
}

fn samples(harness: &StepHarness, chunk: u32) -> (Vec<Sample>, Record) {
    let record = harness
        .run(
            &GenerateSamples,
            &Partition::Chunk(chunk),
            run_parts(harness).expect("parts"),
        )
        .expect("generated");
    (harness.rows(&record).expect("samples"), record)
}

#[test]
fn samples_are_of_each_person_and_of_the_base_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut harness = harness(folder.path());
    let references = folder.path().join("references");
    portrait(&harness)
        .save(references.join("maria.png"))
        .expect("saved");
    RgbImage::new(64, 64)
        .save(references.join("nobody.png"))
        .expect("saved");
    std::fs::write(references.join("broken.png"), b"no image").expect("written");
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
    assert!(maria.iter().all(|s| s.method == "laioncele"));
    let word = maria[0].word.as_str();
    let guess = |s: &Sample| (s.word.clone(), s.word_given, s.gender_guess.clone());
    let guessed = (word.to_owned(), false, Some(word.to_owned()));
    assert!(maria.iter().all(|s| guess(s) == guessed));
    let probability = maria[0].gender_probability.expect("a face");
    assert!((0.5..=1.0).contains(&probability), "{probability}");
    let images: std::collections::BTreeSet<_> = maria.iter().map(|s| &s.image.bytes).collect();
    assert_eq!(images.len(), 4);
    harness.runtime_environment.threads = 1;
    assert_eq!(samples(&harness, 1).0, maria, "whatever the threads");

    for (chunk, reason) in [(0, DropReason::NotAnImage), (2, DropReason::NoFace)] {
        let (none, record) = samples(&harness, chunk);
        let dropped: Vec<Dropped> = harness.rows(&record).expect("dropped");
        assert!(none.is_empty() && dropped.len() == 4);
        assert!(
            dropped.iter().all(|row| row.reason == reason),
            "{dropped:?}"
        );
    }

    let (base, last) = samples(&harness, 3);
    let words: Vec<_> = base
        .iter()
        .map(|s| (s.person.as_str(), s.prompt.as_str()))
        .collect();
    // Of two people whose photos decode one has a face.
    let wanted = [
        format!("a {word} is sad"),
        "a person is sad".to_owned(),
        format!("a {word} in the snow"),
        "a person in the snow".to_owned(),
    ];
    assert_eq!(words, wanted.each_ref().map(|prompt| ("", prompt.as_str())));
    assert!(base.iter().all(|s| s.method == "sdxl" && !s.word_given));
    assert!(base.iter().all(|s| s.gender_guess.is_none()));

    let records = [first, last];
    GenerateSamples
        .publish(&harness.store, &harness.manifest, &records)
        .expect("a sheet");
    let sheet = harness.store.get("samples/sheet.png").expect("the sheet");
    let list = harness.store.get("samples/references.csv").expect("a list");
    let expected = format!(
        "person,word,given,guess,probability\n\"maria\",{word},false,{word},{probability:.4}\n"
    );
    assert_eq!(String::from_utf8_lossy(&list), expected);
    let image = image::load_from_memory(&sheet).expect("a PNG");
    // Cells of 132 pixels, beside a column of 124 for who it is and below a line of 13 for what was asked.
    assert_eq!(
        (image.width(), image.height()),
        (124 + 3 * 132 + 4, 13 + 4 * 132 + 4)
    );
    GenerateSamples
        .publish(&harness.store, &harness.manifest, &records)
        .expect("a sheet");
    assert_eq!(
        harness.store.get("samples/sheet.png").expect("the sheet"),
        sheet
    );
}

/// A list beside the photos overrules the network, in every method's prompts; the guess stays in the table.
#[test]
fn people_say_the_word_for_a_person() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut harness = harness(folder.path());
    let references = folder.path().join("references");
    let face = portrait(&harness);
    face.save(references.join("maria.png")).expect("saved");
    let guessed = samples(&harness, 0).0;
    let (guess, other) = match guessed[0].word.as_str() {
        "man" => ("man", ["woman", "Woman"]),
        "woman" => ("woman", ["man", "Man"]),
        word => panic!("no guess but {word}"),
    };
    let list = format!("person,word\nmaria,{}\n", other[0]);
    std::fs::write(references.join("references.csv"), list).expect("written");
    let models = GenerateSamples.models(&harness.manifest).expect("models");
    let files = (models[0].files_read)(&models[0].path).expect("files");
    assert!(files.iter().any(|path| path.ends_with("references.csv")));
    for (keys, word) in [("", other[0]), ("gendered = \"Man\"\n", other[1])] {
        let keys = format!("methods = [\"laioncele\", \"sdxl-name\"]\n{keys}");
        harness.manifest = manifest(folder.path(), &keys).into();
        let rows = samples(&harness, 0).0;
        assert_eq!(rows[0].prompt, format!("a {word} is sad"));
        let of = |s: &Sample| (s.word.clone(), s.word_given, s.gender_guess.clone());
        assert_eq!(
            of(&rows[0]),
            (word.to_owned(), true, Some(guess.to_owned()))
        );
        assert_eq!(rows[0].gender_probability, guessed[0].gender_probability);
        let by_name = harness.run(&*steps()[4], &Partition::Chunk(0), Vec::new());
        let by_name: Vec<Sample> = harness.rows(&by_name.expect("drawn")).expect("rows");
        let texts = |rows: &[Sample]| rows.iter().map(|s| s.prompt.clone()).collect::<Vec<_>>();
        assert_eq!(texts(&by_name), texts(&rows));
        assert_eq!(of(&by_name[0]), of(&rows[0]));
        let base = samples(&harness, 1).0;
        assert!(
            base.iter().all(|s| s.prompt.contains(word)),
            "{:?}",
            texts(&base)
        );
    }
    harness.manifest = manifest(folder.path(), "gendered = false\n").into();
    let plain = samples(&harness, 0).0;
    assert_eq!(plain[0].prompt, "a person is sad");
    assert_eq!(
        (plain[0].word.as_str(), plain[0].word_given),
        ("person", false)
    );
    std::fs::write(
        references.join("references.csv"),
        "person,word\nmarie,man\n",
    )
    .expect("written");
    let error = GenerateSamples.partitioning(&harness.manifest);
    let error = error.expect_err("nobody").to_string();
    assert!(
        error.contains("references.csv: line 2") && error.contains("`maria`"),
        "{error}"
    );
}

#[test]
fn an_unknown_key_names_the_nearest() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "[generate_samples]\nreference = \"x\"\n";
    let wrong = StepHarness::new(folder.path(), text).expect("a harness");
    let error = GenerateSamples
        .settings(&wrong.manifest)
        .expect_err("no such key")
        .to_string();
    assert!(error.contains("did you mean `references`?"), "{error}");
}

/// The steps of methods that the manifest does not name have no tasks and no models.
#[test]
fn methods_are_steps_of_their_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let references = folder.path().join("references");
    std::fs::create_dir(&references).expect("a folder");
    for name in ["ada.png", "bea.png"] {
        std::fs::write(references.join(name), b"no image").expect("written");
    }
    let chunks = |manifest: &Manifest| {
        let chunks = |step: &dyn Step| (step.spec().name, step.partitioning(manifest).ok());
        steps()[3..]
            .iter()
            .map(|step| chunks(&**step))
            .collect::<Vec<_>>()
    };
    let of = |name, count| (name, Some(Partitioning::Chunks(count)));
    let plain = manifest(folder.path(), "");
    let expected = [
        of("generate-samples", 3),
        of("sample-sdxl-name", 0),
        of("sample-ip-adapter", 0),
        of("sample-photomaker", 0),
    ];
    assert_eq!(chunks(&plain), expected);
    let keys = "methods = [\"sdxl-name\", \"ip-adapter-s0.5\", \"ip-adapter\"]\n\
                [models.ip_adapter]\nfile = \"a\"\nimage_encoder = \"b\"\n";
    let others = manifest(folder.path(), keys);
    let expected = [
        of("generate-samples", 1),
        of("sample-sdxl-name", 2),
        of("sample-ip-adapter", 4),
        of("sample-photomaker", 0),
    ];
    assert_eq!(chunks(&others), expected);
    let labels = |step: usize| {
        let models = steps()[3 + step].models(&others).expect("models");
        models.into_iter().map(|m| m.label).collect::<Vec<_>>()
    };
    assert!(labels(2).contains(&"models.ip_adapter.file".to_owned()));
    assert!(
        !labels(1)
            .iter()
            .any(|label| label.contains("adapter") || label.contains("image_encoders"))
    );
    assert!(labels(3).is_empty());
}

/// A scale is in the adapter's key alone, and so is a preset in those that it changes.
#[test]
fn settings_of_a_method_are_in_its_key_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("references")).expect("a folder");
    let settings = |keys: &str, scale: &str| {
        let keys = format!(
            "methods = [\"laioncele\", \"sdxl-name\", \"ip-adapter\", \"photomaker\"]\n{keys}\n[models.ip_adapter]\nfile = \"a\"\n\
             image_encoder = \"b\"\n{scale}\n[models.photomaker]\nfile = \"c\"\n"
        );
        let manifest = manifest(folder.path(), &keys);
        let of = |step: &dyn Step| step.settings(&manifest).expect("settings");
        steps()[3..]
            .iter()
            .map(|step| of(&**step))
            .collect::<Vec<_>>()
    };
    let first = settings("", "");
    let alone = GenerateSamples.settings(&manifest(folder.path(), ""));
    assert_eq!(first[0], alone.expect("settings"), "as without methods");
    let changed = |other: Vec<serde_json::Value>| {
        let pairs = first.iter().zip(other);
        pairs.map(|(a, b)| *a != b).collect::<Vec<_>>()
    };
    assert_eq!(
        changed(settings("", "scale = 0.5")),
        [false, false, true, false]
    );
    assert_eq!(
        changed(settings("settings = \"recommended\"", "")),
        [false, false, true, true]
    );
    assert_eq!(changed(settings("photos = 1", "")), [true; 4]);
    assert_eq!(first[2]["rows"][0]["own"]["scale"], 1.0);
    assert_eq!(
        first[3]["rows"][0]["own"]["start_merge_step"], 0,
        "a fifth of two steps"
    );
}

#[test]
fn methods_that_cannot_be_met_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("references")).expect("a folder");
    let fails = |keys: &str, part: &str| {
        let error = StageConfig::from_manifest(&manifest(folder.path(), keys));
        let error = error.expect_err("impossible").to_string();
        assert!(error.contains(part), "{error}");
    };
    fails(
        "methods = [\"ip-adapter\", \"ip-adapter\"]\n",
        "ip-adapter twice",
    );
    fails("methods = [\"instant-id\"]\n", "is no method");
    fails("photos = 0\n", "photos = 0");
    fails("settings = \"best\"\n", "common");
    let many: Vec<String> = (0..9).map(|i| format!("\"ip-adapter-s{i}\"")).collect();
    fails(
        &format!("methods = [{}]\n", many.join(", ")),
        "more than 8 rows",
    );
    let text = mini_manifest(
        "[generate_samples]\nreferences = \"r\"\nprompts = [\"a person\", \"a cat\"]\nmethods = [\"photomaker\"]\n",
    );
    let cats = Manifest::parse(&folder.path().join("m.toml"), &text).expect("a manifest");
    let error = StageConfig::from_manifest(&cats)
        .expect_err("no person")
        .to_string();
    assert!(
        error.contains("\"a cat\"") && error.contains("photomaker"),
        "{error}"
    );
}

/// Another U-Net for samples is in this stage's key alone: `[models.sdxl]` stays what names and portraits have.
#[test]
fn another_unet_is_in_the_key() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("references")).expect("a folder");
    let own = manifest(folder.path(), "");
    let other = manifest(folder.path(), "unet = \"turbo/unet\"\n");
    let models = |manifest: &Manifest| {
        let models = GenerateSamples.models(manifest).expect("models");
        let models = models.into_iter().map(|model| (model.label, model.path));
        models.collect::<std::collections::BTreeMap<_, _>>()
    };
    let settings = |manifest: &Manifest| GenerateSamples.settings(manifest).expect("settings");
    let (mut before, after) = (models(&own), models(&other));
    let unet = folder.path().join("turbo/unet");
    assert_eq!(after["models.sdxl.unet"], unet);
    before.insert("models.sdxl.unet".to_owned(), unet.clone());
    assert_eq!(before, after);
    assert_eq!(settings(&own), settings(&other));
    let config = StageConfig::from_manifest(&other).expect("a config");
    assert_eq!(config.generation().sdxl.unet, Some(unet));
    let sdxl = laioncele_inference::SdxlSection::from_manifest(&other).expect("a section");
    assert_eq!(sdxl.files.unet, None);
}

/// A LoRA for samples is merged for them alone and is in this stage's keys alone, with its strength.
#[test]
fn a_lora_for_samples_is_in_the_key() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("references")).expect("a folder");
    let with = |strength: &str| {
        let keys = format!(
            "methods = [\"laioncele\", \"sdxl-name\"]\n\
             [[generate_samples.lora]]\nfile = \"words.safetensors\"\n{strength}"
        );
        manifest(folder.path(), &keys)
    };
    let loras = |manifest: &Manifest, step: usize| {
        let models = steps()[3 + step].models(manifest).expect("models");
        let labels = models.into_iter().map(|model| (model.label, model.path));
        let loras = labels.filter(|(label, _)| label.contains("lora"));
        loras.collect::<std::collections::BTreeMap<_, _>>()
    };
    let path = folder.path().join("words.safetensors");
    for (strength, label) in [
        ("", "models.sdxl.lora.words.safetensors@1"),
        ("strength = 0.5\n", "models.sdxl.lora.words.safetensors@0.5"),
    ] {
        for step in [0, 1] {
            let expected = [(label.to_owned(), path.clone())];
            let expected = std::collections::BTreeMap::from(expected);
            assert_eq!(loras(&with(strength), step), expected);
        }
    }
    let sdxl = laioncele_inference::SdxlSection::from_manifest(&with("")).expect("a section");
    assert!(sdxl.files.loras.is_empty());
    let config = StageConfig::from_manifest(&with("")).expect("a config");
    assert_eq!(config.generation().sdxl.loras.len(), 1);
}

/// Pinned: the same images on every machine and in every version.
#[test]
fn seeds_never_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = StageConfig::from_manifest(&manifest(folder.path(), "")).expect("a config");
    assert_eq!(
        config.seed("maria", "a person is sad", 1),
        0x36ca_c593_4c46_104a
    );
}
