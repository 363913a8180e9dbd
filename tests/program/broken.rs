//! Weights, disks and tables that fail during a run: one message, the documented exit code, nothing
//! lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::damage::files;
use crate::sandbox::{program, stderr};
use crate::shards::python;
use crate::test_run::TestRun;

/// A tiny world with its own copy of the weights, to be damaged.
struct Breakable {
    _folder: tempfile::TempDir,
    world: TestRun,
    weights: PathBuf,
}

impl Breakable {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let weights = folder.path().join("weights");
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/mini");
        let copied = Command::new("cp")
            .arg("-r")
            .arg(&shipped)
            .arg(&weights)
            .status();
        assert!(copied.expect("cp").success());
        let world = TestRun::build(&folder.path().join("world"), 5);
        world.change_manifest(&shipped.to_string_lossy(), &weights.to_string_lossy());
        Self {
            _folder: folder,
            world,
            weights,
        }
    }

    fn run(&self, stages: &str) -> Output {
        let mut run = self.world.command(&["run", "--stage", stages], "output");
        run.output().expect("the program")
    }

    /// Runs `stages`, which must end with exit code 3 and a message with all of `words`.
    fn fails(&self, stages: &str, words: &[&str]) {
        let ended = self.run(stages);
        let text = stderr(&ended);
        assert_eq!(ended.status.code(), Some(3), "{text}");
        for word in words {
            assert!(text.contains(word), "no `{word}` in: {text}");
        }
        assert!(!text.contains("panicked"), "{text}");
    }
}

#[test]
fn missing_weights_stop_a_run_before_its_first_task() {
    let breakable = Breakable::new();
    let unet = breakable.weights.join("sdxl-mini/unet");
    fs::rename(&unet, breakable.weights.join("elsewhere")).expect("renamed");
    breakable.fails("all", &["sdxl-mini/unet"]);
    assert!(!breakable.world.join("output/tables").exists());
    fs::rename(breakable.weights.join("elsewhere"), &unet).expect("renamed back");
    let ended = breakable.run("..encode-names");
    assert!(ended.status.success(), "{}", stderr(&ended));
}

#[test]
fn truncated_safetensors_are_named() {
    let breakable = Breakable::new();
    let file = breakable
        .weights
        .join("sdxl-mini/text_encoder/model.safetensors");
    let bytes = fs::read(&file).expect("weights");
    fs::write(&file, &bytes[..bytes.len() / 2]).expect("cut");
    breakable.fails("..encode-names", &["text_encoder/model.safetensors"]);
    fs::write(&file, &bytes).expect("restored");
    let ended = breakable.run("..encode-names");
    assert!(ended.status.success(), "{}", stderr(&ended));
}

#[test]
fn a_corrupt_onnx_file_is_named() {
    let breakable = Breakable::new();
    let file = breakable
        .weights
        .join("face/faceplugin_fr_feature_512.onnx");
    fs::write(&file, b"not a network").expect("written");
    breakable.fails("..verify-portraits", &["faceplugin_fr_feature_512.onnx"]);
}

#[test]
fn damaged_ner_weights_are_named() {
    let breakable = Breakable::new();
    let file = breakable.weights.join("ner/en_core_web_sm/ner/model");
    let mut bytes = fs::read(&file).expect("weights");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).expect("written");
    breakable.fails("extract-names", &["ner/model"]);
}

/// A disk that takes no more (here: a file size that the system does not allow) ends the run; the
/// work before it counts.
#[test]
fn a_full_disk_keeps_finished_tasks() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::build(folder.path(), 5);
    let limited = |blocks: u32| {
        let limit = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        let ended = Command::new("sh")
            .args(["-c", &limit, "sh", program(), "run", "--manifest"])
            .arg(world.join("mini.toml"))
            .arg("--output")
            .arg(world.join("output"))
            .output();
        ended.expect("the program")
    };
    // Blocks of 512 bytes: mentions fit, portraits do not.
    let ended = limited(300);
    let text = stderr(&ended);
    assert_eq!(ended.status.code(), Some(3), "{text}");
    assert!(text.contains("tables/") && text.contains("hint:"), "{text}");
    let status = world.command(&["verify"], "output").output();
    let status = status.expect("the program");
    assert!(status.status.success(), "{}", stderr(&status));
    assert!(world.run("output").status.success());
    assert_eq!(world.digests("output"), {
        assert!(world.run("straight").status.success());
        world.digests("straight")
    });
}

/// Rewrites a part as a newer program would have: the version in its metadata is one higher.
const NEWER: &str = r#"
import sys
import pyarrow.parquet as parquet
table = parquet.read_table(sys.argv[1])
metadata = dict(table.schema.metadata)
metadata[b"laioncele.version"] = str(int(metadata[b"laioncele.version"]) + 1).encode()
parquet.write_table(table.replace_schema_metadata(metadata), sys.argv[1])
"#;

/// Makes the records of `step` name their parts' present sizes, as the newer program would have.
fn name_present_sizes(output: &Path, step: &str) {
    for record in files(&output.join("ledger").join(step)) {
        let text = fs::read(&record).expect("a record");
        let mut json: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        for part in json["outputs"].as_array_mut().expect("parts") {
            let path = output.join(part["path"].as_str().expect("a path"));
            part["bytes"] = fs::metadata(path).expect("a part").len().into();
        }
        fs::write(record, json.to_string()).expect("written");
    }
}

#[test]
fn tables_of_a_newer_version_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::build(folder.path(), 5);
    let run = |stages: &str| {
        let mut run = world.command(&["run", "--stage", stages], "output");
        run.output().expect("the program")
    };
    assert!(run("..merge-names").status.success());
    let names = world.join("output/tables/names");
    for bucket in fs::read_dir(names).expect("buckets").flatten() {
        for part in fs::read_dir(bucket.path()).expect("parts").flatten() {
            python(NEWER, &[&part.path()]);
        }
    }
    name_present_sizes(&world.join("output"), "count-images");
    let ended = run("..encode-names");
    let text = stderr(&ended);
    assert_eq!(ended.status.code(), Some(3), "{text}");
    assert!(text.contains("version 2 of table `names`"), "{text}");
    assert!(text.contains("use a newer laioncele"), "{text}");
}
