//! Sources in a bucket: captions and images come from there by ranges, and nobody learns the keys.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use image::ImageFormat;
use serde_json::Value;

use crate::damage::{files, ran};
use crate::photo_server::photo;
use crate::s3_server::{ACCESS_KEY, Fault, S3Server, SECRET_KEY};
use crate::sandbox::{FRAME, Sandbox, program, stderr, stdout};
use crate::tables::Table;
use crate::test_run::TestRun;

const MAPPED: &str = "path = \"mini/captions\"";

/// Puts the files of `folder` into the bucket, below `prefix`.
fn put(server: &S3Server, folder: &Path, prefix: &str) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let bytes = fs::read(entry.path()).expect("a file");
        server.replace(&format!("{prefix}/{name}"), Some(bytes));
    }
}

fn ends(mut command: Command, exit: i32) -> Output {
    let ended = command.output().expect("the program");
    let said = format!("{}{}", stdout(&ended), stderr(&ended));
    assert_eq!(ended.status.code(), Some(exit), "{said}");
    assert!(
        !said.contains(ACCESS_KEY) && !said.contains(SECRET_KEY),
        "{said}"
    );
    ended
}

/// The same tables as from a folder; a new object is read, and no other again; a changed one is another shard's matter.
#[test]
fn captions_in_a_bucket_make_the_tables_of_captions_in_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let (world, server) = (TestRun::build(folder.path(), 1), S3Server::start());
    put(&server, &world.join("mini/captions"), "pool/captions");
    server.replace("pool/captions/_SUCCESS", Some(Vec::new()));
    server.replace("pool/captions/.tmp/part-009.parquet", Some(vec![0; 9]));
    server.replace("pool/captionsbeside.parquet", Some(vec![0; 9]));
    world.change_manifest(MAPPED, "path = \"s3://runs/pool/captions\"");
    let command = |arguments: &[&str]| {
        let mut command = world.command(arguments, "remote");
        server.known_to(&mut command);
        command
    };
    let stages = ["run", "--json", "--stage", "..merge-names"];
    server.fails(7, Fault::Busy);
    ends(command(&stages), 0);
    server.recovers();
    let remote = stdout(&ends(command(&["verify", "--digests"]), 0));
    let local = TestRun::finished(1).digests("output");
    assert!(remote.lines().count() > 5, "{remote}");
    // Columns are as wide as the tables' names ask for.
    let fields =
        |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
    let local: Vec<Vec<String>> = local.lines().map(fields).collect();
    for line in remote.lines().filter(|line| !line.starts_with("dropped")) {
        assert!(local.contains(&fields(line)), "{line}\n{local:?}");
    }
    let mut doctor = Command::new(program());
    doctor
        .args(["doctor", "--json", "--manifest"])
        .arg(world.join("mini.toml"));
    server.known_to(&mut doctor);
    let doctor = stdout(&doctor.output().expect("the program"));
    let checks: Vec<Value> = serde_json::from_str(&doctor).expect("JSON");
    let source = checks.iter().find(|check| check["check"] == "source");
    assert!(source.is_some_and(|check| check["ok"] == true), "{doctor}");

    let again = |source: &str| {
        world.change_manifest("path = \"s3://runs/pool/captions\"", source);
        let ended = stdout(&ends(
            command(&["run", "--json", "--stage", "extract-names"]),
            0,
        ));
        world.change_manifest(source, "path = \"s3://runs/pool/captions\"");
        ran(&serde_json::from_str(&ended).expect("JSON"))
    };
    // One that is new.
    let first = fs::read(world.join("mini/captions/part-000.parquet")).expect("captions");
    server.replace("pool/captions/part-100.parquet", Some(first));
    let pattern = "path = \"s3://runs/pool/captions/part-*.parquet\"";
    assert_eq!(again(pattern)["extract-names"], 1);
    // Another version of it.
    let second = fs::read(world.join("mini/captions/part-001.parquet")).expect("captions");
    server.replace("pool/captions/part-100.parquet", Some(second));
    assert_eq!(again(pattern)["extract-names"], 1);
    assert!(again(pattern).is_empty());
}

/// Of a source that cannot be reached, or that has nothing, the reason is told before any work.
#[test]
fn a_bucket_without_captions_is_told_before_any_work() {
    let folder = tempfile::tempdir().expect("a folder");
    let (world, server) = (TestRun::build(folder.path(), 1), S3Server::start());
    put(&server, &world.join("mini/captions"), "pool");
    let plan = |path: &str, key: &str| {
        let path = format!("path = \"{path}\"");
        world.change_manifest(MAPPED, &path);
        let mut command = world.command(&["plan"], "remote");
        server.known_to(&mut command);
        command.env("AWS_SECRET_ACCESS_KEY", key);
        let ended = ends(command, 3);
        world.change_manifest(&path, MAPPED);
        stderr(&ended)
    };
    let said = plan("s3://runs/pool", "a/wrong/secret");
    assert!(
        said.contains("AWS_SECRET_ACCESS_KEY") && !said.contains("a/wrong/secret"),
        "{said}"
    );
    let said = plan("s3://runs/nothing", SECRET_KEY);
    assert!(said.contains("s3://runs/nothing"), "{said}");
    let said = plan("s3://runs/pool/*.csv", SECRET_KEY);
    assert!(said.contains("s3://runs/pool/*.csv"), "{said}");
    let said = plan("https://runs.example/pool", SECRET_KEY);
    assert!(said.contains("s3://"), "{said}");
}

/// Images of a tar shard in a bucket are taken from there, and are the bytes that are in them.
#[test]
fn images_in_a_bucket_are_taken_by_ranges() {
    let server = S3Server::start();
    let photos: Vec<Vec<u8>> = (0..12).map(|k| photo(k, ImageFormat::Jpeg)).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let mut names = Vec::new();
    for (number, photo) in photos.iter().enumerate() {
        let meta = format!(
            "{{\"url\":\"https://a.example/{number}.jpg\",\"caption\":\"Maria Johnson at her desk, number {number}\",\"status\":\"success\"}}"
        );
        for (end, bytes) in [("jpg", &photo[..]), ("json", meta.as_bytes())] {
            let name = format!("{number:04}.{end}");
            fs::write(folder.path().join(&name), bytes).expect("written");
            names.push(name);
        }
    }
    let tar = folder.path().join("00000.tar");
    let mut made = Command::new("tar");
    made.arg("-cf").arg(&tar).arg("-C").arg(folder.path());
    made.args(&names);
    assert!(made.status().expect("tar").success());
    server.replace("pool/00000.tar", Some(fs::read(&tar).expect("a tar file")));
    let mapped = "path = \"captions\"\n\n[source.columns]\nurl = \"URL\"\ncaption = \"TEXT\"\n";
    let source = "path = \"s3://runs/pool\"\nlayout = \"img2dataset\"\n";
    let sandbox = Sandbox::new();
    let frame = FRAME
        .replace(mapped, source)
        .replace("same_person = 0.5", "same_person = -1.0");
    let portraits =
        "\n[generate_portraits]\nsteps = 8\nguidance = 4.0\n\n[download_images]\nmin_side = 32\n";
    sandbox.write("manifest.toml", frame + portraits);
    let stages = [
        "--stage",
        "..download-images",
        "--manifest",
        "manifest.toml",
    ];
    let arguments = [&["run", "--json", "--quiet"][..], &stages].concat();
    let mut command = sandbox.command(&arguments);
    server.known_to(&mut command);
    let ran = stdout(&ends(command, 0));
    let output = sandbox.join("laioncele-output");
    let parts = files(&output.join("tables/photos"));
    let images = parts
        .iter()
        .flat_map(|part| Table::read(part, &["image"]).images("image"));
    let found: BTreeSet<Vec<u8>> = images.collect();
    assert!(
        found == photos.into_iter().collect(),
        "{} photos\n{ran}",
        found.len()
    );
    let mut command = sandbox.command(&["doctor", "--json", "--manifest", "manifest.toml"]);
    server.known_to(&mut command);
    let ended = command.output().expect("the program");
    let checks: Vec<Value> = serde_json::from_str(&stdout(&ended)).expect("JSON");
    let source = checks
        .iter()
        .find(|check| check["check"] == "source")
        .expect("the source");
    assert!(
        source["detail"]
            .as_str()
            .is_some_and(|text| text.contains("with images")),
        "{source}"
    );
}
