//! Photos that did not come at first: an outage, a retry, a kill, and what runs afterwards.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::sandbox::{FRAME, Sandbox, stderr, stdout};

/// Names that the mini model knows, and that the NER model finds whole in the captions below.
const NAMES: [&str; 3] = ["Freya Marchetti", "Mira Galloway", "Alaric Montrose"];
/// Photos of each name.
const PHOTOS: usize = 4;

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
per_host = 16
timeout_s = 60.0
deadline_s = 120.0
retries = 0
"#;

/// A server of photos that may be down (503) or hold its answers back.
#[derive(Clone)]
struct Web {
    address: SocketAddr,
    down: Arc<AtomicBool>,
    held: Arc<AtomicBool>,
    asked: Arc<Mutex<BTreeMap<String, usize>>>,
    answered: Arc<AtomicUsize>,
}

impl Web {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let web = Self {
            address: listener.local_addr().expect("an address"),
            down: Arc::default(),
            held: Arc::default(),
            asked: Arc::default(),
            answered: Arc::default(),
        };
        let server = web.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                std::thread::spawn(move || server.serve(&stream));
            }
        });
        web
    }

    fn serve(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        while lines.next().transpose()?.is_some_and(|l| !l.is_empty()) {}
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        *self.counts().entry(path.clone()).or_default() += 1;
        // While answers are held back, the first photo of each name is given all the same.
        while self.held.load(Ordering::SeqCst) && !path.ends_with("-0.jpg") {
            std::thread::sleep(Duration::from_millis(20));
        }
        let (status, body) = match self.down.load(Ordering::SeqCst) {
            true => ("503 Service Unavailable", Vec::new()),
            false => ("200 OK", photo(&path)),
        };
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        stream.write_all(&[head.as_bytes(), &body].concat())?;
        self.answered.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, usize>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests since the last look, by path.
    fn asked(&self) -> BTreeMap<String, usize> {
        std::mem::take(&mut *self.counts())
    }

    /// A sandbox whose captions name photos of this server.
    fn sandbox(&self) -> Sandbox {
        let manifest = format!("{FRAME}{SETTINGS}");
        let mut rows = Vec::new();
        for (n, name) in NAMES.iter().enumerate() {
            for k in 0..PHOTOS {
                let url = format!("http://{}/2019/{n}-{k}.jpg", self.address);
                rows.push((url, format!("{name} at the premiere, picture {k}")));
            }
        }
        Sandbox::with_rows(&manifest, &rows).with_runtime()
    }
}

/// A picture that differs with its path.
fn photo(path: &str) -> Vec<u8> {
    let seed = path
        .bytes()
        .fold(7u32, |a, b| a.wrapping_mul(31) + u32::from(b));
    let image = image::RgbImage::from_fn(96, 96, |x, y| {
        image::Rgb([
            (x * (seed % 5 + 1)) as u8,
            (y * (seed % 7 + 1)) as u8,
            seed as u8,
        ])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    image
        .write_to(&mut bytes, image::ImageFormat::Jpeg)
        .expect("encodes");
    bytes.into_inner()
}

const RUN: [&str; 6] = [
    "run",
    "--stage",
    "..dedupe-images",
    "--manifest",
    "manifest.toml",
    "--json",
];
const RETRY: [&str; 4] = ["retry", "--manifest", "manifest.toml", "--json"];

fn json(output: &std::process::Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_str(&stdout(output)).expect("JSON")
}

/// Rows that came in and went out of a step, by the summary of a run.
fn images(summary: &serde_json::Value, step: &str) -> (u64, u64, u64) {
    let steps = summary["steps"].as_array().expect("steps");
    let step = steps.iter().find(|s| s["step"] == step).expect("the step");
    let number = |value: &serde_json::Value| value.as_u64().expect("a number");
    let balance = &step["balances"][0];
    (
        number(&step["ran"]),
        number(&balance["rows_in"]),
        number(&balance["rows_out"]),
    )
}

#[test]
fn after_an_outage_a_retry_gets_what_failed_and_nothing_else_is_asked_for() {
    let web = Web::start();
    let sandbox = web.sandbox();
    web.down.store(true, Ordering::SeqCst);
    let summary = json(&sandbox.run(&RUN));
    let all = (NAMES.len() * PHOTOS) as u64;
    let (_, asked, came) = images(&summary, "download-images");
    assert_eq!((asked, came), (all, 0), "{summary}");
    assert_eq!(summary["web"]["may_pass"]["http_5xx"], all);
    assert_eq!(summary["web"]["years"]["2019"]["dropped"]["http_5xx"], all);
    web.down.store(false, Ordering::SeqCst);
    web.asked();

    // Another run asks for nothing, and says how to.
    let again = sandbox.run(&RUN[..5]);
    assert!(stdout(&again).contains("laioncele retry --class http_5xx --output laioncele-output"));
    assert_eq!(web.asked(), BTreeMap::new());

    let dry = json(&sandbox.run(&[&RETRY[..], &["--dry-run"]].concat()));
    assert_eq!(dry["failed_before"]["http_5xx"], all);
    assert_eq!(web.asked(), BTreeMap::new());
    let other = json(&sandbox.run(&[&RETRY[..], &["--class", "timeout"]].concat()));
    assert_eq!(
        (other["recovered"].as_u64(), web.asked().len()),
        (Some(0), 0)
    );

    let retried = json(&sandbox.run(&RETRY));
    assert_eq!(retried["recovered"], all, "{retried}");
    let asked = web.asked();
    assert!(
        asked.len() as u64 == all && asked.values().all(|n| *n == 1),
        "{asked:?}"
    );

    let summary = json(&sandbox.run(&RUN));
    assert_eq!(web.asked(), BTreeMap::new());
    let (ran, _, came) = images(&summary, "download-images");
    assert_eq!((ran, came), (0, all));
    let (ran, photos, _) = images(&summary, "dedupe-images");
    assert!(ran > 0 && photos == all, "{summary}");
    let verified = sandbox.run(&["verify", "--manifest", "manifest.toml"]);
    assert!(verified.status.success(), "{}", stderr(&verified));
}

/// What had arrived is not asked for again.
#[test]
fn a_killed_run_goes_on_where_it_was() {
    let web = Web::start();
    let sandbox = web.sandbox();
    web.held.store(true, Ordering::SeqCst);
    let mut run = sandbox.command(&RUN).spawn().expect("the program");
    let deadline = Instant::now() + Duration::from_mins(5);
    while web.answered.load(Ordering::SeqCst) < NAMES.len() {
        assert!(Instant::now() < deadline, "the photos were not asked for");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Outcomes are on disk a moment after they have arrived.
    std::thread::sleep(Duration::from_secs(1));
    run.kill().expect("it runs");
    run.wait().expect("its end");
    web.held.store(false, Ordering::SeqCst);
    web.asked();
    let summary = json(&sandbox.run(&RUN));
    let (_, _, came) = images(&summary, "download-images");
    assert_eq!(came, (NAMES.len() * PHOTOS) as u64);
    let asked = web.asked();
    let firsts = asked.keys().filter(|path| path.ends_with("-0.jpg"));
    assert_eq!(firsts.count(), 0, "{asked:?}");
}
