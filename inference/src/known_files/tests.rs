use std::path::PathBuf;

use super::*;
use crate::sections::testing::manifest;
use crate::testing::mini_folder;

const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn table(sha256: &str, bytes: u64, repository: &str, file: &str) -> KnownFiles {
    let text = format!("# a table\n\n{sha256}\t{bytes}\tModel\t{repository}\t{file}\tMIT\tmore\n");
    text.parse().expect("a table")
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(&path, text).expect("written");
    path
}

#[test]
fn the_shipped_table_is_read_and_has_no_file_twice() {
    let shipped: KnownFiles = SHIPPED.parse().expect("the table");
    assert_eq!(shipped, KnownFiles::shipped());
    let base = shipped
        .0
        .iter()
        .filter(|file| file.repository.ends_with("stable-diffusion-xl-base-1.0"));
    assert_eq!(base.count(), 12);
    let mut sums: Vec<&str> = shipped.0.iter().map(|file| file.sha256.as_str()).collect();
    sums.sort_unstable();
    sums.dedup();
    assert_eq!(sums.len(), shipped.0.len());
}

#[test]
fn wrong_lines_are_named() {
    let many = format!("{ABC}\tmany\tm\tr\tf\tl");
    for (text, problem) in [
        ("# first\nabc\t1", "line 2: six fields"),
        (
            "abc\t1\tm\tr\tf\tl",
            "line 1: the first field is no SHA-256",
        ),
        (many.as_str(), "line 1: the second field"),
    ] {
        let error = text
            .parse::<KnownFiles>()
            .expect_err("an error")
            .to_string();
        assert!(error.starts_with(problem), "{error}");
    }
}

#[test]
fn a_file_is_a_known_one_looks_like_one_or_neither() {
    let folder = tempfile::tempdir().expect("a folder");
    let known = table(ABC, 3, "people/the-model", "unet/model.safetensors");
    let sums = Sums::open(None);
    let sum = |path: &Path| sums.of(path).expect("a sum");
    let identify = |path: &Path| known.identify(path, sum(path)).expect("there");

    let its = identify(&write(folder.path(), "anywhere/renamed", "abc"));
    assert_eq!(
        its.is.expect("known").text(),
        "Model: people/the-model, unet/model.safetensors"
    );
    // Of its size, or in a folder of its name: another file that looks like it.
    for name in [
        "x/unet/model.safetensors",
        "models--people--the-model/snapshots/1/unet/model.safetensors",
    ] {
        let text = if name.starts_with('x') {
            "abd"
        } else {
            "longer"
        };
        let other = identify(&write(folder.path(), name, text));
        assert_eq!(
            (other.is, other.looks_like.is_some()),
            (None, true),
            "{name}"
        );
    }
    // One of another model in diffusers' form.
    let other = identify(&write(
        folder.path(),
        "mine/unet/model.safetensors",
        "longer",
    ));
    assert_eq!((other.is, other.looks_like), (None, None));
    // A name that is nobody else's says enough.
    let known = table(ABC, 3, "people/the-model", "the_model_1.0.safetensors");
    let path = write(folder.path(), "y/the_model_1.0.safetensors", "longer");
    let other = known.identify(&path, sum(&path)).expect("there");
    assert!(other.looks_like.is_some());
}

#[test]
fn cards_name_known_files_and_do_not_read_files_of_other_sizes() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = folder.path().join("sums.json");
    let sums = Sums::open(Some(memory.clone()));
    let mini = mini_folder().join("sdxl-mini");
    let manifest = manifest(&format!("[models.sdxl]\nfolder = \"{}\"\n", mini.display()));
    assert_eq!(listed(&manifest, &table(ABC, 3, "a/b", "c"), &sums), "");
    assert!(!memory.exists(), "a file was read");

    let section = SdxlSection::from_manifest(&manifest).expect("a section");
    let files = section.weight_files();
    let labels: Vec<&str> = files.iter().map(|(label, _)| label.as_str()).collect();
    let parts =
        ["text_encoder", "text_encoder_2", "vae", "unet"].map(|part| format!("models.sdxl.{part}"));
    assert_eq!(labels, parts);
    let vae = &files[2].1;
    let (sha256, bytes) = (
        sums.of(vae).expect("a sum"),
        vae.metadata().expect("a file").len(),
    );
    let text = listed(
        &manifest,
        &table(&sha256, bytes, "a/b", "vae.safetensors"),
        &sums,
    );
    let line = format!("- `models.sdxl.vae`: Model: a/b, vae.safetensors (SHA-256 `{sha256}`)");
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("- ")).collect();
    assert_eq!(lines, [line]);
}
