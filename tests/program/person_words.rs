//! The word for a person in prompts: guessed with a probability, overruled by a list beside the photos, the same for
//! every method.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::sandbox::{FRAME, Sandbox, stderr, stdout};
use crate::tables::Table;
use crate::test_run::TestRun;

/// (method, person, prompt, word, guess) of each row of the table of samples.
fn samples(world: &TestRun) -> BTreeSet<[String; 5]> {
    let (mut rows, mut folders) = (BTreeSet::new(), vec![world.join("output/tables/samples")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let columns = ["method", "person", "prompt", "word", "gender_guess"];
            let table = Table::read(&path, &columns);
            let texts = columns.map(|column| table.texts(column));
            rows.extend((0..table.rows()).map(|row| texts.each_ref().map(|t| t[row].clone())));
        }
    }
    rows
}

#[test]
fn a_list_beside_the_photos_says_the_word_for_every_method() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::copied(folder.path(), 1);
    world.change_manifest(
        "gendered = false",
        "gendered = true\nmethods = [\"laioncele\", \"sdxl-name\"]",
    );
    let before = samples(&world);
    assert!(
        before
            .iter()
            .all(|[.., word, guess]| word == "person" && guess.is_empty())
    );
    let people: BTreeSet<&String> = before.iter().map(|[_, person, ..]| person).collect();
    let listed = people
        .into_iter()
        .find(|person| !person.is_empty())
        .expect("somebody");
    let list = world.join("mini/references/references.csv");
    let write = |text: String| fs::write(&list, text).expect("written");

    write(format!("person,word\n{listed},lady\n"));
    let refused = world.run("output");
    let said = stderr(&refused);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(
        said.contains("references.csv: line 2: the word `lady`"),
        "{said}"
    );

    // People call somebody what no network would.
    write(format!("person,word\n{listed},person\n"));
    let ended = world.run("output");
    assert!(ended.status.success(), "{}", stderr(&ended));
    let drawn: Vec<_> = samples(&world).difference(&before).cloned().collect();
    let of = |method: &str| -> BTreeSet<[&String; 4]> {
        // Of whom no face is found nothing is guessed, as before.
        let rows = drawn
            .iter()
            .filter(|[m, .., guess]| m == method && !guess.is_empty());
        rows.map(|[_, person, prompt, word, guess]| [person, prompt, word, guess])
            .collect()
    };
    assert!(!of("laioncele").is_empty());
    assert_eq!(of("laioncele"), of("sdxl-name"));
    for [person, prompt, word, guess] in of("laioncele") {
        assert_eq!(*prompt, format!("a portrait of a {word}"));
        match person == listed {
            true => assert_eq!(word, "person"),
            false => assert_eq!(word, guess),
        }
    }
    let text = fs::read_to_string(world.join("output/samples/references.csv")).expect("a list");
    assert!(
        text.contains(&format!("\"{listed}\",person,true,")),
        "{text}"
    );
    let notes = stdout(
        &world
            .command(&["evaluate"], "output")
            .output()
            .expect("the program"),
    );
    assert!(
        notes.contains("a guess about pictures, not about people"),
        "{notes}"
    );
}

#[test]
fn prompts_of_other_systems_get_the_words_where_they_are_asked_for() {
    let sandbox = Sandbox::with_manifest(FRAME).with_runtime();
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/face/tests/fixtures");
    fs::remove_file(sandbox.join("references/somebody.jpg")).expect("removed");
    for (from, to) in [
        ("first-photo.png", "references/ada.png"),
        ("second-photo.png", "references/bea.png"),
        ("first-a.png", "a.png"),
        ("second-a.png", "b.png"),
    ] {
        fs::copy(fixtures.join(from), sandbox.join(to)).expect("copied");
    }
    sandbox.write(
        "systems.csv",
        "system,image,person,prompt\nother,a.png,ada,a portrait of a person\nother,b.png,bea,a portrait of a person\n",
    );
    sandbox.write("references/references.csv", "person,word\nada,woman\n");
    let scored = |more: &[&str]| {
        let arguments = [
            "evaluate",
            "--systems",
            "systems.csv",
            "--references",
            "references",
        ];
        sandbox.run(&[&arguments[..], &["-m", "manifest.toml", "--json"], more].concat())
    };
    let json = |more: &[&str]| -> serde_json::Value {
        let output = scored(more);
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_str(&stdout(&output)).expect("JSON")
    };
    assert!(json(&[])["words"].is_null());
    let words = &json(&["--words"])["words"];
    assert_eq!(
        (&words[0]["word"], &words[0]["given"]),
        (&"woman".into(), &true.into())
    );
    assert_eq!(
        (&words[1]["word"], &words[1]["given"]),
        (&words[1]["guess"], &false.into())
    );
    for k in [0, 1] {
        let probability = words[k]["probability"].as_f64();
        assert!(probability.is_some_and(|p| p >= 0.5), "{words}");
    }
    sandbox.write(
        "references/references.csv",
        "person,word\nada,woman\nben,man\n",
    );
    let refused = scored(&["--words"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = stderr(&refused);
    assert!(
        said.contains("references.csv: line 3") && said.contains("`bea`"),
        "{said}"
    );
}
