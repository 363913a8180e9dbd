//! The whole engine against spaCy's recorded output: tokens and entities equal, offsets in code
//! points.

use std::path::{Path, PathBuf};

use laioncele_ner::{FindPersons, Ner, code_points};
use proptest::prelude::*;

fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests/mini/ner/en_core_web_sm")
}

fn ner() -> Ner {
    Ner::load(&package()).expect("the shipped package")
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
fn batching_does_not_change_entities() {
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

/// Marks that are cut off one by one, and hosts that might follow each `@`: work that grows no
/// faster than the text. spaCy makes as many tokens of shorter ones.
type Tokens = fn(usize) -> usize;

#[test]
fn a_megabyte_of_punctuation_is_split_into_marks() {
    let ner = ner();
    let cases: [(&str, Tokens); 5] = [
        ("(", |count| count),
        (")", |count| count),
        ("!?", |count| 2 * count),
        ("a.b@", |_| 1),
        ("://", |_| 2),
    ];
    for (piece, tokens) in cases {
        for count in [3, 50, (1 << 20) / piece.len()] {
            let found = ner.tokens(&piece.repeat(count)).len();
            assert_eq!(found, tokens(count), "{count} times {piece}");
        }
    }
}

/// A copy of the package in a temporary folder, its list of sums left out.
fn copy(to: &Path, change: impl Fn(&str, Vec<u8>) -> Vec<u8>) {
    for file in laioncele_ner::FILES {
        let path = to.join(file);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        let bytes = std::fs::read(package().join(file)).expect("read");
        std::fs::write(path, change(file, bytes)).expect("written");
    }
}

fn refusal(folder: &Path) -> String {
    Ner::load(folder).err().expect("a refusal").to_string()
}

#[test]
fn load_names_a_damaged_file_with_its_digest() {
    let folder = std::env::temp_dir().join(format!("laioncele-ner-{}", std::process::id()));
    copy(&folder, |file, mut bytes| {
        if file == "ner/model" {
            bytes.truncate(100_000);
        }
        bytes
    });
    let text = refusal(&folder);
    assert!(
        text.contains("ner/model") && text.contains("SHA-256"),
        "{text}"
    );
    std::fs::remove_dir_all(&folder).expect("removed");
    assert!(refusal(&folder).contains("ner/model"));
}

/// The error names what differs: en_core_web_md has word vectors, other widths have other shapes.
#[test]
fn load_rejects_other_architectures_by_what_differs() {
    let folder = std::env::temp_dir().join(format!("laioncele-md-{}", std::process::id()));
    let replaced = |bytes: &[u8], from: &[u8], to: &[u8]| {
        let at = bytes.windows(from.len()).position(|w| w == from);
        let at = at.expect("in the file");
        [&bytes[..at], to, &bytes[at + from.len()..]].concat()
    };
    let edits: [(&[u8], &[u8], &str); 2] = [
        // A layer's name, a string of MessagePack with its length before it.
        (
            b"\xa9layernorm",
            b"\xaestatic_vectors",
            "the number of layers `static_vectors` is 1, expected 0",
        ),
        // A shape: [96, 3] of a maxout layer's bias as [97, 3].
        (
            b"\xc4\x05shape\x92\x60\x03",
            b"\xc4\x05shape\x92\x61\x03",
            "is [97, 3], expected [96, 3]",
        ),
    ];
    for (from, to, says) in edits {
        copy(&folder, |file, bytes| match file {
            "ner/model" => replaced(&bytes, from, to),
            _ => bytes,
        });
        let text = refusal(&folder);
        assert!(
            text.contains("architecture") && text.contains(says),
            "{text}"
        );
    }
    std::fs::remove_dir_all(&folder).expect("removed");
}

/// Entities on character boundaries, in order and disjoint.
fn well_formed(text: &str, entities: &[laioncele_ner::Entity]) {
    let mut at = 0;
    for entity in entities {
        assert!(at <= entity.start && entity.start < entity.end);
        assert!(text.is_char_boundary(entity.start) && text.is_char_boundary(entity.end));
        at = entity.end;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    /// A megabyte of anything: pieces of arbitrary Unicode, repeated.
    #[test]
    fn a_megabyte_of_anything_is_read(pieces in prop::collection::vec(any::<String>(), 1..40), letter in any::<char>()) {
        let ner = ner();
        let mut pieces = pieces.concat();
        pieces.push(letter);
        let text = pieces.repeat((1 << 20) / pieces.len());
        well_formed(&text, &ner.entities(&[&text])[0]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Splitting a batch differently changes nothing, whatever the texts and whichever thread reads
    /// them.
    #[test]
    fn a_batch_splits_anywhere(
        texts in prop::collection::vec(any::<String>(), 0..40),
        golden in prop::collection::vec(0..5000_usize, 0..40),
        cut in any::<prop::sample::Index>(),
    ) {
        thread_local!(static NER: (Ner, Vec<Golden>) = (ner(), self::golden("golden.jsonl")));
        NER.with(|(ner, cases)| {
            let captions = golden.iter().map(|i| cases[*i].text.as_str());
            let texts: Vec<&str> = texts.iter().map(String::as_str).chain(captions).collect();
            let whole = ner.entities(&texts);
            let (one, two) = texts.split_at(cut.index(texts.len() + 1));
            assert_eq!([ner.entities(one), ner.entities(two)].concat(), whole);
            assert_eq!(ner.entities_parallel(&texts), whole);
            for (text, entities) in texts.iter().zip(&whole) {
                well_formed(text, entities);
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever the text: tokens are in order, cover everything but blanks, and lie on character
    /// boundaries.
    #[test]
    fn tokens_cover_any_text_in_order(text in "[\\PC\\s'’.,:)(a-zA-Z0-9 -]{0,60}") {
        thread_local!(static NER: Ner = ner());
        NER.with(|ner| {
            let mut at = 0;
            for token in ner.tokens(&text) {
                assert!(text[at..token.start].chars().all(|c| c == ' ') && token.start - at <= 1);
                assert!(token.end > token.start && text.is_char_boundary(token.end));
                at = token.end;
            }
            assert!(text[at..].len() <= 1);
            well_formed(&text, &ner.entities(&[&text])[0]);
        });
    }
}

/// The files that are said to be read are enough, and each network file is needed.
#[test]
fn the_files_that_are_read_are_known() {
    let folder = tempfile::tempdir().expect("a folder");
    let copies: Vec<PathBuf> = Ner::files_read(&package())
        .iter()
        .map(|file| {
            let copy = folder
                .path()
                .join(file.strip_prefix(package()).expect("inside"));
            std::fs::create_dir_all(copy.parent().expect("a parent")).expect("folders");
            std::fs::copy(file, &copy).expect("copied");
            copy
        })
        .collect();
    assert!(Ner::load(folder.path()).is_ok());
    let aside = folder.path().join("aside");
    for copy in copies {
        std::fs::rename(&copy, &aside).expect("moved");
        let sums = copy.ends_with(laioncele_ner::SUMS);
        assert_eq!(Ner::load(folder.path()).is_ok(), sums, "{}", copy.display());
        assert_ne!(Ner::files_read(folder.path()).contains(&copy), sums);
        std::fs::rename(&aside, &copy).expect("moved back");
    }
}
