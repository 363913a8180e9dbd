//! One digest per table: equal for equal rows, however they are split into parts. Images that were pruned count still.

use std::collections::BTreeMap;

use laioncele_core::digest::KeyHasher;
use laioncele_core::ledger::{PrunedPart, Record};
use laioncele_core::part::read_batches;
use laioncele_core::store::Store;
use laioncele_core::table::RowsDigest;
use laioncele_core::{CoreError, Digest, Part, TableId};
use serde::Serialize;

use crate::words::table;

/// A table's digest.
#[derive(Debug, Serialize)]
pub(crate) struct TableDigest {
    /// The table.
    pub table: TableId,
    rows: u64,
    /// Of its rows, however they are split into parts.
    pub digest: Digest,
}

/// The digests of the tables that `records` wrote, sorted by table.
pub(crate) fn of(store: &Store, records: &[Record]) -> Result<Vec<TableDigest>, CoreError> {
    let mut tables = BTreeMap::<TableId, Vec<Stored<'_>>>::new();
    for record in records {
        for part in &record.outputs {
            let stored = (part, record.pruned_part(&part.path));
            tables.entry(part.table).or_default().push(stored);
        }
    }
    let digest = |(table, parts): (TableId, Vec<Stored<'_>>)| of_table(store, table, &parts);
    tables.into_iter().map(digest).collect()
}

/// A part, and what is known of it where images were pruned from its file.
type Stored<'a> = (&'a Part, Option<&'a PrunedPart>);

fn of_table(store: &Store, table: TableId, parts: &[Stored<'_>]) -> Result<TableDigest, CoreError> {
    let mut rows = RowsDigest::default();
    let mut files = Vec::new();
    for (part, pruned) in parts {
        if let Some(pruned) = pruned {
            rows.merge(&pruned.rows);
        } else if part.is_parquet() {
            for batch in read_batches(store.get(&part.path)?, &part.path)? {
                rows.add(&batch?)?;
            }
        } else {
            files.push((&part.partition, part.digest));
        }
    }
    files.sort_unstable();
    let mut hasher = KeyHasher::new("table-digest").digest("rows", rows.finish());
    for (partition, digest) in files {
        hasher = hasher.digest(&partition.to_string(), digest);
    }
    Ok(TableDigest {
        table,
        rows: rows.rows(),
        digest: hasher.finish(),
    })
}

/// One line per table.
pub(crate) fn render(tables: &[TableDigest]) -> String {
    let line = |t: &TableDigest| {
        vec![
            t.table.to_string(),
            t.rows.to_string(),
            t.digest.to_string(),
        ]
    };
    let rows: Vec<_> = tables.iter().map(line).collect();
    table(&rows, &[1])
}
