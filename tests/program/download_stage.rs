//! The download stage through the binary when it is disturbed: by a full disk, by Ctrl-C. What had arrived is kept and
//! not asked for again, and the tables are those of a run that nothing disturbed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use image::ImageFormat;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::photo_server::{PhotoServer, photo};
use crate::sandbox::{FRAME, Sandbox, program, stderr, stdout};

/// Names that the mini model knows, and that the NER model finds whole in the captions below.
const NAMES: [&str; 3] = ["Freya Marchetti", "Mira Galloway", "Alaric Montrose"];
/// Photos of each name.
const PHOTOS: usize = 20;
const ALL: usize = NAMES.len() * PHOTOS;

/// Whoever waits for an answer waits as long as the test.
const SETTINGS: &str = r#"
[merge_names]
min_images = 1

[generate_portraits]
guidance = 3.0
steps = 20
width = 128
height = 128

[download_images]
allow_hosts = ["127.0.0.1"]
min_side = 16
timeout_s = 3600.0
deadline_s = 3600.0
retries = 0
"#;

const BEFORE: [&str; 5] = [
    "run",
    "--stage",
    "..verify-portraits",
    "--manifest",
    "manifest.toml",
];
const RUN: [&str; 6] = [
    "run",
    "--stage",
    "..dedupe-images",
    "--manifest",
    "manifest.toml",
    "--json",
];

/// A run whose names are known and whose photos have not been asked for. Photo 0 of `hanging` names never comes.
fn before_the_download(server: &PhotoServer, hanging: usize) -> Sandbox {
    let mut rows = Vec::new();
    for (n, name) in NAMES.iter().enumerate() {
        for k in 0..PHOTOS {
            let number = n * PHOTOS + k;
            let kind = if k == 0 && n < hanging {
                "hanging"
            } else {
                "photo"
            };
            let url = server.url(&format!("/{kind}/{number}.jpg"));
            rows.push((url, format!("{name} at the premiere, picture {k}")));
        }
    }
    let manifest = format!("{FRAME}{SETTINGS}");
    let sandbox = Sandbox::with_rows(&manifest, &rows).with_runtime();
    let ended = sandbox.run(&BEFORE);
    assert!(ended.status.success(), "{}", stderr(&ended));
    sandbox
}

/// `run --json` to its end, which must be a good one.
fn run(sandbox: &Sandbox) -> Value {
    let ended = sandbox.run(&RUN);
    assert!(ended.status.success(), "{}", stderr(&ended));
    serde_json::from_str(&stdout(&ended)).expect("JSON")
}

/// Photos that download-images let through, by the summary of a run.
fn photos(summary: &Value) -> u64 {
    let steps = summary["steps"].as_array().expect("steps");
    let step = steps.iter().find(|s| s["step"] == "download-images");
    let balance = &step.expect("the step")["balances"][0];
    assert_eq!(balance["rows_in"], ALL, "{summary}");
    balance["rows_out"].as_u64().expect("a number")
}

fn assert_sound(sandbox: &Sandbox) {
    let verified = sandbox.run(&["verify", "--manifest", "manifest.toml"]);
    assert!(verified.status.success(), "{}", stderr(&verified));
}

/// Digests of all tables.
fn digests(sandbox: &Sandbox) -> String {
    let ended = sandbox.run(&["verify", "--digests", "--manifest", "manifest.toml"]);
    assert!(ended.status.success(), "{}", stderr(&ended));
    stdout(&ended)
}

/// The outcomes of tasks that are not done.
fn journals(sandbox: &Sandbox) -> Vec<PathBuf> {
    let folder = sandbox.join("laioncele-output/cache/downloads");
    let entries = fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.collect()
}

fn bytes(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}

/// The run below a limit on the size of files, which stands for a full disk, in blocks of 1024 bytes.
fn run_with_files_of(blocks: u32, sandbox: &Sandbox) -> Output {
    let line = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    let mut command = Command::new("bash");
    command.args(["-c", &line, program()]).args(RUN);
    command.env_remove("RUST_LOG").current_dir(sandbox.path());
    command.output().expect("bash")
}

#[test]
fn a_full_disk_stops_the_stage_and_loses_nothing() {
    let server = PhotoServer::start();
    let sandbox = before_the_download(&server, 0);
    let ended = run_with_files_of(40, &sandbox);
    let said = stderr(&ended);
    assert_eq!(ended.status.code(), Some(3), "{said}");
    assert!(said.contains("cache/downloads"), "{said}");
    let advice = "make room on the disk and run the same command again";
    assert!(said.contains(advice), "{said}");
    // What was committed is whole, and what arrived lies beside it.
    assert_sound(&sandbox);
    assert!(
        journals(&sandbox).iter().any(|path| bytes(path) > 8),
        "{said}"
    );
    let first = server.asked();

    assert_eq!(photos(&run(&sandbox)), ALL as u64);
    let both = server.asked();
    let again = first.iter().filter(|(path, times)| both[*path] > **times);
    assert!(again.count() < first.len(), "all was asked for again");
    assert_eq!(both.len(), ALL);
    assert_sound(&sandbox);
    assert!(journals(&sandbox).is_empty());

    // Committed parts have the urls in them: only the same server gives the same tables.
    let straight = digests(&sandbox);
    fs::remove_dir_all(sandbox.join("laioncele-output")).expect("removed");
    run(&sandbox);
    assert_eq!(digests(&sandbox), straight);
}

/// Waits until the journals hold all photos that come.
fn wait_for_journals(sandbox: &Sandbox, run: &mut Child, hanging: usize) {
    let came = (0..ALL).filter(|number| number % PHOTOS != 0 || number / PHOTOS >= hanging);
    let photos = came.map(|number| photo(number as u64, ImageFormat::Jpeg).len() as u64);
    let least: u64 = photos.sum();
    let deadline = Instant::now() + Duration::from_mins(5);
    while journals(sandbox)
        .iter()
        .map(|path| bytes(path))
        .sum::<u64>()
        < least
    {
        assert!(run.try_wait().expect("its state").is_none(), "it ended");
        assert!(Instant::now() < deadline, "the photos did not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn an_interrupt_keeps_what_has_come_and_gives_up_the_rest() {
    let server = PhotoServer::start();
    let hanging = 2;
    let sandbox = before_the_download(&server, hanging);
    let mut command = sandbox.command(&RUN);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut interrupted = command.spawn().expect("the program");
    wait_for_journals(&sandbox, &mut interrupted, hanging);
    kill_process(Pid::from_child(&interrupted), Signal::INT).expect("it runs");
    // Two answers would take an hour: the run ends because they are given up.
    let ended = interrupted.wait_with_output().expect("its end");
    let said = stderr(&ended);
    assert_eq!(ended.status.code(), Some(130), "{said}");
    assert!(said.contains("finished tasks are kept"), "{said}");
    assert_sound(&sandbox);

    server.heal();
    assert_eq!(photos(&run(&sandbox)), ALL as u64);
    for (path, times) in server.asked() {
        let expected = 1 + usize::from(path.starts_with("/hanging"));
        assert_eq!(times, expected, "{path}");
    }
    assert_sound(&sandbox);
    assert!(journals(&sandbox).is_empty());
}
