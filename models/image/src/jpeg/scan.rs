//! What the header of a scan says.

use super::frame::Frame;

/// What a scan header says.
pub(crate) struct ScanHeader {
    /// Index of the component, of its DC table and of its AC table.
    pub(crate) members: Vec<(usize, usize, usize)>,
    pub(crate) band: [u32; 2],
    pub(crate) is_refinement: bool,
    pub(crate) low: u32,
}

impl ScanHeader {
    pub(crate) fn parse(frame: &Frame, header: &[u8]) -> Option<Self> {
        let (count, rest) = header.split_first()?;
        let count = usize::from(*count);
        if !(1..=4).contains(&count) || rest.len() != 2 * count + 3 {
            return None;
        }
        let mut members: Vec<(usize, usize, usize)> = Vec::with_capacity(count);
        for listed in rest[..2 * count].chunks_exact(2) {
            let index = frame.components.iter().position(|c| c.id == listed[0])?;
            let tables = (usize::from(listed[1] >> 4), usize::from(listed[1] & 15));
            if tables.0 > 3 || tables.1 > 3 || members.iter().any(|(i, ..)| *i == index) {
                return None;
            }
            members.push((index, tables.0, tables.1));
        }
        let blocks = |(index, ..): &(usize, usize, usize)| {
            frame.components[*index].across * frame.components[*index].down
        };
        // As much as an MCU may have.
        if count > 1 && members.iter().map(blocks).sum::<usize>() > 10 {
            return None;
        }
        let &[first, last, precision] = &rest[2 * count..] else {
            return None;
        };
        let band = match frame.is_progressive {
            true => [u32::from(first), u32::from(last)],
            false => [0, 63],
        };
        let is_dc = band == [0, 0];
        let is_ac = band[0] > 0 && band[0] <= band[1] && band[1] < 64 && count == 1;
        if frame.is_progressive && !is_dc && !is_ac {
            return None;
        }
        Some(Self {
            members,
            band,
            is_refinement: frame.is_progressive && precision >> 4 > 0,
            low: match frame.is_progressive {
                true => u32::from(precision & 15).min(13),
                false => 0,
            },
        })
    }
}
