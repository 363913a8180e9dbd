//! All records in one object, `cache/ledger`, so that a command on a run of a hundred thousand tasks opens one file and not a
//! hundred thousand.
//!
//! Written by who holds the run's lock, whole or not at all; it may be deleted at any time. Each record stands in it with the
//! version of its object (of a file inode, time and size; of a bucket's object its tag): what has another version by now, or is
//! gone, is read anew. What is damaged later without another version is found by `verify`, which does not look here. A
//! snapshot that is cut off or altered is none.
//!
//! The settings and models of a step stand in it once, before the records: most of a record's text repeats them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::{RECORD_FORMAT, Record};
use crate::digest::Digest;
use crate::error::CoreError;
use crate::key::KeyParts;
use crate::parallel::in_parallel;
use crate::shared::Shared;
use crate::store::Store;

/// The object.
const PATH: &str = "cache/ledger";
/// Its first bytes, with the form it has.
const HEAD: [u8; 8] = *b"laionL02";
/// Fewer new or gone records than this share of all are read one by one the next time as well.
const SHARE: usize = 10;
/// And fewer than these.
const FEW: usize = 50;

/// The records of a snapshot by their paths, each with its version.
#[derive(Default)]
pub(super) struct Snapshot {
    entries: HashMap<String, (String, Arc<Record>)>,
}

impl Snapshot {
    /// What is remembered in `store`; nothing where that cannot be used.
    pub(super) fn read(store: &Store) -> Self {
        let entries = match store.get(PATH) {
            Ok(bytes) => entries(&bytes),
            Err(_) => None,
        };
        let entries = entries.unwrap_or_default();
        Self { entries }
    }

    /// Takes the record at `path` out, if it is remembered in this version.
    pub(super) fn take(&mut self, path: &str, version: &str) -> Option<Arc<Record>> {
        let (_, record) = self
            .entries
            .remove(path)
            .filter(|(known, _)| known == version)?;
        Some(record)
    }

    /// Entries that nobody took: their records are gone or have changed.
    pub(super) fn left(&self) -> usize {
        self.entries.len()
    }
}

/// Remembers `records`, whose objects have these versions by their paths, unless what is remembered is nearly as good: it lacks
/// `unremembered`.
///
/// # Errors
/// A full or read-only disk.
pub(super) fn remember(
    store: &Store,
    records: &[Arc<Record>],
    versions: &HashMap<String, String>,
    unremembered: usize,
) -> Result<(), CoreError> {
    if unremembered < FEW.max(records.len() / SHARE) {
        return Ok(());
    }
    let mut bytes = HEAD.to_vec();
    bytes.extend(RECORD_FORMAT.to_le_bytes());
    let (mut repeated, mut entries) = (Repeated::default(), Vec::new());
    for record in records {
        let path = record.path();
        let Some(version) = versions.get(&path) else {
            continue;
        };
        let mut record = Record::clone(record);
        let place = repeated.take_from(&mut record.key_parts);
        let text = serde_json::to_vec(&record).map_err(|e| CoreError::record(&path, e))?;
        entries.extend((place as u32).to_le_bytes());
        for bytes in [version.as_bytes(), &text] {
            add_field(&mut entries, bytes);
        }
    }
    let repeated = serde_json::to_vec(&repeated.all).map_err(|e| CoreError::record(PATH, e))?;
    add_field(&mut bytes, &repeated);
    bytes.append(&mut entries);
    bytes.extend(Digest::of(&bytes).0);
    store.put(PATH, bytes)
}

fn add_field(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend((field.len() as u32).to_le_bytes());
    bytes.extend(field);
}

/// What tasks of one step share of their keys.
type Settings = Shared<BTreeMap<String, String>>;
type Models = Shared<BTreeMap<String, Digest>>;

/// Settings and models, each pair once.
#[derive(Default)]
pub(super) struct Repeated {
    all: Vec<(Settings, Models)>,
}

impl Repeated {
    /// Makes `parts` share what is known already.
    pub(super) fn share(&mut self, parts: &mut KeyParts) {
        let place = self.place(parts);
        let (settings, models) = &self.all[place];
        parts.settings = settings.clone();
        parts.models = models.clone();
    }

    /// Takes settings and models out of `parts`; where they are here.
    fn take_from(&mut self, parts: &mut KeyParts) -> usize {
        let place = self.place(parts);
        parts.settings = Settings::default();
        parts.models = Models::default();
        place
    }

    fn place(&mut self, parts: &KeyParts) -> usize {
        // The newest are those of the step at hand.
        let known = self
            .all
            .iter()
            .rposition(|(settings, models)| *settings == parts.settings && *models == parts.models);
        known.unwrap_or_else(|| {
            self.all
                .push((parts.settings.clone(), parts.models.clone()));
            self.all.len() - 1
        })
    }
}

/// The entries of a snapshot; none where its bytes are not those that were written.
fn entries(bytes: &Bytes) -> Option<HashMap<String, (String, Arc<Record>)>> {
    let (content, digest) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
    if Digest::of(content).0 != digest {
        return None;
    }
    let content = content.strip_prefix(&HEAD)?;
    let mut rest = content.strip_prefix(&RECORD_FORMAT.to_le_bytes())?;
    let repeated: Vec<(Settings, Models)> = serde_json::from_slice(field(&mut rest)?).ok()?;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let (place, after) = rest.split_first_chunk()?;
        rest = after;
        let shared = repeated.get(u32::from_le_bytes(*place) as usize)?;
        fields.push((shared, field(&mut rest)?, field(&mut rest)?));
    }
    let read = |((settings, models), version, text): &(&(Settings, Models), &[u8], &[u8])| {
        let version = std::str::from_utf8(version).ok()?;
        let mut record: Record = serde_json::from_slice(text).ok()?;
        record.key_parts.settings = settings.clone();
        record.key_parts.models = models.clone();
        record.inputs.shrink_to_fit();
        record.outputs.shrink_to_fit();
        Some((record.path(), (version.to_owned(), Arc::new(record))))
    };
    in_parallel(&fields, read).into_iter().collect()
}

fn field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk()?;
    let (field, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *rest = after;
    Some(field)
}

#[cfg(test)]
mod tests {
    use crate::ledger::{Ledger, Scan};
    use crate::names::StageName;
    use crate::partition::Partition;
    use crate::testing;

    use super::*;

    fn filled(store: &Store, records: u32) -> Result<Ledger, CoreError> {
        let ledger = Ledger::new(store.clone());
        for bucket in 0..records {
            let partition = Partition::Bucket(bucket);
            let settings = BTreeMap::from([("a.setting".to_owned(), (bucket % 3).to_string())]);
            let key_parts = KeyParts {
                settings: settings.into(),
                ..KeyParts::default()
            };
            let record = testing::record("a-step", StageName::EncodeNames, partition, key_parts);
            ledger.commit(&record)?;
        }
        Ok(ledger)
    }

    fn texts(scan: &Scan) -> Vec<String> {
        let mut texts: Vec<_> = scan.records.iter().map(|r| format!("{r:?}")).collect();
        texts.sort();
        texts
    }

    #[test]
    fn what_is_remembered_equals_what_is_read() -> Result<(), CoreError> {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::local(folder.path())?;
        let ledger = filled(&store, 120)?;
        let first = ledger.scan()?;
        assert_eq!(first.unremembered, 120);
        ledger.remember(&first)?;
        let second = ledger.scan()?;
        assert_eq!((second.unremembered, texts(&second)), (0, texts(&first)));
        // One is gone, one is another, one is new: each is as the ledger has it.
        let path = first.records[0].path();
        store.delete(&path)?;
        let mut other = Record::clone(&first.records[1]);
        other.attempt = "later".to_owned();
        ledger.replace(&other, &first.records[1].attempt)?;
        let third = ledger.scan()?;
        assert_eq!(third.records.len(), 119);
        assert!(third.records.iter().any(|r| r.attempt == "later"));
        assert_eq!(texts(&third), texts(&ledger.scan_anew()?));
        assert_eq!(third.unremembered, 2);
        Ok(())
    }

    #[test]
    fn a_snapshot_that_was_altered_or_cut_off_is_none() -> Result<(), CoreError> {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::local(folder.path())?;
        let ledger = filled(&store, 60)?;
        ledger.remember(&ledger.scan()?)?;
        let good = store.get(PATH)?.to_vec();
        assert_eq!(ledger.scan()?.unremembered, 0);
        let mut altered = good.clone();
        altered[good.len() / 2] ^= 1;
        for bad in [
            altered,
            good[..good.len() - 1].to_vec(),
            good[..20].to_vec(),
            Vec::new(),
        ] {
            store.put(PATH, bad)?;
            let scan = ledger.scan()?;
            assert_eq!((scan.unremembered, scan.records.len()), (60, 60));
        }
        Ok(())
    }
}
