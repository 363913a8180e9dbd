//! `laioncele ner`: captions in, JSON lines out.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::sandbox::{Sandbox, program, stderr, stdout};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command
        .arg("ner")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn ner(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = command(arguments).spawn().expect("the program");
    let mut pipe = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || pipe.write_all(&input));
    let ended = child.wait_with_output().expect("its end");
    let _ = writer.join();
    ended
}

/// spaCy's own results, which the crate's golden test reads too.
fn golden() -> Vec<Value> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/ner/tests/fixtures/golden.jsonl");
    let text = std::fs::read_to_string(file).expect("the golden captions");
    let lines = text.split_terminator('\n');
    lines
        .map(|l| serde_json::from_str(l).expect("JSON"))
        .collect()
}

#[test]
fn line_ends_and_byte_order_mark_of_windows_are_no_text() {
    let plain = "Mira Castellan in Paris\n\nBarack Obama\n";
    let windows = format!("\u{feff}{}", plain.replace('\n', "\r\n"));
    let [plain, windows] = [plain, &windows].map(|input| ner(&[], input.as_bytes()));
    assert!(plain.status.success(), "{}", stderr(&plain));
    assert_eq!(stdout(&plain).lines().count(), 3);
    assert_eq!(stdout(&windows), stdout(&plain));
}

#[test]
fn golden_captions_keep_order_and_entities_on_any_number_of_threads() {
    let golden: Vec<Value> = golden()
        .into_iter()
        .filter(|g| !g["text"].as_str().unwrap_or_default().contains('\n'))
        .collect();
    assert!(golden.len() > 1000, "{} captions", golden.len());
    let texts: Vec<&str> = golden.iter().filter_map(|g| g["text"].as_str()).collect();
    let input = texts.join("\n");
    for threads in ["1", "3"] {
        let ended = ner(&["--tokens", "--threads", threads], input.as_bytes());
        assert!(ended.status.success(), "{}", stderr(&ended));
        let found = stdout(&ended);
        assert_eq!(found.lines().count(), golden.len());
        for (line, golden) in found.lines().zip(&golden) {
            let found: Value = serde_json::from_str(line).expect("JSON");
            for (key, recorded) in [("text", "text"), ("tokens", "tokens"), ("entities", "ents")] {
                assert_eq!(found[key], golden[recorded], "{key} of {}", golden["text"]);
            }
        }
    }
}

#[test]
fn entities_person_prints_persons_only_with_byte_offsets() {
    let ended = ner(
        &["--entities", "person", "--offsets", "bytes"],
        "Zoë Kravitz and Barack Obama in Paris\n".as_bytes(),
    );
    let line = stdout(&ended);
    assert!(
        line.starts_with("{\"text\":\"Zoë"),
        "in the order of --help: {line}"
    );
    let found: Value = serde_json::from_str(&line).expect("JSON");
    assert!(found.get("tokens").is_none());
    for entity in found["entities"].as_array().expect("entities") {
        assert_eq!(entity[2], "PERSON");
    }
    let text = found["text"].as_str().expect("a text");
    let span = &found["entities"][1];
    let bounds = [0, 1].map(|k| span[k].as_u64().expect("an offset") as usize);
    assert_eq!(text.get(bounds[0]..bounds[1]), Some("Barack Obama"));
}

#[test]
fn each_caption_is_answered_before_the_next_is_read() {
    let mut child = command(&[]).spawn().expect("the program");
    let mut pipe = child.stdin.take().expect("a pipe");
    let mut answers = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    for caption in ["Barack Obama", "", "\u{0}\u{301}"] {
        writeln!(pipe, "{caption}").expect("it reads");
        let answer = answers.next().expect("an answer").expect("UTF-8");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!(answer["text"], caption);
    }
    drop(pipe);
    assert!(answers.next().is_none());
    assert!(child.wait().expect("its end").success());
}

#[test]
fn a_caption_of_a_megabyte_is_answered() {
    let ended = ner(&[], &vec![b'a'; 1 << 20]);
    assert!(ended.status.success(), "{}", stderr(&ended));
    assert_eq!(stdout(&ended).lines().count(), 1);
}

#[test]
fn invalid_utf8_is_named_by_its_line_after_the_earlier_answers() {
    let ended = ner(&[], b"Barack Obama\nMira \xff Castellan\nParis\n");
    assert_eq!(ended.status.code(), Some(2));
    assert_eq!(stdout(&ended).lines().count(), 1);
    let text = stderr(&ended);
    assert!(
        text.contains("standard input, line 2: not UTF-8 from byte 5 on"),
        "{text}"
    );
}

#[test]
fn a_missing_package_is_named() {
    let sandbox = Sandbox::new();
    sandbox.write("captions.txt", "Barack Obama\n");
    insta::assert_snapshot!(sandbox.show(&["ner", "captions.txt", "--model", "nowhere"]));
}
