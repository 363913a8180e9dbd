//! A ledger some of whose files are cut off, altered, moved or forged: those are named, and the others are read.

use std::path::Path;
use std::sync::Arc;

use laioncele_core::ledger::{DAMAGED, Ledger, RECORD_FORMAT, Record};
use laioncele_core::store::{Store, is_inside};
use laioncele_core::{CoreError, Digest, Partition};

fn record() -> Record {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/v0.1.0");
    let text = std::fs::read(folder.join("record.json")).expect("a fixture");
    let record: Record = serde_json::from_slice(&text).expect("a record");
    Record {
        format: RECORD_FORMAT,
        ..record
    }
}

/// A ledger with one record, and its path and bytes.
fn ledger(folder: &Path) -> Result<(Store, Ledger, String, Vec<u8>), CoreError> {
    let store = Store::local(folder)?;
    let ledger = Ledger::new(store.clone());
    assert!(ledger.commit(&record())?);
    let path = record().path();
    let bytes = store.get(&path)?.to_vec();
    Ok((store, ledger, path, bytes))
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn a_whole_record_has_no_flaw() -> Result<(), CoreError> {
    let folder = folder();
    let (_, ledger, path, _) = ledger(folder.path())?;
    let scan = ledger.scan()?;
    assert_eq!(scan.records, [Arc::new(record())]);
    assert_eq!(scan.unusable, []);
    assert_eq!(record().flaw(&path), None);
    Ok(())
}

/// A bit flipped anywhere: the record is named as damaged, or says the same of all that a plan, a key or a row count depends
/// on. Its parts are in its own place: one by another name is not there, and one with another digest is found by hashing.
#[test]
fn a_flipped_bit_never_changes_what_a_record_counts_for() -> Result<(), CoreError> {
    let folder = folder();
    let (store, ledger, path, bytes) = ledger(folder.path())?;
    let counts = |record: Record| {
        let parts = record.outputs.into_iter();
        let place = |path: &str| path.split_once('-').map(|(place, _)| place.to_owned());
        let parts = parts.map(|part| (part.table, place(&part.path), part.partition));
        let parts: Vec<_> = parts.collect();
        let (of, key) = (
            (record.step, record.partition),
            (record.key, record.key_parts),
        );
        (of, key, record.balances, parts)
    };
    let mut caught = 0;
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        store.put(&path, damaged)?;
        let mut scan = match ledger.scan() {
            // Its format is a higher number now.
            Err(CoreError::Newer { .. }) => continue,
            scan => scan?,
        };
        match scan.records.pop() {
            Some(found) => {
                let found = Arc::unwrap_or_clone(found);
                assert_eq!(counts(found), counts(record()), "byte {at}");
            }
            None => {
                assert_eq!(scan.unusable.len(), 1);
                assert_eq!(scan.unusable[0].key, Some(record().key));
                caught += 1;
            }
        }
    }
    assert!(
        caught * 2 > bytes.len(),
        "{caught} of {} flips are caught",
        bytes.len()
    );
    Ok(())
}

/// A record is usable whole only, wherever it is cut off.
#[test]
fn a_cut_record_is_named_and_set_aside() -> Result<(), CoreError> {
    let folder = folder();
    let (store, ledger, path, bytes) = ledger(folder.path())?;
    for length in (0..bytes.len()).step_by(97) {
        store.put(&path, bytes[..length].to_vec())?;
        let scan = ledger.scan()?;
        assert!(scan.records.is_empty());
        assert_eq!(scan.unusable[0].path, path);
    }
    let scan = ledger.scan()?;
    ledger.set_aside(&scan.unusable[0])?;
    assert!(ledger.scan()?.unusable.is_empty() && !store.exists(&path)?);
    assert_eq!(store.list(DAMAGED)?, [format!("{DAMAGED}/{path}")]);
    assert!(ledger.commit(&record())?, "its place is free");
    Ok(())
}

#[test]
fn a_moved_record_counts_nowhere() -> Result<(), CoreError> {
    let folder = folder();
    let (store, ledger, path, bytes) = ledger(folder.path())?;
    let elsewhere = path.replace("bucket-0002", "bucket-0003");
    store.put(&elsewhere, bytes)?;
    let scan = ledger.scan()?;
    assert_eq!(scan.records.len(), 1);
    assert_eq!(scan.unusable[0].path, elsewhere);
    assert!(
        scan.unusable[0].reason.contains(&path),
        "{}",
        scan.unusable[0].reason
    );
    ledger.remove("filter-counts", &Partition::Bucket(2), record().key)?;
    assert!(ledger.scan()?.records.is_empty());
    Ok(())
}

/// Whoever reads a record never gets a path that leads out of the run's folder.
#[test]
fn a_part_outside_the_run_makes_no_record() -> Result<(), CoreError> {
    let folder = folder();
    let (store, ledger, path, _) = ledger(folder.path())?;
    for evil in ["/etc/passwd", "../../x", "tables/../../../x", ""] {
        assert!(!is_inside(evil), "{evil}");
        let mut forged = record();
        forged.outputs[0].path = evil.to_owned();
        let bytes = serde_json::to_vec(&forged).expect("JSON");
        store.put(&path, bytes)?;
        let found = ledger.find(&forged.step, &forged.partition, forged.key);
        assert!(matches!(found, Err(CoreError::Record { .. })), "{evil}");
        assert_eq!(ledger.scan()?.unusable.len(), 1, "{evil}");
    }
    // Inside, but another task's part.
    let mut forged = record();
    forged.outputs[0].path = format!(
        "tables/names/bucket-0002/{}-a-0.parquet",
        Digest::of(b"x").short()
    );
    store.put(&path, serde_json::to_vec(&forged).expect("JSON"))?;
    assert!(
        ledger.scan()?.unusable[0]
            .reason
            .contains("no name of a part")
    );
    Ok(())
}
