//! Options, remarks and exit codes.

use clap::{Parser, error::ErrorKind};
use laioncele_evaluate::{Score, Undecodable, WordOfPerson};

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    evaluate: Evaluate,
}

fn parse(arguments: &[&str]) -> Result<Evaluate, ErrorKind> {
    let words = std::iter::once("evaluate").chain(arguments.iter().copied());
    let line = Line::try_parse_from(words).map_err(|e| e.kind())?;
    Ok(line.evaluate)
}

#[test]
fn folder_options_require_each_other() {
    assert!(parse(&[]).is_ok_and(|e| e.images.is_none()));
    let both = parse(&["--images", "a", "--references", "b", "--base", "c"]);
    assert!(both.is_ok_and(|e| e.base == Some(PathBuf::from("c"))));
    for alone in [["--images", "a"], ["--prompts", "a"], ["--base", "a"]] {
        let kind = parse(&alone).expect_err("refused");
        assert_eq!(kind, ErrorKind::MissingRequiredArgument, "{alone:?}");
    }
}

#[test]
fn lists_layouts_and_features_have_their_options() {
    let list = parse(&[
        "--systems",
        "s.csv",
        "--table",
        "1",
        "--format",
        "latex",
        "--paper",
    ]);
    assert!(list.is_ok_and(|e| e.table == Some(Layouts::One)));
    let resized = parse(&["--systems", "s.csv", "--resize", "legacy_pytorch"]);
    assert!(resized.is_ok_and(|e| e.scoring.resize == Some(Resizes::LegacyPytorch)));
    assert!(parse(&["--features", "a", "--to", "b", "--tensor", "c"]).is_ok());
    for refused in [
        vec!["--systems", "a", "--images", "b", "--references", "c"],
        vec!["--features", "a", "--systems", "b"],
    ] {
        assert_eq!(
            parse(&refused).expect_err("refused"),
            ErrorKind::ArgumentConflict
        );
    }
    assert_eq!(
        parse(&["--table", "3"]).expect_err("refused"),
        ErrorKind::InvalidValue
    );
}

fn found(undecodable: Vec<Undecodable>, without_prompt: usize) -> FolderReport {
    let score = Score {
        system: "images".into(),
        metric: "clip_ti".into(),
        group: "all".into(),
        value: 25.0,
        count: 3,
        ..Score::default()
    };
    let report = Report {
        scores: vec![score],
        notes: vec!["One.".into(), "Two.".into()],
    };
    FolderReport {
        report,
        images: 12,
        undecodable,
        without_prompt,
        without_image: 0,
        words: Vec::new(),
    }
}

#[test]
fn remarks_name_unsure_words() {
    let word = |person: &str, given, probability| WordOfPerson {
        person: person.to_owned(),
        word: "woman",
        given,
        guess: Some("woman".to_owned()),
        probability: Some(probability),
    };
    let words = vec![
        word("ada", false, 0.6),
        word("bea", true, 0.6),
        word("cyd", false, 0.9),
        word("dan", false, 0.69),
    ];
    let found = FolderReport {
        words,
        ..found(Vec::new(), 0)
    };
    let remark = "unsure guesses, which references.csv beside the photos can overrule: ada (woman), dan (woman)";
    assert_eq!(remarks(&found), [remark]);
}

#[test]
fn remarks_name_what_is_left_out() {
    assert!(remarks(&found(Vec::new(), 0)).is_empty());
    let file = |k: usize| Undecodable {
        file: PathBuf::from(format!("{k}.png")),
        reason: "broken".into(),
    };
    let remarks = remarks(&found((0..11).map(file).collect(), 1));
    assert_eq!(remarks.len(), SHOWN_FILES + 2);
    assert_eq!(remarks[0], "left out: 0.png: broken");
    assert!(remarks[SHOWN_FILES].starts_with("11 of 12 images left out"));
    assert!(remarks[SHOWN_FILES + 1].starts_with("1 image without a prompt"));
}

#[test]
fn render_puts_the_notes_after_the_table() {
    let text = show::render(&found(Vec::new(), 0).report);
    assert_eq!(
        text,
        "metric     all  sample size\nCLIP-TI ↑   25            3\n\nOne.\nTwo."
    );
}

#[test]
fn wrong_folders_exit_as_wrong_arguments() {
    let missing = CoreError::Missing {
        path: PathBuf::from("nowhere"),
    };
    assert_eq!(failure(missing.into()).exit, Exit::Usage);
    let empty = EvaluateError::NoImages {
        folder: PathBuf::from("a"),
        expected: "images",
    };
    let shown = failure(empty);
    assert_eq!((shown.exit, shown.hints.len()), (Exit::Usage, 1));
}
