//! The whole engine against spaCy's recorded output: tokens and entities equal, offsets in code points.

use std::path::Path;

use laioncele_ner::{FindPersons, Ner, code_points};
use proptest::prelude::*;

fn ner() -> Ner {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests/mini/ner/en_core_web_sm");
    Ner::load(&folder).expect("the shipped package")
}

#[derive(serde::Deserialize)]
struct Golden {
    text: String,
    tokens: Vec<(usize, usize)>,
    ents: Vec<(usize, usize, String)>,
}

fn golden(file: &str) -> Vec<Golden> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(file);
    let text = std::fs::read_to_string(path).expect("a fixture");
    text.split('\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_str(l).expect("a line"))
        .collect()
}

fn spans(text: &str, bytes: impl Iterator<Item = (usize, usize)>) -> Vec<(usize, usize)> {
    code_points(text, bytes.flat_map(|(a, b)| [a, b]))
        .chunks_exact(2)
        .map(|p| (p[0], p[1]))
        .collect()
}

fn check(file: &str, at_least: usize) {
    let (ner, cases) = (ner(), golden(file));
    assert!(cases.len() >= at_least);
    let texts: Vec<&str> = cases.iter().map(|c| c.text.as_str()).collect();
    for (case, entities) in cases.iter().zip(ner.entities_parallel(&texts)) {
        let tokens = ner.tokens(&case.text);
        assert_eq!(
            spans(&case.text, tokens.iter().map(|t| (t.start, t.end))),
            case.tokens,
            "{:?}",
            case.text
        );
        let found = spans(&case.text, entities.iter().map(|e| (e.start, e.end)));
        let found: Vec<_> = found
            .into_iter()
            .zip(&entities)
            .map(|((a, b), e)| (a, b, e.label.to_string()))
            .collect();
        assert_eq!(found, case.ents, "{:?}", case.text);
    }
}

#[test]
fn captions_are_read_as_spacy_reads_them() {
    check("golden.jsonl", 5000);
}

#[test]
fn control_characters_are_read_as_spacy_reads_them() {
    check("control_chars.jsonl", 300);
}

#[test]
fn one_at_a_time_or_one_long_text_give_the_same() {
    let (ner, cases) = (ner(), golden("golden.jsonl"));
    for case in &cases[..200] {
        let alone = &ner.entities(&[&case.text])[0];
        let found = spans(&case.text, alone.iter().map(|e| (e.start, e.end)));
        assert_eq!(
            found,
            case.ents.iter().map(|e| (e.0, e.1)).collect::<Vec<_>>(),
            "{:?}",
            case.text
        );
    }
    // Longer than a block of rows: the parse goes on across its edge.
    let sentence = "Mira Castellan met Jonas Albrecht in Lisbon on Monday . ";
    let long = sentence.repeat(400);
    let persons = ner.persons(&[&long]).expect("persons").remove(0);
    assert!(persons.len() > 700, "{}", persons.len());
    let inner: Vec<_> = persons
        .iter()
        .filter(|p| (5000..15_000).contains(&p.start))
        .map(|p| p.start % sentence.len())
        .collect();
    assert!(
        inner.chunks_exact(2).all(|c| c == &inner[..2]),
        "the same in every repetition"
    );
}

#[test]
fn a_damaged_file_is_named_with_its_digest() {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests/mini/ner/en_core_web_sm");
    let copy = std::env::temp_dir().join(format!("laioncele-ner-{}", std::process::id()));
    for file in laioncele_ner::FILES {
        let path = copy.join(file);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        let mut bytes = std::fs::read(folder.join(file)).expect("read");
        if file == "ner/model" {
            bytes.truncate(100_000);
        }
        std::fs::write(path, bytes).expect("written");
    }
    let text = Ner::load(&copy).err().expect("damaged").to_string();
    assert!(
        text.contains("ner/model") && text.contains("SHA-256"),
        "{text}"
    );
    std::fs::remove_dir_all(&copy).expect("removed");
    assert!(
        Ner::load(&copy)
            .err()
            .expect("missing")
            .to_string()
            .contains("ner/model")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever the text: tokens are in order, cover everything but blanks, and lie on character boundaries.
    #[test]
    fn any_text_is_cut_into_its_parts(text in "[\\PC\\s'’.,:)(a-zA-Z0-9 -]{0,60}") {
        thread_local!(static NER: Ner = ner());
        NER.with(|ner| {
            let mut at = 0;
            for token in ner.tokens(&text) {
                assert!(text[at..token.start].chars().all(|c| c == ' ') && token.start - at <= 1);
                assert!(token.end > token.start && text.is_char_boundary(token.end));
                at = token.end;
            }
            assert!(text[at..].len() <= 1);
            for entity in &ner.entities(&[&text])[0] {
                assert!(text.is_char_boundary(entity.start) && text.is_char_boundary(entity.end));
            }
        });
    }
}
