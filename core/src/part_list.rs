//! Lists of parts: what a task reads of a table that it reads whole, named by one digest.
//!
//! A list is an object `lists/DIGEST.json`, written once by the run that plans with it, before any task that reads it, and
//! never changed. A thousand tasks that read one table name one list. A list that no record names may be deleted.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, KeyHasher};
use crate::error::CoreError;
use crate::part::Part;
use crate::store::{Created, Store};
use crate::table::TableId;

/// Names a list, in a task or a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListRef {
    /// The table.
    pub table: TableId,
    /// BLAKE3 of the object, which is its name.
    pub digest: Digest,
    /// Parts in the list.
    pub parts: u64,
    /// Rows in all of them.
    pub rows: u64,
}

/// A list of parts of one table, in partition order.
#[derive(Clone, Debug, PartialEq)]
pub struct PartList {
    reference: ListRef,
    parts: Arc<Vec<Part>>,
}

impl PartList {
    /// The list of `parts`, all of `table`.
    pub fn new(table: TableId, parts: Vec<Part>) -> Self {
        let reference = ListRef {
            table,
            digest: Digest::of(&encode(&parts)),
            parts: parts.len() as u64,
            rows: parts.iter().map(|part| part.rows).sum(),
        };
        Self {
            reference,
            parts: Arc::new(parts),
        }
    }

    /// What names it.
    pub fn reference(&self) -> &ListRef {
        &self.reference
    }

    /// The parts.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Writes the list unless it is there, whole: its name says what it must hold.
    ///
    /// # Errors
    /// Store errors.
    pub fn store(&self, store: &Store) -> Result<(), CoreError> {
        let (path, bytes) = (path(&self.reference), encode(&self.parts));
        // Also where it is there this puts its name on the disk: who wrote it may have died before that.
        match store.create(&path, bytes.clone())? {
            Created::Lost if store.get(&path)? != bytes => store.put(&path, bytes),
            Created::Won | Created::Lost => Ok(()),
        }
    }

    /// Writes the list unless it is there as it should be: one that was damaged is written again. Whether it wrote.
    ///
    /// # Errors
    /// Store errors.
    pub fn restore(&self, store: &Store) -> Result<bool, CoreError> {
        store.put_changed(&path(&self.reference), encode(&self.parts))
    }

    /// Reads the list that `reference` names.
    ///
    /// # Errors
    /// [`CoreError::Missing`], [`CoreError::Damaged`] or [`CoreError::Record`].
    pub fn read(store: &Store, reference: &ListRef) -> Result<Self, CoreError> {
        let path = path(reference);
        let bytes = store.get(&path)?;
        let found = Digest::of(&bytes);
        if found != reference.digest {
            return Err(CoreError::Damaged {
                path,
                expected: reference.digest,
                found,
            });
        }
        let parts = serde_json::from_slice(&bytes).map_err(|e| CoreError::record(&path, e))?;
        Ok(Self {
            reference: reference.clone(),
            parts: Arc::new(parts),
        })
    }

    /// What a key says of the list: a digest over the partitions and contents of its parts, not over where they lie.
    pub fn content(&self) -> Digest {
        let hasher = KeyHasher::new("part-list").number("parts", self.parts.len() as u64);
        let add = |hasher: KeyHasher, part: &Part| {
            hasher.digest(&part.partition.to_string(), part.digest)
        };
        self.parts.iter().fold(hasher, add).finish()
    }
}

/// What a key says of the parts of one partition: a digest over their contents, in order.
pub fn content_of_parts<'a>(parts: impl IntoIterator<Item = &'a Part>) -> Digest {
    let hasher = KeyHasher::new("input-parts");
    let add = |hasher: KeyHasher, part: &Part| hasher.digest("part", part.digest);
    parts.into_iter().fold(hasher, add).finish()
}

impl ListRef {
    /// The object that the list is.
    pub fn path(&self) -> String {
        format!("lists/{}.json", self.digest)
    }
}

fn path(reference: &ListRef) -> String {
    reference.path()
}

/// Parts are plain structs with text keys: they always have a JSON form.
fn encode(parts: &[Part]) -> Vec<u8> {
    serde_json::to_vec(parts).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::Partition;

    fn part(partition: Partition, path: &str, content: &str) -> Part {
        Part {
            table: TableId::Mentions,
            partition,
            path: path.to_owned(),
            rows: 3,
            bytes: 1,
            digest: Digest::of(content.as_bytes()),
        }
    }

    #[test]
    fn a_list_is_read_back_and_a_changed_one_is_refused() -> Result<(), CoreError> {
        let folder = tempfile::tempdir()
            .map_err(|e| CoreError::from_io(std::path::Path::new("tempdir"), e))?;
        let store = Store::local(folder.path())?;
        let parts = vec![
            part(Partition::shard("0"), "a", "x"),
            part(Partition::shard("1"), "b", "y"),
        ];
        let list = PartList::new(TableId::Mentions, parts);
        list.store(&store)?;
        list.store(&store)?;
        assert_eq!(list.reference().rows, 6);
        assert_eq!(PartList::read(&store, list.reference())?, list);
        store.put(&path(list.reference()), "[]")?;
        let refused = PartList::read(&store, list.reference());
        assert!(matches!(refused, Err(CoreError::Damaged { .. })));
        assert!(list.restore(&store)? && !list.restore(&store)?);
        assert_eq!(PartList::read(&store, list.reference())?, list);
        store.put(&path(list.reference()), "[]")?;
        list.store(&store)?;
        assert_eq!(PartList::read(&store, list.reference())?, list, "mended");
        Ok(())
    }

    #[test]
    fn content_is_that_of_partitions_and_parts_and_not_their_places() {
        let list = |partition: &str, path: &str, content: &str| {
            let parts = vec![part(Partition::shard(partition), path, content)];
            PartList::new(TableId::Mentions, parts)
        };
        let first = list("0", "a", "x");
        assert_eq!(first.content(), list("0", "elsewhere", "x").content());
        assert_ne!(first.content(), list("0", "a", "y").content());
        assert_ne!(first.content(), list("1", "a", "x").content());
        assert_ne!(
            first.reference(),
            list("0", "elsewhere", "x").reference(),
            "a list says where its parts lie"
        );
    }
}
