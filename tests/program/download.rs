//! `laioncele download` against a small server: formats, lists, classes, and what interruptions leave.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use image::ImageFormat;
use rustix::process::{Pid, Signal, kill_process};

use crate::photo_server::{PhotoServer, photo};
use crate::sandbox::{Sandbox, program, stderr, stdout};
use crate::tables::{self, Table};

const COMMON: [&str; 6] = [
    "--output",
    "out",
    "--allow-host",
    "127.0.0.1",
    "--retries",
    "0",
];

fn arguments<'a>(input: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["download", "--input", input][..], &COMMON, more].concat()
}

fn download(sandbox: &Sandbox, input: &str, more: &[&str]) -> Output {
    sandbox.run(&arguments(input, more))
}

fn succeeded(ended: &Output) {
    assert!(ended.status.success(), "{}{}", stdout(ended), stderr(ended));
}

/// Url path → class, of all shards.
fn classes(sandbox: &Sandbox) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for path in files(&sandbox.join("out"), "_status.parquet") {
        let table = Table::read(&path, &["url", "class"]);
        for (url, class) in table.texts("url").into_iter().zip(table.texts("class")) {
            let path = url.splitn(4, '/').nth(3).unwrap_or(&url).to_owned();
            found.insert(path, class);
        }
    }
    found
}

fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|e| e.expect("an entry").path());
    let mut paths: Vec<_> = paths
        .filter(|p| p.to_string_lossy().ends_with(end))
        .collect();
    paths.sort();
    paths
}

/// File name → bytes of a tar file.
fn tar(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let bytes = fs::read(path).expect("a tar file");
    let (mut found, mut rest) = (BTreeMap::new(), &bytes[..]);
    while rest.len() > 512 && rest[0] != 0 {
        let text = |range: std::ops::Range<usize>| {
            let text = String::from_utf8_lossy(&rest[range]).into_owned();
            text.trim_end_matches(['\0', ' ']).to_owned()
        };
        let length = usize::from_str_radix(&text(124..136), 8).expect("a length");
        found.insert(text(0..100), rest[512..512 + length].to_vec());
        rest = &rest[512 + length.next_multiple_of(512)..];
    }
    found
}

fn folder(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let named = |path: PathBuf| {
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        (name, fs::read(path).expect("a file"))
    };
    files(path, "").into_iter().map(named).collect()
}

fn csv(rows: &[(String, &str)]) -> String {
    let rows = rows
        .iter()
        .map(|(url, caption)| format!("{url},{caption}\n"));
    format!("url,caption\n{}", rows.collect::<String>())
}

#[test]
fn each_format_holds_the_same_photos() {
    let server = PhotoServer::start();
    let list = csv(&[
        (server.url("/photo/1.jpg"), "one"),
        (server.url("/missing"), "none"),
        (server.url("/png/2"), "two"),
    ]);
    let jpeg = photo(1, ImageFormat::Jpeg);
    let png = photo(2, ImageFormat::Png);
    for format in ["parquet", "webdataset", "files"] {
        let sandbox = Sandbox::new();
        sandbox.write("list.csv", &list);
        succeeded(&download(&sandbox, "list.csv", &["--format", format]));
        let out = sandbox.join("out");
        let samples = match format {
            "parquet" => {
                let table = Table::read(&out.join("00000.parquet"), &[]);
                assert_eq!(table.texts("key"), ["000000000", "000000002"]);
                assert_eq!(table.texts("caption"), ["one", "two"]);
                assert_eq!(table.bytes("image"), [&jpeg[..], &png]);
                continue;
            }
            "webdataset" => tar(&out.join("00000.tar")),
            _ => folder(&out.join("00000")),
        };
        let names: Vec<&str> = samples.keys().map(String::as_str).collect();
        let expected = ["jpg", "json", "txt"].map(|e| format!("000000000.{e}"));
        assert_eq!(names[..3], expected, "{format}");
        let expected = ["json", "png", "txt"].map(|e| format!("000000002.{e}"));
        assert_eq!(names[3..], expected, "{format}");
        assert_eq!(
            (&samples["000000000.jpg"], &samples["000000002.png"]),
            (&jpeg, &png)
        );
        assert_eq!(samples["000000002.txt"], b"two");
        let json: serde_json::Value =
            serde_json::from_slice(&samples["000000002.json"]).expect("JSON");
        assert_eq!(
            (&json["width"], &json["url"]),
            (&64.into(), &server.url("/png/2").into())
        );
    }
}

#[test]
fn every_kind_of_list_is_read() {
    let server = PhotoServer::start();
    let urls: Vec<String> = (1..4)
        .map(|n| server.url(&format!("/photo/{n}.jpg")))
        .collect();
    let [a, b, c] = [&urls[0], &urls[1], &urls[2]];
    let sandbox = Sandbox::new();
    sandbox.write("list.txt", format!("{a}\r\n\r\n{b}\n{c}"));
    sandbox.write("list.csv", format!("id,URL\n1,{a}\n2,{b}\n3,{c}\n"));
    sandbox.write("list.tsv", format!("{a}\tone\n{b}\ttwo\n{c}\tthree\n"));
    sandbox.write(
        "list.jsonl",
        format!("{{\"url\":\"{a}\"}}\n{{\"url\":\"{b}\"}}\n{{\"url\":\"{c}\"}}\n"),
    );
    let column = ("URL", tables::texts(&urls));
    tables::write(&sandbox.join("list.parquet"), vec![column]);
    for name in [
        "list.txt",
        "list.csv",
        "list.tsv",
        "list.jsonl",
        "list.parquet",
    ] {
        let output = format!("out-{name}");
        let ended = sandbox.run(&[
            "download",
            "--input",
            name,
            "--output",
            &output,
            "--allow-host",
            "127.0.0.1",
        ]);
        succeeded(&ended);
        assert!(
            stdout(&ended).starts_with("3 photos of 3 rows in 1 shard"),
            "{name}: {}",
            stdout(&ended)
        );
    }
    let ended = sandbox.run(&[
        "download",
        "--input",
        "list.csv",
        "--url-column",
        "link",
        "--output",
        "x",
    ]);
    assert_eq!(ended.status.code(), Some(2));
    assert!(
        stderr(&ended).contains("no column `link`"),
        "{}",
        stderr(&ended)
    );
}

#[test]
fn every_row_ends_with_its_class() {
    let server = PhotoServer::start();
    let md5_of_nothing = "d41d8cd98f00b204e9800998ecf8427e";
    let rows = [
        "/photo/1.jpg",
        "/missing",
        "/html",
        "/broken",
        "/noai/2.jpg",
        "/moved/3.jpg",
        "/flaky/4.jpg",
    ];
    let mut list = "url,md5\n".to_owned();
    for path in rows {
        list += &format!("{},\n", server.url(path));
    }
    list += &format!("{},{md5_of_nothing}\n", server.url("/photo/5.jpg"));
    list += "http://localhost:1/x,\nfile:///etc/passwd,\n,\n\"never closed,\nhttp://x y/,\n";
    let sandbox = Sandbox::new();
    sandbox.write("list.csv", list);
    succeeded(&download(&sandbox, "list.csv", &[]));
    let found = Table::read(&sandbox.join("out/00000_status.parquet"), &[]);
    assert_eq!(
        found.texts("class"),
        [
            "success",
            "http_4xx",
            "not_an_image",
            "corrupt",
            "opt_out",
            "success",
            "http_5xx",
            "hash_mismatch",
            "blocked_address",
            "bad_url",
            "bad_url",
            "malformed_row",
            "bad_url",
        ]
    );
    let details = found.texts("detail");
    assert_eq!((details[1].as_str(), details[4].as_str()), ("404", "noai"));
    let hashes = found.texts("sha256");
    assert!(hashes[0].len() == 64 && hashes[1].is_empty(), "{hashes:?}");
    let stats = fs::read(sandbox.join("out/00000_stats.json")).expect("statistics");
    let stats: serde_json::Value = serde_json::from_slice(&stats).expect("JSON");
    assert_eq!(
        (
            &stats["count"],
            &stats["successes"],
            &stats["status_dict"]["bad_url"]
        ),
        (&13.into(), &2.into(), &3.into())
    );
}

#[test]
fn failures_are_asked_for_again_and_nothing_else() {
    for format in ["parquet", "webdataset", "files"] {
        let server = PhotoServer::start();
        let list: Vec<(String, &str)> = (0..6)
            .map(|n| {
                (
                    server.url(&format!(
                        "/{}/{n}.jpg",
                        if n % 2 == 0 { "photo" } else { "flaky" }
                    )),
                    "c",
                )
            })
            .collect();
        let sandbox = Sandbox::new();
        sandbox.write("list.csv", csv(&list));
        let more = ["--format", format, "--rows-per-shard", "4"];
        succeeded(&download(&sandbox, "list.csv", &more));
        let once = server.asked();
        assert!(once.values().all(|n| *n == 1), "{once:?}");

        let again = download(&sandbox, "list.csv", &more);
        succeeded(&again);
        assert!(
            stderr(&again).contains("all shards were done before"),
            "{}",
            stderr(&again)
        );
        assert!(
            stderr(&again).contains("--retry http_5xx"),
            "{}",
            stderr(&again)
        );
        assert_eq!(server.asked(), once);

        server.heal();
        succeeded(&download(
            &sandbox,
            "list.csv",
            &[&more[..], &["--retry", "timeout,http_5xx"]].concat(),
        ));
        for (path, times) in server.asked() {
            assert_eq!(times, 1 + usize::from(path.starts_with("/flaky")), "{path}");
        }
        assert!(classes(&sandbox).values().all(|class| class == "success"));
        let whole = Sandbox::new();
        whole.write("list.csv", csv(&list));
        succeeded(&download(&whole, "list.csv", &more));
        for shard in ["00000", "00001"] {
            let bytes = |sandbox: &Sandbox| match format {
                "files" => folder(&sandbox.join("out").join(shard)),
                "webdataset" => tar(&sandbox.join("out").join(format!("{shard}.tar"))),
                _ => [(
                    String::new(),
                    fs::read(sandbox.join("out").join(format!("{shard}.parquet")))
                        .expect("a table"),
                )]
                .into(),
            };
            assert_eq!(bytes(&sandbox), bytes(&whole), "{format}");
        }
    }
}

/// The program with `arguments`, running.
fn spawn(sandbox: &Sandbox, input: &str, more: &[&str]) -> std::process::Child {
    let mut command = sandbox.command(&arguments(input, more));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the program")
}

/// Waits until the journals in `folder` hold at least `bytes`.
fn wait_for_journals(folder: &Path, bytes: u64) {
    let (mut before, mut quiet) = (0, 0);
    // What an entry has beside its photo would make up for the last photo: so half a second without a change, too.
    while before < bytes || quiet < 50 {
        let journals = if folder.exists() {
            files(folder, ".journal")
        } else {
            Vec::new()
        };
        let length = |path: &PathBuf| fs::metadata(path).map_or(0, |m| m.len());
        let now = journals.iter().map(length).sum::<u64>();
        quiet = if now == before { quiet + 1 } else { 0 };
        before = now;
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Photos that are there and one that never comes: the run hangs when all others are in the journal.
fn list_with_one_hanging(server: &PhotoServer) -> (String, u64) {
    let mut list: Vec<(String, &str)> = (0..40)
        .map(|n| (server.url(&format!("/photo/{n}.jpg")), "c"))
        .collect();
    list.push((server.url("/hanging/99.jpg"), "late"));
    let bytes = (0..40)
        .map(|n| photo(n, ImageFormat::Jpeg).len() as u64)
        .sum();
    (csv(&list), bytes)
}

#[test]
fn a_killed_run_goes_on_where_it_was() {
    let server = PhotoServer::start();
    let sandbox = Sandbox::new();
    let (list, bytes) = list_with_one_hanging(&server);
    sandbox.write("list.csv", list);
    let patient = ["--timeout", "1h", "--deadline", "1h"];
    let mut run = spawn(&sandbox, "list.csv", &patient);
    wait_for_journals(&sandbox.join("out"), bytes);
    run.kill().expect("killed");
    run.wait().expect("its end");
    assert!(!sandbox.join("out/00000.parquet").exists());

    server.heal();
    succeeded(&download(&sandbox, "list.csv", &patient));
    for (path, times) in server.asked() {
        assert_eq!(
            times,
            1 + usize::from(path.starts_with("/hanging")),
            "{path}"
        );
    }
    assert_eq!(
        Table::read(&sandbox.join("out/00000.parquet"), &["key"]).rows(),
        41
    );
    assert!(files(&sandbox.join("out"), ".journal").is_empty());
}

#[test]
fn an_interrupted_run_keeps_what_it_has() {
    let server = PhotoServer::start();
    let sandbox = Sandbox::new();
    let (list, bytes) = list_with_one_hanging(&server);
    sandbox.write("list.csv", list);
    let patient = ["--timeout", "1h", "--deadline", "1h"];
    let run = spawn(&sandbox, "list.csv", &patient);
    wait_for_journals(&sandbox.join("out"), bytes);

    let second = download(&sandbox, "list.csv", &patient);
    assert_eq!(second.status.code(), Some(3));
    assert!(
        stderr(&second).contains("another process downloads into out"),
        "{}",
        stderr(&second)
    );

    let id = Pid::from_raw(i32::try_from(run.id()).expect("an id")).expect("not 0");
    kill_process(id, Signal::INT).expect("sent");
    let ended = run.wait_with_output().expect("its end");
    assert_eq!(ended.status.code(), Some(130), "{}", stderr(&ended));
    assert!(
        stderr(&ended).contains("40 rows ended in this run"),
        "{}",
        stderr(&ended)
    );
    server.heal();
    succeeded(&download(&sandbox, "list.csv", &patient));
    assert_eq!(server.asked().values().sum::<usize>(), 42);
}

#[test]
fn a_full_disk_leaves_what_can_be_gone_on_with() {
    let server = PhotoServer::start();
    let list: Vec<(String, &str)> = (0..60)
        .map(|n| (server.url(&format!("/photo/{n}.jpg")), "c"))
        .collect();
    for format in ["parquet", "webdataset"] {
        let sandbox = Sandbox::new();
        sandbox.write("list.csv", csv(&list));
        let more = ["--format", format, "--rows-per-shard", "30"];
        // A limit on the size of files stands for the full disk: 50 blocks of 1024 (or 512) bytes.
        let line = "trap '' XFSZ; ulimit -f 50; exec \"$0\" \"$@\"";
        let mut command = Command::new("bash");
        command
            .args(["-c", line, program()])
            .args(arguments("list.csv", &more));
        let ended = command.current_dir(sandbox.path()).output().expect("bash");
        assert_eq!(ended.status.code(), Some(3), "{}", stderr(&ended));
        assert!(
            stderr(&ended).contains("free some room"),
            "{}",
            stderr(&ended)
        );
        assert!(files(&sandbox.join("out"), "_stats.json").is_empty());
        succeeded(&download(&sandbox, "list.csv", &more));
        assert!(
            classes(&sandbox).len() == 60
                && classes(&sandbox).values().all(|class| class == "success")
        );
    }
}

#[test]
fn other_settings_and_other_folders_are_refused() {
    let server = PhotoServer::start();
    let sandbox = Sandbox::new();
    sandbox.write("list.txt", server.url("/photo/1.jpg"));
    succeeded(&download(&sandbox, "list.txt", &[]));
    let ended = download(&sandbox, "list.txt", &["--format", "files"]);
    assert_eq!(ended.status.code(), Some(2));
    assert!(
        stderr(&ended).contains("format was \"parquet\", is \"files\""),
        "{}",
        stderr(&ended)
    );
    sandbox.write("mine/notes.txt", "x");
    let ended = sandbox.run(&["download", "--input", "list.txt", "--output", "mine"]);
    assert_eq!(ended.status.code(), Some(2));
    sandbox.write("list.txt", server.url("/photo/2.jpg"));
    let ended = download(&sandbox, "list.txt", &[]);
    assert_eq!(ended.status.code(), Some(2));
    assert!(stderr(&ended).contains("other input"), "{}", stderr(&ended));
}

/// `docs/download.md` has what more rows take.
#[test]
fn many_bad_urls_take_little_memory() {
    let sandbox = Sandbox::new();
    let rows = 100_000;
    let lines = (0..rows).map(|n| format!("nonsense://host-{n}.example/{n}.jpg\n"));
    sandbox.write("list.txt", lines.collect::<String>());
    let mut run = spawn(&sandbox, "list.txt", &[]);
    let mut peak = 0;
    while run.try_wait().expect("its state").is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", run.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(kilobytes.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(5));
    }
    let ended = run.wait_with_output().expect("its end");
    succeeded(&ended);
    assert!(
        stdout(&ended).starts_with("0 photos of 100,000 rows in 10 shards"),
        "{}",
        stdout(&ended)
    );
    assert!(peak > 0 && peak < 300_000, "{peak} kB");
}
