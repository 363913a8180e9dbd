//! A second opinion changes what the rules leave open, and nothing else.

use serde_json::{Value, json};

use super::*;
use crate::normalize::Normalizer;
use crate::second_opinion::tests::{Deed, Seen, Server};

/// A mention that is only just rejected, and what it would be as a name.
fn doubtful() -> (String, String) {
    let labels = include_str!("../../tests/fixtures/normalize-fresh.jsonl");
    let normalizer = Normalizer::default();
    let found = labels.lines().find_map(|line| {
        let label: Value = serde_json::from_str(line).ok()?;
        let raw = label["raw"].as_str()?;
        Some((raw.to_owned(), normalizer.doubtful(raw)?.name))
    });
    found.expect("a doubtful mention")
}

/// A model that takes every text for a person's name but the control.
fn trusting(seen: &[Seen]) -> Deed {
    let answer = |(id, text, name): &Seen| {
        let yes = if name.is_empty() {
            text != "Wooden Kitchen Table"
        } else {
            text == "Albert Einstien"
        };
        json!({"id": id, "answer": if yes { "yes" } else { "no" }})
    };
    let answers: Vec<Value> = seen.iter().map(answer).collect();
    Deed::Say(json!({ "answers": answers }).to_string())
}

#[test]
fn a_doubtful_mention_becomes_a_name_only_where_the_model_says_so() -> Result<(), StageError> {
    let (raw, name) = doubtful();
    let shards = || vec![mentions(&[(&raw, 0, 8), ("Emma Watson", 20, 8)])];
    let names = |outcome: &Outcome| -> Vec<String> {
        let mut names: Vec<String> = outcome.names.iter().map(|n| n.name.clone()).collect();
        names.sort();
        names
    };
    let server = Server::start(|_, seen| trusting(seen));
    let section = |more: &str| {
        format!(
            "[merge_names.second_opinion]\nurl = \"{}\"\nmodel = \"m\"\n{more}",
            server.url
        )
    };
    let without = run("", shards())?;
    assert_eq!(names(&without), ["Emma Watson"]);
    assert!(!without.run.records.contains_key("ask-second-opinion"));

    let dry = run(&section("dry_run = true"), shards())?;
    assert_eq!(names(&dry), names(&without));
    assert_eq!(server.requests(), 0);

    let excluded = format!("[merge_names]\nexclude = [\"{name}\"]\n{}", section(""));
    let excluded = run(&excluded, shards())?;
    assert_eq!(names(&excluded), names(&without));
    assert_eq!(
        server.requests(),
        0,
        "nobody is told of who asked not to be in it"
    );

    let with = run(&section(""), shards())?;
    let mut expected = vec!["Emma Watson".to_owned(), name];
    expected.sort();
    assert_eq!(names(&with), expected);
    let record = &with.run.records["ask-second-opinion"][0];
    assert_eq!(
        (record.metrics["answered"], record.metrics["requests"]),
        (1.0, 1.0)
    );
    assert_eq!(server.requests(), 1);
    Ok(())
}
