//! Folders as another system would leave them, with the embedded world's networks.

use super::*;
use crate::images::ALL;
use crate::tests::{fixture, manifest, with_gender};

/// Ada and Bea with two images each, one of them no image; two of the base model; photos of three
/// people.
fn world(root: &Path) -> Folders {
    for folder in ["images/ada", "images/bea", "base", "references/bea"] {
        std::fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    for (from, to) in [
        ("first-a.png", "images/ada/1.png"),
        ("first-b.png", "images/ada/2.PNG"),
        ("second-a.png", "images/bea/1.png"),
        ("two.png", "base/1.png"),
        ("second-photo.png", "base/2.png"),
        ("first-photo.png", "references/ada.png"),
        ("second-photo.png", "references/bea/1.png"),
        ("nobody.png", "references/cyd.png"),
    ] {
        std::fs::copy(fixture(from), root.join(to)).expect("copied");
    }
    std::fs::write(root.join("images/bea/2.jpg"), b"no image").expect("a file");
    std::fs::write(root.join("images/bea/notes.txt"), b"no image by its name").expect("a file");
    Folders {
        images: root.join("images"),
        references: root.join("references"),
        prompts: None,
        base: None,
    }
}

fn score(root: &Path, folders: &Folders) -> Result<FolderReport> {
    score_folders(&manifest(root, ""), folders, &Chosen::default(), |_, _| {})
}

fn value(found: &FolderReport, metric: &str, group: &str) -> Option<(f64, u64)> {
    value_of(found, SYSTEM, metric, group)
}

fn value_of(found: &FolderReport, system: &str, metric: &str, group: &str) -> Option<(f64, u64)> {
    let score = found.report.find(system, metric, group);
    score.map(|s| (s.value, s.count))
}

#[test]
fn score_folders_scores_images_and_reports_undecodable_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let mut folders = world(root);
    let mut steps = Vec::new();
    let chosen = Chosen {
        threads: 1,
        ..Chosen::default()
    };
    let bare = score_folders(&manifest(root, ""), &folders, &chosen, |done, of| {
        steps.push((done, of));
    });
    let bare = bare.expect("scores");
    assert_eq!(steps, [(4, 4)]);
    assert_eq!(
        (bare.images, bare.without_prompt, bare.without_image),
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
            .any(|n| n.contains("no image has a prompt"))
    );

    folders.base = Some(root.join("base"));
    folders.prompts = Some(root.join("prompts.csv"));
    let rows = "image,prompt,group\nada/1.png,a man,mood\nada/2.PNG,a man,mood\n1.png,a man,\nbea/9.png,a man,mood\n";
    std::fs::write(root.join("prompts.csv"), rows).expect("a file");
    let full = score(root, &folders).expect("scores");
    // Bea's two and one of the base model are without a prompt; one prompt is for an image that is
    // not there.
    assert_eq!(
        (full.images, full.without_prompt, full.without_image),
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
    assert_eq!(
        value_of(&full, crate::PLAIN, "clip_ti", ALL).map(|(_, n)| n),
        Some(1)
    );
    assert_eq!(value(&full, "frechet_clip", ALL).map(|(_, n)| n), Some(3));
    assert_eq!(
        value(&full, "reference_auc", ALL),
        value(&bare, "reference_auc", ALL)
    );
}

#[test]
fn score_folders_rejects_unusable_folders_with_the_reason() {
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
    // Images, but in no sub-folder.
    fails(
        &with(&|f| f.images = root.join("base")),
        &["base holds no image", "sub-folder"],
    );
    fails(
        &with(&|f| f.base = Some(root.join("images"))),
        &["images holds no image"],
    );
    fails(
        &with(&|f| f.images = root.join("nowhere")),
        &["nowhere does not exist"],
    );
    fails(
        &with(&|f| f.references = root.join("base")),
        &["images/ada", "no person of that name", "(1, 2)"],
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

/// A list that says "person" is read so; with the people's words in it its figures are those of a list that has them.
#[test]
fn words_go_into_prompts_where_they_are_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let mut folders = world(root);
    std::fs::write(
        folders.references.join("references.csv"),
        "person,word\nbea,woman\n",
    )
    .expect("a file");
    folders.prompts = Some(root.join("prompts.csv"));
    let scored = |ada: &str, bea: &str, words| {
        let text = format!(
            "image,prompt\nada/1.png,a portrait of a {ada}\nada/2.PNG,a portrait of a {ada}\nbea/1.png,a portrait of a {bea}\n"
        );
        std::fs::write(root.join("prompts.csv"), text).expect("a file");
        let chosen = Chosen {
            words,
            ..Chosen::default()
        };
        score_folders(&with_gender(root), &folders, &chosen, |_, _| {}).expect("scores")
    };
    let listed = scored("person", "person", false);
    assert!(listed.words.is_empty());
    let worded = scored("person", "person", true);
    let [ada, bea] = &worded.words[..] else {
        panic!("{:?}", worded.words);
    };
    assert!(!ada.given && ada.guess.as_deref() == Some(ada.word));
    assert_eq!((bea.word, bea.given), ("woman", true));
    let by_hand = scored(ada.word, "woman", false);
    let clip_ti = |found: &FolderReport| value(found, "clip_ti", ALL);
    assert_eq!(clip_ti(&worded), clip_ti(&by_hand));
    assert_ne!(clip_ti(&worded), clip_ti(&listed));
    let note = |found: &FolderReport| {
        let mut notes = found.report.notes.iter();
        notes.any(|note| note.starts_with("1 of 2 people are called"))
    };
    assert!(note(&worded) && !note(&by_hand));
}
