//! The relational work, in polars: photos per name, and the rank of each photo among its name's.
//! Tables come in as the bytes of their Parquet parts and go out as rows: nothing else of polars
//! leaves this module.

use std::io::Cursor;

use laioncele_core::{CoreError, ImageId, NameId, Part, StageError, Task};
use polars::prelude::*;

/// A known name with its number of photos.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub name_id: NameId,
    pub name: String,
    /// Matching photos of it.
    pub photos: u64,
}

/// A matching photo with its rank.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ranked {
    pub name_id: NameId,
    pub image_id: ImageId,
    /// Matching photos of its name.
    pub photos: u64,
    /// How many of these match better; of equal matches the one with the smaller image id goes
    /// first.
    pub better: u64,
}

fn failed(error: PolarsError) -> StageError {
    CoreError::parquet("filter-counts", error).into()
}

/// The `columns` of all `parts`, of which there is at least one.
fn read(task: &Task, parts: &[Part], columns: &[&str]) -> Result<LazyFrame, StageError> {
    let columns: Vec<String> = columns.iter().map(|c| (*c).to_owned()).collect();
    let mut frames = Vec::with_capacity(parts.len());
    for part in parts {
        let frame = ParquetReader::new(Cursor::new(task.read_bytes(part)?))
            .with_columns(Some(columns.clone()))
            .finish();
        let frame = frame.map_err(|e| CoreError::parquet(&part.path, e))?;
        frames.push(frame.lazy());
    }
    concat(frames, UnionArgs::default()).map_err(failed)
}

/// A column of whole numbers; 0 for null.
fn numbers(frame: &DataFrame, column: &str) -> PolarsResult<Vec<u64>> {
    let column = frame.column(column)?.cast(&DataType::UInt64)?;
    Ok(column
        .u64()?
        .iter()
        .map(Option::unwrap_or_default)
        .collect())
}

fn by_name() -> [Expr; 1] {
    [col("name_id")]
}

/// The known names, sorted by id, with how many photos match each.
///
/// # Errors
/// A damaged part.
pub(crate) fn count(
    task: &Task,
    names: &[Part],
    matches: &[Part],
) -> Result<Vec<Counted>, StageError> {
    let photos = read(task, matches, &["name_id"])?
        .group_by(by_name())
        .agg([len().alias("photos")]);
    let counted = read(task, names, &["name_id", "name"])?
        .left_join(photos, col("name_id"), col("name_id"))
        .sort(["name_id"], SortMultipleOptions::default());
    let rows = || -> PolarsResult<Vec<Counted>> {
        let frame = counted.collect()?;
        let texts = frame.column("name")?.str()?.iter();
        let columns = numbers(&frame, "name_id")?
            .into_iter()
            .zip(texts)
            .zip(numbers(&frame, "photos")?);
        let row = |((name_id, name), photos): ((u64, Option<&str>), u64)| Counted {
            name_id: NameId(name_id),
            name: name.unwrap_or_default().to_owned(),
            photos,
        };
        Ok(columns.map(row).collect())
    };
    rows().map_err(failed)
}

/// All matching photos, sorted by name and image id, each with its rank among its name's.
///
/// # Errors
/// A damaged part.
pub(crate) fn rank(task: &Task, matches: &[Part]) -> Result<Vec<Ranked>, StageError> {
    let best_first =
        SortMultipleOptions::default().with_order_descending_multi([false, true, false]);
    let sorted = read(task, matches, &["name_id", "image_id", "similarity"])?
        .sort(["name_id", "similarity", "image_id"], best_first)
        .with_row_index("row", None);
    let names = (sorted.clone())
        .group_by(by_name())
        .agg([len().alias("photos"), col("row").min().alias("first")]);
    let ranked = sorted
        .left_join(names, col("name_id"), col("name_id"))
        .with_column((col("row") - col("first")).alias("better"))
        .sort(["name_id", "image_id"], SortMultipleOptions::default());
    let rows = || -> PolarsResult<Vec<Ranked>> {
        let frame = ranked.collect()?;
        let ids = numbers(&frame, "name_id")?
            .into_iter()
            .zip(numbers(&frame, "image_id")?);
        let counts = numbers(&frame, "photos")?
            .into_iter()
            .zip(numbers(&frame, "better")?);
        let row = |((name_id, image_id), (photos, better)): ((u64, u64), (u64, u64))| Ranked {
            name_id: NameId(name_id),
            image_id: ImageId(image_id),
            photos,
            better,
        };
        Ok(ids.zip(counts).map(row).collect())
    };
    rows().map_err(failed)
}
