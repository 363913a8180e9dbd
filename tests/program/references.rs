//! `[generate_samples] choose_references`: whom the base model draws by name is no reference, in a run.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::sandbox::{program, stderr, stdout};
use crate::test_run::TestRun;

/// Somebody whom the mini SDXL was trained on.
const KNOWN: &str = "Freya Marchetti";

/// Puts what the mini SDXL draws of [`KNOWN`] among the reference photos of `world`.
fn add_known_candidate(world: &TestRun) {
    let pictures = world.join("pictures");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/mini/sdxl-mini");
    let mut command = Command::new(program());
    command.args(["generate", "--name", KNOWN, "--seed", "99", "--steps", "20"]);
    command
        .arg("--model")
        .arg(model)
        .arg("--into")
        .arg(&pictures);
    let drawn = command.output().expect("the program");
    assert!(drawn.status.success(), "{}", stderr(&drawn));
    let photo = world.join("mini/references/Freya_Marchetti.png");
    fs::copy(pictures.join("prompt-00-seed-99.png"), photo).expect("a photo");
}

/// The step `name` of a run's summary.
fn step(summary: &Value, name: &str) -> Value {
    let steps = summary["steps"].as_array().expect("steps");
    let found = steps.iter().find(|step| step["step"] == name);
    found.expect("the step").clone()
}

fn tasks_run(summary: &Value) -> u64 {
    let steps = summary["steps"].as_array().expect("steps");
    steps.iter().filter_map(|step| step["ran"].as_u64()).sum()
}

/// Somebody who is taken down goes from the tables; the photo is the user's, and is named until it is deleted.
fn forgetting_names_the_photo(world: &TestRun) {
    let taken = TestRun::json(world.alone(&["forget", "--json", KNOWN], "output"), 0);
    let named = taken["reference_photos"][0].as_str().expect("a photo");
    assert!(named.ends_with("Freya_Marchetti.png"), "{taken}");
    let list = world.join("output/references/verdicts.csv");
    let list = fs::read_to_string(list).expect("a list");
    assert!(!list.contains("Freya"), "{list}");
    let found = world
        .alone(&["verify"], "output")
        .output()
        .expect("the program");
    assert_eq!(found.status.code(), Some(5));
    assert!(
        stderr(&found).contains("delete it, then `laioncele forget`"),
        "{}",
        stderr(&found)
    );
    fs::remove_file(named).expect("removed");
    TestRun::json(world.alone(&["forget", "--json"], "output"), 0);
    let found = world
        .alone(&["verify"], "output")
        .output()
        .expect("the program");
    assert!(found.status.success(), "{}", stderr(&found));
}

#[test]
fn whom_the_base_model_draws_by_name_is_no_reference() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::copied(folder.path(), 1);
    add_known_candidate(&world);
    let chosen = "gendered = false\nchoose_references = true\nreference_threshold = ";
    world.change_manifest("gendered = false", &format!("{chosen}0.5"));
    let ended = world.run("output");
    assert!(ended.status.success(), "{}", stderr(&ended));
    let summary: Value = serde_json::from_str(&stdout(&ended)).expect("JSON");
    let people = &step(&summary, "choose-references")["balances"][0];
    assert_eq!(
        (
            &people["rows_in"],
            &people["rows_out"],
            &people["dropped"]["drawn_by_name"]
        ),
        (&5.into(), &4.into(), &1.into()),
        "{summary}"
    );
    let list = fs::read_to_string(world.join("output/references/verdicts.csv")).expect("a list");
    assert!(
        list.contains("\"Freya_Marchetti\",drawn_by_name,"),
        "{list}"
    );
    let drawn = fs::read_to_string(world.join("output/samples/references.csv")).expect("a list");
    assert!(!drawn.contains("Freya"), "{drawn}");
    let page = fs::read_to_string(world.join("output/report.html")).expect("a page");
    assert!(page.contains("data-person=\"Freya_Marchetti\" data-verdict=\"drawn_by_name\""));

    // Another threshold decides again, and draws nothing where the same people are chosen.
    world.change_manifest(&format!("{chosen}0.5"), &format!("{chosen}0.45"));
    let again = world.run("output");
    assert!(again.status.success(), "{}", stderr(&again));
    let summary: Value = serde_json::from_str(&stdout(&again)).expect("JSON");
    assert_eq!(tasks_run(&summary), 1, "{summary}");

    // More people than may be references.
    world.change_manifest("people = 4", "people = 5");
    let refused = world.run("output");
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    let told = "people = 5, but 4 of 5 candidates may be references (chosen: 4, drawn_by_name: 1)";
    assert!(stderr(&refused).contains(told), "{}", stderr(&refused));
    world.change_manifest("people = 5", "people = 4");

    forgetting_names_the_photo(&world);
}
