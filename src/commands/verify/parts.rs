//! Checks that every part named by a ledger record exists unchanged, and that names and candidates
//! lie in the bucket of their name.

use std::sync::Arc;

use laioncele_core::footer::Footer;
use laioncele_core::ledger::Record;
use laioncele_core::store::Store;
use laioncele_core::table::{Candidate, Name};
use laioncele_core::{
    CoreError, Digest, EmbeddingDims, NameId, Part, PartReader, Partition, Row, TableId,
};

use super::findings::{Findings, Kind};
use crate::failure::Failure;
use crate::plan::Loss;
use crate::session::Session;

/// Hashes the parts of all records, also of outdated ones. Records of damaged parts no longer
/// count.
pub(super) fn check(session: &mut Session, findings: &mut Findings) -> Result<(), Failure> {
    let records: Vec<Arc<Record>> = session.records.all().cloned().collect();
    let mut parts: Vec<(&Record, &Part)> = records
        .iter()
        .flat_map(|record| record.outputs.iter().map(move |part| (&**record, part)))
        .collect();
    parts.sort_by(|a, b| a.1.path.cmp(&b.1.path));
    let store = session.store()?.clone();
    for (record, part) in parts {
        findings.parts += 1;
        match loss(&store, part, record.file_digest(part))? {
            None => {
                findings.bytes += part.bytes;
                let dims = &session.manifest.embedding_dims;
                if let Some(text) = rows_elsewhere(&store, record, part, dims)? {
                    findings.add_text(Kind::Tables, &part.path, text);
                }
            }
            Some(loss) => {
                findings.add_text(Kind::Part, &part.path, loss.to_string());
                findings.lost.insert(record.key);
                session.records.lose(record.key, loss);
            }
        }
    }
    Ok(())
}

/// What is not as the record of `part` says, whose file has this digest.
fn loss(store: &Store, part: &Part, digest: Digest) -> Result<Option<Loss>, CoreError> {
    let path = part.path.clone();
    let bytes = match store.get(&part.path) {
        Ok(bytes) => bytes,
        Err(CoreError::Missing { .. }) => return Ok(Some(Loss::PartGone { path })),
        Err(error) => return Err(error),
    };
    let found = bytes.len() as u64;
    if found != part.bytes {
        let expected = part.bytes;
        return Ok(Some(Loss::PartSize {
            path,
            expected,
            found,
        }));
    }
    Ok((Digest::of(&bytes) != digest).then_some(Loss::PartBytes { path }))
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use laioncele_core::StageName;
    use laioncele_core::key::KeyParts;
    use laioncele_core::testing::{self, StepHarness};

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

    /// The record of a task of a run with two buckets.
    fn record() -> Record {
        let key_parts = KeyParts {
            settings: BTreeMap::from([("run.buckets".to_owned(), "2".to_owned())]).into(),
            ..KeyParts::default()
        };
        testing::record(
            "count-images",
            StageName::MergeNames,
            Partition::Bucket(0),
            key_parts,
        )
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
        let problem = |names: Vec<Name>| {
            let part = harness.part(&Partition::Bucket(0), names)?;
            rows_elsewhere(
                &harness.store,
                &record(),
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
    fn a_part_is_gone_cut_or_altered() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let harness = StepHarness::new(folder.path(), "")?;
        let store = &harness.store;
        let part = harness.part(&Partition::Bucket(0), vec![name("Ada")])?;
        assert_eq!(loss(store, &part, part.digest)?, None);
        let mut bytes = store.get(&part.path)?.to_vec();
        bytes[20] ^= 1;
        store.put(&part.path, bytes.clone())?;
        let path = part.path.clone();
        assert_eq!(
            loss(store, &part, part.digest)?,
            Some(Loss::PartBytes { path })
        );
        bytes.pop();
        store.put(&part.path, bytes)?;
        assert!(matches!(
            loss(store, &part, part.digest)?,
            Some(Loss::PartSize { .. })
        ));
        store.delete(&part.path)?;
        assert!(matches!(
            loss(store, &part, part.digest)?,
            Some(Loss::PartGone { .. })
        ));
        Ok(())
    }
}
