//! A JPEG file from its first marker to its last, every block of it stepped over.

mod stretch;

use image::RgbImage;

use super::bits::{Bits, unstuff};
use super::frame::{Component, Frame, Means, Member, Scan};
use super::huffman::{Huffman, Strides, Values};
use super::plane::{Plane, image};
use super::scan::ScanHeader;

/// Scans that a JPEG may have: each costs a pass over the whole image.
const MAX_SCANS: usize = 100;

/// What a walk through a file says.
#[derive(Debug)]
pub(crate) enum Walked<T> {
    /// Every block is there, and the decoder makes pixels of them.
    Whole(T),
    /// The file has what only the decoder can judge.
    Unusual,
    /// What is broken.
    Broken(&'static str),
}

/// Why a walk ends early.
enum Stop {
    Unusual,
    Broken(&'static str),
}

/// What is wanted of a file besides the proof that it is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Proof,
    /// The means of the first component's blocks. What they do not depend on may be left out.
    Means,
    /// The image, each block as this many pixels across and down, 1 to 7.
    Image(usize),
}

/// Steps through the file.
pub(crate) fn walk(bytes: &[u8]) -> Walked<()> {
    walked(File::new(bytes, Wanted::Proof).all())
}

/// The means of its blocks; [`Walked::Unusual`] where there are none. Scans that they do not depend on
/// are left out.
pub(crate) fn means(bytes: &[u8]) -> Walked<Means> {
    let mut file = File::new(bytes, Wanted::Means);
    walked(file.all().and_then(|()| file.means().ok_or(Stop::Unusual)))
}

/// The image at `side` eighths of its size, 1 to 7, rounded up, as it is stored. Every block is proven to
/// be there. [`Walked::Unusual`] too for progressive files where `side` is more than 1.
pub(crate) fn scaled(bytes: &[u8], side: usize) -> Walked<RgbImage> {
    let mut file = File::new(bytes, Wanted::Image(side.clamp(1, 7)));
    walked(file.all().and_then(|()| file.image().ok_or(Stop::Unusual)))
}

fn walked<T>(result: Result<T, Stop>) -> Walked<T> {
    match result {
        Ok(found) => Walked::Whole(found),
        Err(Stop::Unusual) => Walked::Unusual,
        Err(Stop::Broken(what)) => Walked::Broken(what),
    }
}

struct File<'a> {
    bytes: &'a [u8],
    at: usize,
    frame: Option<Frame>,
    dc: [Option<Huffman>; 4],
    ac: [Option<AcTables>; 4],
    /// In zigzag order.
    quantization: [Option<[u16; 64]>; 4],
    /// MCUs between restart markers; 0: there are none.
    restart: usize,
    scans: usize,
    /// By component: whether a scan has had its DC coefficients.
    seen: [bool; 4],
    /// By component and block, for progressive files: which coefficients are not zero.
    filled: [Vec<u64>; 4],
    /// By component and block: DC coefficients, where they are wanted.
    dc_values: [Vec<i32>; 4],
    /// By component: its pixels, where they are wanted.
    planes: [Plane; 4],
    wanted: Wanted,
    /// Whether the colours are coded in a way that only the decoder knows.
    has_odd_colours: bool,
    /// Whether something was met that decoders differ about.
    is_odd: bool,
    /// Entropy-coded data without its stuffed zeros.
    data: Vec<u8>,
}

/// A table of AC coefficients, and what is made of it for sequential scans.
struct AcTables {
    codes: Huffman,
    strides: Option<Strides>,
    values: Option<Values>,
}

const CUT: Stop = Stop::Broken("the JPEG is cut off");
const NO_CODE: Stop = Stop::Broken("the JPEG has a code that stands for nothing");

impl<'a> File<'a> {
    fn new(bytes: &'a [u8], wanted: Wanted) -> Self {
        Self {
            bytes,
            at: 2,
            frame: None,
            dc: [const { None }; 4],
            ac: [const { None }; 4],
            quantization: [None; 4],
            restart: 0,
            scans: 0,
            seen: [false; 4],
            filled: [const { Vec::new() }; 4],
            dc_values: [const { Vec::new() }; 4],
            planes: std::array::from_fn(|_| Plane::default()),
            wanted,
            has_odd_colours: false,
            is_odd: false,
            data: Vec::new(),
        }
    }

    fn all(&mut self) -> Result<(), Stop> {
        loop {
            let marker = self.marker()?;
            match marker {
                0xd9 => break,
                // Restart markers behind a scan, and those without content.
                0x01 | 0xd0..=0xd8 => {}
                0xda => self.scan()?,
                _ => {
                    // Between scans only these are read alike everywhere.
                    self.is_odd |= self.scans > 0 && !matches!(marker, 0xc4 | 0xdd | 0xfe);
                    let content = self.segment()?;
                    self.table(marker, content)?;
                }
            }
        }
        let Some(frame) = &self.frame else {
            return Err(CUT);
        };
        let seen = &self.seen[..frame.components.len()];
        if !seen.iter().all(|seen| *seen) {
            return Err(CUT);
        }
        match self.is_odd || !frame.is_common() {
            true => Err(Stop::Unusual),
            false => Ok(()),
        }
    }

    /// Goes behind the next marker, over whatever stands before it.
    fn marker(&mut self) -> Result<u8, Stop> {
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let found = memchr::memchr(0xff, rest).ok_or(CUT)?;
            self.at += found + 1;
            match self.bytes.get(self.at) {
                None => return Err(CUT),
                Some(0 | 0xff) => {}
                Some(marker) => {
                    self.at += 1;
                    return Ok(*marker);
                }
            }
        }
    }

    /// The content of the segment here.
    fn segment(&mut self) -> Result<&'a [u8], Stop> {
        let length = self.bytes.get(self.at..self.at + 2).ok_or(CUT)?;
        let length = usize::from(length[0]) << 8 | usize::from(length[1]);
        let content = self.bytes.get(self.at + 2..self.at + length);
        if length < 2 {
            return Err(Stop::Unusual);
        }
        self.at += length;
        content.ok_or(CUT)
    }

    fn table(&mut self, marker: u8, content: &'a [u8]) -> Result<(), Stop> {
        match marker {
            0xc0..=0xc2 if self.frame.is_none() => {
                let frame = Frame::parse(content, marker == 0xc2).ok_or(Stop::Unusual)?;
                if frame.is_progressive && matches!(self.wanted, Wanted::Image(2..)) {
                    return Err(Stop::Unusual);
                }
                self.has_odd_colours |= frame.components.iter().map(|c| c.id).eq(*b"RGB");
                self.frame = Some(frame);
            }
            0xc4 => self.huffman(content).ok_or(Stop::Unusual)?,
            0xdb => self.quantization(content).ok_or(Stop::Unusual)?,
            0xdd => {
                let &[high, low] = content else {
                    return Err(Stop::Unusual);
                };
                self.restart = usize::from(high) << 8 | usize::from(low);
            }
            // Adobe's marker says how the colours are coded; 1 is the usual way.
            0xee if content.starts_with(b"Adobe") => {
                self.has_odd_colours |= content.get(11) != Some(&1);
            }
            // Other kinds of frames, arithmetic coding, a late height, hierarchies.
            0xc0..=0xcf | 0xdc | 0xde | 0xdf => return Err(Stop::Unusual),
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

    fn scan(&mut self) -> Result<(), Stop> {
        self.scans += 1;
        if self.scans > MAX_SCANS {
            return Err(Stop::Broken("the JPEG has more than 100 scans"));
        }
        let header = self.segment()?;
        let frame = self.frame.take().ok_or(Stop::Unusual)?;
        let done = self.scan_of(&frame, header);
        self.frame = Some(frame);
        done
    }

    fn scan_of(&mut self, frame: &Frame, header: &[u8]) -> Result<(), Stop> {
        let ids = ScanHeader::parse(frame, header).ok_or(Stop::Unusual)?;
        let is_quantized =
            |c: &Component| matches!(self.quantization.get(c.quantization), Some(Some(_)));
        self.is_odd |= !frame.components.iter().all(is_quantized);
        if self.is_left_out(frame, &ids) {
            return Ok(());
        }
        self.prepare(frame, &ids);
        // Taken out, so that the scan can borrow them while blocks are kept.
        let (dc, ac) = (std::mem::take(&mut self.dc), std::mem::take(&mut self.ac));
        let members = ids.members.iter().map(|(index, dc_at, ac_at)| Member {
            index: *index,
            dc: dc[*dc_at].as_ref(),
            ac: ac[*ac_at].as_ref().map(|tables| &tables.codes),
            strides: ac[*ac_at]
                .as_ref()
                .and_then(|tables| tables.strides.as_ref()),
            values: ac[*ac_at]
                .as_ref()
                .and_then(|tables| tables.values.as_ref()),
        });
        let scan = Scan {
            frame,
            members: members.collect(),
            band: ids.band,
            is_refinement: ids.is_refinement,
            low: ids.low,
        };
        let done = self.blocks(&scan);
        (self.dc, self.ac) = (dc, ac);
        done
    }

    /// Sequential files end with the first scan that completes them, as decoders have it; the means
    /// need no AC coefficients of a progressive file.
    fn is_left_out(&self, frame: &Frame, header: &ScanHeader) -> bool {
        let is_complete = self.seen[..frame.components.len()].iter().all(|seen| *seen);
        match frame.is_progressive {
            false => is_complete,
            true => self.wanted == Wanted::Means && header.band[0] > 0,
        }
    }

    fn prepare(&mut self, frame: &Frame, header: &ScanHeader) {
        for (index, _, ac) in &header.members {
            let component = &frame.components[*index];
            let blocks = component.stride * component.rows;
            if !frame.is_progressive {
                self.prepare_sequential(*index, *ac, component);
            } else if header.band[0] > 0 {
                self.filled[*index].resize(blocks, 0);
            }
            if self.keeps_dc(*index) {
                self.dc_values[*index].resize(blocks, 0);
            }
            self.seen[*index] |= header.band[0] == 0;
        }
    }

    fn prepare_sequential(&mut self, index: usize, ac: usize, component: &Component) {
        let Some(tables) = &mut self.ac[ac] else {
            return;
        };
        if let Wanted::Image(side @ 2..) = self.wanted {
            tables.values.get_or_insert_with(|| tables.codes.values());
            self.planes[index] = Plane::new(component, side);
        } else {
            tables.strides.get_or_insert_with(|| tables.codes.strides());
        }
    }

    fn keeps_dc(&self, index: usize) -> bool {
        match self.wanted {
            Wanted::Proof | Wanted::Image(2..) => false,
            Wanted::Means => index == 0,
            Wanted::Image(_) => true,
        }
    }

    fn blocks(&mut self, scan: &Scan) -> Result<(), Stop> {
        let [rows, across] = scan.mcus();
        let all = rows * across;
        let mut done = 0;
        let mut data = std::mem::take(&mut self.data);
        while done < all {
            let until = match self.restart {
                0 => all,
                each => all.min(done + each),
            };
            self.at += unstuff(&self.bytes[self.at..], &mut data);
            let bits = self.stretch(scan, Bits::new(&data), done..until, across)?;
            let left = bits.left();
            done = until;
            // Of bytes behind the last block, other than filling, decoders make one thing or another.
            self.is_odd |= left > 3;
            if done < all && !matches!(self.marker()?, 0xd0..=0xd7) {
                return Err(CUT);
            }
        }
        self.data = data;
        Ok(())
    }

    fn means(&self) -> Option<Means> {
        let frame = self.frame.as_ref()?;
        let component = frame.components.first()?;
        let step = self.dc_step(component)?;
        // A luma of less than full resolution is left to the decoder.
        if frame.coarseness(component) != [1, 1] {
            return None;
        }
        let [wide, high] = component.blocks;
        let rows = self.dc_values[0].chunks_exact(component.stride).take(high);
        let values = rows.flat_map(|row| row[..wide].iter().map(|v| 128.0 + *v as f32 * step));
        Some(Means {
            size: [frame.width, frame.height],
            blocks: [wide, high],
            values: values.collect(),
        })
    }

    /// What a DC coefficient's step adds to the pixels of its block.
    fn dc_step(&self, component: &Component) -> Option<f32> {
        let table = (*self.quantization.get(component.quantization)?)?;
        Some(f32::from(table[0]) / 8.0)
    }

    fn image(&mut self) -> Option<RgbImage> {
        let frame = self.frame.take()?;
        let Wanted::Image(side) = self.wanted else {
            return None;
        };
        if self.has_odd_colours {
            return None;
        }
        if side == 1 {
            for (index, component) in frame.components.iter().enumerate() {
                let step = self.dc_step(component)?;
                self.planes[index] = Plane::of_means(component, &self.dc_values[index], step);
            }
        }
        image(&frame, &self.planes, side)
    }
}
