//! Rows of any table against the tombstones, by their columns' names and types.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, RecordBatch, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::{DataType, UInt64Type};
use arrow::error::ArrowError;

use super::Forgotten;
use crate::drops::Unit;
use crate::ids::{ImageId, NameId};

/// A batch without the rows that are taken away.
#[derive(Debug)]
pub struct Kept {
    /// The rows that stay.
    pub batch: RecordBatch,
    /// Which of the rows stay.
    pub rows: BooleanArray,
    /// Whether anything was taken away: rows, or spellings of a name that stays.
    pub changed: bool,
}

/// Takes the rows away that are of somebody or something that was taken down: by a name's or an image's id, a url, a photo's
/// hash, or a text that names them. Of a name that stays, the spellings that were taken down go.
///
/// # Errors
/// Arrow's, for a batch that is not whole.
pub fn keep(batch: &RecordBatch, stones: &Forgotten) -> Result<Kept, ArrowError> {
    let mut stays = vec![true; batch.num_rows()];
    let units = batch.column_by_name("unit").map(texts);
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        match field.data_type() {
            DataType::UInt64 => {
                let goes = |row: usize, id: u64| match (field.name().as_str(), &units) {
                    ("name_id", _) => stones.has_name(NameId(id)),
                    ("image_id", _) => stones.has_image(ImageId(id)),
                    ("id", Some(units)) => is_of(units[row], id, stones),
                    _ => false,
                };
                let ids = column.as_primitive::<UInt64Type>();
                for (row, id) in ids.iter().enumerate() {
                    stays[row] &= !id.is_some_and(|id| goes(row, id));
                }
            }
            DataType::Utf8 => {
                for (row, text) in texts(column).into_iter().enumerate() {
                    stays[row] &= !text.is_some_and(|text| says(field.name(), text, stones));
                }
            }
            _ => {}
        }
    }
    let rows = BooleanArray::from(stays);
    let all = rows.true_count() == rows.len();
    let mut batch = match all {
        true => batch.clone(),
        false => filter_record_batch(batch, &rows)?,
    };
    let mut changed = !all;
    if let Some(aliases) = without_spellings(&batch, stones)? {
        (batch, changed) = (aliases, true);
    }
    Ok(Kept {
        batch,
        rows,
        changed,
    })
}

/// Whether a text in the column `column` is of somebody or something that was taken down.
pub fn says(column: &str, text: &str, stones: &Forgotten) -> bool {
    match column {
        "url" => stones.has_url(text) || stones.is_named_in(text),
        "sha256" => stones.has_sha256(text),
        _ => stones.is_named_in(text),
    }
}

/// Whether a dropped row's id is that of somebody or something that was taken down.
fn is_of(unit: Option<&str>, id: u64, stones: &Forgotten) -> bool {
    match unit.and_then(|unit| unit.parse().ok()) {
        Some(Unit::Name | Unit::Identity | Unit::Person) => stones.has_name(NameId(id)),
        Some(Unit::Image) => stones.has_image(ImageId(id)),
        _ => false,
    }
}

fn texts(column: &ArrayRef) -> Vec<Option<&str>> {
    match column.as_string_opt::<i32>() {
        Some(texts) => texts.iter().collect(),
        None => vec![None; column.len()],
    }
}

/// The batch with lists of `aliases` from which spellings were taken; none where there were none to take.
fn without_spellings(
    batch: &RecordBatch,
    stones: &Forgotten,
) -> Result<Option<RecordBatch>, ArrowError> {
    let Ok(at) = batch.schema().index_of("aliases") else {
        return Ok(None);
    };
    let Some(lists) = batch.column(at).as_list_opt::<i32>() else {
        return Ok(None);
    };
    let Some(items) = lists.values().as_struct_opt() else {
        return Ok(None);
    };
    let Some(spellings) = items.column_by_name("spelling") else {
        return Ok(None);
    };
    let offsets = lists.value_offsets();
    let used = match offsets {
        [first, .., last] => *first as usize..*last as usize,
        _ => return Ok(None),
    };
    let goes = |text: Option<&str>| text.is_some_and(|text| stones.is_named_in(text));
    let texts = texts(spellings);
    if !texts[used.clone()].iter().any(|text| goes(*text)) {
        return Ok(None);
    }
    // A slice of lists may have values outside of it.
    let stays: Vec<bool> = (texts.iter().enumerate())
        .map(|(at, text)| used.contains(&at) && !goes(*text))
        .collect();
    let lengths = offsets.windows(2).map(|ends| {
        let list = ends[0] as usize..ends[1] as usize;
        stays[list].iter().filter(|stays| **stays).count()
    });
    let offsets = OffsetBuffer::from_lengths(lengths);
    let left = filter(items, &BooleanArray::from(stays))?;
    let left: StructArray = left.as_struct().clone();
    let DataType::List(field) = lists.data_type() else {
        return Ok(None);
    };
    let lists = ListArray::try_new(
        field.clone(),
        offsets,
        Arc::new(left),
        lists.nulls().cloned(),
    )?;
    let mut columns = batch.columns().to_vec();
    columns[at] = Arc::new(lists);
    RecordBatch::try_new(batch.schema(), columns).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::CaptionId;
    use crate::table::dims::TEST_DIMS as DIMS;
    use crate::table::{Alias, Dropped, FiledMention, MergedName, Row};
    use crate::{DropReason, Unit};

    fn stones() -> Forgotten {
        let mut stones = Forgotten::new(&[1; 16]);
        stones.add_spelling("Ada Byron");
        stones.add_name(NameId::of("Ada Byron"));
        stones.add_url("http://a.example/9");
        stones
    }

    fn kept<R: Row>(rows: Vec<R>) -> (Vec<R>, Kept) {
        let batch = R::to_batch(rows, &DIMS).expect("a batch");
        let kept = keep(&batch, &stones()).expect("kept");
        let rows = R::from_batch(&kept.batch, &DIMS, "x").expect("rows");
        (rows, kept)
    }

    #[test]
    fn rows_go_by_id_url_and_text() {
        let filed = |name: &str, url: &str, caption: &str| FiledMention {
            bucket: 0,
            name_id: NameId::of(name),
            image_id: ImageId::of(url),
            caption_id: CaptionId(1),
            url: url.to_owned(),
            caption: caption.to_owned(),
            hash: None,
            image_at: None,
        };
        let (rows, kept) = kept(vec![
            filed("Bea", "http://a.example/1", "Bea"),
            filed("Ada Byron", "http://a.example/2", "x"),
            filed("Bea", "http://a.example/9", "Bea"),
            filed("Bea", "http://a.example/3", "Bea with ADA BYRON"),
            filed("Bea", "http://a.example/ada-byron.jpg", "Bea"),
        ]);
        assert_eq!(
            (rows.len(), rows[0].url.as_str()),
            (1, "http://a.example/1")
        );
        assert!(kept.changed && kept.rows.value(0) && !kept.rows.value(4));
    }

    #[test]
    fn a_dropped_rows_id_is_of_its_unit() {
        let dropped = |unit, id| Dropped {
            step: "s".to_owned(),
            unit,
            id,
            name_id: None,
            reason: DropReason::Mononym,
            detail: None,
        };
        let name = NameId::of("Ada Byron").0;
        let (rows, _) = kept(vec![
            dropped(Unit::Name, name),
            dropped(Unit::Caption, name),
            dropped(Unit::Image, ImageId::of("http://a.example/9").0),
        ]);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].unit, Unit::Caption);
    }

    #[test]
    fn a_name_that_stays_loses_spellings() {
        let alias = |spelling: &str| Alias {
            spelling: spelling.to_owned(),
            mentions: 1,
            merged_by: "folded".to_owned(),
        };
        let name = |name: &str, aliases: &[&str]| MergedName {
            bucket: 0,
            name_id: NameId::of(name),
            name: name.to_owned(),
            aliases: aliases.iter().map(|a| alias(a)).collect(),
            mentions: 3,
        };
        let (rows, found) = kept(vec![
            name("Bea", &["Bea", "ada byron", "B. A."]),
            name("Cyd", &["Cyd"]),
        ]);
        assert_eq!(rows[0], name("Bea", &["Bea", "B. A."]));
        assert_eq!(rows[1], name("Cyd", &["Cyd"]));
        assert!(found.changed && found.rows.true_count() == 2);
        assert!(!kept(rows).1.changed);
    }
}
