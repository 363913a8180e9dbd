//! Checks that the lists of inputs are there, and that what each record had for inputs is what its
//! key says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use laioncele_core::ledger::Record;
use laioncele_core::part_list::content_of_parts;
use laioncele_core::store::Store;
use laioncele_core::{CoreError, Digest, Part, PartList};

use super::findings::{Findings, Kind};
use crate::failure::Failure;
use crate::session::Session;

/// What the lists that records name say, by their digests; none for a damaged list.
type Lists = BTreeMap<Digest, Option<Digest>>;

/// Reads all lists, and compares records with their keys. Records that differ no longer count.
pub(super) fn check(session: &mut Session, findings: &mut Findings) -> Result<(), Failure> {
    let store = session.store()?.clone();
    let records: Vec<Arc<Record>> = session.records.all().cloned().collect();
    let lists = read(&store, &records, findings)?;
    for record in &records {
        if inputs(record, &lists).is_some_and(|found| found != record.key_parts.inputs) {
            let what = "its inputs are not those of its key";
            findings.add(Kind::Record, &record.path(), what);
            findings.lost.insert(record.key);
        }
    }
    Ok(())
}

/// Many records name one list: each is read once.
fn read(
    store: &Store,
    records: &[Arc<Record>],
    findings: &mut Findings,
) -> Result<Lists, CoreError> {
    let mut lists = Lists::new();
    for list in records.iter().flat_map(|record| &record.lists) {
        if lists.contains_key(&list.digest) {
            continue;
        }
        let content = match PartList::read(store, list) {
            Ok(found) => Some(found.content()),
            Err(CoreError::Missing { .. }) => {
                findings.add(Kind::List, &list.path(), "it is gone");
                None
            }
            Err(CoreError::Damaged { .. } | CoreError::Record { .. }) => {
                findings.add(
                    Kind::List,
                    &list.path(),
                    "it has other bytes than were written",
                );
                None
            }
            Err(error) => return Err(error),
        };
        lists.insert(list.digest, content);
    }
    Ok(lists)
}

/// What the key of `record` should say of its inputs; none where one of its lists is damaged.
fn inputs(record: &Record, lists: &Lists) -> Option<BTreeMap<String, Digest>> {
    let listed = |list: &laioncele_core::ListRef| {
        let content = lists.get(&list.digest).copied().flatten()?;
        Some((list.table.to_string(), content))
    };
    let found: Option<BTreeMap<String, Digest>> = record.lists.iter().map(listed).collect();
    let mut found = found?;
    let own = |part: &Part| (part.table, part.partition.clone());
    for (table, partition) in record.inputs.iter().map(own).collect::<BTreeSet<_>>() {
        let same = |part: &&Part| part.table == table && part.partition == partition;
        let content = content_of_parts(record.inputs.iter().filter(same));
        found.insert(format!("{table}/{partition}"), content);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use laioncele_core::key::KeyParts;
    use laioncele_core::{Partition, StageName, TableId, testing};

    use super::*;

    fn part(bucket: u32, content: &str) -> Part {
        Part {
            table: TableId::Names,
            partition: Partition::Bucket(bucket),
            path: format!("tables/names/{content}.parquet"),
            rows: 1,
            bytes: 1,
            digest: Digest::of(content.as_bytes()),
        }
    }

    /// The record of a task that read `list`, as its key says.
    fn record(list: &PartList) -> Record {
        let key_parts = KeyParts {
            inputs: BTreeMap::from([(list.reference().table.to_string(), list.content())]),
            ..KeyParts::default()
        };
        let record = testing::record(
            "count-images",
            StageName::MergeNames,
            Partition::Bucket(0),
            key_parts,
        );
        Record {
            lists: vec![list.reference().clone()],
            ..record
        }
    }

    /// Whether the inputs of `record` are those of its key, as far as its lists can be read; and
    /// the damaged lists.
    fn found(store: &Store, record: Record) -> Result<(Option<bool>, Vec<String>), CoreError> {
        let mut findings = Findings::default();
        let records = [Arc::new(record)];
        let lists = read(store, &records, &mut findings)?;
        let [record] = &records;
        let same = inputs(record, &lists).map(|found| found == record.key_parts.inputs);
        let problems = findings.problems.into_iter().map(|problem| problem.text);
        Ok((same, problems.collect()))
    }

    #[test]
    fn inputs_that_are_not_those_of_the_key_are_found() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let store = Store::local(folder.path())?;
        let list = PartList::new(TableId::Names, vec![part(0, "a"), part(1, "b")]);
        list.store(&store)?;
        let good = record(&list);
        assert_eq!(found(&store, good.clone())?, (Some(true), Vec::new()));
        let mut other = good.clone();
        other.inputs.push(part(1, "b"));
        assert_eq!(found(&store, other)?.0, Some(false));
        let mut other = good.clone();
        let shorter = PartList::new(TableId::Names, vec![part(0, "a")]);
        shorter.store(&store)?;
        other.lists = vec![shorter.reference().clone()];
        assert_eq!(found(&store, other)?.0, Some(false));
        store.put(&list.reference().path(), "[]")?;
        let (same, problems) = found(&store, good.clone())?;
        assert!(
            same.is_none() && problems[0].contains("other bytes"),
            "{problems:?}"
        );
        store.delete(&list.reference().path())?;
        assert!(found(&store, good)?.1[0].ends_with("it is gone"));
        Ok(())
    }
}
