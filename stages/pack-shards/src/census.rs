//! Who is in the dataset: its people, where their rows are, and the photos that stand under several
//! names. Read from the shards' columns of ids; no photo is.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::UInt64Type;
use laioncele_core::footer::Footer;
use laioncele_core::store::Store;
use laioncele_core::{CoreError, ImageId, NameId, Part, PartReader};

/// Rows of one person that follow each other in a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// The part, as an index of those that were counted.
    pub(crate) part: usize,
    /// The person.
    pub(crate) name_id: NameId,
    /// Their first row in the part.
    pub(crate) start: usize,
    /// How many there are.
    pub(crate) rows: usize,
}

/// Who is in the dataset.
#[derive(Debug, Default)]
pub(crate) struct Census {
    /// The people's names.
    pub(crate) names: BTreeMap<NameId, String>,
    /// The rows, in the order of the parts.
    pub(crate) runs: Vec<Run>,
    /// Photos that stand under more than one name, with those names in order.
    pub(crate) shared: BTreeMap<ImageId, Vec<NameId>>,
}

impl Census {
    /// Counts the rows of `parts`: 16 bytes a row are held meanwhile.
    ///
    /// # Errors
    /// Damaged parts.
    pub(crate) fn take(store: &Store, parts: &[&Part]) -> Result<Self, CoreError> {
        let (mut census, mut photos) = (Self::default(), Vec::new());
        for (at, part) in parts.iter().enumerate() {
            let mut start = 0;
            let footer = Arc::new(Footer::of_any(store, part)?);
            let reader = PartReader::new(store.clone(), part, footer);
            for batch in reader.columns(&["name_id", "name", "image_id"]) {
                let batch = batch?;
                census.add((at, start), &batch, part, &mut photos)?;
                start += batch.num_rows();
            }
        }
        photos.sort_unstable();
        for names in photos.chunk_by(|a, b| a.0 == b.0) {
            if names.len() > 1 {
                let image = names[0].0;
                let names = names.iter().map(|(_, name)| *name).collect();
                census.shared.insert(image, names);
            }
        }
        Ok(census)
    }

    fn add(
        &mut self,
        (at, start): (usize, usize),
        batch: &RecordBatch,
        part: &Part,
        photos: &mut Vec<(ImageId, NameId)>,
    ) -> Result<(), CoreError> {
        let names = ids(batch, "name_id", part)?;
        let images = ids(batch, "image_id", part)?;
        let texts = batch.column_by_name("name");
        let texts = texts.and_then(|column| column.as_string_opt::<i32>());
        let texts = texts.ok_or_else(|| missing(part, "name"))?;
        for (row, (name, image)) in names.iter().zip(images).enumerate() {
            let name_id = NameId(*name);
            photos.push((ImageId(*image), name_id));
            match self.runs.last_mut() {
                Some(run) if run.part == at && run.name_id == name_id => run.rows += 1,
                _ => {
                    self.runs.push(Run {
                        part: at,
                        name_id,
                        start: start + row,
                        rows: 1,
                    });
                    let text = || texts.is_valid(row).then(|| texts.value(row).to_owned());
                    let name = self.names.entry(name_id);
                    name.or_insert_with(|| text().unwrap_or_default());
                }
            }
        }
        Ok(())
    }

    /// The names besides `name_id` that the photo `image_id` stands under.
    pub(crate) fn other_names(&self, name_id: NameId, image_id: ImageId) -> Vec<String> {
        let names = self.shared.get(&image_id).map_or(&[][..], Vec::as_slice);
        let others = names.iter().filter(|name| **name != name_id);
        let text = |name: &NameId| self.names.get(name).cloned().unwrap_or_default();
        others.map(text).collect()
    }
}

/// The numbers of a column of ids.
fn ids<'a>(batch: &'a RecordBatch, name: &str, part: &Part) -> Result<&'a [u64], CoreError> {
    let column = batch.column_by_name(name);
    let column = column.and_then(|column| column.as_primitive_opt::<UInt64Type>());
    let column = column.filter(|column| column.null_count() == 0);
    let values = column.map(|column| &column.values()[..]);
    values.ok_or_else(|| missing(part, name))
}

fn missing(part: &Part, column: &str) -> CoreError {
    let reason = format!("no column `{column}` of the right type");
    CoreError::parquet(&part.path, reason)
}
