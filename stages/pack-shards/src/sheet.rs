//! Contact sheets: an identity's generated portraits in the first row, its photos below, best
//! matches first, with the matching face framed.

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::Arc;

use image::{ImageFormat, Rgb, RgbImage, imageops};
use laioncele_core::footer::Footer;
use laioncele_core::part_rows::read_columns;
use laioncele_core::store::Store;
use laioncele_core::table::{Cell, LaionCele, Portrait, Row};
use laioncele_core::{CoreError, EmbeddingDims, NameId, Part, PartReader, TableId};
use laioncele_image::{Limits, Orientation, decode};
use rayon::prelude::*;

use crate::columns::take;
use crate::lineage::Lineage;

/// Edge of an image on the sheet and the space around it, in pixels.
const CELL: u32 = 112;
const GAP: u32 = 4;
const COLUMNS: usize = 6;
const FRAME: Rgb<u8> = Rgb([40, 200, 90]);
/// Letters of a name in its sheet's file name.
const SLUG: usize = 60;

/// What one sheet shows.
struct Subject {
    name_id: NameId,
    name: String,
    portraits: Vec<Portrait>,
    photos: Vec<LaionCele>,
}

/// Sheets that are rendered at once.
const AT_ONCE: usize = 32;

/// Where a bucket's portraits are.
struct Portraits<'a> {
    parts: Vec<&'a Part>,
    places: HashMap<NameId, Vec<(usize, usize)>>,
}

/// Renders and stores the sheets of the identities in `shards`, the parts of one bucket, and
/// returns their paths. A few identities with their best photos are held, and a row group.
///
/// # Errors
/// Damaged parts, a full disk.
pub(crate) fn render(
    store: &Store,
    dims: &EmbeddingDims,
    lineage: &Lineage,
    shards: &[&Part],
    most_photos: usize,
) -> Result<Vec<String>, CoreError> {
    let bucket = shards.first().map(|shard| &shard.partition);
    let portraits = Portraits::find(store, dims, lineage.parts(TableId::Portraits, bucket))?;
    let (mut open, mut paths) = (Vec::<Subject>::new(), Vec::new());
    for shard in shards {
        let footer = Arc::new(Footer::read::<LaionCele>(store, shard, dims)?);
        for batch in PartReader::new(store.clone(), shard, footer) {
            for row in LaionCele::from_batch(&batch?, dims, &shard.path)? {
                if open.last().is_none_or(|last| last.name_id != row.name_id) {
                    if open.len() >= AT_ONCE {
                        let whole = std::mem::take(&mut open);
                        portraits.render(store, dims, whole, &mut paths)?;
                    }
                    open.push(Subject::new(&row));
                }
                if let Some(subject) = open.last_mut() {
                    subject.add(row, most_photos);
                }
            }
        }
    }
    portraits.render(store, dims, open, &mut paths)?;
    Ok(paths)
}

impl<'a> Portraits<'a> {
    fn find(
        store: &Store,
        dims: &EmbeddingDims,
        parts: impl Iterator<Item = &'a Part>,
    ) -> Result<Self, CoreError> {
        const COLUMN: &str = "name_id";
        let parts: Vec<&Part> = parts.collect();
        let mut places: HashMap<NameId, Vec<(usize, usize)>> = HashMap::new();
        for (at, part) in parts.iter().enumerate() {
            let mut row = 0;
            for batch in read_columns::<Portrait>(store, part, dims, &[COLUMN])? {
                let fail = |cause: String| CoreError::parquet(&part.path, cause);
                let batch = batch?;
                let names = batch.column_by_name(COLUMN);
                let names = names.ok_or_else(|| fail(format!("no column `{COLUMN}`")))?;
                for name in NameId::read(names, dims).map_err(fail)? {
                    places.entry(name).or_default().push((at, row));
                    row += 1;
                }
            }
        }
        Ok(Self { parts, places })
    }

    /// Renders the sheets of subjects that have all their photos.
    fn render(
        &self,
        store: &Store,
        dims: &EmbeddingDims,
        mut subjects: Vec<Subject>,
        paths: &mut Vec<String>,
    ) -> Result<(), CoreError> {
        for subject in &mut subjects {
            let places = self.places.get(&subject.name_id);
            let places = places.map_or(&[][..], Vec::as_slice);
            subject.portraits = take(store, dims, &self.parts, places)?;
            subject.portraits.retain(|portrait| !portrait.is_pruned());
            subject.portraits.sort_by_key(|portrait| portrait.index);
        }
        let sheets: Vec<_> = subjects.par_iter().map(|s| (path(s), sheet(s))).collect();
        for (path, bytes) in sheets {
            store.put_changed(&path, bytes.map_err(|e| CoreError::parquet(&path, e))?)?;
            paths.push(path);
        }
        Ok(())
    }
}

impl Subject {
    fn new(row: &LaionCele) -> Self {
        Self {
            name_id: row.name_id,
            name: row.name.clone(),
            portraits: Vec::new(),
            photos: Vec::new(),
        }
    }

    /// Keeps the photo if it is among the best `most`.
    fn add(&mut self, photo: LaionCele, most: usize) {
        self.photos.push(photo);
        self.photos.sort_by(|a, b| {
            b.similarity
                .total_cmp(&a.similarity)
                .then(a.image_id.cmp(&b.image_id))
        });
        self.photos.truncate(most);
    }
}

/// `sheets/NAME-ID.png`, the name in letters that every file system takes.
fn path(subject: &Subject) -> String {
    let mut slug = String::new();
    for c in subject.name.to_lowercase().chars() {
        if c.is_alphanumeric() {
            slug.push(c);
        } else if !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug: String = slug.trim_matches('-').chars().take(SLUG).collect();
    format!("sheets/{slug}-{}.png", subject.name_id)
}

fn sheet(subject: &Subject) -> image::ImageResult<Vec<u8>> {
    let portraits = subject
        .portraits
        .iter()
        .map(|p| thumbnail(&p.image.bytes, None));
    let photos = subject
        .photos
        .iter()
        .map(|p| thumbnail(&p.image.bytes, Some(&p.face_box.0)));
    let (portraits, photos): (Vec<_>, Vec<_>) = (portraits.collect(), photos.collect());
    let first = portraits.len().div_ceil(COLUMNS);
    let rows = first + photos.len().div_ceil(COLUMNS);
    let step = CELL + GAP;
    let mut canvas = RgbImage::from_pixel(
        COLUMNS as u32 * step + GAP,
        rows as u32 * step + GAP,
        Rgb([255; 3]),
    );
    for (offset, cells) in [(0, portraits), (first, photos)] {
        for (k, cell) in cells.into_iter().enumerate() {
            let (column, row) = ((k % COLUMNS) as u32, (offset + k / COLUMNS) as u32);
            let left = GAP + column * step + (CELL - cell.width()) / 2;
            let top = GAP + row * step + (CELL - cell.height()) / 2;
            imageops::replace(&mut canvas, &cell, i64::from(left), i64::from(top));
        }
    }
    let mut bytes = Vec::new();
    canvas.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)?;
    Ok(bytes)
}

/// An image that fits a cell, `face_box` framed; a gray square where the file no longer decodes.
fn thumbnail(bytes: &[u8], face_box: Option<&[f32]>) -> RgbImage {
    let Ok(image) = decode(bytes, &Limits::default(), Orientation::Upright) else {
        return RgbImage::from_pixel(CELL, CELL, Rgb([128; 3]));
    };
    let (width, height) = image.dimensions();
    let scale = CELL as f32 / width.max(height) as f32;
    let scaled = |side: u32| ((side as f32 * scale).round() as u32).clamp(1, CELL);
    let mut small = imageops::thumbnail(&image, scaled(width), scaled(height));
    if let Some(&[x0, y0, x1, y1]) = face_box {
        frame(&mut small, [x0, y0, x1, y1].map(|v| v * scale));
    }
    small
}

/// Draws the outline of a box, cut to the image.
fn frame(image: &mut RgbImage, corners: [f32; 4]) {
    let (width, height) = image.dimensions();
    let inside = |v: f32, side: u32| (v.round() as u32).min(side - 1);
    let [x0, y0, x1, y1] = corners;
    let (left, right) = (inside(x0, width), inside(x1, width));
    let (top, bottom) = (inside(y0, height), inside(y1, height));
    for x in left..=right {
        image.put_pixel(x, top, FRAME);
        image.put_pixel(x, bottom, FRAME);
    }
    for y in top..=bottom {
        image.put_pixel(left, y, FRAME);
        image.put_pixel(right, y, FRAME);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sheet_file_names_are_plain() {
        let subject = |name: &str| Subject {
            name_id: NameId(1),
            name: name.to_owned(),
            portraits: Vec::new(),
            photos: Vec::new(),
        };
        assert_eq!(
            path(&subject("Mira O'Brien-Castellan")),
            "sheets/mira-o-brien-castellan-0000000000000001.png"
        );
        assert_eq!(
            path(&subject("../../etc")),
            "sheets/etc-0000000000000001.png"
        );
        assert!(path(&subject(&"long ".repeat(90))).len() < 100);
    }

    #[test]
    fn frame_clips_any_box() {
        for corners in [
            [f32::NAN; 4],
            [-1e9, -1e9, 1e9, 1e9],
            [50.0, 50.0, 2.0, 2.0],
        ] {
            frame(&mut RgbImage::new(9, 7), corners);
        }
    }
}
