//! The contact sheet `samples/sheet.png`: a row for each person, first the reference photo, then one image of some
//! prompts of each group; the base model's row last. `samples/sheet.json` says who and what is where.

use std::collections::BTreeMap;

use image::{Rgb, RgbImage, imageops};
use laioncele_core::ledger::Record;
use laioncele_core::store::Store;
use laioncele_core::table::Sample;
use laioncele_core::{CoreError, KeyHasher, Manifest, Part, TableId, part};
use laioncele_image::{Filter, Limits, Orientation, decode, resample};
use laioncele_inference::encode_png;
use serde::{Deserialize, Serialize};

use crate::settings::StageConfig;

const SHEET: &str = "samples/sheet.png";
const LEGEND: &str = "samples/sheet.json";

/// Edge of an image on the sheet, and the space around it, in pixels.
const CELL: u32 = 128;
const GAP: u32 = 4;
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
    let legend = legend(&config, manifest, &parts)?;
    if store.exists(SHEET)? && old_legend(store).is_some_and(|old| old == legend) {
        return Ok(());
    }
    let mut sheet = Sheet::new(&legend);
    sheet.references(&config, manifest)?;
    sheet.samples(store, manifest, &config, &parts)?;
    let bytes = encode_png(&sheet.canvas).map_err(|error| CoreError::parquet(SHEET, error))?;
    store.put(SHEET, bytes)?;
    // Last: a sheet without its legend is rendered again.
    let text = serde_json::to_vec_pretty(&legend).map_err(|e| CoreError::parquet(LEGEND, e))?;
    store.put(LEGEND, text)
}

fn old_legend(store: &Store) -> Option<Legend> {
    let bytes = store.get(LEGEND).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn legend(config: &StageConfig, manifest: &Manifest, parts: &[&Part]) -> Result<Legend, CoreError> {
    let add = |hasher: KeyHasher, part: &&Part| hasher.digest("part", part.digest);
    let digest = parts.iter().fold(KeyHasher::new("sheet"), add).finish();
    let mut people: Vec<String> = config
        .people(manifest)?
        .into_iter()
        .map(|p| p.name)
        .collect();
    people.truncate(MOST_ROWS);
    if config.settings.base_images() > 0 {
        people.push(String::new());
    }
    Ok(Legend {
        digest: digest.to_string(),
        people,
        prompts: shown_prompts(&config.settings.prompts.all()),
    })
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

struct Sheet<'a> {
    legend: &'a Legend,
    canvas: RgbImage,
}

impl<'a> Sheet<'a> {
    fn new(legend: &'a Legend) -> Self {
        let edge = |cells: usize| GAP + cells as u32 * (CELL + GAP);
        let (width, height) = (edge(legend.prompts.len() + 1), edge(legend.people.len()));
        let canvas = RgbImage::from_pixel(width, height, Rgb([255; 3]));
        Self { legend, canvas }
    }

    fn references(&mut self, config: &StageConfig, manifest: &Manifest) -> Result<(), CoreError> {
        for person in config.people(manifest)? {
            let row = self.legend.people.iter().position(|p| *p == person.name);
            let first = person.images().ok().and_then(|p| p.into_iter().next());
            if let (Some(row), Some(photo)) = (row, first) {
                self.place(row, 0, &photo);
            }
        }
        Ok(())
    }

    /// The first image of each person and shown prompt, found by its seed.
    fn samples(
        &mut self,
        store: &Store,
        manifest: &Manifest,
        config: &StageConfig,
        parts: &[&Part],
    ) -> Result<(), CoreError> {
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
                let place = places.get(&(sample.person.as_str(), sample.seed));
                let (limits, upright) = (Limits::default(), Orientation::Upright);
                if let Some(&(row, column)) = place
                    && let Ok(image) = decode(&sample.image.bytes, &limits, upright)
                {
                    self.place(row, column, &image);
                }
            }
        }
        Ok(())
    }

    /// Puts an image into the middle of a cell, shrunk or enlarged to fit.
    fn place(&mut self, row: usize, column: usize, image: &RgbImage) {
        let (width, height) = image.dimensions();
        let longest = width.max(height);
        if width == 0 || height == 0 {
            return;
        }
        let fit = |side: u32| {
            let scaled = u64::from(side) * u64::from(CELL) / u64::from(longest);
            (scaled as u32).max(1)
        };
        let small = resample(image, fit(width), fit(height), Filter::Lanczos);
        let start = |cell: usize, size: u32| {
            i64::from(GAP + cell as u32 * (CELL + GAP) + (CELL - size) / 2)
        };
        let (x, y) = (start(column, small.width()), start(row, small.height()));
        imageops::replace(&mut self.canvas, &small, x, y);
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

    #[test]
    fn images_lie_in_the_middle_of_their_cells() {
        let legend = Legend {
            digest: String::new(),
            people: vec!["a".to_owned()],
            prompts: vec!["p".to_owned()],
        };
        let mut sheet = Sheet::new(&legend);
        assert_eq!(
            sheet.canvas.dimensions(),
            (2 * CELL + 3 * GAP, CELL + 2 * GAP)
        );
        sheet.place(0, 1, &RgbImage::from_pixel(40, 20, Rgb([9; 3])));
        let shown = sheet
            .canvas
            .enumerate_pixels()
            .filter(|(_, _, p)| p.0 == [9; 3]);
        let (mut columns, mut rows) = (Vec::new(), Vec::new());
        shown.for_each(|(x, y, _)| (columns.push(x), rows.push(y)).0);
        assert_eq!(columns.iter().min(), Some(&(CELL + 2 * GAP)));
        assert_eq!(
            (rows.iter().min(), rows.iter().max()),
            (Some(&(GAP + CELL / 4)), Some(&(GAP + CELL * 3 / 4 - 1)))
        );
    }
}
