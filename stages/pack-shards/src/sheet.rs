//! Contact sheets: an identity's generated portraits in the first row, its photos below, best
//! matches first, with the matching face framed.

use std::collections::BTreeMap;
use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage, imageops};
use laioncele_core::part::read_rows;
use laioncele_core::store::Store;
use laioncele_core::table::{LaionCele, Portrait};
use laioncele_core::{CoreError, EmbeddingDims, NameId, Part, TableId};
use laioncele_image::{Limits, Orientation, decode};
use rayon::prelude::*;

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

/// Renders and stores the sheets of the identities in `shards`, the parts of one bucket, and
/// returns their paths.
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
    let subjects = subjects(store, dims, lineage, shards, most_photos)?;
    let sheets: Vec<_> = subjects.par_iter().map(|s| (path(s), sheet(s))).collect();
    let mut paths = Vec::with_capacity(sheets.len());
    for (path, bytes) in sheets {
        store.put_changed(&path, bytes.map_err(|e| CoreError::parquet(&path, e))?)?;
        paths.push(path);
    }
    Ok(paths)
}

fn subjects(
    store: &Store,
    dims: &EmbeddingDims,
    lineage: &Lineage,
    shards: &[&Part],
    most_photos: usize,
) -> Result<Vec<Subject>, CoreError> {
    let mut subjects: BTreeMap<NameId, Subject> = BTreeMap::new();
    for shard in shards {
        for row in read_rows::<LaionCele>(store, shard, dims)? {
            let subject = subjects.entry(row.name_id).or_insert_with(|| Subject {
                name_id: row.name_id,
                name: row.name.clone(),
                portraits: Vec::new(),
                photos: Vec::new(),
            });
            subject.photos.push(row);
        }
    }
    let bucket = shards.first().map(|shard| &shard.partition);
    for part in lineage.parts(TableId::Portraits, bucket) {
        for portrait in read_rows::<Portrait>(store, part, dims)? {
            if let Some(subject) = subjects.get_mut(&portrait.name_id) {
                subject.portraits.push(portrait);
            }
        }
    }
    let mut subjects: Vec<Subject> = subjects.into_values().collect();
    for subject in &mut subjects {
        subject.portraits.sort_by_key(|portrait| portrait.index);
        subject.photos.sort_by(|a, b| {
            b.similarity
                .total_cmp(&a.similarity)
                .then(a.image_id.cmp(&b.image_id))
        });
        subject.photos.truncate(most_photos);
    }
    Ok(subjects)
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
