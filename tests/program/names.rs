//! `laioncele names`: mentions and spellings in, JSON lines out.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::sandbox::{Sandbox, program, stderr, stdout};

fn names(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(program())
        .arg("names")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    let mut pipe = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || pipe.write_all(&input));
    let ended = child.wait_with_output().expect("its end");
    let _ = writer.join();
    ended
}

fn answers(ended: &Output) -> Vec<Value> {
    assert!(ended.status.success(), "{}", stderr(ended));
    let lines = stdout(ended);
    lines
        .lines()
        .map(|l| serde_json::from_str(l).expect("JSON"))
        .collect()
}

#[test]
fn normalize_answers_each_line() {
    let mentions =
        "Emma Watson Photoshoot\nkitchen table\n\nBeyonc\u{e9}\nBrad Pitt and Angelina Jolie";
    let windows = format!("\u{feff}{}\r\n", mentions.replace('\n', "\r\n"));
    for input in [mentions, &windows] {
        assert_eq!(
            answers(&names(&["normalize"], input.as_bytes())),
            [
                json!({"raw": "Emma Watson Photoshoot", "name": "Emma Watson", "reason": null}),
                json!({"raw": "kitchen table", "name": null, "reason": "not_a_name"}),
                json!({"raw": "", "name": null, "reason": "not_a_name"}),
                json!({"raw": "Beyonc\u{e9}", "name": null, "reason": "mononym"}),
                json!({"raw": "Brad Pitt and Angelina Jolie", "name": null, "reason": "several_people"}),
            ]
        );
    }
}

#[test]
fn normalize_reads_json_where_it_is_told_to() {
    let input = b"{\"raw\": \"WATSON, Emma\\n\"}\n";
    let found = answers(&names(&["normalize", "--json", "-"], input));
    assert_eq!(found[0]["raw"], "WATSON, Emma\n");
    assert_eq!(found[0]["name"], "Emma Watson");
}

#[test]
fn merge_files_each_spelling_and_keeps_its_key() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "spellings.jsonl",
        "{\"s\": \"Keira Knightley\", \"n\": 5000}\n{\"raw\": \"Keira Knightly\", \"count\": 30}\n{\"s\": \"Zendaya\", \"n\": 3}\n",
    );
    let file = sandbox.path().join("spellings.jsonl");
    let found = answers(&names(&["merge", &file.display().to_string()], b""));
    assert_eq!(
        found,
        [
            json!({"s": "Keira Knightley", "name": "Keira Knightley", "why": "canonical"}),
            json!({"raw": "Keira Knightly", "name": "Keira Knightley", "why": "edit_distance"}),
            json!({"s": "Zendaya", "name": null, "why": "mononym"}),
        ]
    );
}

#[test]
fn a_line_that_is_not_what_is_asked_for_is_named() {
    for (arguments, input, wanted) in [
        (
            &["normalize"][..],
            &b"Emma Watson\n\xff\n"[..],
            "line 2: not UTF-8",
        ),
        (
            &["normalize", "--json"],
            b"{\"raw\": \"a\"}\nb\n",
            "line 2: expected value",
        ),
        (
            &["merge", "-"],
            b"{\"s\": \"a\", \"n\": 1}\n{\"s\": \"b\"}\n",
            "line 2: not an object with `s`",
        ),
        (
            &["merge", "-"],
            b"{\"s\": \"a\", \"n\": -1}\n",
            "line 1: not an object with `s`",
        ),
        (&["merge", "-", "--common-ratio", "0.5"], b"", "at least 1"),
    ] {
        let ended = names(arguments, input);
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}");
        let text = stderr(&ended);
        assert!(text.contains(wanted), "{text}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let ended = names(&["merge", "nowhere.jsonl"], b"");
    assert!(!ended.status.success());
    assert!(stderr(&ended).contains("nowhere.jsonl"));
}
