//! Pictures on disk, through the networks.

use std::path::{Path, PathBuf};

use image::RgbImage;
use laioncele_core::Manifest;
use laioncele_evaluate::{
    Checks, Chosen, FolderReport, Resize, SIDE, Systems, cosine, score_systems,
};
use laioncele_image::{Limits, Orientation, decode};

use crate::fixture::{Picture, eval_a, json, number, pictures, rows, tensors, worst};

fn pixels(path: &Path) -> RgbImage {
    let bytes = std::fs::read(path).expect("a file");
    decode(&bytes, &Limits::default(), Orientation::AsStored).expect("a picture")
}

#[test]
fn pictures_are_resized_as_the_libraries_do() {
    let notes = json(&eval_a().join("manifest.json"));
    let golden = tensors(&eval_a().join("goldens/resized.safetensors"));
    let sums = &json(&eval_a().join("goldens/scores.json"))["inception"]["resized"];
    let keys = notes["config"]["resized"]
        .as_array()
        .expect("names")
        .clone();
    for (k, key) in keys.iter().enumerate() {
        let key = key.as_str().expect("a name");
        let folder = if key.contains('/') { "people" } else { "plain" };
        let image = pixels(&eval_a().join("pictures").join(folder).join(key));
        for resize in Resize::ALL {
            let found = resize.pixels(&image);
            let (shape, known) = &golden[&format!("{}.{k}", resize.name())];
            let steps = SIDE.div_ceil(7);
            assert_eq!(shape[..], [steps, steps, 3]);
            let place = |y: usize, x: usize| (y * 7 * SIDE + x * 7) * 3;
            let every: Vec<f64> = (0..steps * steps)
                .flat_map(|k| found[place(k / steps, k % steps)..][..3].to_vec())
                .map(f64::from)
                .collect();
            let allowed = match resize {
                Resize::Clean | Resize::LegacyTensorflow => 2e-4,
                Resize::LegacyPytorch | Resize::Torchmetrics => 1e-2,
            };
            let worst = worst(&every, known);
            assert!(worst <= allowed, "{key} {}: {worst}", resize.name());
            let sum: f64 = found.iter().map(|v| f64::from(*v)).sum();
            let known = number(&sums[key][resize.name()]["sum"]);
            assert!((sum / known - 1.0).abs() <= 1e-6, "{key} {}", resize.name());
        }
    }
}

/// To the last bit, and as stored: not turned.
#[test]
fn jpegs_are_libjpeg_turbos() {
    for name in [
        "q88-420",
        "q95-444",
        "q75-422-progressive",
        "gray",
        "turned",
    ] {
        let [ours, known] =
            ["jpg", "png"].map(|end| pixels(&eval_a().join(format!("jpeg/{name}.{end}"))));
        assert_eq!(ours.dimensions(), known.dimensions(), "{name}");
        assert!(ours.as_raw() == known.as_raw(), "{name}");
    }
}

fn manifest(root: &Path) -> Manifest {
    manifest_with(
        root,
        &eval_a().join("inception.onnx").display().to_string(),
        "",
    )
}

fn manifest_with(root: &Path, inception: &str, keys: &str) -> Manifest {
    let faces = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests/mini/face");
    let (faces, clip) = (
        faces.display().to_string(),
        eval_a().join("clip").display().to_string(),
    );
    let text = format!(
        "[run]\nseed = 7\nbuckets = 1\n[source]\npath = \"captions\"\n[source.columns]\nurl = \"URL\"\ncaption = \"TEXT\"\n\
         [embedding_dims]\nname_tokens = 8\nname_channels = 128\nface = 512\nfeatures = 72\n\
         [models.image_encoders]\nfirst = \"{clip}\"\nsecond = \"{clip}\"\n\
         [models.face]\ndetector = \"{faces}/retinaface_mobilenet025_dynamic.onnx\"\nrecognizer = \"{faces}/faceplugin_fr_feature_512.onnx\"\n\
         [evaluate]\ninception = {{ network = \"{inception}\"{keys} }}\n"
    );
    Manifest::parse(&root.join("m.toml"), &text).expect("a manifest")
}

/// A list of some of the pictures.
fn list(root: &Path, pictures: &[Picture]) -> PathBuf {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let mut text = "system,image,person,prompt,group\n".to_owned();
    for picture in pictures {
        let system = if picture.person.is_empty() {
            "plain"
        } else {
            "ours"
        };
        let fields = [
            system,
            &picture.path(),
            &picture.person,
            &picture.prompt,
            &picture.group,
        ];
        text += &(fields.map(quoted).join(",") + "\n");
    }
    let path = root.join("systems.csv");
    std::fs::write(&path, text).expect("a file");
    path
}

fn score(root: &Path, chosen: &Chosen) -> FolderReport {
    let list = list(root, &pictures());
    let systems = Systems::read(&list, &eval_a().join("pictures"), None, Checks::default());
    let systems = systems.expect("systems");
    score_systems(&manifest(root), &systems, chosen, |_, _| {}).expect("scores")
}

fn value(found: &FolderReport, system: &str, metric: &str, group: &str) -> f64 {
    let mut scores = found.report.scores.iter();
    let score = scores.find(|s| s.system == system && s.metric == metric && s.group == group);
    score
        .unwrap_or_else(|| panic!("{metric} of {system}, {group}"))
        .value
}

#[test]
fn figures_of_pictures_equal_the_recordings() {
    let folder = tempfile::tempdir().expect("a folder");
    let record = folder.path().join("measured.safetensors");
    let chosen = Chosen {
        record: Some(record.clone()),
        ..Chosen::default()
    };
    let found = score(folder.path(), &chosen);
    assert!(found.undecodable.is_empty());
    let scores = json(&eval_a().join("goldens/scores.json"));
    for (who, system) in [("people", "ours"), ("plain", "plain")] {
        for group in ["all", "scene", "style", "long"] {
            let known = &scores["clip"]["groups"][format!("{who}/{group}")];
            let near = value(&found, system, "clip_ti", group) - number(&known["exact"]);
            assert!(near.abs() <= 5e-5, "{who} {group}: {near}");
        }
    }
    let golden = tensors(&eval_a().join("goldens/clip.safetensors"));
    let measured = tensors(&record);
    for name in ["image_embeds", "text_embeds"] {
        let worst = worst(&measured[name].1, &golden[name].1);
        assert!(worst <= 2e-5, "{name}: {worst}");
    }
    assert!(worst(&measured["cosine"].1, &golden["cosine"].1) <= 5e-7);
    let features = tensors(&eval_a().join("goldens/inception.safetensors"));
    assert!(worst(&measured["features"].1, &features["features.clean"].1) <= 2e-5);
    // From recorded embeddings the mean is exact.
    let (images, texts) = (rows(&golden["image_embeds"]), rows(&golden["text_embeds"]));
    let cosines = images.iter().zip(&golden["text_of_image"].1);
    let cosines: Vec<f64> = cosines
        .map(|(i, t)| cosine(i, &texts[*t as usize]))
        .collect();
    let mean = 100.0 * cosines.iter().sum::<f64>() / cosines.len() as f64;
    assert!((mean - number(&scores["clip"]["groups"]["all"]["exact"])).abs() <= 1e-9);
    let notes = found.report.notes.join("\n");
    assert!(
        notes.contains("with transparency") && notes.contains("≠"),
        "{notes}"
    );
}

#[test]
fn distances_of_pictures_equal_clean_fid_in_every_mode() {
    let folder = tempfile::tempdir().expect("a folder");
    let scores = json(&eval_a().join("goldens/scores.json"));
    for resize in Resize::ALL {
        let chosen = Chosen {
            resize: Some(resize),
            resamples: Some(0),
            ..Chosen::default()
        };
        let found = score(folder.path(), &chosen);
        let known = &scores["inception"][resize.name()];
        for (metric, key) in [("fid", "frechet_exact"), ("kid", "kernel_exact")] {
            let (found, known) = (value(&found, "ours", metric, "all"), number(&known[key]));
            assert!(
                (found / known - 1.0).abs() <= 1e-4,
                "{metric} {}: {found} {known}",
                resize.name()
            );
        }
    }
}

/// A damaged picture costs itself; equal pictures under two systems are at no distance.
#[test]
fn equal_systems_are_at_no_distance_and_damage_costs_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    std::fs::write(root.join("broken.png"), b"\x89PNG\r\n\x1a\nbroken").expect("a file");
    let mut text = "system,image,person,prompt\n".to_owned();
    for system in ["a", "b"] {
        for picture in pictures().iter().filter(|p| !p.person.is_empty()) {
            let path = eval_a().join("pictures").join(picture.path());
            text += &format!(
                "{system},{},{},\"{}\"\n",
                path.display(),
                picture.person,
                picture.prompt
            );
        }
    }
    text += "a,broken.png,odile-marsh,\"A Chalk Drawing of two foxes! Wow!!\"\n";
    std::fs::write(root.join("s.csv"), text).expect("a file");
    let systems =
        Systems::read(&root.join("s.csv"), root, None, Checks::default()).expect("systems");
    let chosen = Chosen {
        against: Some("b".to_owned()),
        ..Chosen::default()
    };
    let found = score_systems(&manifest(root), &systems, &chosen, |_, _| {}).expect("scores");
    assert_eq!(found.undecodable.len(), 1);
    assert!(value(&found, "a", "fid", "all").abs() < 1e-3);
    assert!(
        value(&found, "a", "kid", "all") < 0.0,
        "unbiased: equal sets are nearer than samples"
    );
    assert_eq!(value(&found, "b", "clip_ti_difference", "all"), 0.0);
    let unknown = Chosen {
        against: Some("c".to_owned()),
        ..Chosen::default()
    };
    let error = score_systems(&manifest(root), &systems, &unknown, |_, _| {});
    assert!(
        error
            .expect_err("refused")
            .to_string()
            .contains("no system `c` among a, b")
    );
}

#[test]
fn an_inception_of_another_kind_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let list = list(root, &pictures()[..2]);
    let checks = Checks { unequal: true };
    let systems = Systems::read(&list, &eval_a().join("pictures"), None, checks).expect("systems");
    let faces = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests/mini/face");
    let recognizer = faces
        .join("faceplugin_fr_feature_512.onnx")
        .display()
        .to_string();
    let own = eval_a().join("inception.onnx").display().to_string();
    for (network, keys, expected) in [
        (&own, ", output = \"logits\"", "no output `logits`"),
        (&own, ", input = \"picture\"", "no input `picture`"),
        (&recognizer, "", "not a network from images to features"),
        (&"/nowhere.onnx".to_owned(), "", "cannot read /nowhere.onnx"),
    ] {
        let manifest = manifest_with(root, network, keys);
        let found = score_systems(&manifest, &systems, &Chosen::default(), |_, _| {});
        let error = laioncele_core::error::chain(&found.expect_err("refused"));
        assert!(error.contains(expected), "{error}");
    }
}
