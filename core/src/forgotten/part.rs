//! A part without the rows of who was taken down, row group by row group, so that slices by bucket stay what they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{filter_record_batch, not};
use arrow::datatypes::{DataType, UInt32Type, UInt64Type};
use arrow::error::ArrowError;

use super::{Forgotten, keep};
use crate::drops::{DropReason, Unit};
use crate::error::CoreError;
use crate::footer::Footer;
use crate::part::Part;
use crate::part_reader::PartReader;
use crate::part_writer::{PartWriter, WrittenPart};
use crate::store::Store;

/// A part that was written anew, as a scratch file.
pub struct Rewritten {
    /// The rows that stay.
    pub written: WrittenPart,
    /// Which rows of the old part these are.
    pub kept: Vec<bool>,
    /// What went.
    pub removed: Removed,
}

/// What was taken away, so that counts can follow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Rows.
    pub rows: u64,
    /// Names, by id.
    pub names: BTreeSet<u64>,
    /// Images of names.
    pub images: BTreeSet<(u64, u64)>,
    /// Numbered things of names: portraits.
    pub portraits: BTreeSet<(u64, u64)>,
    /// Captions, by id.
    pub captions: BTreeSet<u64>,
    /// Dropped rows, by unit and reason.
    pub dropped: BTreeMap<(Unit, DropReason), u64>,
}

/// Writes the part anew without the rows of who was taken down; none where it has no such row.
///
/// # Errors
/// A damaged part, a full disk.
pub fn without(
    store: &Store,
    part: &Part,
    stones: &Forgotten,
) -> Result<Option<Rewritten>, CoreError> {
    let footer = Arc::new(Footer::of_any(store, part)?);
    let reader = || PartReader::new(store.clone(), part, footer.clone());
    let fail = |e: ArrowError| CoreError::parquet(&part.path, e);
    let schema = reader().schema()?;
    // Images are not read to find a name.
    let telling: Vec<&str> = (schema.fields().iter())
        .filter(|f| tells(f.name(), f.data_type()))
        .map(|f| f.name().as_str())
        .collect();
    let mut found = false;
    for batch in reader().columns(&telling) {
        found = found || keep(&batch?, stones).map_err(fail)?.changed;
    }
    if !found || telling.is_empty() {
        return Ok(None);
    }
    let mut writer = PartWriter::create(store, schema, usize::MAX >> 1)?;
    let (mut kept, mut removed) = (Vec::new(), Removed::default());
    for group in 0..footer.groups() {
        let before = writer.rows();
        for batch in reader().groups(vec![group]) {
            let batch = batch?;
            let stays = keep(&batch, stones).map_err(fail)?;
            removed
                .add(&filter_record_batch(&batch, &not(&stays.rows).map_err(fail)?).map_err(fail)?);
            kept.extend(stays.rows.values().iter());
            writer.add(&stays.batch)?;
        }
        if writer.rows() > before {
            writer.end_group()?;
        }
    }
    let written = writer.finish()?;
    Ok(Some(Rewritten {
        written,
        kept,
        removed,
    }))
}

fn tells(name: &str, kind: &DataType) -> bool {
    match kind {
        DataType::UInt64 => matches!(name, "name_id" | "image_id" | "id"),
        DataType::Utf8 => true,
        _ => name == "aliases",
    }
}

impl Removed {
    /// Adds what was taken from another part.
    pub fn absorb(&mut self, other: Self) {
        self.rows += other.rows;
        self.names.extend(other.names);
        self.images.extend(other.images);
        self.portraits.extend(other.portraits);
        self.captions.extend(other.captions);
        for (what, rows) in other.dropped {
            *self.dropped.entry(what).or_default() += rows;
        }
    }

    fn add(&mut self, rows: &RecordBatch) {
        self.rows += rows.num_rows() as u64;
        let ids = |name: &str| -> Option<Vec<u64>> {
            let column = rows.column_by_name(name)?;
            if let Some(wide) = column.as_primitive_opt::<UInt64Type>() {
                return Some(wide.values().to_vec());
            }
            let narrow = column.as_primitive_opt::<UInt32Type>()?;
            Some(narrow.values().iter().copied().map(u64::from).collect())
        };
        if let (Some(units), Some(reasons)) = (texts(rows, "unit"), texts(rows, "reason")) {
            for pair in units.into_iter().zip(reasons) {
                if let (Ok(unit), Ok(reason)) = (pair.0.parse(), pair.1.parse()) {
                    *self.dropped.entry((unit, reason)).or_default() += 1;
                }
            }
            return;
        }
        let names = ids("name_id").unwrap_or_default();
        self.names.extend(&names);
        for (column, pairs) in [
            ("image_id", &mut self.images),
            ("index", &mut self.portraits),
        ] {
            let seconds = ids(column).unwrap_or_default();
            pairs.extend(names.iter().copied().zip(seconds));
        }
        self.captions.extend(ids("caption_id").unwrap_or_default());
    }
}

fn texts(rows: &RecordBatch, column: &str) -> Option<Vec<String>> {
    let texts = rows.column_by_name(column)?.as_string_opt::<i32>()?;
    Some(
        (texts.iter())
            .map(|text| text.unwrap_or_default().to_owned())
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ImageId, NameId};
    use crate::part::read_rows;
    use crate::partition::Partition;
    use crate::table::{Dropped, UniquePhoto};
    use crate::testing::StepHarness;

    #[test]
    fn a_part_is_written_anew_only_where_a_row_goes() -> Result<(), CoreError> {
        let folder = tempfile::tempdir().expect("a folder");
        let harness = StepHarness::new(folder.path(), "")?;
        let photo = |name: u64, image: u64| UniquePhoto {
            name_id: NameId(name),
            image_id: ImageId(image),
            average_hash: 0,
            copies: 0,
        };
        let rows = vec![photo(1, 1), photo(2, 2), photo(1, 3)];
        let part = harness.part(&Partition::Bucket(0), rows)?;
        let mut stones = Forgotten::new(&[3; 16]);
        stones.add_name(NameId(9));
        assert!(without(&harness.store, &part, &stones)?.is_none());
        stones.add_name(NameId(1));
        let new = without(&harness.store, &part, &stones)?.expect("written anew");
        assert_eq!(new.kept, [false, true, false]);
        assert_eq!((new.removed.rows, new.removed.names.len()), (2, 1));
        assert_eq!(new.removed.images, [(1, 1), (1, 3)].into());
        let path = "tables/x.parquet";
        harness.store.adopt(new.written.file.path(), path)?;
        let part = Part {
            path: path.to_owned(),
            rows: new.written.rows,
            bytes: new.written.bytes,
            ..part
        };
        let dims = &harness.manifest.embedding_dims;
        assert_eq!(
            read_rows::<UniquePhoto>(&harness.store, &part, dims)?,
            [photo(2, 2)]
        );
        Ok(())
    }

    #[test]
    fn dropped_rows_are_counted_by_unit_and_reason() -> Result<(), CoreError> {
        let folder = tempfile::tempdir().expect("a folder");
        let harness = StepHarness::new(folder.path(), "")?;
        let row = |name: u64| Dropped {
            step: "verify-images".to_owned(),
            unit: Unit::Image,
            id: 7,
            name_id: Some(NameId(name)),
            reason: DropReason::OtherPerson,
            detail: None,
        };
        let part = harness.part(&Partition::Bucket(0), vec![row(1), row(2), row(1)])?;
        let mut stones = Forgotten::new(&[3; 16]);
        stones.add_name(NameId(1));
        let new = without(&harness.store, &part, &stones)?.expect("written anew");
        let counted = [((Unit::Image, DropReason::OtherPerson), 2)].into();
        assert_eq!(new.removed.dropped, counted);
        assert!(new.removed.names.is_empty());
        Ok(())
    }
}
