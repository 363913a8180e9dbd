//! Checks that every part named by a ledger record exists unchanged, that names and candidates lie in
//! the bucket of their name, and that the lists of inputs are those that the records' keys name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use laioncele_core::footer::Footer;
use laioncele_core::ledger::{Ledger, Record};
use laioncele_core::part_list::content_of_parts;
use laioncele_core::store::Store;
use laioncele_core::table::{Candidate, Name};
use laioncele_core::{
    CoreError, Digest, EmbeddingDims, NameId, Part, PartList, PartReader, Partition, Row, TableId,
};

use super::Findings;
use crate::failure::Failure;
use crate::session::Session;

/// Hashes the parts of all records, also of outdated ones, and checks what those records read.
pub(super) fn check(session: &Session, findings: &mut Findings) -> Result<(), Failure> {
    let store = session.store()?;
    let records = Ledger::new(store.clone()).all()?;
    let outputs = records
        .iter()
        .flat_map(|r| r.outputs.iter().map(move |part| (r, part)));
    let parts: BTreeMap<&str, (&Record, &Part)> = outputs
        .map(|(record, part)| (part.path.as_str(), (record, part)))
        .collect();
    let dims = &session.manifest.embedding_dims;
    for (record, part) in parts.into_values() {
        findings.parts += 1;
        match check_part(store, part) {
            Ok(bytes) => {
                findings.bytes += bytes;
                let problem = rows_elsewhere(store, record, part, dims)?;
                findings.problems.extend(problem);
            }
            Err(error @ (CoreError::Damaged { .. } | CoreError::Missing { .. })) => {
                findings.problems.push(error.to_string());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(check_inputs(store, &records, &mut findings.problems)?)
}

/// Bytes of a part that is what its record says.
fn check_part(store: &Store, part: &Part) -> Result<u64, CoreError> {
    let bytes = store.get(&part.path)?;
    let found = Digest::of(&bytes);
    if found == part.digest {
        return Ok(bytes.len() as u64);
    }
    Err(CoreError::Damaged {
        path: part.path.clone(),
        expected: part.digest,
        found,
    })
}

/// What is wrong if rows of a part lie in the bucket of another name.
fn rows_elsewhere(
    store: &Store,
    record: &Record,
    part: &Part,
    dims: &EmbeddingDims,
) -> Result<Option<String>, CoreError> {
    // The buckets of the run that wrote the part.
    let buckets = record.key_parts.settings.get("run.buckets");
    let buckets = buckets.and_then(|text| text.parse::<u32>().ok());
    let (Some(buckets), Partition::Bucket(bucket)) = (buckets, &part.partition) else {
        return Ok(None);
    };
    let elsewhere = match part.table {
        TableId::Names => first_elsewhere::<Name>(store, part, dims, buckets, *bucket),
        TableId::Candidates => first_elsewhere::<Candidate>(store, part, dims, buckets, *bucket),
        _ => Ok(None),
    };
    // Columns of an earlier version: the part is outdated.
    let Ok(first) = elsewhere else {
        return Ok(None);
    };
    Ok(first.map(|name| {
        let (path, own) = (&part.path, name.bucket(buckets));
        format!("{path}: name {name} lies in bucket {bucket}, its own is {own}")
    }))
}

/// The first name whose bucket is another one.
fn first_elsewhere<R: Row>(
    store: &Store,
    part: &Part,
    dims: &EmbeddingDims,
    buckets: u32,
    bucket: u32,
) -> Result<Option<NameId>, CoreError> {
    let footer = Arc::new(Footer::read::<R>(store, part, dims)?);
    for ids in PartReader::new(store.clone(), part, footer).numbers("name_id")? {
        let mut names = ids?.into_iter().map(NameId);
        if let Some(name) = names.find(|name| name.bucket(buckets) != bucket) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Recomputes what each record's key says of its inputs.
fn check_inputs(
    store: &Store,
    records: &[Record],
    problems: &mut Vec<String>,
) -> Result<(), CoreError> {
    // Many records name one list: each is read once.
    let mut lists = BTreeMap::new();
    for list in records.iter().flat_map(|record| &record.lists) {
        if lists.contains_key(&list.digest) {
            continue;
        }
        let content = match PartList::read(store, list) {
            Ok(found) => Some(found.content()),
            Err(error @ (CoreError::Damaged { .. } | CoreError::Missing { .. })) => {
                problems.push(error.to_string());
                None
            }
            Err(error) => return Err(error),
        };
        lists.insert(list.digest, content);
    }
    for record in records {
        let listed = |list: &laioncele_core::ListRef| {
            let content = lists.get(&list.digest).copied().flatten()?;
            Some((list.table.to_string(), content))
        };
        let mut found: BTreeMap<String, Digest> = record.lists.iter().filter_map(listed).collect();
        if found.len() < record.lists.len() {
            continue;
        }
        let own = |part: &Part| (part.table, part.partition.clone());
        for (table, partition) in record.inputs.iter().map(own).collect::<BTreeSet<_>>() {
            let same = |part: &&Part| part.table == table && part.partition == partition;
            let content = content_of_parts(record.inputs.iter().filter(same));
            found.insert(format!("{table}/{partition}"), content);
        }
        if found != record.key_parts.inputs {
            let (step, partition) = (&record.step, &record.partition);
            problems.push(format!(
                "record of {step} {partition}: its inputs are not those of its key"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use laioncele_core::StageName;
    use laioncele_core::key::KeyParts;
    use laioncele_core::ledger::RECORD_FORMAT;
    use laioncele_core::testing::StepHarness;

    use super::*;

    fn name(text: &str) -> Name {
        Name {
            name_id: NameId::of(text),
            name: text.to_owned(),
            aliases: Vec::new(),
            mentions: 5,
            images: 5,
        }
    }

    /// The record of a task that read `inputs` and `list`, as its key says.
    fn record(inputs: Vec<Part>, list: &PartList) -> Record {
        let own = |part: &Part| {
            let name = format!("{}/{}", part.table, part.partition);
            (name, content_of_parts([part]))
        };
        let mut named: BTreeMap<_, _> = inputs.iter().map(own).collect();
        named.insert(list.reference().table.to_string(), list.content());
        let key_parts = KeyParts {
            version: 1,
            settings: BTreeMap::from([("run.buckets".to_owned(), "2".to_owned())]),
            models: BTreeMap::new(),
            inputs: named,
        };
        Record {
            format: RECORD_FORMAT,
            stage: StageName::MergeNames,
            step: "count-images".to_owned(),
            partition: Partition::Bucket(0),
            key: key_parts.key("count-images", &Partition::Bucket(0)),
            key_parts,
            attempt: "a".to_owned(),
            inputs,
            lists: vec![list.reference().clone()],
            outputs: Vec::new(),
            balances: Vec::new(),
            metrics: BTreeMap::new(),
            started: std::time::UNIX_EPOCH,
            seconds: 1.0,
            host: String::new(),
            program: String::new(),
        }
    }

    #[test]
    fn names_in_another_bucket_are_found() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let harness = StepHarness::new(folder.path(), "")?;
        let own = |bucket: u32| {
            let names = (0..20).map(|k| name(&format!("Name {k}")));
            let own = names.filter(|name| name.name_id.bucket(2) == bucket);
            own.collect::<Vec<_>>()
        };
        let record = record(Vec::new(), &PartList::new(TableId::Mentions, Vec::new()));
        let problem = |names: Vec<Name>| {
            let part = harness.part(&Partition::Bucket(0), names)?;
            rows_elsewhere(
                &harness.store,
                &record,
                &part,
                &harness.manifest.embedding_dims,
            )
        };
        assert_eq!(problem(own(0))?, None);
        let mut mixed = own(0);
        mixed.extend(own(1).into_iter().take(1));
        let found = problem(mixed)?.expect("a name of bucket 1");
        assert!(found.contains("lies in bucket 0, its own is 1"), "{found}");
        Ok(())
    }

    #[test]
    fn inputs_that_are_not_those_of_the_key_are_found() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let harness = StepHarness::new(folder.path(), "")?;
        let store = &harness.store;
        let part = |k: u32| harness.part(&Partition::Bucket(k), vec![name(&format!("Name {k}"))]);
        let list = PartList::new(TableId::Names, vec![part(0)?, part(1)?]);
        list.store(store)?;
        let good = record(Vec::new(), &list);
        let found = |record: Record| {
            let mut problems = Vec::new();
            check_inputs(store, &[record], &mut problems).map(|()| problems)
        };
        assert_eq!(found(good.clone())?, Vec::<String>::new());
        let mut other = good.clone();
        other.inputs.push(part(1)?);
        assert_eq!(found(other)?.len(), 1);
        let mut other = good.clone();
        let shorter = PartList::new(TableId::Names, vec![part(0)?]);
        shorter.store(store)?;
        other.lists = vec![shorter.reference().clone()];
        assert_eq!(found(other)?.len(), 1);
        store.put(&format!("lists/{}.json", list.reference().digest), "[]")?;
        assert!(found(good)?[0].contains("digest"));
        Ok(())
    }
}
