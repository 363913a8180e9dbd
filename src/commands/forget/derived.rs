//! Tables whose rows say nothing of whom they are: verdicts, which number the rows of another table, and sums over names.

use std::collections::BTreeMap;

use laioncele_core::forgotten::{Forgotten, Removed, Rewritten};
use laioncele_core::ledger::{PrunedPart, Record};
use laioncele_core::part::{read_batches, read_rows};
use laioncele_core::store::Store;
use laioncele_core::table::{LaionCele, NameSum, RowsDigest, Verdict};
use laioncele_core::{CoreError, Digest, EmbeddingDims, Part, PartList, PartWriter, Row, TableId};
use laioncele_pack_shards::{encode, sums};

use super::KeptRows;

/// The verdicts on the spellings that are left, with the numbers that these have now; none where no spelling went.
///
/// # Errors
/// Damaged parts, a full disk.
pub(super) fn verdicts(
    store: &Store,
    dims: &EmbeddingDims,
    record: &Record,
    part: &Part,
    kept: &KeptRows,
    stones: &Forgotten,
) -> Result<Option<Rewritten>, CoreError> {
    let spellings = spellings_of(store, record, part)?;
    let mut places: Vec<Option<u32>> = Vec::new();
    let mut any = false;
    for part in &spellings {
        // Without an entry the part is as it was, and so are its numbers.
        let stays = match kept.get(&part.digest) {
            Some(stays) => {
                any = true;
                stays.clone()
            }
            None => vec![true; usize::try_from(part.rows).unwrap_or(0)],
        };
        for stays in stays {
            let next = places.iter().flatten().count() as u32;
            places.push(stays.then_some(next));
        }
    }
    let rows = read_rows::<Verdict>(store, part, dims)?;
    let is_out = |row: &Verdict| row.name_id.is_some_and(|id| stones.has_name(id));
    if !any && !rows.iter().any(is_out) {
        return Ok(None);
    }
    let mut removed = Removed::default();
    let mut left = Vec::with_capacity(rows.len());
    let mut stays = Vec::with_capacity(rows.len());
    for row in rows {
        let place = match any {
            true => places.get(row.row as usize).copied().flatten(),
            false => Some(row.row),
        };
        let place = place.filter(|_| !is_out(&row));
        stays.push(place.is_some());
        match place {
            Some(place) => left.push(Verdict { row: place, ..row }),
            None => removed.rows += 1,
        }
    }
    let mut writer = PartWriter::create(store, Verdict::schema(dims), usize::MAX >> 1)?;
    writer.add(&Verdict::to_batch(left, dims)?)?;
    Ok(Some(Rewritten {
        written: writer.finish()?,
        kept: stays,
        removed,
    }))
}

/// The parts of `spellings` whose rows the verdicts in `part` number: those of its shard that its task read.
fn spellings_of(store: &Store, record: &Record, part: &Part) -> Result<Vec<Part>, CoreError> {
    let mut found: Vec<Part> = Vec::new();
    let is_own = |p: &&Part| p.table == TableId::Spellings && p.partition == part.partition;
    found.extend(record.inputs.iter().filter(is_own).cloned());
    for list in record
        .lists
        .iter()
        .filter(|l| l.table == TableId::Spellings)
    {
        let list = PartList::read(store, list)?;
        found.extend(list.parts().iter().filter(is_own).cloned());
    }
    Ok(found)
}

/// Makes `pruned` say of the new form of a part what it said of the one that had the digest `before`. Where rows went, the part is
/// what its file holds: what lacks images would not come out as before if it were drawn again.
///
/// # Errors
/// A damaged part.
pub(super) fn pruned(
    store: &Store,
    pruned: &mut PrunedPart,
    part: &Part,
    before: Digest,
) -> Result<(), CoreError> {
    pruned.path.clone_from(&part.path);
    if part.digest != before {
        pruned.digest = part.digest;
        pruned.rows = RowsDigest::default();
        for batch in read_batches(store.get(&part.path)?, &part.path)? {
            pruned.rows.add(&batch?)?;
        }
    }
    Ok(())
}

/// The bytes of a shard with the rows of `part` that stay: those that pack-shards would write.
///
/// # Errors
/// A damaged part.
pub(super) fn shard(
    store: &Store,
    dims: &EmbeddingDims,
    part: &Part,
    kept: &[bool],
    row_group: usize,
) -> Result<Vec<u8>, CoreError> {
    let rows = read_rows::<LaionCele>(store, part, dims)?.into_iter();
    let rows = rows.zip(kept).filter(|(_, stays)| **stays);
    encode(rows.map(|(row, _)| row).collect(), dims, row_group)
}

/// Makes the sums over names anew where a name went: of the names that are left in the shards.
///
/// # Errors
/// Damaged parts, a full disk.
pub(super) fn name_sums(
    store: &Store,
    dims: &EmbeddingDims,
    record: &mut Record,
    removed: &BTreeMap<TableId, Removed>,
) -> Result<(), CoreError> {
    let went = removed.get(&TableId::LaionCele).is_some_and(|r| r.rows > 0);
    let shards: Vec<Part> = record.outputs_of(TableId::LaionCele).cloned().collect();
    let sums_part = record
        .outputs
        .iter_mut()
        .find(|p| p.table == TableId::NameSums);
    let (true, Some(part)) = (went, sums_part) else {
        return Ok(());
    };
    let mut names = BTreeMap::new();
    for shard in shards {
        let rows = read_rows::<LaionCele>(store, &shard, dims)?.into_iter();
        names.extend(rows.map(|row| (row.name_id, row.name_embedding)));
    }
    let rows: Vec<NameSum> = sums(names.values()).into_iter().collect();
    let mut writer = PartWriter::create(store, NameSum::schema(dims), usize::MAX >> 1)?;
    writer.add(&NameSum::to_batch(rows, dims)?)?;
    let written = writer.finish()?;
    store.adopt(written.file.path(), &part.path)?;
    part.rows = written.rows;
    part.bytes = written.bytes;
    part.digest = written.digest;
    Ok(())
}
