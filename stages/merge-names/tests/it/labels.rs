//! Normalization and merging against labelled mentions and spellings.
//!
//! `fixtures/normalize.jsonl` has mentions (`raw`) with the name they hold (`name`, other spellings
//! that are right too in `also`; no `name` where there is none); those of class `ambiguous` are not
//! scored. `fixtures/clusters.jsonl` has people with their spellings (`s`) and counts (`n`);
//! `fixtures/population.jsonl` has other people's names, none of them alike.

use std::collections::HashMap;

use laioncele_merge_names::merge::{Counted, merge_counted};
use laioncele_merge_names::normalize::normalize;
use serde_json::Value;

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_default()
}

/// Of all labels the fraction read exactly, of the names alone, and of the rejections those that
/// are right.
#[test]
fn normalize_agrees_with_labelled_mentions() {
    let rows = lines(include_str!("../fixtures/normalize.jsonl"));
    let (mut scored, mut exact, mut names, mut names_exact, mut rejected, mut rejected_right) =
        (0, 0, 0, 0, 0, 0);
    for row in rows.iter().filter(|r| text(r, "class") != "ambiguous") {
        let found = normalize(text(row, "raw"))
            .ok()
            .filter(|s| !s.mononym)
            .map(|s| s.name);
        let accepted: Vec<&str> = row["name"]
            .as_str()
            .into_iter()
            .chain(
                row["also"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str),
            )
            .collect();
        let right = found
            .as_deref()
            .map_or(accepted.is_empty(), |name| accepted.contains(&name));
        scored += 1;
        exact += usize::from(right);
        names += usize::from(!accepted.is_empty());
        names_exact += usize::from(right && !accepted.is_empty());
        rejected += usize::from(found.is_none());
        rejected_right += usize::from(found.is_none() && right);
    }
    assert_eq!((scored, names), (2647, 1598));
    let share = |part: usize, whole: usize| part as f64 / whole as f64;
    assert!(share(exact, scored) >= 0.92, "{exact} of {scored} exact");
    assert!(
        share(names_exact, names) >= 0.99,
        "{names_exact} of {names} names exact"
    );
    assert!(
        share(rejected_right, rejected) >= 0.99,
        "{rejected_right} of {rejected} rejections right"
    );
}

/// Pairs of spellings that were merged: how many are one person, and of one person's pairs how many
/// were merged.
#[test]
fn merge_agrees_with_labelled_spellings() {
    let mut labels: Vec<(String, u64, Option<String>)> = Vec::new();
    for person in lines(include_str!("../fixtures/clusters.jsonl")) {
        for spelling in person["spellings"].as_array().into_iter().flatten() {
            let scored = spelling["scored"].as_bool().unwrap_or(true);
            labels.push((
                text(spelling, "s").to_owned(),
                spelling["n"].as_u64().unwrap_or(1),
                scored.then(|| text(&person, "cluster").to_owned()),
            ));
        }
    }
    for other in lines(include_str!("../fixtures/population.jsonl")) {
        labels.push((
            text(&other, "s").to_owned(),
            other["n"].as_u64().unwrap_or(1),
            Some(text(&other, "s").to_owned()),
        ));
    }
    let merged = names_of(&labels);
    let (mut by_label, mut by_name, mut both) = (HashMap::new(), HashMap::new(), HashMap::new());
    for (spelling, _, label) in labels
        .iter()
        .filter_map(|(s, n, l)| Some((s, n, l.as_ref()?)))
    {
        // A spelling that is rejected stands alone.
        let name = merged
            .get(spelling)
            .cloned()
            .unwrap_or_else(|| format!("rejected {spelling}"));
        *by_label.entry(label.clone()).or_insert(0u64) += 1;
        *by_name.entry(name.clone()).or_insert(0u64) += 1;
        *both.entry((label.clone(), name)).or_insert(0u64) += 1;
    }
    let pairs =
        |counts: &mut dyn Iterator<Item = u64>| counts.map(|n| n * (n - 1) / 2).sum::<u64>() as f64;
    let good = pairs(&mut both.values().copied());
    let precision = good / pairs(&mut by_name.values().copied());
    let recall = good / pairs(&mut by_label.values().copied());
    assert!(precision >= 0.995, "precision {precision}");
    assert!(recall >= 0.74, "recall {recall}");
}

/// The canonical name of every spelling that is none to be rejected.
fn names_of(labels: &[(String, u64, Option<String>)]) -> HashMap<String, String> {
    let mut counted: HashMap<String, Counted> = HashMap::new();
    let mut normal = Vec::new();
    for (written, mentions, _) in labels {
        let Ok(spelling) = normalize(written) else {
            continue;
        };
        let entry = counted
            .entry(spelling.name.clone())
            .or_insert_with(|| Counted {
                spelling: spelling.name.clone(),
                mentions: 0,
                recased: 0,
            });
        entry.mentions += mentions;
        entry.recased += if spelling.recased { *mentions } else { 0 };
        normal.push((written, spelling.name));
    }
    let counted: Vec<Counted> = counted.into_values().collect();
    let merged = merge_counted(&counted, 10.0);
    let canonical: HashMap<&str, &str> = merged
        .iter()
        .flat_map(|name| {
            name.aliases
                .iter()
                .map(|a| (a.spelling.as_str(), name.name.as_str()))
        })
        .collect();
    normal
        .into_iter()
        .map(|(written, name)| (written.clone(), canonical[name.as_str()].to_owned()))
        .collect()
}
