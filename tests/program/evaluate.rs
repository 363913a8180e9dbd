//! `laioncele evaluate` on images of other systems: the recording of the stage's tests, through the binary.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::sandbox::Sandbox;

fn eval_a() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("stages/evaluate/tests/fixtures/eval-a")
}

fn golden() -> Value {
    let text = std::fs::read(eval_a().join("goldens/scores.json")).expect("the recording");
    serde_json::from_slice(&text).expect("JSON")
}

/// A folder with a manifest of the recording's networks and `systems.csv`, with a byte order mark and CRLF.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new().with_runtime();
    std::os::unix::fs::symlink(eval_a(), sandbox.join("eval-a")).expect("a link");
    sandbox.write(
        "manifest.toml",
        "[run]\nseed = 1\nbuckets = 1\n[source]\npath = \"captions\"\n[source.columns]\nurl = \"URL\"\ncaption = \"TEXT\"\n\
         [embedding_dims]\nname_tokens = 8\nname_channels = 128\nface = 512\nfeatures = 72\n\
         [models.image_encoders]\nfirst = \"eval-a/clip\"\nsecond = \"eval-a/clip\"\n\
         [models.face]\ndetector = \"mini/face/retinaface_mobilenet025_dynamic.onnx\"\nrecognizer = \"mini/face/faceplugin_fr_feature_512.onnx\"\n\
         [evaluate]\ninception = { network = \"eval-a/inception.onnx\" }\n",
    );
    let notes = std::fs::read(eval_a().join("manifest.json")).expect("the recording");
    let notes: Value = serde_json::from_slice(&notes).expect("JSON");
    let mut list = "\u{feff}system,image,person,prompt,group\r\n".to_owned();
    for picture in notes["pictures"].as_array().expect("pictures") {
        let [image, person, prompt, group] =
            ["image", "person", "prompt", "group"].map(|key| picture[key].as_str().unwrap_or(""));
        let (system, folder) = if person.is_empty() {
            ("plain", "plain")
        } else {
            ("ours", "people")
        };
        list +=
            &format!("{system},eval-a/pictures/{folder}/{image},{person},\"{prompt}\",{group}\r\n");
    }
    sandbox.write("systems.csv", list);
    sandbox
}

fn json(output: &Output) -> Value {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn value(found: &Value, system: &str, metric: &str, group: &str) -> f64 {
    let mut scores = found["scores"].as_array().expect("scores").iter();
    let is = |s: &&Value| s["system"] == system && s["metric"] == metric && s["group"] == group;
    scores
        .find(is)
        .unwrap_or_else(|| panic!("{metric} of {system}"))["value"]
        .as_f64()
        .expect("a number")
}

#[test]
fn systems_are_scored_as_torchmetrics_and_clean_fid_do() {
    let sandbox = sandbox();
    let arguments = [
        "evaluate",
        "--systems",
        "systems.csv",
        "-m",
        "manifest.toml",
    ];
    let run = |more: &[&str]| sandbox.run(&[&arguments[..], more].concat());
    let (found, golden) = (json(&run(&["--json"])), golden());
    for group in ["all", "scene", "style", "long"] {
        let known = golden["clip"]["groups"][format!("people/{group}")]["exact"].as_f64();
        let apart = value(&found, "ours", "clip_ti", group) - known.expect("a number");
        assert!(apart.abs() <= 5e-5, "{group}: {apart}");
    }
    let known = golden["inception"]["clean"]["frechet_exact"]
        .as_f64()
        .expect("a number");
    assert!((value(&found, "ours", "fid", "all") / known - 1.0).abs() < 1e-4);
    let resized = json(&run(&["--json", "--resize", "torchmetrics"]));
    let known = golden["inception"]["torchmetrics"]["kernel_exact"]
        .as_f64()
        .expect("a number");
    assert!((value(&resized, "ours", "kid", "all") / known - 1.0).abs() < 1e-4);
    let table = run(&["--table", "1", "--format", "csv", "--paper"]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    let names: Vec<&str> = table
        .lines()
        .filter_map(|line| line.split(',').next())
        .collect();
    assert_eq!(names[1..4], ["plain", "ours", "SDXL (paper)"], "{table}");
    assert!(table.contains('≠'), "{table}");
}

#[test]
fn wrong_lists_are_refused_with_every_line() {
    let sandbox = sandbox();
    sandbox.write(
        "wrong.csv",
        "system,image,person,prompt\na,eval-a/pictures/people/odile-marsh/0-0.png,odile,p\n\
         a,eval-a/pictures/people/odile-marsh/0-0.png,odile,p\nb,gone.png,tobiah,q\n",
    );
    let output = sandbox.run(&["evaluate", "--systems", "wrong.csv", "-m", "manifest.toml"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    for part in [
        "line 3",
        "listed twice",
        "line 4: gone.png is no file",
        "no image of the person `tobiah`",
        "--unequal",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    sandbox.write("empty.csv", "");
    let output = sandbox.run(&["evaluate", "--systems", "empty.csv", "-m", "manifest.toml"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn figures_of_recorded_faces_are_printed() {
    let sandbox = sandbox();
    let faces = ["evaluate", "--features", "eval-a/goldens/faces.safetensors"];
    let seeds = ["--seed", "404", "--partner-seed", "20251107", "--json"];
    let found = json(&sandbox.run(&[&faces[..], &seeds].concat()));
    let scores = found["scores"].as_array().expect("scores");
    let score = scores
        .iter()
        .find(|s| s["metric"] == "id_consistency" && s["group"] == "all");
    let known = &golden()["faces"]["all"]["intervals"]["id_consistency.same_person"];
    for (key, name) in [("value", "mean"), ("low", "low"), ("high", "high")] {
        let [found, known] =
            [&score.expect("a score")[key], &known[name]].map(|v| v.as_f64().expect("a number"));
        assert!((found - known).abs() < 1e-6, "{key}");
    }
    let inception = "eval-a/goldens/inception.safetensors";
    let none = sandbox.run(&["evaluate", "--features", inception]);
    assert_eq!(none.status.code(), Some(2));
    let same = ["--to", inception, "--tensor", "features.clean", "--json"];
    let same = json(&sandbox.run(&[&["evaluate", "--features", inception], &same[..]].concat()));
    assert!(value(&same, "", "frechet", "all").abs() < 1e-6);
}

/// A line of a list for each system, with the same file.
fn both(list: &mut String, image: &str, person: &str) {
    for system in ["a", "b"] {
        *list += &format!("{system},{image},{person},a photo of a person,style\n");
    }
}

const HEADER: &str = "system,image,person,prompt,group\n";

/// Fewer images than features, so that both covariances are singular.
#[test]
fn equal_sets_are_no_distance_apart_and_a_damaged_image_costs_itself() {
    let sandbox = sandbox();
    let people = eval_a().join("pictures/people");
    let mut list = HEADER.to_owned();
    let mut whole = Vec::new();
    for person in ["odile-marsh", "perrin-vale"] {
        for image in std::fs::read_dir(people.join(person)).expect("a folder") {
            let name = image.expect("an image").file_name();
            let path = format!("eval-a/pictures/people/{person}/{}", name.to_string_lossy());
            whole = std::fs::read(sandbox.join(&path)).expect("an image");
            both(&mut list, &path, person);
        }
    }
    sandbox.write("cut.png", &whole[..whole.len() / 2]);
    sandbox.write("page.jpg", "<html>gone</html>");
    both(&mut list, "cut.png", "odile-marsh");
    both(&mut list, "page.jpg", "perrin-vale");
    sandbox.write("same.csv", &list);
    let arguments = ["evaluate", "--systems", "same.csv", "-m", "manifest.toml"];
    let found = json(&sandbox.run(&[&arguments[..], &["--against", "b", "--json"]].concat()));
    assert!(value(&found, "a", "fid", "all").abs() < 1e-3);
    assert_eq!(found["undecodable"].as_array().expect("files").len(), 4);
    assert_eq!(found["images"], list.lines().count() - 1);
    assert!(all_are_finite(&found), "{found}");
}

fn all_are_finite(found: &Value) -> bool {
    // What is no number is null in JSON.
    let mut scores = found["scores"].as_array().expect("scores").iter();
    scores.all(|score| score["value"].is_number())
}

#[test]
fn one_image_has_no_distance_and_no_image_is_an_error() {
    let sandbox = sandbox();
    let mut list = HEADER.to_owned();
    both(
        &mut list,
        "eval-a/pictures/people/odile-marsh/0-0.png",
        "odile-marsh",
    );
    sandbox.write("one.csv", &list);
    let arguments = ["evaluate", "--systems", "one.csv", "-m", "manifest.toml"];
    let found = json(&sandbox.run(&[&arguments[..], &["--against", "b", "--json"]].concat()));
    let scores = found["scores"].as_array().expect("scores");
    assert!(all_are_finite(&found), "{found}");
    let metrics: Vec<&str> = scores.iter().filter_map(|s| s["metric"].as_str()).collect();
    assert!(
        metrics.contains(&"clip_ti") && !metrics.contains(&"fid"),
        "{metrics:?}"
    );

    std::fs::create_dir_all(sandbox.join("nothing")).expect("a folder");
    let folders = [
        "evaluate",
        "--images",
        "nothing",
        "--references",
        "eval-a/references",
    ];
    let output = sandbox.run(&[&folders[..], &["-m", "manifest.toml"]].concat());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("nothing"), "{text}");
}

/// Each JPEG beside libjpeg-turbo's pixels of it, as a PNG: equal numbers, not close ones.
#[test]
fn a_jpeg_has_the_features_of_its_pixels() {
    let sandbox = sandbox();
    let names = [
        "q88-420",
        "q95-444",
        "q75-422-progressive",
        "gray",
        "turned",
    ];
    let files = names.map(|name| ["jpg", "png"].map(|end| format!("eval-a/jpeg/{name}.{end}")));
    let files: Vec<&str> = files.as_flattened().iter().map(String::as_str).collect();
    let arguments = ["encode-image", "--model", "eval-a/clip"];
    let output = sandbox.run(&[&arguments[..], &files].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["features"].clone();
    let features: Vec<Value> = text.lines().map(line).collect();
    assert_eq!(features.len(), files.len(), "{text}");
    for (pair, name) in features.chunks_exact(2).zip(names) {
        assert!(pair[0].is_array() && pair[0] == pair[1], "{name}");
    }
}
