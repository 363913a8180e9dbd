//! Who is asked how often: resuming, equal urls, results that are taken over, retries.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use laioncele_core::ledger::Record;
use laioncele_core::reachability::Reached;
use laioncele_core::spec::{Again, HostMap};
use laioncele_core::table::{Attempt, Candidate, Dropped, Photo};
use laioncele_core::testing::StepHarness;
use laioncele_core::{
    Digest, DropReason, ImageId, NameId, Part, Partition, Row, StageError, TableId,
};

use crate::web::{answer, jpeg, known};

type AnyError = Box<dyn std::error::Error>;

const BUCKET: Partition = Partition::Bucket(0);
const NAME: NameId = NameId(7);

/// A server that counts requests. While it is down, paths that begin with `/sometimes` get 503.
#[derive(Clone)]
struct Web {
    address: SocketAddr,
    up: Arc<AtomicBool>,
    asked: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Web {
    fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let web = Self {
            address: listener.local_addr()?,
            up: Arc::default(),
            asked: Arc::default(),
        };
        let server = web.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                std::thread::spawn(move || server.serve(&stream));
            }
        });
        Ok(web)
    }

    fn serve(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        while lines.next().transpose()?.is_some_and(|l| !l.is_empty()) {}
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        self.count(&path);
        if path.starts_with("/slow") {
            std::thread::sleep(Duration::from_millis(300));
        }
        let up = self.up.load(Ordering::SeqCst);
        stream.write_all(&match path.as_str() {
            p if p.starts_with("/gone") => answer("404 Not Found", "", b""),
            p if p.starts_with("/small") => answer("200 OK", "", &jpeg(70)),
            p if p.starts_with("/sometimes") && !up => answer("503 Down", "", b""),
            _ => answer("200 OK", "", &jpeg(96)),
        })
    }

    fn count(&self, path: &str) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        *asked.entry(path.to_owned()).or_default() += 1;
    }

    /// Requests since the last look, by path.
    fn asked(&self) -> BTreeMap<String, usize> {
        std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn harness(&self, folder: &Path, settings: &str) -> Result<StepHarness, AnyError> {
        let text = format!("[download_images]\nretries = 0\nbackoff_s = 0.01\n{settings}");
        let mut harness = StepHarness::new(folder, &text)?;
        let (suffix, address) = (".example".to_owned(), self.address);
        harness.runtime_environment.host_map = Some(HostMap { suffix, address });
        Ok(harness)
    }
}

fn candidate(name: NameId, path: &str) -> Candidate {
    let url = format!("http://a.example{path}");
    Candidate {
        name_id: name,
        image_id: ImageId::of(&url),
        url,
        caption: "Mira Castellan at the premiere".to_owned(),
        hash: None,
        image_at: None,
    }
}

fn inputs(harness: &StepHarness, paths: &[&str]) -> Result<Vec<Part>, AnyError> {
    let rows = paths.iter().map(|path| candidate(NAME, path)).collect();
    Ok(vec![
        harness.part(&BUCKET, rows)?,
        harness.part(&BUCKET, vec![known(NAME)])?,
    ])
}

fn run(harness: &StepHarness, paths: &[&str]) -> Result<Record, AnyError> {
    let step = laioncele_download_images::steps().remove(0);
    Ok(harness.run(&*step, &BUCKET, inputs(harness, paths)?)?)
}

fn digests(record: &Record, table: TableId) -> Vec<Digest> {
    record.outputs_of(table).map(|part| part.digest).collect()
}

fn counts(pairs: &[(&str, usize)]) -> BTreeMap<String, usize> {
    let pairs = pairs.iter();
    pairs.map(|(path, n)| ((*path).to_owned(), *n)).collect()
}

#[test]
fn equal_urls_of_several_names_are_asked_for_once() -> Result<(), AnyError> {
    let (web, folder) = (Web::start()?, tempfile::tempdir()?);
    let harness = web.harness(folder.path(), "")?;
    let names = [NameId(3), NameId(5)];
    let rows = names.iter().flat_map(|name| {
        let paths = ["/x.jpg", "/gone.jpg"];
        paths.map(|path| candidate(*name, path))
    });
    let inputs = vec![
        harness.part(&BUCKET, rows.collect())?,
        harness.part(&BUCKET, names.map(known).to_vec())?,
    ];
    let step = laioncele_download_images::steps().remove(0);
    let record = harness.run(&*step, &BUCKET, inputs)?;
    assert_eq!(web.asked(), counts(&[("/gone.jpg", 1), ("/x.jpg", 1)]));
    let photos = harness.rows::<Photo>(&record)?;
    let of: Vec<NameId> = photos.iter().map(|photo| photo.name_id).collect();
    assert_eq!(of, names, "in the order of the candidates");
    let parts = record.outputs_of(TableId::Reachability);
    let dims = &harness.manifest.embedding_dims;
    let reached = Reached::read(&harness.store, dims, parts, 9)?;
    assert_eq!((reached.total.photos, reached.total.urls()), (1, 2));
    assert_eq!(reached.hosts[0].0, "a.example");
    Ok(())
}

#[test]
fn a_task_that_was_stopped_asks_for_what_had_not_arrived() -> Result<(), AnyError> {
    let (web, folder) = (Web::start()?, tempfile::tempdir()?);
    let harness = web.harness(folder.path(), "per_host = 1\n")?;
    let paths = [
        "/1.jpg",
        "/2.jpg",
        "/gone.jpg",
        "/slow-3.jpg",
        "/slow-4.jpg",
        "/slow-5.jpg",
    ];
    let step = laioncele_download_images::steps().remove(0);
    let mut task = harness.task(&*step, &BUCKET, inputs(&harness, &paths)?)?;
    let cancelled = task.cancelled();
    let stopped = std::thread::scope(|scope| {
        scope.spawn(|| {
            let at_work = || {
                web.asked
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .len()
            };
            while at_work() < 5 {
                std::thread::sleep(Duration::from_millis(5));
            }
            cancelled.store(true, Ordering::SeqCst);
        });
        step.run(&mut task)
    });
    assert!(matches!(stopped, Err(StageError::Cancelled)), "{stopped:?}");
    drop(task);
    let before = web.asked();
    let record = run(&harness, &paths)?;
    let again = web.asked();
    for path in ["/1.jpg", "/2.jpg", "/gone.jpg"] {
        assert_eq!(
            (before.get(path), again.get(path)),
            (Some(&1), None),
            "{path}"
        );
    }
    // The same bytes as of a run that nobody stopped.
    let other = tempfile::tempdir()?;
    let undisturbed = run(&web.harness(other.path(), "per_host = 1\n")?, &paths)?;
    for table in [TableId::Photos, TableId::Reachability, TableId::Dropped] {
        assert_eq!(
            digests(&record, table),
            digests(&undisturbed, table),
            "{table}"
        );
    }
    let left = std::fs::read_dir(folder.path().join("output/cache/downloads"))?;
    assert_eq!(left.count(), 0, "the journal is gone");
    Ok(())
}

#[test]
fn a_changed_bucket_asks_only_for_what_is_new() -> Result<(), AnyError> {
    let (web, folder) = (Web::start()?, tempfile::tempdir()?);
    let harness = web.harness(folder.path(), "")?;
    run(&harness, &["/x.jpg", "/gone.jpg", "/small.jpg"])?;
    web.asked();
    let more = ["/x.jpg", "/gone.jpg", "/small.jpg", "/new.jpg"];
    let record = run(&harness, &more)?;
    assert_eq!(web.asked(), counts(&[("/new.jpg", 1)]));
    let other = tempfile::tempdir()?;
    let fresh = run(&web.harness(other.path(), "")?, &more)?;
    for table in [TableId::Photos, TableId::Reachability, TableId::Dropped] {
        assert_eq!(digests(&record, table), digests(&fresh, table), "{table}");
    }
    Ok(())
}

/// Peak memory of this process in bytes, since it was last reset.
fn peak() -> Result<u64, AnyError> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(kilobytes.unwrap_or_default().parse::<u64>()? * 1024)
}

/// Prints what memory grows with: `LAIONCELE_BAD_URLS=1000000 cargo test --release -p laioncele-download-images -- --nocapture many_bad`.
#[test]
fn many_bad_urls_take_little_memory() -> Result<(), AnyError> {
    let number = std::env::var("LAIONCELE_BAD_URLS").unwrap_or_else(|_| "2000".to_owned());
    let number: usize = number.parse()?;
    let (web, folder) = (Web::start()?, tempfile::tempdir()?);
    let harness = web.harness(folder.path(), "")?;
    let mut parts = vec![harness.part(&BUCKET, vec![known(NAME)])?];
    for start in (0..number).step_by(100_000) {
        let rows = (start..number.min(start + 100_000)).map(|k| Candidate {
            url: format!("htp:/no url at all, number {k}"),
            image_id: ImageId(k as u64),
            ..candidate(NAME, "")
        });
        parts.push(harness.part(&BUCKET, rows.collect())?);
    }
    std::fs::write("/proc/self/clear_refs", "5")?;
    let (before, begun) = (peak()?, std::time::Instant::now());
    let step = laioncele_download_images::steps().remove(0);
    let record = harness.run(&*step, &BUCKET, parts)?;
    let dropped = &record.balances[0].dropped;
    assert_eq!(dropped.get(&DropReason::BadUrl), Some(&(number as u64)));
    println!(
        "{number} urls: {} MB on top of {} MB, {:.1} s",
        (peak()? - before) / 1_000_000,
        before / 1_000_000,
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

/// All attempts that a run has kept, by file, each with url path, number and class.
fn attempts(
    harness: &StepHarness,
) -> Result<Vec<Vec<(String, u32, Option<DropReason>)>>, AnyError> {
    let mut files = Vec::new();
    for path in harness.store.list("attempts")? {
        let part = Part {
            table: Attempt::TABLE,
            partition: BUCKET,
            bytes: harness.store.get(&path)?.len() as u64,
            path,
            rows: 0,
            digest: Digest::of(b""),
        };
        let dims = &harness.manifest.embedding_dims;
        let rows = laioncele_core::part::read_rows::<Attempt>(&harness.store, &part, dims)?;
        let row = |row: Attempt| {
            assert!(row.attempt == 0 || row.started > 1_600_000_000_000);
            let path = row.url.trim_start_matches("http://a.example").to_owned();
            (path, row.attempt, row.reason)
        };
        files.push(rows.into_iter().map(row).collect());
    }
    Ok(files)
}

#[test]
fn a_retry_asks_for_its_classes_only_and_keeps_the_rest() -> Result<(), AnyError> {
    let (web, folder) = (Web::start()?, tempfile::tempdir()?);
    let harness = web.harness(folder.path(), "")?;
    let paths = [
        "/x.jpg",
        "/sometimes-1.jpg",
        "/gone.jpg",
        "/sometimes-2.jpg",
    ];
    let first = run(&harness, &paths)?;
    assert_eq!(harness.rows::<Photo>(&first)?.len(), 1);
    web.asked();
    web.up.store(true, Ordering::SeqCst);
    let again = Again {
        replaces: first.attempt.clone(),
        reasons: vec![DropReason::Http5xx],
        hosts: Vec::new(),
        before: None,
    };
    let step = laioncele_download_images::steps().remove(0);
    let retried = harness.again(&*step, &BUCKET, inputs(&harness, &paths)?, again)?;
    let expected = counts(&[("/sometimes-1.jpg", 1), ("/sometimes-2.jpg", 1)]);
    assert_eq!(web.asked(), expected);
    assert_eq!(retried.key, first.key);
    // The old part stays as it is, and the new photos are one more.
    let (old, new) = (
        digests(&first, TableId::Photos),
        digests(&retried, TableId::Photos),
    );
    assert_eq!((old.len(), new.len(), new[0]), (1, 2, old[0]));
    assert_eq!(harness.rows::<Photo>(&retried)?.len(), 3);
    let dropped = harness.rows::<Dropped>(&retried)?;
    assert_eq!(dropped.len(), 1);
    assert_eq!(dropped[0].reason, DropReason::Http4xx);
    let balance = &retried.balances[0];
    assert_eq!((balance.rows_in, balance.rows_out), (4, 3));
    let parts = retried.outputs_of(TableId::Reachability);
    let reached = Reached::read(&harness.store, &harness.manifest.embedding_dims, parts, 9)?;
    let total: Vec<_> = reached.total.counts().collect();
    assert_eq!(total, [(None, 3), (Some(DropReason::Http4xx), 1)]);
    // Both histories are there.
    let files = attempts(&harness)?;
    assert_eq!(files.len(), 2);
    let failed = (paths[1].to_owned(), 1, Some(DropReason::Http5xx));
    assert!(files[0].contains(&failed), "{files:?}");
    let came = (paths[1].to_owned(), 1, None);
    assert!(files[1].contains(&came) && files[1].len() == 2, "{files:?}");
    Ok(())
}

#[test]
fn a_retry_may_be_for_a_host_or_for_what_is_old_only() -> Result<(), AnyError> {
    let (web, folder) = (Web::start()?, tempfile::tempdir()?);
    let harness = web.harness(folder.path(), "")?;
    let paths = ["/sometimes.jpg"];
    let first = run(&harness, &paths)?;
    web.asked();
    web.up.store(true, Ordering::SeqCst);
    let step = laioncele_download_images::steps().remove(0);
    for (hosts, before) in [
        (vec!["b.example".to_owned()], None),
        (Vec::new(), Some(1000)),
    ] {
        let again = Again {
            replaces: first.attempt.clone(),
            reasons: vec![DropReason::Http5xx],
            hosts,
            before,
        };
        let mut task = harness.task(&*step, &BUCKET, inputs(&harness, &paths)?)?;
        StepHarness::try_again(&mut task, again);
        step.run(&mut task)?;
        assert_eq!(web.asked(), counts(&[]));
    }
    Ok(())
}
