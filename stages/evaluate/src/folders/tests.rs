//! Folders as another system would leave them, with the embedded world's networks.

use super::*;
use crate::tests::{fixture, manifest};

/// Ada and Bea with two pictures each, one of them no picture; two of the plain model; photos of three people.
fn world(root: &Path) -> Folders {
    for folder in ["images/ada", "images/bea", "plain", "references/bea"] {
        std::fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    for (from, to) in [
        ("first-a.png", "images/ada/1.png"),
        ("first-b.png", "images/ada/2.PNG"),
        ("second-a.png", "images/bea/1.png"),
        ("two.png", "plain/1.png"),
        ("second-photo.png", "plain/2.png"),
        ("first-photo.png", "references/ada.png"),
        ("second-photo.png", "references/bea/1.png"),
        ("nobody.png", "references/cyd.png"),
    ] {
        std::fs::copy(fixture(from), root.join(to)).expect("copied");
    }
    std::fs::write(root.join("images/bea/2.jpg"), b"no picture").expect("a file");
    std::fs::write(root.join("images/bea/notes.txt"), b"no picture by its name").expect("a file");
    Folders {
        images: root.join("images"),
        references: root.join("references"),
        prompts: None,
        plain: None,
    }
}

fn score(root: &Path, folders: &Folders) -> Result<FolderReport> {
    score_folders(&manifest(root, ""), folders, 0, |_, _| {})
}

fn value(found: &FolderReport, metric: &str, group: &str) -> Option<(f64, u64)> {
    let mut scores = found.report.scores.iter();
    let score = scores.find(|s| s.metric == metric && s.group == group);
    score.map(|s| (s.value, s.count))
}

#[test]
fn pictures_are_scored_and_what_does_not_decode_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let mut folders = world(root);
    let mut steps = Vec::new();
    let bare = score_folders(&manifest(root, ""), &folders, 1, |done, of| {
        steps.push((done, of))
    });
    let bare = bare.expect("scores");
    assert_eq!(steps, [(4, 4)]);
    assert_eq!(
        (bare.pictures, bare.without_prompt, bare.without_picture),
        (4, 0, 0)
    );
    assert_eq!(bare.undecodable.len(), 1);
    assert_eq!(bare.undecodable[0].file, root.join("images/bea/2.jpg"));
    assert_eq!(value(&bare, "people", ALL), Some((2.0, 2)));
    assert_eq!(value(&bare, "faces_found", ALL), Some((1.0, 3)));
    assert_eq!(value(&bare, "same_person_auc", ALL), Some((1.0, 3)));
    for metric in ["clip_ti", "frechet_clip", "seed_pixel_difference"] {
        assert_eq!(value(&bare, metric, ALL), None, "{metric}");
    }
    assert!(
        bare.report
            .notes
            .iter()
            .any(|n| n.contains("no picture has a prompt"))
    );

    folders.plain = Some(root.join("plain"));
    folders.prompts = Some(root.join("prompts.csv"));
    let rows = "image,prompt,group\nada/1.png,a man,mood\nada/2.PNG,a man,mood\n1.png,a man,\nbea/9.png,a man,mood\n";
    std::fs::write(root.join("prompts.csv"), rows).expect("a file");
    let full = score(root, &folders).expect("scores");
    // Bea's two and a plain one are without a prompt; one prompt is for a picture that is not there.
    assert_eq!(
        (full.pictures, full.without_prompt, full.without_picture),
        (6, 3, 1)
    );
    assert_eq!(value(&full, "clip_ti", "mood").map(|(_, n)| n), Some(2));
    assert_eq!(
        value(&full, "clip_ti", ALL),
        value(&full, "clip_ti", "mood")
    );
    assert_eq!(
        value(&full, "seed_pixel_difference", "mood").map(|(_, n)| n),
        Some(1)
    );
    assert_eq!(value(&full, "plain_clip_ti", ALL).map(|(_, n)| n), Some(1));
    assert_eq!(value(&full, "frechet_clip", ALL).map(|(_, n)| n), Some(3));
    assert_eq!(
        value(&full, "reference_auc", ALL),
        value(&bare, "reference_auc", ALL)
    );
}

#[test]
fn folders_that_cannot_be_scored_say_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let folders = world(root);
    let fails = |folders: &Folders, expected: &[&str]| {
        let error = score(root, folders).expect_err("refused").to_string();
        assert!(expected.iter().all(|part| error.contains(part)), "{error}");
    };
    let with = |change: &dyn Fn(&mut Folders)| {
        let mut folders = folders.clone();
        change(&mut folders);
        folders
    };
    // Pictures, but in no sub-folder.
    fails(
        &with(&|f| f.images = root.join("plain")),
        &["plain holds no picture", "sub-folder"],
    );
    fails(
        &with(&|f| f.plain = Some(root.join("images"))),
        &["images holds no picture"],
    );
    fails(
        &with(&|f| f.images = root.join("nowhere")),
        &["nowhere does not exist"],
    );
    fails(
        &with(&|f| f.references = root.join("plain")),
        &["images/ada", "nobody of that name", "(1, 2)"],
    );
    std::fs::write(
        root.join("p.jsonl"),
        "{\"image\": \"1.png\", \"prompt\": \"p\"}\n",
    )
    .expect("a file");
    fails(
        &with(&|f| f.prompts = Some(root.join("p.jsonl"))),
        &["p.jsonl", "`ada/1.png`"],
    );
}
