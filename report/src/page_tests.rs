use laioncele_core::ledger::RowBalance;

use super::*;
use crate::testing::{KNOWN, many, view, with_samples};

fn facts() -> Facts {
    let steps = ["score-portraits", "verify-portraits", "evaluate"].map(|step| StepFact {
        stage: step.to_owned(),
        step: step.to_owned(),
        tasks: 2,
        done: if step == "evaluate" { 0 } else { 2 },
        state: "complete".to_owned(),
    });
    Facts {
        steps: steps.into(),
        thresholds: vec![Threshold {
            portraits: true,
            key: "same_person".to_owned(),
            value: 0.6,
            rates: Some("accepts 1 % and rejects 2 %".to_owned()),
        }],
        ..Facts::default()
    }
}

#[test]
fn the_page_says_what_the_ledger_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let view = view(folder.path());
    let page = page(&view, facts());
    let mut balances = Vec::new();
    for record in view.records.iter().filter(|r| r.step == "verify-portraits") {
        RowBalance::add_all(&mut balances, &record.balances);
    }
    let unit = &page.steps[1].units[0];
    assert_eq!((unit.rows_in, unit.rows_out, unit.dropped), (2, 1, 1));
    assert_eq!(balances[0].rows_in, unit.rows_in);
    assert_eq!(page.identities.people, 1);
    let text = html(&page).expect("a page");
    let row = "data-step=\"verify-portraits\" data-unit=\"name\" data-in=\"2\" data-out=\"1\" data-dropped=\"1\"";
    assert!(text.contains(row) && text.contains("different_people&nbsp;1"));
    for part in [
        KNOWN,
        "1 of 3 steps have tasks left",
        "a rare spelling nearby",
        "3 urls, 66.7 % of them photos",
        "By the calibration same_person = 0.6 accepts 1 % and rejects 2 %.",
        // Cosines 0.985 and 0.5 of one name each, two of two names.
        "same_person = 0.6: 50.0 % of these of one name",
        "56.75",
    ] {
        assert!(text.contains(part), "{part} is not in the page");
    }
}

#[test]
fn the_page_asks_nothing_of_a_network() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = html(&page(&view(folder.path()), facts())).expect("a page");
    for word in [
        "src=\"http",
        "href=\"http",
        "url(",
        "@import",
        "<link rel=\"stylesheet",
    ] {
        assert!(!text.contains(word), "{word}");
    }
}

#[test]
fn what_came_from_the_web_is_escaped() {
    let folder = tempfile::tempdir().expect("a folder");
    let view = view(folder.path());
    let mut page = page(&view, facts());
    page.identities.cards[0].line.name = "<script>alert(1)</script>\" onload=\"x".to_owned();
    let text = html(&page).expect("a page");
    assert!(!text.contains("<script>alert") && !text.contains("\" onload=\"x"));
}

#[test]
fn a_damaged_part_is_remarked_and_the_rest_is_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let view = view(folder.path());
    let part = view.parts(TableId::PhotoFaces).next().expect("a part");
    view.store
        .put(&part.path, b"no table".to_vec())
        .expect("written");
    let page = page(&view, facts());
    assert!(
        page.remarks.iter().any(|r| r.contains("photo_faces")),
        "{:?}",
        page.remarks
    );
    assert_eq!(page.identities.people, 1);
}

#[test]
fn unsure_words_are_listed_and_those_that_people_gave_are_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let facts = Facts {
        unsure_below: 0.7,
        ..facts()
    };
    let page = page(&with_samples(folder.path()), facts);
    let text = html(&page).expect("a page");
    let listed =
        "The word for 1 person in prompts is an unsure guess: Ada (woman, guessed with 62 %). Look";
    assert!(text.contains(listed), "no `{listed}`");
    for called in [
        "Ada <small class=\"soft\">woman, guessed with 62 %",
        "Bea <small class=\"soft\">woman, by references.csv",
        "Cyd <small class=\"soft\">man, guessed with 93 %",
        "<h3>Dan</h3>",
    ] {
        assert!(text.contains(called), "no `{called}`");
    }
}

#[test]
fn who_may_be_a_reference_is_said_with_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let photo = |name: &str| Person {
        name: name.to_owned(),
        photo: crate::testing::noise(8),
    };
    let facts = Facts {
        references: vec![photo("Ada"), photo("Eve")],
        ..facts()
    };
    let text = html(&page(&with_samples(folder.path()), facts)).expect("a page");
    for told in [
        "Ada <small class=\"soft\">chosen: mean cosine of the images by name to the photos 0.120, below 0.350",
        "Eve <small class=\"soft\">not chosen: the base model draws this person by name; mean cosine to the photos 0.710, threshold 0.350",
        "Fay <small class=\"soft\">not chosen: no_face_in_images, 0 faces in 2 images by name",
        "3 of 3 candidates",
    ] {
        assert!(text.contains(told), "no `{told}`");
    }
    assert_eq!(text.matches("By the name of").count(), 2);
    assert!(text.find("data-person=\"Ada\"") < text.find("data-person=\"Eve\""));
}

#[test]
fn a_run_without_any_result_has_a_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut view = view(folder.path());
    view.records.clear();
    let text = html(&page(&view, Facts::default())).expect("a page");
    assert!(text.contains("No identity yet.") && text.contains("0 people"));
}

#[test]
fn the_page_of_ten_thousand_people_is_below_twenty_megabytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = page(&many(folder.path(), 10_000, 25), Facts::default());
    let of = &page.identities;
    assert_eq!(
        (of.people, of.photos, of.lines.len()),
        (10_000, 100_000, 10_000)
    );
    assert!(
        of.cards.len() > 50 && of.cards.len() < 400,
        "{} cards",
        of.cards.len()
    );
    let text = html(&page).expect("a page");
    assert!(text.len() < 20_000_000, "{} bytes", text.len());
    // As much as may be shown was shown, and the page says that it is not all.
    assert!(text.len() > 12_000_000, "{} bytes", text.len());
    let said = format!(
        "{} of 10000 identities are shown with pictures",
        of.cards.len()
    );
    assert!(text.contains(&said), "no `{said}`");
}
