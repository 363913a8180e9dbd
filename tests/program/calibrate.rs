//! `laioncele calibrate` on a tiny world, recomputed from its tables; and on labelled pairs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array};
use laioncele_core::ledger::Ledger;
use laioncele_core::part::read_rows;
use laioncele_core::store::Store;
use laioncele_core::table::PortraitFace;
use laioncele_core::{Manifest, TableId};
use laioncele_face::calibration::{Calibration, Rate};
use laioncele_inference::FaceSection;
use serde_json::Value;

use crate::sandbox::{FRAME, Sandbox, program, stderr, stdout};
use crate::tables;
use crate::test_run::TestRun;

/// The world's `[verify_portraits] same_person`.
fn same_person(world: &TestRun) -> f64 {
    let manifest = Manifest::load(&world.join("mini.toml")).expect("a manifest");
    let settings = laioncele_verify_portraits::Settings::from_manifest(&manifest);
    settings.expect("[verify_portraits]").same_person
}

/// The face vectors of each name's portraits with one face, by name and index.
fn portraits(world: &TestRun) -> BTreeMap<u64, BTreeMap<u32, Vec<f32>>> {
    let store = Store::local(&world.join("output")).expect("a store");
    let manifest = Manifest::load(&world.join("mini.toml")).expect("a manifest");
    let records = Ledger::new(store.clone()).all().expect("records");
    let mut names: BTreeMap<u64, BTreeMap<u32, Vec<f32>>> = BTreeMap::new();
    for part in records
        .iter()
        .flat_map(|r| r.outputs_of(TableId::PortraitFaces))
    {
        let rows = read_rows::<PortraitFace>(&store, part, &manifest.embedding_dims).expect("rows");
        for row in rows {
            let name = names.entry(row.name_id.0).or_default();
            if row.faces == 1 {
                name.insert(row.index, row.embedding.0);
            }
        }
    }
    names
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(x, y)| f64::from(*x) * f64::from(*y))
        .sum()
}

/// Similarities of one person and of two, by the words of the help.
fn similarities(world: &TestRun, same_person: f64) -> [Vec<f64>; 2] {
    let names: Vec<_> = portraits(world).into_values().collect();
    let (mut same, mut different) = (Vec::new(), Vec::new());
    for (at, name) in names.iter().enumerate() {
        let pair = |a: u32, b: u32| Some(cosine(name.get(&a)?, name.get(&b)?));
        if pair(0, 1).is_some_and(|s| s >= same_person) {
            same.extend(pair(2, 3));
        }
        for other in &names[..at] {
            for a in name.values() {
                different.extend(other.values().map(|b| cosine(a, b)));
            }
        }
    }
    [same, different]
}

#[test]
fn a_worlds_error_rates_are_those_recomputed_from_its_tables() {
    let world = TestRun::finished(1);
    let file = std::env::temp_dir().join(format!("calibration-{}.toml", std::process::id()));
    let mut command = world.command(&["calibrate", "--json", "--far", "0.05"], "output");
    let ended = command
        .arg("--write")
        .arg(&file)
        .output()
        .expect("the program");
    assert!(ended.status.success(), "{}", stderr(&ended));
    let found: Value = serde_json::from_str(&stdout(&ended)).expect("JSON");
    let same_person = same_person(&world);
    let [same, different] = similarities(&world, same_person);
    assert!(
        same.len() >= 3 && different.len() > 100,
        "{} {}",
        same.len(),
        different.len()
    );
    let pair = &found["pair"];
    assert_eq!(pair["same"], same.len());
    assert_eq!(pair["different"], different.len());
    let rate = |all: &[f64], reaches: bool, step: usize| {
        let hits = |s: &&f64| (**s * 100.0 + 1e-4 >= step as f64) == reaches;
        all.iter().filter(hits).count() as f64 / all.len() as f64
    };
    for (step, point) in pair["points"]
        .as_array()
        .expect("points")
        .iter()
        .enumerate()
    {
        let near = |key: &str, wanted: f64| {
            let share = point[key][0].as_f64().expect("a share");
            assert!(
                (share - wanted).abs() < 2e-3,
                "{key} at {step}: {share}, not {wanted}"
            );
        };
        near("false_accepts", rate(&different, true, step));
        near("false_rejects", rate(&same, false, step));
    }
    assert!(
        pair["chosen"]["false_accepts"][0]
            .as_f64()
            .is_some_and(|s| s <= 0.05)
    );
    assert_eq!(pair["set"]["threshold"], same_person);
    the_run_says_what_its_thresholds_stand_for(&world, &file);
    fs::remove_file(file).expect("it was there");
}

/// With the calibration named in the manifest, a finished run (a copy: others look at this one) says it and runs no task.
fn the_run_says_what_its_thresholds_stand_for(world: &TestRun, file: &Path) {
    let folder = tempfile::tempdir().expect("a folder");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(world.join("output"))
        .arg(folder.path())
        .status();
    assert!(copied.expect("cp").success());
    let text = fs::read_to_string(world.join("mini.toml")).expect("a manifest");
    let line = format!("calibration = \"{}\"", file.display());
    let other = |l| {
        if str::starts_with(l, "calibration = ") {
            &line
        } else {
            l
        }
    };
    let manifest = world.join("calibrated.toml");
    let text: Vec<&str> = text.lines().map(other).collect();
    fs::write(&manifest, text.join("\n")).expect("a manifest");
    let mut run = Command::new(program());
    run.args(["run", "--stage", "..verify-images", "--manifest"])
        .arg(&manifest);
    run.arg("--output").arg(folder.path().join("output"));
    let ended = run.output().expect("the program");
    let text = stderr(&ended);
    assert!(ended.status.success(), "{text}");
    assert!(text.contains("nothing to do: "), "{text}");
    for start in [
        &format!(
            "verify-portraits: same_person = {} accepts",
            same_person(world)
        ),
        "verify-images: same_person_photo = ",
    ] {
        assert!(text.contains(start), "no {start} in: {text}");
    }
}

/// The calibration that the embedded world ships with, against its own portraits: at every threshold the share of false
/// accepts and of false rejects lies within the interval that is shipped, so that what `run` says of the manifest's
/// thresholds holds, whichever they are. After other weights of the mini SDXL, `make calibration` measures again.
#[test]
fn the_shipped_calibration_holds_for_a_run() {
    let world = TestRun::finished_full(1);
    let mut command = world.command(&["calibrate", "--json"], "output");
    let ended = command.output().expect("the program");
    assert!(ended.status.success(), "{}", stderr(&ended));
    let found: Value = serde_json::from_str(&stdout(&ended)).expect("JSON");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/mini/calibration.toml");
    let shipped = Calibration::load(&file).expect("the shipped calibration");
    assert_eq!(found["recognizer"], shipped.recognizer.as_str());
    let against = shipped
        .portraits
        .as_ref()
        .expect("measured against portraits");
    for (key, curve) in [("pair", &shipped.pair), ("portraits", against)] {
        let points = found[key]["points"].as_array().expect("points");
        assert_eq!(points.len(), curve.points.len());
        for (point, shipped) in points.iter().zip(&curve.points) {
            let within = |share: &str, Rate([_, low, high]): Rate| {
                let share = point[share][0].as_f64().expect("a share");
                (low..=high).contains(&share)
            };
            assert!(
                within("false_accepts", shipped.false_accepts)
                    && within("false_rejects", shipped.false_rejects),
                "{key}: {point} where {shipped:?} is shipped: `make calibration` measures again"
            );
        }
    }
    let manifest = Manifest::load(&world.join("mini.toml")).expect("a manifest");
    let section = FaceSection::from_manifest(&manifest).expect("[models.face]");
    let named = section.calibration.expect("a calibration");
    assert_eq!(
        Calibration::load(&named).expect("the named calibration"),
        shipped
    );
}

/// Three images of two people, as the face crate's tests have them.
fn labelled(same: &[bool]) -> Sandbox {
    labelled_by(Arc::new(BooleanArray::from(same.to_vec())))
}

fn labelled_by(same: ArrayRef) -> Sandbox {
    let sandbox = Sandbox::with_manifest(FRAME);
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/face/tests/fixtures");
    for name in ["first-a.png", "first-b.png", "second-a.png", "nobody.png"] {
        fs::copy(fixtures.join(name), sandbox.join(name)).expect("an image");
    }
    let first = ["first-a.png", "first-a.png", "first-b.png", "first-a.png"];
    let second = ["first-b.png", "second-a.png", "second-a.png", "nobody.png"];
    let columns = vec![
        ("a", tables::texts(&first)),
        ("b", tables::texts(&second)),
        ("same", same),
    ];
    tables::write(&sandbox.join("pairs.parquet"), columns);
    sandbox
}

fn calibrate(sandbox: &Sandbox, arguments: &[&str]) -> std::process::Output {
    let mut command = sandbox.command(&["calibrate", "--manifest", "manifest.toml"]);
    let suffix = std::env::consts::DLL_SUFFIX;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let library = root.join(format!(".onnxruntime/libonnxruntime{suffix}"));
    command.args(arguments).env("ORT_DYLIB_PATH", library);
    command.output().expect("the program")
}

#[test]
fn labelled_pairs_are_measured_by_the_manifests_networks() {
    let sandbox = labelled(&[true, false, false, true]);
    let ended = calibrate(&sandbox, &["--pairs", "pairs.parquet", "--json"]);
    assert!(ended.status.success(), "{}", stderr(&ended));
    let found: Value = serde_json::from_str(&stdout(&ended)).expect("JSON");
    assert_eq!(
        (&found["pair"]["same"], &found["pair"]["different"]),
        (&1.into(), &2.into())
    );
    assert_eq!(
        found["from"],
        "4 pairs of 4 images, 1 of them left out for an image without a face"
    );
    let chosen = &found["pair"]["chosen"];
    assert_eq!(
        (&chosen["false_accepts"][0], &chosen["false_rejects"][0]),
        (&0.0.into(), &0.0.into())
    );
    // One pair of one person says little.
    assert!(
        chosen["false_rejects"][2]
            .as_f64()
            .is_some_and(|high| high > 0.7)
    );
}

/// A picture that is broken costs its pairs, as one that shows nobody does; labels may be numbers.
#[test]
fn a_broken_picture_costs_its_pairs() {
    let sandbox = labelled_by(Arc::new(Int64Array::from(vec![1, 0, 0, 1])));
    sandbox.write("nobody.png", "no picture");
    let ended = calibrate(&sandbox, &["--pairs", "pairs.parquet", "--json"]);
    let text = stderr(&ended);
    assert!(
        ended.status.success() && text.contains("nobody.png"),
        "{text}"
    );
    let found: Value = serde_json::from_str(&stdout(&ended)).expect("JSON");
    assert_eq!(
        found["from"],
        "4 pairs of 4 images, 1 of them left out for an image without a face or one of 1 that cannot be read"
    );
    assert_eq!(
        (&found["pair"]["same"], &found["pair"]["different"]),
        (&1.into(), &2.into())
    );
}

#[test]
fn what_cannot_be_measured_is_said() {
    let two = labelled_by(Arc::new(Int64Array::from(vec![1, 0, 0, 2])));
    let ended = calibrate(&two, &["--pairs", "pairs.parquet"]);
    assert_eq!(ended.status.code(), Some(3));
    assert!(
        stderr(&ended).contains("column `same` has 2"),
        "{}",
        stderr(&ended)
    );
    let sandbox = labelled(&[true; 4]);
    let fails = |arguments: &[&str], code: i32, word: &str| {
        let ended = calibrate(&sandbox, arguments);
        let text = stderr(&ended);
        assert_eq!(ended.status.code(), Some(code), "{text}");
        assert!(text.contains(word), "no {word} in: {text}");
    };
    fails(
        &["--pairs", "pairs.parquet"],
        3,
        "no pair of one person, or none of two",
    );
    fails(&["--pairs", "none.parquet"], 3, "none.parquet");
    fails(&["--pairs", "captions/a.parquet"], 3, "the columns are");
    fails(&["--far", "7"], 2, "--far is 7");
    fails(&[], 3, "nothing has been run");
    let other = "recognizer = \"0\"\nfrom = \"\"\n[pair]\nsame = 1\ndifferent = 1\npoints = []\n";
    sandbox.write("other.toml", other);
    let calibrated = FRAME.replace(
        "[models.face]",
        "[models.face]\ncalibration = \"other.toml\"",
    );
    sandbox.write("calibrated.toml", &calibrated);
    let ended = sandbox.run(&["faces", "compare", "a", "b", "-m", "calibrated.toml"]);
    assert_eq!(ended.status.code(), Some(3));
    assert!(
        stderr(&ended).contains("another recognizer"),
        "{}",
        stderr(&ended)
    );
}
