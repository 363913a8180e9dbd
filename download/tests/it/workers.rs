//! Limits over several workers: engines of one process, and processes.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use laioncele_download::EngineSettings;

use crate::engine::{download, engine};
use crate::server::{Answer, Server, settings};

fn limited(folder: &Path) -> EngineSettings {
    EngineSettings {
        per_host: 3,
        shared: Some(folder.to_owned()),
        ..settings()
    }
}

#[test]
fn engines_that_share_a_folder_share_the_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::new(|_| Answer::ok("x").later(Duration::from_millis(5)));
    let engines: Vec<_> = (0..3)
        .map(|_| engine(&server, limited(folder.path())))
        .collect();
    std::thread::scope(|scope| {
        for engine in &engines {
            scope.spawn(|| {
                let urls = (0..100).map(|n| format!("http://a.example/{n}"));
                assert!(
                    download(engine, urls.collect())
                        .iter()
                        .all(|d| d.result == Ok(1))
                );
            });
        }
    });
    assert_eq!(server.asked("a.example").requests.len(), 300);
    assert!(server.asked("a.example").most <= 3);
}

/// The bench's downloader, which `cargo test` has built beside this program.
fn worker(server: &Server, folder: &Path, list: &Path) -> Child {
    let here = std::env::current_exe().expect("this program");
    let release = here.ancestors().nth(2).expect("the folder of the profile");
    Command::new(release.join("examples/download_photos"))
        .args(["--map", &server.address.to_string(), "--per-host", "3"])
        .arg("--shared")
        .arg(folder)
        .arg(list)
        .stdout(Stdio::null())
        .spawn()
        .expect("cargo test --release -p laioncele-download builds the example")
}

#[test]
fn processes_that_share_a_folder_share_the_limit_and_a_dead_one_frees_its_share() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::new(|request| match request.path.starts_with("/never") {
        true => Answer::Never,
        false => Answer::ok("x").later(Duration::from_millis(10)),
    });
    let list = |name: &str, paths: &str| {
        let path = folder.path().join(name);
        let urls = (0..60).map(|n| format!("http://a.example/{paths}{n}\n"));
        std::fs::write(&path, urls.collect::<String>()).expect("a list");
        path
    };
    let (ends, hangs) = (list("ends", "x"), list("hangs", "never"));
    let shared = folder.path().join("shared");

    let mut dying = worker(&server, &shared, &hangs);
    while server.asked("a.example").requests.len() < 3 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut others: Vec<_> = (0..3).map(|_| worker(&server, &shared, &ends)).collect();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(
        server.asked("a.example").requests.len(),
        3,
        "all turns are taken"
    );
    dying.kill().expect("it runs");
    dying.wait().expect("it ends");
    for other in &mut others {
        assert!(other.wait().expect("it ends").success());
    }
    let asked = server.asked("a.example");
    assert_eq!(asked.requests.len(), 3 + 180);
    // What the dead one asked for may still be open at the server when others begin.
    assert!(asked.most <= 3 + 3, "{} at once", asked.most);
}
