//! Who is drawn: several people in one folder, names that nobody knows, people whom there never was.

use std::fs;

use super::{Exported, about, done, mini, name_of, pixels, references, refused};
use crate::sandbox::stderr;

/// Two people in a folder are refused with their files; names that nobody knows get a word.
#[test]
fn several_people_and_unknown_names_get_a_word() {
    let exported = Exported::new();
    let output = exported.output();
    let folder = exported.path().join("people");
    fs::create_dir(&folder).expect("a folder");
    let references = references();
    for (from, to) in [(0, "a.jpg"), (0, "b.jpg"), (1, "c.jpg")] {
        fs::copy(&references[from], folder.join(to)).expect("copied");
    }
    let generate = ["generate", "people", "--output", &output, "--steps", "1"];
    refused(
        exported.path(),
        &generate,
        2,
        &[
            "people shows 2 people",
            "a.jpg, b.jpg | c.jpg",
            "--allow-several",
        ],
    );
    done(
        exported.path(),
        &[&generate[..], &["--allow-several"]].concat(),
    );
    // One person's photos are fine.
    fs::remove_file(folder.join("c.jpg")).expect("removed");
    done(
        exported.path(),
        &[&generate[..], &["--into", "one"]].concat(),
    );
    let draw = |name: &str, into: &str| {
        let name = format!("name:{name}");
        let arguments = [
            "generate", &name, "--output", &output, "--steps", "1", "--into", into,
        ];
        stderr(&done(exported.path(), &arguments))
    };
    let said = draw("Nobody Atall", "unknown");
    assert!(
        said.contains("never shown to know `Nobody Atall`"),
        "{said}"
    );
    let known = exported.world.join("output/laioncele");
    let known = fs::read_dir(known).expect("a dataset");
    let known = known.map(|e| e.expect("an entry").path());
    let mut known = known.filter(|path| path.extension().is_some_and(|e| e == "parquet"));
    let known =
        crate::tables::Table::read(&known.next().expect("a shard"), &["name"]).texts("name");
    assert_eq!(draw(&known[0], "known"), "");
    let model = mini();
    let alone = [
        "generate",
        "--model",
        &model,
        "--name",
        "Mira Castellan",
        "--steps",
        "1",
        "--into",
        "alone",
    ];
    let said = stderr(&done(exported.path(), &alone));
    assert!(said.contains("cannot be told without a run"), "{said}");
}

#[test]
fn somebody_fictional_is_the_same_again() {
    let exported = Exported::new();
    let (folder, output, model) = (exported.path(), exported.output(), mini());
    let run = |seed: &str, into: &str| {
        let name = format!("{into}.safetensors");
        done(
            folder,
            &[
                "generate",
                "--fictional",
                seed,
                "--output",
                &output,
                "--steps",
                "2",
                "--into",
                into,
                "--save-name",
                &name,
            ],
        );
        (
            pixels(&folder.join(into).join("prompt-00-seed-0.png")),
            name_of(&folder.join(name)),
        )
    };
    let (first, again, other) = (run("3", "a"), run("3", "b"), run("4", "c"));
    assert_eq!(first, again);
    assert!(first.0 != other.0 && first.1 != other.1);
    // Kept, the name draws the same person.
    done(
        folder,
        &[
            "generate",
            "name-file:a.safetensors",
            "--output",
            &output,
            "--steps",
            "2",
            "--into",
            "d",
        ],
    );
    assert_eq!(pixels(&folder.join("d/prompt-00-seed-0.png")), first.0);
    refused(
        folder,
        &[
            "generate",
            "--fictional",
            "3",
            "--output",
            &output,
            "--into",
            "e",
            "--save-name",
            "a.safetensors",
        ],
        2,
        &["a.safetensors is there already"],
    );
    // A folder that knows the spread does without the run.
    let alone = [
        "generate",
        "--fictional",
        "3",
        "--encoder",
        "encoder",
        "--model",
        &model,
        "--steps",
        "2",
    ];
    done(folder, &[&alone[..], &["--into", "f"]].concat());
    done(folder, &[&alone[..], &["--into", "g"]].concat());
    let drawn = |into: &str| pixels(&folder.join(into).join("prompt-00-seed-0.png"));
    assert_eq!(drawn("f"), drawn("g"));
    assert_eq!(
        about(&folder.join("f/prompt-00-seed-0.png"))["person"]["fictional"],
        3
    );
    fs::remove_file(folder.join("encoder/name_spread.safetensors")).expect("removed");
    refused(
        folder,
        &alone,
        2,
        &["name_spread.safetensors", "encoder export"],
    );
    refused(
        folder,
        &["generate", "--fictional", "3", "--model", &model],
        2,
        &["--encoder"],
    );
}
