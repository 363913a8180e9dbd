//! `laioncele ahash`: a line per image.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::sandbox::{Sandbox, stderr, stdout};

/// A sandbox with a folder of images and what Python's imagehash says of each.
fn with_images() -> (Sandbox, BTreeMap<String, String>) {
    let sandbox = Sandbox::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("stages/dedupe-images/tests/fixtures");
    let recorded = fs::read(root.join("hashes.json")).expect("recorded hashes");
    let recorded: BTreeMap<String, String> = serde_json::from_slice(&recorded).expect("JSON");
    fs::create_dir(sandbox.join("images")).expect("a folder");
    for name in recorded.keys() {
        fs::copy(root.join(name), sandbox.join("images").join(name)).expect("an image");
    }
    (sandbox, recorded)
}

#[test]
fn a_folder_gives_the_hashes_of_imagehash() {
    let (sandbox, recorded) = with_images();
    let ended = sandbox
        .command(&["ahash", "images"])
        .output()
        .expect("the program");
    assert!(ended.status.success(), "{}", stderr(&ended));
    let expected: String = recorded
        .iter()
        .map(|(name, hash)| format!("{hash}  images/{name}\n"))
        .collect();
    assert_eq!(stdout(&ended), expected);
}

#[test]
fn paths_come_from_standard_input_and_objects_go_out() {
    let (sandbox, recorded) = with_images();
    let mut command = sandbox.command(&["ahash", "--json", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut program = command.spawn().expect("the program");
    let mut input = program.stdin.take().expect("a pipe");
    input
        .write_all(b"images/photo0.jpg\n\nimages/rgb1.png\n")
        .expect("writes");
    drop(input);
    let ended = program.wait_with_output().expect("ends");
    let lines: Vec<Value> = stdout(&ended)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["hash"], recorded["photo0.jpg"].as_str());
    assert_eq!(lines[1]["image"], "images/rgb1.png");
}

#[test]
fn what_cannot_be_read_is_named_and_fails_the_command_at_its_end() {
    let (sandbox, recorded) = with_images();
    fs::write(sandbox.join("page.jpg"), "<html>").expect("writes");
    let given = ["ahash", "page.jpg", "missing.jpg", "images/rgb0.png"];
    let ended = sandbox.command(&given).output().expect("the program");
    assert_eq!(ended.status.code(), Some(3));
    let hash = &recorded["rgb0.png"];
    assert_eq!(stdout(&ended), format!("{hash}  images/rgb0.png\n"));
    let told = stderr(&ended);
    assert!(told.contains("page.jpg: not a JPEG, PNG"), "{told}");
    assert!(told.contains("missing.jpg"), "{told}");
    assert!(told.contains("2 of 3 images could not be read"), "{told}");
}
