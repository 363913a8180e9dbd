//! What a GIF's canvas shows around its first image.

/// The first image's place on the canvas, and the colour around it.
pub(crate) struct Surround {
    /// First column, first row, and those behind the last.
    pub(crate) image: [u32; 4],
    /// Red, green and blue.
    pub(crate) colour: [u8; 3],
}

/// As Pillow fills a new canvas: with the transparent colour of the first image, else with its palette's first.
pub(crate) fn surround(bytes: &[u8]) -> Option<Surround> {
    let mut palette = palette(bytes, 13, *bytes.get(10)?)?;
    let mut at = 13 + palette.len();
    let mut transparent = None;
    loop {
        match bytes.get(at..at + 2)? {
            // Graphic control: its size, flags, a delay, the transparent index.
            [0x21, 0xf9] => {
                let &[4, flags, _, _, index] = bytes.get(at + 2..at + 7)? else {
                    return None;
                };
                transparent = (flags & 1 == 1).then_some(usize::from(index));
                at = sub_blocks(bytes, at + 2)?;
            }
            [0x21, _] => at = sub_blocks(bytes, at + 2)?,
            [0x2c, _] => break,
            [0, _] => at += 1,
            _ => return None,
        }
    }
    let place = bytes.get(at + 1..at + 10)?;
    let number = |i: usize| u32::from(u16::from_le_bytes([place[i], place[i + 1]]));
    let [left, top, width, height] = [0, 2, 4, 6].map(number);
    if place[8] & 0x80 != 0 {
        palette = self::palette(bytes, at + 10, place[8])?;
    }
    let colour = palette.get(3 * transparent.unwrap_or(0)..)?.first_chunk()?;
    Some(Surround {
        image: [left, top, left + width, top + height],
        colour: *colour,
    })
}

/// The colours at `at`, if the flags say that there are any.
fn palette(bytes: &[u8], at: usize, flags: u8) -> Option<&[u8]> {
    bytes.get(at..at + colours(flags))
}

/// Bytes of the palette that flags announce.
pub(crate) fn colours(flags: u8) -> usize {
    match flags & 0x80 {
        0 => 0,
        _ => 3 << ((flags & 7) + 1),
    }
}

/// Where the sub-blocks from `at` on end.
pub(crate) fn sub_blocks(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1 + length;
        if length == 0 {
            return Some(at);
        }
    }
}
