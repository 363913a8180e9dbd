//! Portraits that earlier records of the bucket hold: found by their ids, seeds and digests first; images are read for
//! some names at a time.

use std::collections::HashMap;

use laioncele_core::table::{NameEmbedding, Portrait};
use laioncele_core::{NameId, Part, StageError, TableId, Task};
use laioncele_inference::agreement::PORTRAITS;

/// A portrait: its name and index.
type Key = (NameId, u32);

/// Where a portrait is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    part: usize,
    row: usize,
}

/// Earlier portraits that this task may take over: about 40 bytes each.
#[derive(Debug, Default)]
pub(crate) struct EarlierPortraits {
    parts: Vec<Part>,
    places: HashMap<Key, Place>,
}

/// What an earlier row says of itself.
struct Found {
    key: Key,
    seed: u64,
    settings: String,
}

impl EarlierPortraits {
    /// The newest portrait of each name and index for which `usable` (index, seed, digest of settings) holds. Parts that
    /// are gone or damaged are passed over: their portraits are generated again.
    ///
    /// # Errors
    /// Ledger errors.
    pub(crate) fn find(
        task: &Task,
        mut usable: impl FnMut(NameId, u32, u64, &str) -> bool,
    ) -> Result<Self, StageError> {
        let mut earlier = Self::default();
        // Of a result from which portraits were pruned and which is made whole, those that are left come first.
        for record in task.replaced()?.into_iter().chain(task.earlier()?) {
            for part in record.outputs_of(TableId::Portraits) {
                let Ok(rows) = rows(task, part) else {
                    continue;
                };
                let number = earlier.parts.len();
                earlier.parts.push(part.clone());
                for (row, found) in rows.into_iter().enumerate() {
                    let (name_id, index) = found.key;
                    if usable(name_id, index, found.seed, &found.settings) {
                        let place = Place { part: number, row };
                        earlier.places.entry(found.key).or_insert(place);
                    }
                }
            }
        }
        Ok(earlier)
    }

    /// The portraits of `names`.
    pub(crate) fn read(&self, task: &Task, names: &[NameEmbedding]) -> HashMap<Key, Portrait> {
        let indices = 0..PORTRAITS as u32;
        let keys = names
            .iter()
            .flat_map(|name| indices.clone().map(|index| (name.name_id, index)));
        let mut places: Vec<Place> = keys
            .filter_map(|key| self.places.get(&key).copied())
            .collect();
        places.sort_unstable();
        let mut portraits = HashMap::new();
        for places in places.chunk_by(|a, b| a.part == b.part) {
            let numbers: Vec<usize> = places.iter().map(|place| place.row).collect();
            let rows = task.read_selected::<Portrait>(&self.parts[places[0].part], &numbers);
            let rows = rows.unwrap_or_default().into_iter();
            portraits.extend(rows.map(|row| ((row.name_id, row.index), row)));
        }
        portraits
    }
}

/// All rows of a part, without their images.
fn rows(task: &Task, part: &Part) -> Result<Vec<Found>, StageError> {
    const COLUMNS: [&str; 4] = ["name_id", "index", "seed", "settings"];
    let mut found = Vec::new();
    for batch in task.read_columns::<Portrait>(part, &COLUMNS)? {
        let batch = batch?;
        let names = task.column::<NameId>(&batch, COLUMNS[0])?.into_iter();
        let indices = task.column::<u32>(&batch, COLUMNS[1])?;
        let seeds = task.column::<u64>(&batch, COLUMNS[2])?;
        let settings = task.column::<String>(&batch, COLUMNS[3])?;
        let rows = names.zip(indices).zip(seeds).zip(settings);
        found.extend(rows.map(|((key, seed), settings)| Found {
            key,
            seed,
            settings,
        }));
    }
    Ok(found)
}
