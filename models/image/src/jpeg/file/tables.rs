//! What stands in a JPEG beside its scans: frame, tables, how colours are coded.

use super::{AcTables, File, ODD, OTHER, Stop, Wanted};
use crate::jpeg::frame::Frame;
use crate::jpeg::huffman::Huffman;

impl<'a> File<'a> {
    /// Takes in a segment.
    pub(super) fn table(&mut self, marker: u8, content: &'a [u8]) -> Result<(), Stop> {
        match marker {
            0xc0..=0xc2 if self.frame.is_none() => {
                if content.first().is_some_and(|bits| *bits != 8) {
                    return Err(Stop::Unusual("the JPEG has not 8 bits a sample"));
                }
                let frame = Frame::parse(content, marker == 0xc2).ok_or(ODD)?;
                if frame.is_progressive && matches!(self.wanted, Wanted::Image(2..)) {
                    return Err(OTHER);
                }
                self.frame = Some(frame);
            }
            0xc4 => self.huffman(content).ok_or(ODD)?,
            0xdb => self.quantization(content).ok_or(ODD)?,
            0xdd => {
                let &[high, low] = content else {
                    return Err(ODD);
                };
                self.restart = usize::from(high) << 8 | usize::from(low);
            }
            0xe0 if self.scans == 0 => self.has_jfif |= content.starts_with(b"JFIF\0"),
            0xe1 => self.exif = self.exif.or(content.strip_prefix(b"Exif\0\0")),
            // Adobe's marker says how the colours are coded.
            0xee if self.scans == 0 && content.starts_with(b"Adobe") => {
                self.adobe = content.get(11).copied().or(self.adobe);
            }
            0xc9..=0xcb | 0xcd..=0xcf => {
                return Err(Stop::Unusual("the JPEG is coded arithmetically"));
            }
            0xc3 | 0xc7 => return Err(Stop::Unusual("the JPEG is a lossless one")),
            // Other kinds of frames, a late height, hierarchies.
            0xc0..=0xcf | 0xdc | 0xde | 0xdf => return Err(OTHER),
            _ => {}
        }
        Ok(())
    }

    fn huffman(&mut self, mut content: &[u8]) -> Option<()> {
        while let Some((head, rest)) = content.split_first() {
            let counts: &[u8; 16] = rest.get(..16)?.try_into().ok()?;
            let count: usize = counts.iter().map(|c| usize::from(*c)).sum();
            let symbols = rest.get(16..16 + count)?;
            let table = Huffman::new(counts, symbols)?;
            let index = usize::from(head & 15);
            match head >> 4 {
                0 if symbols.iter().any(|size| *size > 15) => return None,
                0 => *self.dc.get_mut(index)? = Some(table),
                1 => {
                    *self.ac.get_mut(index)? = Some(AcTables {
                        codes: table,
                        strides: None,
                        values: None,
                    });
                }
                _ => return None,
            }
            content = &rest[16 + count..];
        }
        Some(())
    }

    fn quantization(&mut self, mut content: &[u8]) -> Option<()> {
        while let Some((head, rest)) = content.split_first() {
            let width = 1 + usize::from(head >> 4);
            let values = rest.get(..64 * width)?;
            let value = |bytes: &[u8]| bytes.iter().fold(0, |v, b| v << 8 | u16::from(*b));
            let mut table = [0; 64];
            table
                .iter_mut()
                .zip(values.chunks_exact(width))
                .for_each(|(to, bytes)| *to = value(bytes));
            *self.quantization.get_mut(usize::from(head & 15))? = Some(table);
            content = &rest[64 * width..];
        }
        Some(())
    }
}
