use super::*;
use crate::testing::{KNOWN, LOST, SMALL, UNKNOWN, url, view};

fn asked(query: &str) -> Explanation {
    asked_with(query, None)
}

fn asked_with(query: &str, caption: Option<&str>) -> Explanation {
    let folder = tempfile::tempdir().expect("a folder");
    let view = view(folder.path());
    let explanation = explain(&view, query, caption);
    assert_eq!(view.remarks(), Vec::<String>::new());
    explanation
}

#[test]
fn a_name_is_told_from_its_captions_to_its_photos() {
    let told = asked(KNOWN);
    assert_eq!((told.kind, told.deciding_step), ("name", None));
    let text = told.tree[0].render();
    for part in [
        "extract-names: 3 mentions",
        "`Mira Castelan`: 1 mention, a rare spelling nearby",
        "count-images: 3 images of 6 mentions",
        "verify-portraits: one person: lowest similarity 0.985 ≥ 0.6",
        "1 http_4xx (download-images), 1 other_person (verify-images)",
        "filter-counts: an identity with 1 photos",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn a_spelling_and_an_id_lead_to_the_name() {
    let id = NameId::of(KNOWN).to_string();
    let expected = asked(KNOWN).tree;
    let number = NameId::of(KNOWN).0.to_string();
    for query in ["mira  castelan", id.as_str(), number.as_str()] {
        assert_eq!(asked(query).tree, expected, "{query}");
    }
}

#[test]
fn what_was_dropped_says_at_which_setting_it_were_kept() {
    let told = asked(UNKNOWN);
    assert_eq!(told.deciding_step.as_deref(), Some("verify-portraits"));
    // The cosine of 60°; single precision may be a little below a half.
    let [line] = &told.otherwise[..] else {
        panic!("{:?}", told.otherwise)
    };
    let kept =
        ["0.5", "0.499"].map(|v| format!("kept at verify_portraits.same_person ≤ {v} (it is 0.6)"));
    assert!(kept.contains(line), "{line}");
}

#[test]
fn an_image_is_found_by_its_url_and_by_its_id() {
    let told = asked(&url(2));
    assert_eq!(told.kind, "image");
    assert_eq!(told.deciding_step.as_deref(), Some("verify-images"));
    // Not 0.4124, to which the detail is rounded: at that the photo were dropped still.
    assert_eq!(
        told.otherwise,
        ["kept at verify_images.same_person_photo ≤ 0.412 (it is 0.55)"]
    );
    assert_eq!(asked(&ImageId::of(&url(2)).to_string()).tree, told.tree);
    let gone = asked(&url(3));
    assert_eq!(gone.deciding_step.as_deref(), Some("download-images"));
    assert!(gone.otherwise[0].contains("retry --class http_4xx"));
}

/// No name is left to which it belongs.
#[test]
fn an_image_without_a_name_is_told_by_its_captions() {
    let told = asked(&url(LOST.0));
    assert_eq!(
        (told.kind, told.deciding_step.as_deref()),
        ("caption", Some("file-mentions"))
    );
    assert_eq!(
        told.otherwise,
        ["kept if it were not on merge_names.exclude"]
    );
    let text = told.tree[0].render();
    assert!(text.contains("extract-names: names `Vera Holt`"), "{text}");
    let ids = [
        ImageId::of(&url(LOST.0)).0,
        CaptionId::of(&url(LOST.0), LOST.1).0,
    ];
    for query in ids.map(|id| id.to_string()) {
        assert_eq!(asked(&query).tree, told.tree, "{query}");
    }
}

#[test]
fn a_caption_that_was_dropped_is_found_by_its_text() {
    assert_eq!(asked(&url(SMALL.0)).kind, "unknown");
    let told = asked_with(&url(SMALL.0), Some(SMALL.1));
    assert_eq!(
        (told.kind, told.deciding_step.as_deref()),
        ("caption", Some("extract-names"))
    );
    assert!(told.otherwise[0].contains("extract_names.min_width"));
    assert_eq!(
        asked_with(&url(SMALL.0), Some("Another icon")).kind,
        "unknown"
    );
}

#[test]
fn the_unknown_has_near_spellings() {
    let told = asked("Mira Castellane");
    assert_eq!((told.kind, told.tree.len()), ("unknown", 0));
    assert_eq!(told.nearest, [KNOWN, "Mira Castelan"]);
    assert_eq!(asked("xyzzy").nearest, Vec::<String>::new());
}
