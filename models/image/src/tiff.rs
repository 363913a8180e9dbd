//! The directories of a TIFF file, and palettes, which the decoder of the rest does not read.

use image::{DynamicImage, RgbImage};

/// A classic TIFF file.
pub(crate) struct Tiff<'a> {
    bytes: &'a [u8],
    is_little: bool,
}

const WIDTH: u64 = 256;
const STRIPS: u64 = 273;
const ROWS_PER_STRIP: u64 = 278;
const TILE_WIDTH: u64 = 322;
const TILE_HEIGHT: u64 = 323;
const STRIP_SIZES: u64 = 279;
const TILES: u64 = 324;
const TILE_SIZES: u64 = 325;
const INTERPRETATION: u64 = 262;
const COLOURS: u64 = 320;

impl<'a> Tiff<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            is_little: bytes.starts_with(b"II"),
        }
    }

    /// The number of `width` bytes at a place.
    pub(crate) fn number(&self, at: usize, width: usize) -> Option<u64> {
        let value = self.bytes.get(at..at.checked_add(width)?)?;
        let add = |sum: u64, b: &u8| sum << 8 | u64::from(*b);
        Some(match self.is_little {
            true => value.iter().rev().fold(0, add),
            false => value.iter().fold(0, add),
        })
    }

    /// Where the next page's directory stands, 0 without one; `None` where something of this page is not in the file.
    pub(crate) fn page(&self, directory: usize) -> Option<usize> {
        let mut found: [Vec<u64>; 4] = Default::default();
        let entries = usize::try_from(self.number(directory, 2)?).ok()?;
        for entry in 0..entries {
            let entry = self.entry(directory + 2 + 12 * entry)?;
            let place = [STRIPS, STRIP_SIZES, TILES, TILE_SIZES];
            if let Some(at) = place.iter().position(|tag| *tag == entry.tag) {
                found[at] = self.values(&entry)?;
            }
        }
        let [strips, strip_sizes, tiles, tile_sizes] = &found;
        let pairs = strips.iter().zip(strip_sizes);
        let mut pairs = pairs.chain(tiles.iter().zip(tile_sizes));
        let length = self.bytes.len() as u64;
        let is_there =
            |(at, size): (&u64, &u64)| at.checked_add(*size).is_some_and(|end| end <= length);
        let next = self.number(directory + 2 + 12 * entries, 4)?;
        pairs.all(is_there).then_some(usize::try_from(next).ok()?)
    }

    fn entry(&self, at: usize) -> Option<Entry> {
        let (tag, kind) = (self.number(at, 2)?, self.number(at + 2, 2)?);
        let count = usize::try_from(self.number(at + 4, 4)?).ok()?;
        let width = match kind {
            1 | 2 | 6 | 7 => 1,
            3 | 8 => 2,
            5 | 10 | 12 => 8,
            _ => 4,
        };
        let size = count.checked_mul(width)?;
        let place = match size {
            0..=4 => at + 8,
            _ => usize::try_from(self.number(at + 8, 4)?).ok()?,
        };
        self.bytes.get(place..place.checked_add(size)?)?;
        Some(Entry {
            tag,
            place,
            width,
            count,
        })
    }

    fn values(&self, entry: &Entry) -> Option<Vec<u64>> {
        let value = |i| self.number(entry.place + i * entry.width, entry.width);
        (0..entry.count).map(value).collect()
    }

    fn first_page(&self, tag: u64) -> Option<Entry> {
        let directory = usize::try_from(self.number(4, 4)?).ok()?;
        let entries = usize::try_from(self.number(directory, 2)?).ok()?;
        let all = (0..entries).map_while(|i| self.entry(directory + 2 + 12 * i));
        all.into_iter().find(|entry| entry.tag == tag)
    }
}

/// Tags that hold numbers, which decoders read to find the first page's pixels.
const NUMBERS: [u64; 19] = [
    WIDTH,
    257,
    258,
    259,
    INTERPRETATION,
    STRIPS,
    274,
    277,
    ROWS_PER_STRIP,
    STRIP_SIZES,
    284,
    317,
    TILE_WIDTH,
    TILE_HEIGHT,
    TILES,
    TILE_SIZES,
    338,
    339,
    530,
];

/// Whether the first page has a text of more than 4,096 bytes where numbers belong. The crate `tiff` refuses short ones,
/// or passes over them, but prints a line of its own about those beyond its limits.
pub(crate) fn has_texts_for_numbers(bytes: &[u8]) -> bool {
    const TEXT: u64 = 2;
    let file = Tiff::new(bytes);
    let is_bad = |at: usize| {
        let [tag, kind] = [file.number(at, 2)?, file.number(at + 2, 2)?];
        Some(kind == TEXT && NUMBERS.contains(&tag) && file.number(at + 4, 4)? > 4096)
    };
    let found = || {
        let directory = usize::try_from(file.number(4, 4)?).ok()?;
        let entries = usize::try_from(file.number(directory, 2)?).ok()?;
        let mut all = (0..entries).map_while(|i| is_bad(directory + 2 + 12 * i));
        Some(all.any(|is_bad| is_bad))
    };
    file.number(2, 2) == Some(42) && found().unwrap_or(false)
}

/// Pixels of the largest strip or tile of the first page. `None` where that cannot be told.
pub(crate) fn strip_pixels(bytes: &[u8]) -> Option<u64> {
    let file = Tiff::new(bytes);
    let first = |tag: u64| {
        let entry = file.first_page(tag)?;
        file.values(&entry)?.first().copied()
    };
    let width = first(WIDTH)?;
    let (width, height) = match first(TILE_WIDTH) {
        Some(width) => (width, first(TILE_HEIGHT)?),
        None => (width, first(ROWS_PER_STRIP)?),
    };
    (width > 0 && height > 0).then_some(width.saturating_mul(height))
}

struct Entry {
    tag: u64,
    place: usize,
    width: usize,
    count: usize,
}

/// A file whose first page has indexes of colours, as one of gray values, and the colours: red, green and blue of each
/// index. `None` for every other file.
pub(crate) fn without_palette(bytes: &[u8]) -> Option<(Vec<u8>, Vec<[u8; 3]>)> {
    let file = Tiff::new(bytes);
    if file.number(2, 2)? != 42 {
        return None;
    }
    let interpretation = file.first_page(INTERPRETATION)?;
    if file.values(&interpretation)? != [3] || interpretation.width != 2 {
        return None;
    }
    let colours = file.values(&file.first_page(COLOURS)?)?;
    let count = colours.len() / 3;
    // Of 16 bits the high ones.
    let colour = |i: usize| [i, i + count, i + 2 * count].map(|i| (colours[i] >> 8) as u8);
    let mut gray = bytes.to_vec();
    let low = usize::from(!file.is_little);
    *gray.get_mut(interpretation.place + low)? = 1;
    Some((gray, (0..count).map(colour).collect()))
}

/// Gray values replaced by the colours that they are indexes of.
pub(crate) fn coloured(image: DynamicImage, colours: &[[u8; 3]]) -> DynamicImage {
    let gray = image.into_luma8();
    let colour = |index: &u8| {
        colours
            .get(usize::from(*index))
            .copied()
            .unwrap_or_default()
    };
    let bytes = gray.as_raw().iter().flat_map(colour).collect();
    RgbImage::from_raw(gray.width(), gray.height(), bytes)
        .unwrap_or_default()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of nothing but a directory, whose entries are tag, type and count.
    fn directory(entries: &[[u16; 3]]) -> Vec<u8> {
        let mut bytes = b"II*\0\x08\0\0\0".to_vec();
        bytes.extend((entries.len() as u16).to_le_bytes());
        for [tag, kind, count] in entries {
            bytes.extend(
                [tag, kind, count, &0, &0, &0]
                    .map(|v| v.to_le_bytes())
                    .concat(),
            );
        }
        bytes
    }

    #[test]
    fn a_long_text_for_a_number_is_found_and_other_texts_are_not() {
        let [width, description] = [256, 270];
        let bad = directory(&[[description, 2, 9000], [width, 2, 9000]]);
        assert!(has_texts_for_numbers(&bad));
        for good in [[description, 2, 9000], [width, 2, 4096], [width, 4, 9000]] {
            assert!(!has_texts_for_numbers(&directory(&[good])), "{good:?}");
        }
        for end in 0..bad.len() {
            assert_eq!(has_texts_for_numbers(&bad[..end]), end >= 30, "{end}");
        }
    }

    #[test]
    fn a_header_with_a_text_for_a_number_is_refused() {
        let bad = directory(&[[256, 2, u16::MAX]]);
        let found = crate::header(&bad).map_err(|e| e.to_string());
        assert!(found.is_err_and(|e| e.contains("text where a number belongs")));
    }
}
