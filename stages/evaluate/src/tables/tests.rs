//! Layouts of invented reports.

use super::*;

fn score(system: &str, metric: &str, group: &str, value: f64) -> Score {
    Score {
        system: system.to_owned(),
        metric: metric.to_owned(),
        group: group.to_owned(),
        value,
        count: 1000,
        ..Score::default()
    }
}

fn distance(system: &str, group: &str, value: f64, against_count: u64) -> Score {
    Score {
        against: Some("sdxl".to_owned()),
        against_count: Some(against_count),
        ..score(system, "fid", group, value)
    }
}

fn difference(system: &str, against: &str, low: f64, high: f64) -> Score {
    Score {
        low: Some(low),
        high: Some(high),
        against: Some(against.to_owned()),
        ..score(system, "clip_ti_difference", ALL, 0.5 * (low + high))
    }
}

fn report() -> Report {
    let scores = vec![
        score("sdxl", "base_images", ALL, 2000.0),
        score("sdxl", "clip_ti", "style", 40.0),
        score("sdxl", "clip_ti", "emotion", 27.0),
        score("sdxl", "clip_ti", MEAN, 33.5),
        score("photomaker", "clip_ti", "style", 41.0),
        score("photomaker", "clip_ti", "emotion", 29.0),
        score("photomaker", "clip_ti", MEAN, 35.0),
        score("laioncele", "clip_ti", "style", 42.0),
        score("laioncele", "clip_ti", "emotion", 30.0),
        score("laioncele", "clip_ti", MEAN, 36.0),
        score("laioncele", "people", ALL, 20.0),
        score("laioncele", "id_consistency", "emotion", 0.5624),
        score("laioncele", "id_consistency_of_all", "emotion", 0.2),
        distance("photomaker", "style", 76.11, 1000),
        distance("laioncele", "style", 49.52, 999),
        difference("photomaker", "laioncele", -1.5, 0.5),
    ];
    Report {
        scores,
        notes: vec!["A note.".to_owned()],
    }
}

#[test]
fn table_1_has_the_papers_columns_and_ours_last() {
    let layout = tables(&[report()], Table::One, true);
    let expected = [
        "system",
        "CLIP-TI ↑, style",
        "CLIP-TI ↑, emotion",
        "CLIP-TI ↑, mean",
        "FID ↓, style",
        "FID ↓, emotion",
        "FID ↓, mean",
        "KID × 1000 ↓",
        "ID Cons. A ↑, emotion",
        "ID Cons. B ↑, emotion",
        "faces found ↑, emotion",
        "FID ↓, union",
    ];
    assert_eq!(layout.header, expected);
    let names: Vec<&str> = layout.rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names[..3], ["sdxl", "photomaker", "laioncele"]);
    assert_eq!(names[6], "Ours (paper)");
    let ours = &layout.rows[2];
    assert_eq!(ours.cells[4].text, "");
    // Of 999 against 1,000 images.
    assert_eq!(
        (ours.cells[3].text.as_str(), ours.cells[3].bold),
        ("49.5 ≠", true)
    );
    assert_eq!(
        (ours.cells[0].text.as_str(), ours.cells[0].bold),
        ("42.00", true)
    );
    // The best, but not clearly.
    assert_eq!(
        (ours.cells[2].text.as_str(), ours.cells[2].bold),
        ("36.00", false)
    );
    let paper = &layout.rows[6];
    assert!(paper.gray);
    assert_eq!(
        (paper.cells[2].text.as_str(), paper.cells[3].text.as_str()),
        ("38.24", "49.52")
    );
    assert_eq!(paper.cells[7].text, "0.5624");
    assert_eq!(paper.cells[8].text, "");
}

#[test]
fn tables_2_and_6_have_a_row_or_a_column_for_each_report() {
    let mut other = report();
    other.rename("laioncele", "gen");
    let reports = [report(), other];
    let layout = tables(&reports, Table::Two, false);
    let names: Vec<&str> = layout.rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["laioncele", "gen"]);
    // There is no scene.
    assert_eq!(layout.header[1], "CLIP-TI ↑");
    let layout = tables(&reports, Table::Six, false);
    assert_eq!(layout.header, ["metric", "laioncele", "gen"]);
    assert_eq!(layout.rows.len(), 7);
    assert_eq!(layout.notes, ["A note."]);
}

/// One report of several systems has them all, and what they differ by from the first.
#[test]
fn table_2_of_one_report_has_its_systems_and_their_differences() {
    let layout = tables(&[report()], Table::Two, true);
    let names: Vec<&str> = layout.rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(
        names[..3],
        ["laioncele", "photomaker", "Ours (w/o fine-tune) (paper)"]
    );
    assert_eq!(layout.header[5], "Δ CLIP-TI ↑");
    let width = layout.header.len() - 1;
    assert!(layout.rows.iter().all(|row| row.cells.len() == width));
    assert_eq!(layout.rows[0].cells[4].text, "");
    assert_eq!(layout.rows[1].cells[4].text, "-0.50 (-1.50 … +0.50)");
    // Said the other way round, it is turned.
    let mut turned = report();
    for score in &mut turned.scores {
        if score.metric == "clip_ti_difference" {
            score.system = "laioncele".to_owned();
            score.against = Some("photomaker".to_owned());
        }
    }
    let layout = tables(&[turned], Table::Two, false);
    assert_eq!(layout.rows[1].cells[4].text, "+0.50 (-0.50 … +1.50)");
}

#[test]
fn the_best_is_above_all_others() {
    assert_eq!(best(&[Some(1.0), None, Some(2.0)], Better::More), Some(2));
    assert_eq!(best(&[Some(1.0), None, Some(2.0)], Better::Less), Some(0));
    assert_eq!(best(&[Some(1.0), Some(1.0)], Better::More), None);
    assert_eq!(best(&[Some(1.0), None], Better::More), None);
}
