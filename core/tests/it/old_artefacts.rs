//! What version 0.1.0 wrote is still read: `fixtures/v0.1.0` holds a ledger record and its parts, and the lines between
//! a coordinator and a worker.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use laioncele_core::ledger::{COMMITTED_FORMAT, Ledger, PrunedPart, RECORD_FORMAT, Record};
use laioncele_core::part::{read_batches, read_rows};
use laioncele_core::protocol::{FailureKind, FromWorker, ToWorker};
use laioncele_core::spec::{Progress, TaskSpec};
use laioncele_core::store::Store;
use laioncele_core::table::{Dropped, Identity, Name, RowsDigest};
use laioncele_core::{
    CoreError, Digest, DropReason, EmbeddingDims, NameId, Part, Partition, Row, StageName, TableId,
    Unit,
};

/// Those of the embedded world.
const DIMS: EmbeddingDims = EmbeddingDims {
    name_tokens: 8,
    name_channels: 128,
    face: 512,
    features: 128,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/v0.1.0")
}

fn text(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).expect("a fixture")
}

fn record() -> Record {
    serde_json::from_str(&text("record.json")).expect("a record of version 0.1.0")
}

/// The part at `name`, checked against its entry in the record where it has one.
fn part(table: TableId, name: &str) -> Part {
    let bytes = std::fs::read(folder().join(name)).expect("a fixture");
    let digest = Digest::of(&bytes);
    if let Some(written) = record().outputs_of(table).next() {
        assert_eq!(
            (written.digest, written.bytes),
            (digest, bytes.len() as u64)
        );
    }
    Part {
        table,
        partition: Partition::Bucket(2),
        path: name.to_owned(),
        rows: 0,
        bytes: bytes.len() as u64,
        digest,
    }
}

/// The rows of a part whose columns are still the declared ones.
fn rows<R: Row>(name: &str) -> Result<Vec<R>, CoreError> {
    let (store, part) = (Store::local(&folder())?, part(R::TABLE, name));
    for batch in read_batches(store.get(name)?, name)? {
        let (found, declared) = (batch?.schema(), R::schema(&DIMS));
        assert_eq!(found.fields(), declared.fields(), "{}", R::TABLE);
    }
    read_rows(&store, &part, &DIMS)
}

#[test]
fn record_is_read_with_its_old_words() {
    let record = record();
    assert_eq!((record.format, record.stage), (1, StageName::FilterCounts));
    assert_eq!(record.partition, Partition::Bucket(2));
    assert_eq!(
        record.started,
        UNIX_EPOCH + Duration::from_secs(1_795_946_581)
    );
    assert_eq!(record.balances.len(), 2);
    let images = &record.balances[1];
    assert_eq!(
        (images.unit, images.rows_in, images.rows_out),
        (Unit::Image, 129, 122)
    );
    assert_eq!(images.dropped[&DropReason::TooFewImages], 7);
}

#[test]
fn record_key_is_still_made_the_same_way() {
    let record = record();
    assert_eq!(
        record.key_parts.key(&record.step, &record.partition),
        record.key
    );
    let spec: TaskSpec = serde_json::from_str(&text("task.json")).expect("a task");
    assert_eq!((spec.key, spec.key_parts), (record.key, record.key_parts));
}

#[test]
fn record_is_written_in_the_new_format_and_read_back() -> Result<(), CoreError> {
    let folder = tempfile::tempdir().map_err(|e| CoreError::from_io(Path::new("tempdir"), e))?;
    let store = Store::local(folder.path())?;
    let new = Record {
        format: COMMITTED_FORMAT,
        ..record()
    };
    let ledger = Ledger::new(store.clone());
    assert!(ledger.commit(&new)?);
    assert_eq!(ledger.all()?, [new]);
    let path = store.list("ledger")?.remove(0);
    let json: serde_json::Value =
        serde_json::from_slice(&store.get(&path)?).map_err(|e| CoreError::record(&path, e))?;
    assert_eq!(json["format"], 3);
    assert!(
        json.get("lists").is_none() && json.get("pruned").is_none(),
        "a record without lists has none"
    );
    assert_eq!(json["started"], "2026-11-29T10:03:01Z");
    assert!(json["balances"].is_array() && json["metrics"].is_object());
    Ok(())
}

/// A pruned part keeps the digest that keys name; its file's is told beside it.
#[test]
fn a_record_with_pruned_parts_is_of_the_next_format() -> Result<(), CoreError> {
    let folder = tempfile::tempdir().map_err(|e| CoreError::from_io(Path::new("tempdir"), e))?;
    let store = Store::local(folder.path())?;
    let (whole, file) = (record(), Digest::of(b"a file without images"));
    let part = whole.outputs[0].clone();
    let pruned = PrunedPart {
        path: part.path.clone(),
        digest: file,
        rows: RowsDigest::default(),
    };
    let new = Record {
        format: RECORD_FORMAT,
        pruned: vec![pruned],
        ..record()
    };
    let ledger = Ledger::new(store.clone());
    assert!(ledger.commit(&whole)?);
    ledger.replace(&new, &whole.attempt)?;
    let path = store.list("ledger")?.remove(0);
    let json: serde_json::Value =
        serde_json::from_slice(&store.get(&path)?).map_err(|e| CoreError::record(&path, e))?;
    assert_eq!(json["format"], 4);
    assert_eq!(json["pruned"][0]["path"], part.path);
    let found = ledger.scan()?;
    assert_eq!(found.records, [new.clone().into()]);
    assert_eq!(
        (new.file_digest(&part), whole.file_digest(&part)),
        (file, part.digest)
    );
    Ok(())
}

#[test]
fn parts_are_read_and_have_the_declared_schema() -> Result<(), CoreError> {
    let dropped: Vec<Dropped> = rows("dropped.parquet")?;
    assert_eq!(dropped.len(), 10);
    assert!(dropped.iter().all(|row| row.step == "filter-counts"));
    assert!(
        dropped
            .iter()
            .all(|row| row.reason == DropReason::TooFewImages)
    );
    let images = dropped.iter().filter(|row| row.unit == Unit::Image).count();
    assert_eq!(images, 7);

    let identities: Vec<Identity> = rows("identities.parquet")?;
    assert_eq!(identities.len(), 122);
    assert!(
        identities
            .iter()
            .all(|row| row.name_id == NameId::of(&row.name))
    );

    let names: Vec<Name> = rows("names.parquet")?;
    assert!(names.iter().all(|row| row.aliases[0].spelling == row.name));
    Ok(())
}

#[test]
fn lines_to_a_worker_are_read() {
    let lines: Vec<ToWorker> = text("to_worker.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line to a worker"))
        .collect();
    assert_eq!(lines[0], ToWorker::Ping { n: 7 });
    let ToWorker::Task {
        id: 3,
        runtime_environment,
        ..
    } = &lines[1]
    else {
        panic!("not task 3: {:?}", lines[1]);
    };
    assert_eq!(runtime_environment.threads, 1);
    let map = runtime_environment.host_map.as_ref().expect("a host map");
    assert_eq!(
        (map.suffix.as_str(), map.address.port()),
        (".example", 40_123)
    );
    assert_eq!(lines[3], ToWorker::Cancel { id: 3 });
}

#[test]
fn lines_from_a_worker_are_read() {
    let lines: Vec<FromWorker> = text("from_worker.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line from a worker"))
        .collect();
    assert!(matches!(&lines[0], FromWorker::Hello { protocol: 1, build, .. } if build == "0.1.0"));
    assert_eq!(lines[1], FromWorker::Pong { n: 7 });
    let progress = Progress {
        done: 122,
        total: 122,
        unit: Unit::Image,
        found: None,
    };
    assert_eq!(lines[2], FromWorker::Progress { id: 3, progress });
    assert!(matches!(lines[3], FromWorker::Done { id: 3, key, won: true } if key == record().key));
    assert!(matches!(
        lines[4],
        FromWorker::Failed {
            id: 4,
            kind: FailureKind::Environment,
            ..
        }
    ));
}
