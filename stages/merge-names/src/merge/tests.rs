//! Merging as a whole.

use proptest::prelude::*;

use super::*;

fn table(spellings: &[(&str, u64)]) -> SpellingTable {
    let mut table = SpellingTable::default();
    for (spelling, mentions) in spellings {
        table.push(spelling, *mentions, 0);
    }
    table
}

fn together(one: (&str, u64), other: (&str, u64)) -> bool {
    let merged = merge(&table(&[one, other]), 5.0);
    merged.filed[0] == merged.filed[1]
}

/// The labelled spellings of the tests, as they are written.
fn labelled() -> SpellingTable {
    let mut table = SpellingTable::default();
    for lines in [
        include_str!("../../tests/fixtures/clusters.jsonl"),
        include_str!("../../tests/fixtures/population.jsonl"),
    ] {
        for line in lines.lines() {
            let row: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
            let spellings = row["spellings"].as_array().cloned();
            for s in spellings.unwrap_or_else(|| vec![row.clone()]) {
                let spelling = s["s"].as_str().unwrap_or_default();
                table.push(spelling, s["n"].as_u64().unwrap_or(1), 0);
            }
        }
    }
    table
}

#[test]
fn people_of_nearly_one_name_stay_apart() {
    for (rare, frequent) in [
        (("John Stewart", 9_000), ("Jon Stewart", 100_000)),
        (("Jon Stewart", 9_000), ("John Stewart", 100_000)),
        (("Paul Walter", 50), ("Paul Walker", 50_000)),
        (("Robert Hansen", 500), ("Robert Hanssen", 9_000)),
        (("George W. Bush", 50), ("George H.W. Bush", 5_000)),
        (("George Bush", 50), ("George W. Bush", 5_000)),
        (("Sammy Davis Sr.", 5), ("Sammy Davis Jr.", 5_000)),
        (("Sammy Davis", 5), ("Sammy Davis Jr.", 5_000)),
        (("Michael B. Jordan", 500), ("Michael Jordan", 50_000)),
        (("Mick Jones", 50), ("Rick Jones", 50_000)),
        (("Sarah Smith", 50), ("Sara Smith", 50_000)),
        (("Zhang Wei", 50), ("Zhang Wen", 50_000)),
        (("Vera Holtz", 1_000), ("Vera Holt", 1_000)),
        (("Louis XIV", 50), ("Louis XVI", 50_000)),
    ] {
        assert!(
            !together(rare, frequent),
            "{} is not {}",
            rare.0,
            frequent.0
        );
    }
}

#[test]
fn misspellings_go_to_their_name() {
    for (rare, frequent) in [
        ("Arnold Swartzenegger", "Arnold Schwarzenegger"),
        ("Zach Galifianikis", "Zach Galifianakis"),
        ("Marc Ruffalo", "Mark Ruffalo"),
        ("Jürgen Klinsman", "Jürgen Klinsmann"),
        ("Juergen Klinsmann", "Jürgen Klinsmann"),
        ("Pyotr Tschaikowsky", "Pyotr Tchaikovsky"),
        ("Yves St. Laurent", "Yves Saint Laurent"),
        ("Bashar Assad", "Bashar al-Assad"),
        ("Robert Downey Jnr", "Robert Downey Jr."),
        ("J. K. Rowlling", "J.K. Rowling"),
    ] {
        assert!(
            together((rare, 20), (frequent, 5_000)),
            "{rare} is {frequent}"
        );
    }
}

#[test]
fn a_chain_of_small_steps_leads_nowhere_far() {
    let chain = [
        ("Mira Castellan", 100_000),
        ("Mira Casstellan", 10_000),
        ("Mira Casstelann", 1_000),
        ("Mira Gasstelann", 100),
        ("Mira Gassdelamn", 10),
    ];
    let merged = merge(&table(&chain), 5.0);
    assert_eq!(merged.filed[..3], [0, 0, 0]);
    assert_eq!(merged.filed[4], 4);
}

#[test]
fn of_two_names_that_are_as_likely_none_is_chosen() {
    let spellings = [
        ("Tilda Marren", 1000),
        ("Tilda Marenn", 1000),
        ("Tilda Maren", 10),
    ];
    assert_eq!(merge(&table(&spellings), 5.0).filed, [0, 1, 2]);
    let spellings = [
        ("Tilda Marren", 1000),
        ("Tilda Marenn", 0),
        ("Tilda Maren", 10),
    ];
    assert_eq!(merge(&table(&spellings), 5.0).filed[2], 0);
}

#[test]
fn a_word_that_the_corpus_knows_is_a_name_of_its_own() {
    let mut spellings = vec![
        ("Maria Brezzan".to_owned(), 5_000),
        ("Maria Brezan".to_owned(), 100),
    ];
    let merged = |spellings: &[(String, u64)]| {
        let spellings: Vec<_> = spellings.iter().map(|(s, n)| (s.as_str(), *n)).collect();
        merge(&table(&spellings), 5.0).filed[1] == 0
    };
    assert!(merged(&spellings));
    spellings.extend((0..1000).map(|i| (format!("Person{i} Brezan"), 100)));
    assert!(!merged(&spellings));
}

#[test]
fn neither_parts_of_the_index_nor_threads_change_a_result()
-> Result<(), rayon::ThreadPoolBuildError> {
    let table = labelled();
    let whole = merge(&table, 5.0);
    assert!(whole.why.contains(&MergedBy::EditDistance));
    for entries in [usize::MAX, 40_000, 7_000] {
        assert_eq!(merge_in_parts(&table, 5.0, entries), whole, "{entries}");
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    assert_eq!(pool.install(|| merge(&table, 5.0)), whole);
    Ok(())
}

#[test]
fn merged_names_hardly_merge_again() {
    let table = labelled();
    let names = merge(&table, 5.0).names(&table);
    let mut again = SpellingTable::default();
    for name in &names {
        let own = name
            .aliases
            .iter()
            .filter(|a| a.merged_by != "edit_distance");
        again.push(&name.name, own.map(|a| a.mentions).sum(), 0);
    }
    let more = merge(&again, 5.0);
    let merged = (0..)
        .zip(&more.filed)
        .filter(|(at, name)| at != *name)
        .count();
    assert!(
        merged * 200 < names.len(),
        "{merged} of {} names",
        names.len()
    );
}

#[test]
fn empty_tables_and_odd_spellings_are_merged_too() {
    assert_eq!(merge(&SpellingTable::default(), 5.0), Merged::default());
    let long = "a".repeat(100_000);
    let many = "a ".repeat(50_000);
    let odd = [
        "",
        " ",
        "-",
        "\u{301}",
        long.as_str(),
        many.as_str(),
        "宮崎 駿",
        "X",
    ];
    let odd: Vec<_> = odd
        .iter()
        .zip([1, 90, 8, u64::MAX / 2, 6, 5, 4, 3])
        .collect();
    let odd: Vec<_> = odd.into_iter().map(|(s, n)| (*s, n)).collect();
    let merged = merge(&table(&odd), f64::INFINITY);
    assert_eq!(merged.filed.len(), odd.len());
    // What holds no letter has one fold key.
    assert_eq!(merged.filed[..4], [3, 3, 3, 3]);
    assert_eq!(merged.filed[4..], [4, 5, 6, 7]);
}

proptest! {
    #[test]
    fn order_changes_no_name(order in Just((0..400usize).collect::<Vec<_>>()).prop_shuffle(), start in 0usize..2500) {
        let all = labelled();
        let rows: Vec<(&str, u64)> = all.iter().skip(start).take(400).collect();
        let shuffled: Vec<(&str, u64)> = order.iter().map(|i| rows[*i]).collect();
        let names = |rows: &[(&str, u64)]| {
            let table = table(rows);
            merge(&table, 5.0).names(&table)
        };
        prop_assert_eq!(names(&rows), names(&shuffled));
    }

    #[test]
    fn names_of_close_counts_stay_apart(one in "[A-Z][a-d]{2,6} [A-Z][a-d]{2,7}", other in "[A-Z][a-d]{2,6} [A-Z][a-d]{2,7}", mentions in 1u64..1000, ratio in 1.0f64..4.9) {
        let others = (mentions as f64 * ratio) as u64;
        let same = crate::fold::fold_key(&one) == crate::fold::fold_key(&other);
        prop_assert_eq!(together((&one, mentions), (&other, others)), same);
    }

    #[test]
    fn what_is_filed_under_a_name_is_rarer_and_the_name_is_its_own(rows in proptest::collection::vec(("[A-B][a-c]{1,5} [A-C][a-c]{3,8}", 1u64..100_000), 1..60)) {
        let rows: Vec<(&str, u64)> = rows.iter().map(|(s, n)| (s.as_str(), *n)).collect();
        let merged = merge(&table(&rows), 5.0);
        for (at, name) in merged.filed.iter().map(|n| *n as usize).enumerate() {
            prop_assert_eq!(merged.filed[name] as usize, name);
            prop_assert_eq!(merged.why[at] == MergedBy::Canonical, name == at);
            if merged.why[at] == MergedBy::EditDistance {
                prop_assert!(rows[at].1 < rows[name].1 * rows.len() as u64);
            }
        }
    }
}
