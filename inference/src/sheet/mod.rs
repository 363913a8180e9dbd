//! Contact sheets: images in rows and columns, with labels. The sheet of generate-samples and those of `laioncele sheet`.

mod letters;

use image::{Rgb, RgbImage, imageops};
use laioncele_image::{Filter, resample};

use letters::{LETTER, lines, write};

/// The space around an image, in pixels.
const GAP: u32 = 4;
const PAPER: Rgb<u8> = Rgb([255; 3]);
const INK: Rgb<u8> = Rgb([24; 3]);
/// Lines of a column's label at most.
const MOST_LINES: usize = 4;

/// A sheet in the making.
pub struct Sheet {
    canvas: RgbImage,
    /// Where the first cell begins.
    corner: [u32; 2],
    cell: u32,
}

/// What a sheet's rows and columns are called.
#[derive(Clone, Copy, Debug, Default)]
pub struct SheetLabels<'a> {
    /// Above all; left out where it is empty.
    pub title: &'a str,
    /// Left to right; as many as there are columns.
    pub columns: &'a [String],
    /// Top to bottom; as many as there are rows.
    pub rows: &'a [String],
}

impl Sheet {
    /// An empty sheet of cells of `cell` pixels. Labels that are all empty take no room.
    pub fn new(labels: &SheetLabels<'_>, cell: u32) -> Self {
        let scale = (cell / 96).max(1);
        let [letter, line] = LETTER.map(|dots| dots * scale);
        let in_cell = (cell / letter) as usize;
        let heads: Vec<Vec<String>> = labels
            .columns
            .iter()
            .map(|label| lines(label, in_cell, MOST_LINES))
            .collect();
        let sides: Vec<Vec<String>> = labels
            .rows
            .iter()
            .map(|label| lines(label, in_cell, (cell / line) as usize))
            .collect();
        let left = sides.iter().flatten().map(|line| line.len() as u32);
        let left = left.max().map_or(0, |letters| letters * letter + GAP);
        let (columns, rows) = (heads.len() as u32, sides.len() as u32);
        let width = left + GAP + columns * (cell + GAP);
        let title = lines(labels.title, (width / letter) as usize, 2);
        let above = title.len() as u32 * line;
        let head = heads.iter().map(Vec::len).max().unwrap_or(0) as u32 * line;
        let top = match above + head {
            0 => 0,
            texts => texts + GAP,
        };
        let height = top + GAP + rows * (cell + GAP);
        let mut sheet = Self {
            canvas: RgbImage::from_pixel(width, height, PAPER),
            corner: [left + GAP, top + GAP],
            cell,
        };
        sheet.write(&title, [GAP, GAP], scale);
        for (column, text) in heads.iter().enumerate() {
            let [x, _] = sheet.cell_corner(0, column);
            sheet.write(text, [x, GAP + above], scale);
        }
        for (row, text) in sides.iter().enumerate() {
            let [_, y] = sheet.cell_corner(row, 0);
            sheet.write(text, [GAP, y], scale);
        }
        sheet
    }

    fn write(&mut self, lines: &[String], [x, y]: [u32; 2], scale: u32) {
        for (at, line) in (0..).zip(lines) {
            let y = y + at * LETTER[1] * scale;
            write(&mut self.canvas, line, [x, y], scale, INK);
        }
    }

    fn cell_corner(&self, row: usize, column: usize) -> [u32; 2] {
        let step = |cell: usize| cell as u32 * (self.cell + GAP);
        [self.corner[0] + step(column), self.corner[1] + step(row)]
    }

    /// Puts an image into the middle of a cell, shrunk or enlarged to fit.
    pub fn place(&mut self, row: usize, column: usize, image: &RgbImage) {
        let (width, height) = image.dimensions();
        let longest = width.max(height);
        if width == 0 || height == 0 {
            return;
        }
        let fit = |side: u32| {
            let scaled = u64::from(side) * u64::from(self.cell) / u64::from(longest);
            (scaled as u32).max(1)
        };
        let small = resample(image, fit(width), fit(height), Filter::Lanczos);
        let [x, y] = self.cell_corner(row, column);
        let middle = |corner: u32, size: u32| i64::from(corner + (self.cell - size) / 2);
        let (x, y) = (middle(x, small.width()), middle(y, small.height()));
        imageops::replace(&mut self.canvas, &small, x, y);
    }

    /// The sheet's pixels.
    pub fn image(&self) -> &RgbImage {
        &self.canvas
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn images_lie_in_the_middle_of_their_cells() {
        let (columns, rows) = (texts(&["", ""]), texts(&[""]));
        let labels = SheetLabels {
            title: "",
            columns: &columns,
            rows: &rows,
        };
        let mut sheet = Sheet::new(&labels, 128);
        assert_eq!(
            sheet.image().dimensions(),
            (2 * 128 + 3 * GAP, 128 + 2 * GAP)
        );
        sheet.place(0, 1, &RgbImage::from_pixel(40, 20, Rgb([9; 3])));
        let shown = sheet
            .image()
            .enumerate_pixels()
            .filter(|(_, _, p)| p.0 == [9; 3]);
        let (mut columns, mut rows) = (Vec::new(), Vec::new());
        shown.for_each(|(x, y, _)| (columns.push(x), rows.push(y)).0);
        assert_eq!(columns.iter().min(), Some(&(128 + 2 * GAP)));
        assert_eq!(
            (rows.iter().min(), rows.iter().max()),
            (Some(&(GAP + 128 / 4)), Some(&(GAP + 128 * 3 / 4 - 1)))
        );
    }

    /// Labels are beside the images, never on them.
    #[test]
    fn labels_have_room_of_their_own() {
        let columns = texts(&["a person at the beach", "a person in the snow"]);
        let rows = texts(&["Mira Castellan", "Jonas Whitfield"]);
        let labels = SheetLabels {
            title: "One name",
            columns: &columns,
            rows: &rows,
        };
        let mut sheet = Sheet::new(&labels, 96);
        let dark = |sheet: &Sheet| {
            let pixels = sheet.image().enumerate_pixels();
            let ink = pixels.filter(|(_, _, pixel)| **pixel == INK);
            ink.map(|(x, y, _)| [x, y]).collect::<Vec<_>>()
        };
        let before = dark(&sheet);
        assert!(before.len() > 300, "{}", before.len());
        assert!(
            before
                .iter()
                .all(|[x, y]| *x < sheet.corner[0] || *y < sheet.corner[1])
        );
        for (row, column) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            sheet.place(row, column, &RgbImage::from_pixel(96, 96, Rgb([200; 3])));
        }
        assert_eq!(dark(&sheet), before);
    }
}
