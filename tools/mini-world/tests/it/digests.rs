//! A seed gives the same world in every version: captions, reference photos, web, truth, and the
//! photos that the web serves. Runs on a world are compared across versions, so a change here is a
//! change of the data. Only a new version of the Parquet or JPEG writer may change it; then
//! `make world` writes the repository's world again.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use laioncele_core::{DropReason, KeyHasher};
use laioncele_mini_world::{BuildOptions, PageBehaviour, Size, Truth, Web, build};

fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests")
}

/// The world of `seed` in a folder that goes with the test.
fn world(seed: u64, size: Size) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let weights = manifests().join("mini");
    let options = BuildOptions {
        seed,
        size,
        weights,
    };
    build(&options, folder.path()).unwrap();
    folder
}

/// The files of `folder`, in the order of their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Of names and contents.
fn digest(files: &[PathBuf]) -> String {
    let mut hasher = KeyHasher::new("world");
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy();
        hasher = hasher.bytes(&name, &fs::read(file).unwrap());
    }
    hasher.finish().short()
}

/// Of all photos that normal pages give.
fn digest_of_photos(web: &Path) -> String {
    let web = Web::load(web).unwrap();
    let mut hasher = KeyHasher::new("photos");
    let mut pages: Vec<_> = web.pages.iter().collect();
    pages.retain(|(_, page)| page.behaviour == PageBehaviour::Normal);
    assert!(pages.len() > 100, "{} photos", pages.len());
    for (url, page) in pages {
        hasher = hasher.bytes(url, &page.image.jpeg(&web.people).unwrap());
    }
    hasher.finish().short()
}

/// The digests of captions, references, web, truth and photos.
fn digests(world: &Path) -> [String; 5] {
    let mini = world.join("mini");
    [
        digest(&files(&mini.join("captions"))),
        digest(&files(&mini.join("references"))),
        digest(&[mini.join("web.json")]),
        digest(&[world.join("truth.json")]),
        digest_of_photos(&mini.join("web.json")),
    ]
}

#[test]
fn a_tiny_world_keeps_its_digests() {
    let expected = [
        [
            "41300891e75740ed",
            "626f365982515d0f",
            "0431541f2fe937df",
            "022f7b09905c7250",
            "b38cb7c8a582fb55",
        ],
        [
            "97b083a848b024a5",
            "55a2a3c2c1b4efa7",
            "e3fccee68074cd84",
            "e364f18700bad577",
            "f20cd87a56d11e62",
        ],
    ];
    for (seed, expected) in (1..).zip(expected) {
        let world = world(seed, Size::Tiny);
        assert_eq!(digests(world.path()), expected, "seed {seed}");
    }
}

#[test]
fn a_tiny_world_has_a_page_of_every_behaviour() {
    let world = world(3, Size::Tiny);
    let web = Web::load(&world.path().join("mini/web.json")).unwrap();
    let truth = Truth::load(&world.path().join("truth.json")).unwrap();
    let found: HashSet<_> = web.pages.values().map(|page| page.behaviour).collect();
    let traps = PageBehaviour::traps();
    let served = |b: &&PageBehaviour| {
        let elsewhere = matches!(
            b,
            PageBehaviour::UnknownHost | PageBehaviour::BlockedAddress(_)
        );
        !elsewhere
    };
    let all = (traps.iter())
        .chain(&PageBehaviour::UNUSUAL)
        .chain(&PageBehaviour::RUDE);
    for behaviour in all.filter(served) {
        assert!(found.contains(behaviour), "{behaviour:?}");
    }
    // What no page is for has its urls all the same.
    let blocked = truth.photos.iter().filter(|photo| {
        let drop = photo.expected_drop;
        drop == Some(DropReason::BlockedAddress) && !photo.url.contains(".example/")
    });
    let addresses = traps
        .iter()
        .filter(|t| matches!(t, PageBehaviour::BlockedAddress(_)));
    assert_eq!(blocked.count(), addresses.count());
}

#[test]
fn the_repository_ships_the_full_world_of_seed_1() {
    let built = world(1, Size::Full);
    for name in ["captions", "references"] {
        let (built, shipped) = (built.path().join("mini"), manifests().join("mini"));
        let (built, shipped) = (files(&built.join(name)), files(&shipped.join(name)));
        assert_eq!(built.len(), shipped.len(), "{name}");
        assert_eq!(digest(&built), digest(&shipped), "{name}");
    }
    for name in ["mini/web.json", "truth.json"] {
        let (built, shipped) = (built.path().join(name), manifests().join(name));
        assert!(
            fs::read(built).unwrap() == fs::read(shipped).unwrap(),
            "{name}: `make world` writes the repository's world again"
        );
    }
    // The shipped manifest is inside the weights' folder, the built one names that folder.
    let manifest = fs::read_to_string(built.path().join("mini.toml")).unwrap();
    let weights = manifests().join("mini").canonicalize().unwrap();
    let manifest = manifest.replace(&format!("{}/", weights.display()), "mini/");
    let shipped = fs::read_to_string(manifests().join("mini.toml")).unwrap();
    assert_eq!(manifest, shipped, "mini.toml");
}
