//! Files besides the results that count: other results, tries of urls, caches, logs, what was published before.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use laioncele_core::forgotten::{FORGOTTEN, Forgotten, finds, without};
use laioncele_core::ledger::{DAMAGED, Ledger};
use laioncele_core::store::Store;
use laioncele_core::{CoreError, Digest, Part, Partition, TableId};

use super::Taken;
use crate::failure::Failure;
use crate::plan::StepPlan;
use crate::published::EARLIER;
use crate::run_folder::MANIFESTS;
use crate::session::Session;

/// Takes them away where they have, or may have, rows of who was taken down.
///
/// # Errors
/// Store errors.
pub(super) fn clear(
    session: &Session,
    stones: &Forgotten,
    taken: &mut Taken,
) -> Result<(), Failure> {
    let store = session.store()?;
    superseded(session, stones)?;
    let named: HashSet<&str> = (session.records.all())
        .flat_map(|record| record.outputs.iter().map(|part| part.path.as_str()))
        .collect();
    let mut delete = |path: &str| -> Result<(), CoreError> {
        taken.files += 1;
        store.delete_for_good(path)
    };
    // Results of records that went, and what killed tasks left.
    let ledger: HashSet<String> = Ledger::new(store.clone())
        .scan()?
        .records
        .into_iter()
        .flat_map(|record| {
            Arc::unwrap_or_clone(record)
                .outputs
                .into_iter()
                .map(|part| part.path)
        })
        .collect();
    for path in store.list("tables")? {
        if !ledger.contains(&path) || !named.contains(path.as_str()) {
            delete(&path)?;
        }
    }
    // Sheets of faces, which no scan can read.
    for path in store.list(EARLIER)? {
        delete(&path)?;
    }
    for folder in ["cache", "log", "queue", DAMAGED] {
        for path in store.list(folder)? {
            // Journals and checkpoints hold photos and what was made of them.
            let may_stay = Path::new(&path)
                .extension()
                .is_some_and(|end| end == "json")
                && !path.starts_with("cache/checkpoints");
            if !may_stay || finds(store, &path, stones)? {
                delete(&path)?;
            }
        }
    }
    for path in ["report.html"] {
        if store.exists(path)? {
            delete(path)?;
        }
    }
    Ok(attempts(store, stones)?)
}

/// Takes away the results of other settings that have such rows: going back to those settings makes them again.
fn superseded(session: &Session, stones: &Forgotten) -> Result<(), Failure> {
    let store = session.store()?;
    let ledger = Ledger::new(store.clone());
    let plan = session.plan()?;
    let current = plan.steps.iter().flat_map(StepPlan::records);
    let current: HashSet<Digest> = current.map(|record| record.key).collect();
    for record in ledger.scan()?.records {
        if current.contains(&record.key) {
            continue;
        }
        let mut parts = record.outputs.iter();
        // What cannot be read may have them.
        if parts.any(|part| finds(store, &part.path, stones).unwrap_or(true)) {
            ledger.remove(&record.step, &record.partition, record.key)?;
        }
    }
    Ok(())
}

/// The tries of urls, which no record names.
fn attempts(store: &Store, stones: &Forgotten) -> Result<(), CoreError> {
    for (path, bytes) in store.sizes("attempts")? {
        let part = Part {
            table: TableId::Attempts,
            partition: Partition::Whole,
            path: path.clone(),
            rows: 0,
            bytes,
            digest: Digest::of(b""),
        };
        if let Some(new) = without(store, &part, stones)? {
            store.adopt(new.written.file.path(), &path)?;
        }
    }
    Ok(())
}

/// Whether `verify` looks into a file of the run's folder for who was taken down: into all but the tombstones, the manifests, which
/// people write, and the locks.
pub(crate) fn scanned(path: &str) -> bool {
    let passed = [FORGOTTEN, "run.json", "lock"];
    !passed.contains(&path) && !path.starts_with(MANIFESTS)
}
