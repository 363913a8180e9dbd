//! Photos per name, and the rank of each photo among its name's.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, UInt64Type};
use laioncele_core::decisions::Rulings;
use laioncele_core::table::{KnownName, Match};
use laioncele_core::{CoreError, ImageId, NameId, Part, StageError, Task};

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

fn missing(part: &Part, column: &str) -> StageError {
    CoreError::parquet(
        &part.path,
        format!("column `{column}` is missing or of another type"),
    )
    .into()
}

/// A column of ids.
fn ids(batch: &RecordBatch, column: &str, part: &Part) -> Result<Vec<u64>, StageError> {
    let found = batch.column_by_name(column);
    let found = found.and_then(|c| c.as_primitive_opt::<UInt64Type>());
    let found = found.filter(|ids| ids.null_count() == 0);
    Ok(found
        .ok_or_else(|| missing(part, column))?
        .values()
        .to_vec())
}

/// The known names, sorted by id, with how many photos match each that are not struck out.
///
/// # Errors
/// A damaged part.
pub(crate) fn count(
    task: &Task,
    names: &[Part],
    matches: &[Part],
    rulings: &Rulings,
) -> Result<Vec<Counted>, StageError> {
    let mut photos = HashMap::<NameId, u64>::new();
    for part in matches {
        for batch in task
            .stream::<Match>(part)?
            .columns(&["name_id", "image_id"])
        {
            let batch = batch?;
            let images = ids(&batch, "image_id", part)?;
            for (id, image) in ids(&batch, "name_id", part)?.into_iter().zip(images) {
                if !rulings.strikes_photo(NameId(id), ImageId(image)) {
                    *photos.entry(NameId(id)).or_default() += 1;
                }
            }
        }
    }
    let mut counted = Vec::new();
    for part in names {
        for batch in task
            .stream::<KnownName>(part)?
            .columns(&["name_id", "name"])
        {
            let batch = batch?;
            let texts = batch.column_by_name("name");
            let texts = texts.and_then(|c| c.as_string_opt::<i32>());
            let texts = texts.ok_or_else(|| missing(part, "name"))?;
            for (id, text) in ids(&batch, "name_id", part)?.into_iter().zip(texts) {
                let name_id = NameId(id);
                counted.push(Counted {
                    name_id,
                    name: text.unwrap_or_default().to_owned(),
                    photos: photos.get(&name_id).copied().unwrap_or(0),
                });
            }
        }
    }
    counted.sort_by_key(|name| name.name_id);
    Ok(counted)
}

/// All matching photos, sorted by name and image id, each with its rank among those of its name that are not struck out.
///
/// # Errors
/// A damaged part.
pub(crate) fn rank(
    task: &Task,
    matches: &[Part],
    rulings: &Rulings,
) -> Result<Vec<Ranked>, StageError> {
    let mut found: Vec<(NameId, f32, ImageId)> = Vec::new();
    for part in matches {
        let columns = ["name_id", "image_id", "similarity"];
        for batch in task.stream::<Match>(part)?.columns(&columns) {
            let batch = batch?;
            let similarities = batch.column_by_name("similarity");
            let similarities = similarities.and_then(|c| c.as_primitive_opt::<Float32Type>());
            let similarities = similarities.ok_or_else(|| missing(part, "similarity"))?;
            let pairs = ids(&batch, "name_id", part)?.into_iter();
            let pairs = pairs.zip(ids(&batch, "image_id", part)?);
            let rows = pairs.zip(similarities.values());
            found.extend(rows.map(|((name, image), s)| (NameId(name), *s, ImageId(image))));
        }
    }
    // Best matches first.
    found.sort_by(|(a, s, x), (b, t, y)| {
        a.cmp(b).then_with(|| t.total_cmp(s)).then_with(|| x.cmp(y))
    });
    let mut ranked = Vec::with_capacity(found.len());
    for photos in found.chunk_by(|(a, ..), (b, ..)| a == b) {
        let struck = |photo: &(NameId, f32, ImageId)| rulings.strikes_photo(photo.0, photo.2);
        let left = photos.iter().filter(|photo| !struck(photo)).count() as u64;
        let mut better = 0;
        for photo in photos {
            ranked.push(Ranked {
                name_id: photo.0,
                image_id: photo.2,
                photos: left,
                better,
            });
            better += u64::from(!struck(photo));
        }
    }
    ranked.sort_by_key(|photo| (photo.name_id, photo.image_id));
    Ok(ranked)
}
