//! Whether a file ends before its structure does. Decoders make do with what they need of a file,
//! some with half of it.

use crate::format::Format;
use crate::gif::{colours, sub_blocks};
use crate::isobmff;
use crate::tiff::Tiff;

/// Whether the file reaches to where its structure says that it ends.
pub(crate) fn is_whole(format: Format, bytes: &[u8]) -> bool {
    match format {
        // Walked through block by block.
        Format::Jpeg => true,
        Format::Png => png(bytes).is_some(),
        Format::WebP => riff(bytes).is_some(),
        Format::Gif => gif(bytes).is_some(),
        Format::Bmp => bmp(bytes).is_some(),
        Format::Tiff => tiff(bytes).is_some(),
        Format::Avif => isobmff::is_whole(bytes),
    }
}

fn be32(bytes: &[u8], at: usize) -> Option<usize> {
    let value = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(value.try_into().ok()?) as usize)
}

fn le32(bytes: &[u8], at: usize) -> Option<usize> {
    let value = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(value.try_into().ok()?) as usize)
}

/// Chunks up to IEND.
fn png(bytes: &[u8]) -> Option<()> {
    let mut at = 8;
    loop {
        let end = be32(bytes, at)?.checked_add(at + 12)?;
        let kind = bytes.get(at + 4..at + 8)?;
        bytes.get(at..end)?;
        if kind == b"IEND" {
            return Some(());
        }
        at = end;
    }
}

/// A RIFF file has the length that its head says, and its chunks up to the first picture lie within. An odd last byte may be
/// missing its pad.
fn riff(bytes: &[u8]) -> Option<()> {
    let end = le32(bytes, 4)?.checked_add(8)?;
    let inside = bytes.get(..end)?;
    let mut at = 12;
    loop {
        let kind = inside.get(at..at + 4)?;
        let content = at + 8;
        let next = content.checked_add(le32(inside, at + 4)?)?;
        inside.get(content..next)?;
        if matches!(kind, b"VP8 " | b"VP8L" | b"ANMF") {
            return Some(());
        }
        at = next.checked_add(next % 2)?;
    }
}

/// Whether nothing of a BMP can fail behind its headers: rows without compression, whose colours are all named.
pub(crate) fn is_plain_bmp(bytes: &[u8]) -> bool {
    let plain = || {
        let (data, header) = (le32(bytes, 10)?, le32(bytes, 14)?);
        let bits = u32::from(u16::from_le_bytes(bytes.get(28..30)?.try_into().ok()?));
        let colours = match bits {
            1 | 4 | 8 => 1 << bits,
            16 | 24 | 32 => 0,
            _ => return None,
        };
        let named = match le32(bytes, 46)? {
            0 => colours,
            named => named,
        };
        let width = le32(bytes, 18)? as u64;
        let height = u64::from((le32(bytes, 22)? as u32 as i32).unsigned_abs());
        let row = width.checked_mul(u64::from(bits))?.div_ceil(32) * 4;
        let end = row.checked_mul(height)?.checked_add(data as u64)?;
        let behind = 14 + header + 4 * colours;
        let is_plain = header >= 40 && le32(bytes, 30)? == 0 && named >= colours;
        (is_plain && data >= behind && bytes.len() as u64 >= end).then_some(())
    };
    plain().is_some()
}

/// Blocks up to the trailer.
fn gif(bytes: &[u8]) -> Option<()> {
    let mut at = 13 + colours(*bytes.get(10)?);
    loop {
        match bytes.get(at)? {
            0x3b => return Some(()),
            // Extension: its kind, then sub-blocks.
            0x21 => at = sub_blocks(bytes, at + 2)?,
            // Image: its place, colours, code size, then sub-blocks.
            0x2c => at = sub_blocks(bytes, at + 11 + colours(*bytes.get(at + 9)?))?,
            // Padding, which some files have between blocks.
            0 => at += 1,
            _ => return None,
        }
    }
}

/// Uncompressed rows are all there, or as many bytes of run lengths as the header says.
fn bmp(bytes: &[u8]) -> Option<()> {
    let (data, header) = (le32(bytes, 10)?, le32(bytes, 14)?);
    if header < 40 {
        return Some(());
    }
    let width = le32(bytes, 18)? as u64;
    let height = u64::from((le32(bytes, 22)? as u32 as i32).unsigned_abs());
    let bits = u64::from(u16::from_le_bytes(bytes.get(28..30)?.try_into().ok()?));
    let row = width.checked_mul(bits)?.div_ceil(32) * 4;
    let needed = match le32(bytes, 30)? {
        1 | 2 => le32(bytes, 34)? as u64,
        // The pad of the last row may be missing.
        _ => row.checked_mul(height)?.saturating_sub(3),
    };
    (bytes.len() as u64 >= (data as u64).checked_add(needed)?).then_some(())
}

/// Pages that are looked at.
const MOST_PAGES: usize = 1000;

/// The directories, and what their entries point to, lie in the file.
fn tiff(bytes: &[u8]) -> Option<()> {
    let file = Tiff::new(bytes);
    // Large files have another layout, which the decoder sees to by itself.
    if file.number(2, 2)? != 42 {
        return Some(());
    }
    let mut directory = usize::try_from(file.number(4, 4)?).ok()?;
    for _ in 0..MOST_PAGES {
        directory = file.page(directory)?;
        if directory == 0 {
            break;
        }
    }
    Some(())
}
