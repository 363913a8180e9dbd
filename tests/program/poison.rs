//! A row of which every worker dies, or at which the program panics, costs itself: it is dropped with the step and the signal,
//! and all other rows come out as ever.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;

use laioncele_core::CaptionId;
use serde_json::Value;

use crate::faults::files_below;
use crate::sandbox::{FRAME, Sandbox, stderr, stdout};
use crate::tables::Table;
use crate::test_run::TestRun;

const RUN: [&str; 6] = [
    "run",
    "--json",
    "--stage",
    "extract-names",
    "--manifest",
    "manifest.toml",
];

const CAPTIONS: [&str; 4] = [
    "Ada Lovelace at her desk",
    "Alan Turing runs a marathon",
    "Grace Hopper and her moth",
    "Kurt Godel walks home with Albert Einstein",
];

fn sandbox() -> Sandbox {
    Sandbox::with_captions(FRAME, &CAPTIONS.map(str::as_bytes))
}

/// The id of caption `number` of the sandbox.
fn caption_id(number: usize) -> u64 {
    let url = format!("https://pictures.example/{number}.jpg");
    CaptionId::of(&url, CAPTIONS[number]).0
}

fn faulty(sandbox: &Sandbox, fault: &str) -> Output {
    let mut command = sandbox.command(&RUN);
    let ended = command.env("LAIONCELE_FAULT", fault).output();
    ended.expect("the program")
}

/// Ids, reasons and details of the rows that `step` dropped, of all parts below `folder`.
fn dropped(folder: &Path, step: &str) -> Vec<(u64, String, String)> {
    let mut rows = Vec::new();
    for part in files_below(&folder.join("tables/dropped")) {
        let table = Table::read(&part, &[]);
        let columns = table.texts("reason").into_iter().zip(table.texts("detail"));
        let columns = columns.zip(table.texts("step"));
        for (id, ((reason, detail), of)) in table.numbers("id").into_iter().zip(columns) {
            if of == step && reason == "poison" {
                rows.push((id, reason, detail));
            }
        }
    }
    rows.sort();
    rows
}

fn captions_with_mentions(sandbox: &Sandbox) -> Vec<u64> {
    let mut ids = Vec::new();
    for part in files_below(&sandbox.join("laioncele-output/tables/mentions")) {
        ids.extend(Table::read(&part, &["caption_id"]).numbers("caption_id"));
    }
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[test]
fn a_caption_that_kills_every_worker_is_dropped_as_poison_and_the_run_goes_on() {
    let undisturbed = sandbox();
    let ended = undisturbed.run(&RUN);
    assert!(ended.status.success(), "{}", stderr(&ended));
    let poison = caption_id(1);
    let mut expected = captions_with_mentions(&undisturbed);
    assert!(expected.contains(&poison));
    expected.retain(|id| *id != poison);

    for (fault, how) in [
        ("abort", "extract-names: was ended by signal 6"),
        ("panic", "extract-names: panicked: a fault was asked for"),
    ] {
        let sandbox = sandbox();
        let ended = faulty(&sandbox, &format!("row.extract-names.{poison}={fault}"));
        assert!(ended.status.success(), "{fault}: {}", stderr(&ended));
        let summary: Value = serde_json::from_str(&stdout(&ended)).expect("JSON");
        assert_eq!(summary["steps"][0]["ran"], 1, "{summary}");
        let rows = dropped(&sandbox.join("laioncele-output"), "extract-names");
        assert_eq!(rows, [(poison, "poison".to_owned(), how.to_owned())]);
        assert_eq!(captions_with_mentions(&sandbox), expected, "{fault}");
        if fault == "abort" {
            assert!(
                stderr(&ended).contains("is dropped as poison"),
                "{}",
                stderr(&ended)
            );
        }
        // The key is the same: nothing is left to do, with the fault or without.
        let again = sandbox.run(&RUN);
        assert!(
            stderr(&again).contains("nothing to do"),
            "{}",
            stderr(&again)
        );
    }
}

/// Nobody can end a thread that computes: the worker is ended, and the row is found as one that kills is.
#[test]
fn a_caption_that_takes_for_ever_is_dropped_as_poison() {
    let poison = caption_id(2);
    let frame = FRAME.replace("[run]\n", "[run]\nrow_deadline_s = 1\n");
    let sandbox = Sandbox::with_captions(&frame, &CAPTIONS.map(str::as_bytes));
    let ended = faulty(&sandbox, &format!("row.extract-names.{poison}=hang"));
    assert!(ended.status.success(), "{}", stderr(&ended));
    let rows = dropped(&sandbox.join("laioncele-output"), "extract-names");
    let how = "extract-names: was ended at its deadline: a row took longer than 1 second";
    assert_eq!(rows, [(poison, "poison".to_owned(), how.to_owned())]);
    let mut expected: Vec<u64> = [0, 1, 3].map(caption_id).to_vec();
    expected.sort_unstable();
    assert_eq!(captions_with_mentions(&sandbox), expected);
    // The deadline is in no key.
    sandbox.write("manifest.toml", FRAME);
    let again = sandbox.run(&RUN);
    let text = stderr(&again);
    assert!(
        again.status.success() && text.contains("nothing to do"),
        "{text}"
    );
}

/// A worker that dies wherever it is, and not of a row, still ends the task after three attempts.
#[test]
fn a_worker_that_dies_of_no_row_gives_the_task_up() {
    let sandbox = sandbox();
    let ended = faulty(&sandbox, "begun.tables=abort");
    let text = stderr(&ended);
    assert_eq!(ended.status.code(), Some(4), "{text}");
    assert!(
        text.contains("ended by signal 6") && text.contains("3 attempts"),
        "{text}"
    );
    let ended = sandbox.run(&RUN);
    assert!(ended.status.success(), "{}", stderr(&ended));
}

/// The same for names and photos, in the middle of a whole run; what depends on the row goes on without it.
#[test]
fn names_and_photos_that_kill_workers_cost_themselves_only() {
    let finished = TestRun::finished(1);
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::build(folder.path(), 1);
    let ids = |table: &str, column: &str| -> BTreeSet<u64> {
        let parts = files_below(&finished.join("output/tables").join(table));
        let ids = parts
            .iter()
            .flat_map(|part| Table::read(part, &[column]).numbers(column));
        ids.collect()
    };
    // Names that come to nothing anyway, so that each case finds its row, whatever the cases before it took out.
    let mut names = ids("portrait_pairs", "name_id");
    names.retain(|id| !ids("known_names", "name_id").contains(id));
    let names: Vec<u64> = names.into_iter().collect();
    let photos = ids("identities", "image_id");
    let photos: Vec<u64> = photos.into_iter().collect();
    let [first, second, third, .., last] = photos[..] else {
        panic!("{} photos", photos.len());
    };
    let cases = [
        ("encode-names", "..encode-names", names[0]),
        ("generate-portraits", "..generate-portraits", names[1]),
        ("score-portraits", "..verify-portraits", names[2]),
        ("download-images", "..download-images", second),
        ("fingerprint-photos", "..dedupe-images", first),
        ("score-photos", "..verify-images", last),
        ("photo-features", "..train-encoder", third),
    ];
    for (step, stages, id) in cases {
        let mut command = world.command(&["run", "--stage", stages], "output");
        let fault = format!("row.{step}.{id}=abort");
        let ended = command.env("LAIONCELE_FAULT", fault).output();
        let ended = ended.expect("the program");
        assert!(ended.status.success(), "{step}: {}", stderr(&ended));
        let rows = dropped(&world.join("output"), step);
        assert!(!rows.is_empty(), "{step}: nothing was dropped as poison");
        for (dropped, _, detail) in rows {
            assert_eq!(dropped, id, "{step}");
            assert_eq!(detail, format!("{step}: was ended by signal 6"));
        }
    }
    let ended = world.run("output");
    assert!(ended.status.success(), "{}", stderr(&ended));
    let verified = world.command(&["verify"], "output").output();
    let verified = verified.expect("the program");
    assert!(verified.status.success(), "{}", stderr(&verified));
}
