//! Bad input: one message that names the cause and a way out, a documented exit code, nothing
//! half-written.

use std::fs;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;

use crate::sandbox::{FRAME, Sandbox, stderr, stdout};

const RUN: [&str; 3] = ["run", "--manifest", "manifest.toml"];

#[test]
fn unknown_stage_lists_all_stages() {
    let arguments = ["run", "--stage", "merge-name"];
    insta::assert_snapshot!(Sandbox::new().show(&arguments));
}

#[test]
fn backward_stage_range_is_refused() {
    let arguments = ["plan", "--stage", "evaluate..merge-names"];
    insta::assert_snapshot!(Sandbox::new().show(&arguments));
}

#[test]
fn missing_manifest_is_named() {
    insta::assert_snapshot!(Sandbox::new().show(&RUN));
}

#[test]
fn unknown_key_suggests_the_nearest() {
    let text = format!("{FRAME}\n[dedupe_images]\nmax_distence = 1\n");
    let sandbox = Sandbox::with_manifest(&text);
    insta::assert_snapshot!(sandbox.show(&RUN));
}

#[test]
fn unknown_section_suggests_the_nearest() {
    let text = format!("{FRAME}\n[dedup_images]\nmax_distance = 1\n");
    insta::assert_snapshot!(Sandbox::with_manifest(&text).show(&RUN));
}

#[test]
fn wrong_type_names_section_and_key() {
    let text = format!("{FRAME}\n[dedupe_images]\nmax_distance = \"one\"\n");
    insta::assert_snapshot!(Sandbox::with_manifest(&text).show(&RUN));
}

#[test]
fn malformed_manifest_shows_the_line() {
    let text = FRAME.replace("seed = 1", "seed = ");
    insta::assert_snapshot!(Sandbox::with_manifest(&text).show(&RUN));
}

#[test]
fn empty_source_is_named() {
    let sandbox = Sandbox::with_manifest(FRAME);
    fs::remove_file(sandbox.join("captions/a.parquet")).expect("it was there");
    insta::assert_snapshot!(sandbox.show(&RUN));
}

#[test]
fn missing_source_is_named() {
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
fn second_run_on_a_folder_is_refused() {
    let sandbox = Sandbox::with_manifest(FRAME);
    let holder =
        r#"{"host": "ghost", "process": 4711, "user": "anna", "since": "2026-11-30T08:00:00Z"}"#;
    sandbox.write("laioncele-output/lock", holder);
    let lock = File::open(sandbox.join("laioncele-output/lock")).expect("a lock file");
    lock.lock().expect("free");
    insta::assert_snapshot!(sandbox.show(&RUN));
}

#[test]
fn output_below_a_file_is_refused() {
    let sandbox = Sandbox::with_manifest(FRAME);
    sandbox.write("data", "a file");
    let arguments = ["run", "--manifest", "manifest.toml", "--output", "data/run"];
    insta::assert_snapshot!(sandbox.show(&arguments));
}

/// A read-only folder stops an ordinary user. Root may write anywhere: then the kernel itself has
/// to refuse, which it does below /proc.
#[test]
fn read_only_output_is_refused() {
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
fn record_of_a_newer_version_is_refused() {
    let sandbox = Sandbox::with_manifest(FRAME);
    let record = "laioncele-output/ledger/dedupe-images/bucket-0000/ab.json";
    sandbox.write(record, "{\"format\": 99, \"something\": \"new\"}");
    insta::assert_snapshot!(sandbox.show(&["plan", "--manifest", "manifest.toml"]));
}

#[test]
fn damaged_record_is_named() {
    let sandbox = Sandbox::with_manifest(FRAME);
    let record = "laioncele-output/ledger/dedupe-images/bucket-0000/ab.json";
    sandbox.write(record, "{\"format\": 1");
    insta::assert_snapshot!(sandbox.show(&["plan", "--manifest", "manifest.toml"]));
}

#[test]
fn verify_without_a_run_is_refused() {
    let sandbox = Sandbox::with_manifest(FRAME);
    insta::assert_snapshot!(sandbox.show(&["verify", "--manifest", "manifest.toml"]));
    assert!(!sandbox.join("laioncele-output").exists());
}
