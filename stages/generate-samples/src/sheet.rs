//! The contact sheet `samples/sheet.png`: a row for each person, first the reference photo, then one image of some
//! prompts of each group, labelled; the base model's row last. `samples/sheet.json` says who and what is where. The list of
//! people's words is written with it, since both look at all samples.

use std::collections::BTreeMap;

use laioncele_core::ledger::Record;
use laioncele_core::store::Store;
use laioncele_core::table::Sample;
use laioncele_core::{CoreError, KeyHasher, Manifest, Part, TableId, part};
use laioncele_image::{Limits, Orientation, decode};
use laioncele_inference::references::Person;
use laioncele_inference::{Sheet, SheetLabels, encode_png};
use serde::{Deserialize, Serialize};

use crate::choice;
use crate::settings::StageConfig;
use crate::words_list::WordsList;

const SHEET: &str = "samples/sheet.png";
const LEGEND: &str = "samples/sheet.json";
const WORDS: &str = "samples/references.csv";

/// Edge of an image on the sheet, in pixels.
const CELL: u32 = 128;
/// People and prompts on the sheet at most.
const MOST_ROWS: usize = 40;
const MOST_COLUMNS: usize = 12;

/// What the sheet shows.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Legend {
    /// Of the parts that it was made from.
    digest: String,
    /// Top to bottom; the base model is the empty name.
    people: Vec<String>,
    /// Left to right, after the reference photo; as the manifest has them.
    prompts: Vec<String>,
}

/// Renders the sheet again if the samples changed.
pub(crate) fn publish(
    store: &Store,
    manifest: &Manifest,
    records: &[Record],
) -> Result<(), CoreError> {
    let config = StageConfig::from_manifest(manifest)?;
    let parts: Vec<&Part> = (records.iter())
        .flat_map(|record| record.outputs_of(TableId::Samples))
        .filter(|part| part.is_parquet())
        .collect();
    let people = choice::people_of_records(&config, store, manifest, records)?;
    let legend = legend(&config, &people, &parts);
    let whole = store.exists(SHEET)? && store.exists(WORDS)?;
    if whole && old_legend(store).is_some_and(|old| old == legend) {
        return Ok(());
    }
    let mut sheet = SampleSheet::new(&legend);
    sheet.references(&people);
    let words = sheet.samples(store, manifest, &config, &parts)?;
    store.put_changed(WORDS, words.text().into_bytes())?;
    let bytes =
        encode_png(sheet.sheet.image()).map_err(|error| CoreError::parquet(SHEET, error))?;
    store.put(SHEET, bytes)?;
    // Last: a sheet without its legend is rendered again.
    let text = serde_json::to_vec_pretty(&legend).map_err(|e| CoreError::parquet(LEGEND, e))?;
    store.put(LEGEND, text)
}

fn old_legend(store: &Store) -> Option<Legend> {
    let bytes = store.get(LEGEND).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn legend(config: &StageConfig, people: &[Person], parts: &[&Part]) -> Legend {
    let add = |hasher: KeyHasher, part: &&Part| hasher.digest("part", part.digest);
    let digest = parts
        .iter()
        .fold(KeyHasher::new("labelled sheet"), add)
        .finish();
    let mut people: Vec<String> = people.iter().map(|p| p.name.clone()).collect();
    people.truncate(MOST_ROWS);
    if config.settings.base_images() > 0 {
        people.push(String::new());
    }
    Legend {
        digest: digest.to_string(),
        people,
        prompts: shown_prompts(&config.settings.prompts.all()),
    }
}

/// Some prompts of each group, in the groups' order.
fn shown_prompts(prompts: &[(&str, &str)]) -> Vec<String> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (group, prompt) in prompts {
        groups.entry(group).or_default().push(prompt);
    }
    let each = (MOST_COLUMNS / groups.len().max(1)).max(1);
    let some = groups.values().flat_map(|group| group.iter().take(each));
    some.take(MOST_COLUMNS).map(ToString::to_string).collect()
}

struct SampleSheet<'a> {
    legend: &'a Legend,
    sheet: Sheet,
}

impl<'a> SampleSheet<'a> {
    fn new(legend: &'a Legend) -> Self {
        let mut columns = vec!["photo".to_owned()];
        columns.extend(legend.prompts.iter().cloned());
        let label = |person: &String| match person.as_str() {
            "" => "the base model, nobody in particular".to_owned(),
            person => person.replace('_', " "),
        };
        let rows: Vec<String> = legend.people.iter().map(label).collect();
        let labels = SheetLabels {
            title: "",
            columns: &columns,
            rows: &rows,
        };
        let sheet = Sheet::new(&labels, CELL);
        Self { legend, sheet }
    }

    fn references(&mut self, people: &[Person]) {
        for person in people {
            let row = self.legend.people.iter().position(|p| *p == person.name);
            let first = person.images().ok().and_then(|p| p.into_iter().next());
            if let (Some(row), Some(photo)) = (row, first) {
                self.sheet.place(row, 0, &photo);
            }
        }
    }

    /// The first image of each person and shown prompt, found by its seed; returns what everybody is called.
    fn samples(
        &mut self,
        store: &Store,
        manifest: &Manifest,
        config: &StageConfig,
        parts: &[&Part],
    ) -> Result<WordsList, CoreError> {
        let mut words = WordsList::default();
        let mut places = BTreeMap::new();
        for (row, person) in self.legend.people.iter().enumerate() {
            for (column, prompt) in self.legend.prompts.iter().enumerate() {
                places.insert(
                    (person.as_str(), config.seed(person, prompt, 0)),
                    (row, column + 1),
                );
            }
        }
        for part in parts {
            for sample in part::read_rows::<Sample>(store, part, &manifest.embedding_dims)? {
                words.add(&sample);
                let place = places.get(&(sample.person.as_str(), sample.seed));
                let (limits, upright) = (Limits::default(), Orientation::Upright);
                if let Some(&(row, column)) = place
                    && let Ok(image) = decode(&sample.image.bytes, &limits, upright)
                {
                    self.sheet.place(row, column, &image);
                }
            }
        }
        Ok(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_prompts_of_every_group_are_shown() {
        let prompts = crate::Prompts::default();
        let shown = shown_prompts(&prompts.all());
        assert_eq!(shown.len(), 12);
        assert_eq!(
            shown[..2],
            [
                "a person is sitting in a chair",
                "a person is riding a horse"
            ]
        );
        let list = crate::Prompts::List((0..20).map(|i| i.to_string()).collect());
        assert_eq!(shown_prompts(&list.all()).len(), MOST_COLUMNS);
        assert!(shown_prompts(&[]).is_empty());
    }
}
