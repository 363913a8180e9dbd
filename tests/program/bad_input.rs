//! Bad input: one clear message that names the thing and the way out, a documented exit code, nothing half written.

use std::fs;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;

use crate::sandbox::{FRAME, Sandbox, stderr, stdout};

const RUN: [&str; 3] = ["run", "--manifest", "manifest.toml"];

#[test]
fn an_unknown_stage_gets_the_list() {
    let arguments = ["run", "--stage", "merge-name"];
    insta::assert_snapshot!(Sandbox::new().show(&arguments));
}

#[test]
fn a_backward_range_is_empty() {
    let arguments = ["plan", "--stage", "evaluate..merge-names"];
    insta::assert_snapshot!(Sandbox::new().show(&arguments));
}

#[test]
fn a_missing_manifest() {
    insta::assert_snapshot!(Sandbox::new().show(&RUN));
}

#[test]
fn an_unknown_key_gets_the_nearest_valid_one() {
    let text = format!("{FRAME}\n[dedupe_images]\nmax_distence = 1\n");
    let sandbox = Sandbox::with_manifest(&text);
    insta::assert_snapshot!(sandbox.show(&RUN));
}

#[test]
fn an_unknown_section_gets_the_nearest_valid_one() {
    let text = format!("{FRAME}\n[dedup_images]\nmax_distance = 1\n");
    insta::assert_snapshot!(Sandbox::with_manifest(&text).show(&RUN));
}

#[test]
fn a_wrong_type_is_named() {
    let text = format!("{FRAME}\n[dedupe_images]\nmax_distance = \"one\"\n");
    insta::assert_snapshot!(Sandbox::with_manifest(&text).show(&RUN));
}

#[test]
fn no_toml_at_all() {
    let text = FRAME.replace("seed = 1", "seed = ");
    insta::assert_snapshot!(Sandbox::with_manifest(&text).show(&RUN));
}

#[test]
fn an_empty_source() {
    let sandbox = Sandbox::with_manifest(FRAME);
    fs::remove_file(sandbox.join("captions/a.parquet")).expect("it was there");
    insta::assert_snapshot!(sandbox.show(&RUN));
}

#[test]
fn a_missing_source() {
    let sandbox = Sandbox::new();
    sandbox.write("manifest.toml", FRAME);
    insta::assert_snapshot!(sandbox.show(&RUN));
}

/// What `run` says of a source file it cannot use, and what `doctor` says.
fn verdicts(sandbox: &Sandbox) -> [String; 2] {
    let ended = sandbox.run(&RUN);
    assert_eq!(ended.status.code(), Some(3));
    assert!(!sandbox.join("laioncele-output/tables").exists());
    let doctor = sandbox.run(&["doctor", "--json", "--manifest", "manifest.toml"]);
    let checks: Vec<serde_json::Value> = serde_json::from_str(&stdout(&doctor)).expect("JSON");
    let source = checks.iter().find(|check| check["check"] == "source");
    let detail = source.and_then(|check| check["detail"].as_str());
    [stderr(&ended), detail.expect("a detail").to_owned()]
}

#[test]
fn an_unusable_source_file_stops_the_run_before_any_work_as_doctor_says() {
    let sandbox = Sandbox::with_manifest(FRAME);
    let [run, doctor] = verdicts(&sandbox);
    assert!(doctor.contains("a.parquet: not a Parquet file"), "{doctor}");
    assert!(run.contains(&doctor), "{run}");

    let columns = FRAME.replace("caption = \"TEXT\"", "caption = \"TEXTS\"");
    let [run, doctor] = verdicts(&Sandbox::with_captions(&columns, &[b"A caption"]));
    assert!(doctor.contains("no column `TEXTS`"), "{doctor}");
    assert!(run.contains(&doctor), "{run}");
}

#[test]
fn two_runs_on_one_folder() {
    let sandbox = Sandbox::with_manifest(FRAME);
    sandbox.write("laioncele-output/lock", "4711\n");
    let lock = File::open(sandbox.join("laioncele-output/lock")).expect("a lock file");
    lock.lock().expect("free");
    insta::assert_snapshot!(sandbox.show(&RUN));
}

#[test]
fn an_output_below_a_file() {
    let sandbox = Sandbox::with_manifest(FRAME);
    sandbox.write("data", "a file");
    let arguments = ["run", "--manifest", "manifest.toml", "--output", "data/run"];
    insta::assert_snapshot!(sandbox.show(&arguments));
}

/// A read-only folder stops an ordinary user. Root may write anywhere: then the kernel itself has to refuse, which
/// it does below /proc.
#[test]
fn a_read_only_output() {
    let sandbox = Sandbox::with_manifest(FRAME);
    sandbox.write("frozen/probe", "");
    let frozen = sandbox.join("frozen");
    fs::set_permissions(&frozen, fs::Permissions::from_mode(0o555)).expect("own folder");
    let refused = fs::write(frozen.join("second"), "").is_err();
    let output = if refused {
        "frozen/run"
    } else {
        "/proc/self/run"
    };
    let arguments = ["run", "--manifest", "manifest.toml", "--output", output];
    let ended = sandbox.run(&arguments);
    fs::set_permissions(&frozen, fs::Permissions::from_mode(0o755)).expect("own folder");
    let text = stderr(&ended);
    assert_eq!(ended.status.code(), Some(3), "{text}");
    assert!(
        text.starts_with("error: ") && text.contains(output),
        "{text}"
    );
    assert!(!sandbox.join(output).exists());
}

#[test]
fn a_record_of_a_newer_version() {
    let sandbox = Sandbox::with_manifest(FRAME);
    let record = "laioncele-output/ledger/dedupe-images/bucket-0000/ab.json";
    sandbox.write(record, "{\"format\": 2, \"something\": \"new\"}");
    insta::assert_snapshot!(sandbox.show(&["plan", "--manifest", "manifest.toml"]));
}

#[test]
fn a_damaged_record() {
    let sandbox = Sandbox::with_manifest(FRAME);
    let record = "laioncele-output/ledger/dedupe-images/bucket-0000/ab.json";
    sandbox.write(record, "{\"format\": 1");
    insta::assert_snapshot!(sandbox.show(&["plan", "--manifest", "manifest.toml"]));
}

#[test]
fn nothing_to_verify() {
    let sandbox = Sandbox::with_manifest(FRAME);
    insta::assert_snapshot!(sandbox.show(&["verify", "--manifest", "manifest.toml"]));
    assert!(!sandbox.join("laioncele-output").exists());
}
