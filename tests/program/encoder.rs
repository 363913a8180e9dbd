//! `laioncele encoder`: the exported folder stands alone, and other programs read what is written.

use std::fs;

use crate::sandbox::{stderr, stdout};
use crate::test_run::TestRun;

#[test]
fn the_exported_encoder_stands_alone() {
    let world = TestRun::finished(1);
    let folder = tempfile::tempdir().expect("a folder");
    let into = folder.path().join("exported");
    let export = |exit: i32| {
        let mut command = world.alone(&["encoder", "export"], "output");
        let ended = command.arg(&into).output().expect("the program");
        assert_eq!(ended.status.code(), Some(exit), "{}", stderr(&ended));
        stderr(&ended)
    };
    export(0);
    for file in [
        "encoder.json",
        "encoder.safetensors",
        "name_mean.safetensors",
        "README.md",
        "LICENSE.md",
        "use-encoder.py",
    ] {
        assert!(into.join(file).is_file(), "{file}");
    }
    let readme = fs::read_to_string(into.join("README.md")).expect("a README");
    assert!(readme.starts_with("---\nlicense: other\n"), "{readme}");
    assert!(readme.contains("| training people |"), "{readme}");
    assert!(readme.contains("`models.image_encoders"), "{readme}");
    assert!(readme.contains("`DELTA` of the run:"), "{readme}");
    // Again into the same folder: what is there is not written over.
    assert!(export(2).contains("is not empty"));
    inspected(&world, &into);
}

fn inspected(world: &TestRun, into: &std::path::Path) {
    let mut command = std::process::Command::new(crate::sandbox::program());
    command.args(["encoder", "inspect", "--json"]).arg(into);
    let found = TestRun::json(command, 0);
    let config = fs::read(into.join("encoder.json")).expect("a configuration");
    let config: serde_json::Value = serde_json::from_slice(&config).expect("JSON");
    for key in [
        "input",
        "hidden",
        "output_tokens",
        "output_channels",
        "activation",
        "crop",
    ] {
        assert_eq!(found[key], config[key], "{key}");
    }
    let manifest = fs::read_to_string(world.join("mini.toml")).expect("a manifest");
    let whole = manifest.contains("crop = \"whole\"");
    assert_eq!(found["crop"]["part"], if whole { "whole" } else { "face" });
    assert!(found["names_mean_length"].as_f64().expect("a length") > 0.0);

    fs::write(into.join("encoder.safetensors"), b"no weights").expect("written");
    let mut command = std::process::Command::new(crate::sandbox::program());
    let ended = command.args(["encoder", "inspect"]).arg(into).output();
    let ended = ended.expect("the program");
    assert_eq!(ended.status.code(), Some(3));
    assert!(
        stderr(&ended).contains("encoder.safetensors"),
        "{}",
        stderr(&ended)
    );
}

#[test]
fn conditioning_is_written_for_other_programs() {
    let world = TestRun::finished(1);
    let folder = tempfile::tempdir().expect("a folder");
    let into = folder.path().join("person.safetensors");
    let mut command = world.alone(
        &["encoder", "conditioning", "name:Mira Castellan"],
        "output",
    );
    command.args(["--prompt", "a portrait of a person"]);
    let ended = command
        .arg("--into")
        .arg(&into)
        .output()
        .expect("the program");
    assert!(ended.status.success(), "{}", stderr(&ended));
    assert_eq!(stdout(&ended).trim(), into.to_str().expect("text"));
    let bytes = fs::read(&into).expect("a file");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("tensors");
    let shape = |name: &str| file.tensor(name).expect(name).shape().to_vec();
    let [one, tokens, channels] = shape("cond")[..] else {
        panic!("{:?}", shape("cond"));
    };
    assert_eq!((one, tokens), (1, 77));
    assert_eq!(shape("uncond"), [1, 77, channels]);
    assert_eq!(shape("name"), [1, 8, channels]);
    assert_eq!(shape("pooled_output"), shape("uncond_pooled_output"));
    // The name stands after the start token.
    let rows = |name: &str, from: usize| {
        let data = file.tensor(name).expect(name).data().to_vec();
        data[from * channels * 4..(from + 8) * channels * 4].to_vec()
    };
    assert_eq!(rows("cond", 1), rows("name", 0));
}
