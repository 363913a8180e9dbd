//! A JPEG file from its first marker to its last, every block of it stepped over.

mod stretch;
mod tables;
mod whole;

use image::{DynamicImage, RgbImage};

use super::bits::{Bits, unstuff};
use super::frame::{Component, Frame, Means, Member, Scan};
use super::huffman::{Huffman, Strides, Values};
use super::plane::{Plane, image};
use super::scan::ScanHeader;
use super::smooth::{KEPT, Known};
use crate::format::DecodeError;

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
    /// What is not read of it.
    Unusual(&'static str),
    Broken(&'static str),
}

impl From<Stop> for DecodeError {
    fn from(stop: Stop) -> Self {
        let (Stop::Unusual(what) | Stop::Broken(what)) = stop;
        Self::Corrupt(what.to_owned())
    }
}

/// What is wanted of a file besides the proof that it is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Proof,
    /// The means of the first component's blocks. What they do not depend on may be left out.
    Means,
    /// The image, each block as this many pixels across and down, 1 to 7.
    Image(usize),
    /// The image as libjpeg-turbo makes it.
    Whole,
}

/// What stands before the first scan.
#[derive(Debug)]
pub(crate) struct Head<'a> {
    /// Width and height in pixels, as stored.
    pub(crate) size: [u32; 2],
    /// What EXIF says, without its name.
    pub(crate) exif: Option<&'a [u8]>,
}

/// Reads up to the first scan.
///
/// # Errors
/// Headers that are broken, or of a kind that is not read.
pub(crate) fn head(bytes: &[u8]) -> Result<Head<'_>, DecodeError> {
    let mut file = File::new(bytes, Wanted::Proof);
    file.head()?;
    Ok(file.found_head()?)
}

/// Steps through the file: what passes has pixels.
///
/// # Errors
/// As [`whole()`].
pub(crate) fn prove(bytes: &[u8]) -> Result<(), DecodeError> {
    Ok(File::new(bytes, Wanted::Proof).all()?)
}

/// As [`prove`]; false for what decoders differ about, and for other components than gray, or three of which only the
/// first may be finer.
pub(crate) fn is_usual(bytes: &[u8]) -> Result<bool, DecodeError> {
    let mut file = File::new(bytes, Wanted::Proof);
    file.all()?;
    Ok(!file.is_odd && file.frame.is_some_and(|frame| frame.is_common()))
}

/// The pixels, gray or RGB, as libjpeg-turbo and Pillow make them of the file, as they are stored.
///
/// # Errors
/// A block that is missing, or a kind of JPEG that is not read.
pub(crate) fn whole(bytes: &[u8]) -> Result<(DynamicImage, Head<'_>), DecodeError> {
    let mut file = File::new(bytes, Wanted::Whole);
    file.all()?;
    let head = file.found_head()?;
    Ok((file.pixels()?, head))
}

/// The means of its blocks; [`Walked::Unusual`] where there are none. Scans that they do not depend on
/// are left out.
pub(crate) fn means(bytes: &[u8]) -> Walked<Means> {
    let mut file = File::new(bytes, Wanted::Means);
    walked(file.all().and_then(|()| file.means().ok_or(OTHER)))
}

/// The image at `side` eighths of its size, 1 to 7, rounded up, as it is stored. Every block is proven to
/// be there. [`Walked::Unusual`] too for progressive files where `side` is more than 1.
pub(crate) fn scaled(bytes: &[u8], side: usize) -> Walked<RgbImage> {
    let mut file = File::new(bytes, Wanted::Image(side.clamp(1, 7)));
    walked(file.all().and_then(|()| file.image().ok_or(OTHER)))
}

fn walked<T>(result: Result<T, Stop>) -> Walked<T> {
    match result {
        Ok(found) => Walked::Whole(found),
        Err(Stop::Unusual(_)) => Walked::Unusual,
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
    /// By component: its table when its first scan began.
    steps: [Option<[u16; 64]>; 4],
    /// MCUs between restart markers; 0: there are none.
    restart: usize,
    scans: usize,
    /// By component: whether a scan has had its DC coefficients.
    seen: [bool; 4],
    /// By component and block, for progressive files: which coefficients are not zero.
    filled: [Vec<u64>; 4],
    /// By component and block: DC coefficients, where they are wanted.
    dc_values: [Vec<i32>; 4],
    /// By component and block, for progressive files: coefficients row by row, where they are wanted.
    values: [Vec<i16>; 4],
    /// By component: what is known of a progressive file's first coefficients.
    known: [Known; 4],
    /// By component: its pixels, where they are wanted.
    planes: [Plane; 4],
    wanted: Wanted,
    /// Whether there is a JFIF marker; which colours Adobe's marker names.
    has_jfif: bool,
    adobe: Option<u8>,
    exif: Option<&'a [u8]>,
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
const OTHER: Stop = Stop::Unusual("the JPEG is of a kind that is not read");
const ODD: Stop = Stop::Unusual("the JPEG has a header that makes no sense");

impl<'a> File<'a> {
    fn new(bytes: &'a [u8], wanted: Wanted) -> Self {
        Self {
            bytes,
            at: 2,
            frame: None,
            dc: [const { None }; 4],
            ac: [const { None }; 4],
            quantization: [None; 4],
            steps: [None; 4],
            restart: 0,
            scans: 0,
            seen: [false; 4],
            filled: [const { Vec::new() }; 4],
            dc_values: [const { Vec::new() }; 4],
            values: [const { Vec::new() }; 4],
            known: [[-1; KEPT]; 4],
            planes: std::array::from_fn(|_| Plane::default()),
            wanted,
            has_jfif: false,
            adobe: None,
            exif: None,
            is_odd: false,
            data: Vec::new(),
        }
    }

    /// Whether all of the file is gone through as libjpeg-turbo does, however odd it is.
    fn is_thorough(&self) -> bool {
        matches!(self.wanted, Wanted::Proof | Wanted::Whole)
    }

    /// Up to the first scan, whose header is next.
    fn head(&mut self) -> Result<(), Stop> {
        loop {
            match self.marker()? {
                0xda => return Ok(()),
                0xd9 => return Err(CUT),
                0x01 | 0xd0..=0xd8 => {}
                marker => {
                    let content = self.segment()?;
                    self.table(marker, content)?;
                }
            }
        }
    }

    fn found_head(&self) -> Result<Head<'a>, Stop> {
        let frame = self.frame.as_ref().ok_or(ODD)?;
        let size = [frame.width as u32, frame.height as u32];
        let exif = self.exif;
        Ok(Head { size, exif })
    }

    fn all(&mut self) -> Result<(), Stop> {
        self.head()?;
        self.scan()?;
        while !self.is_at_end()? {
            match self.marker()? {
                0xd9 => break,
                // Restart markers behind a scan, and those without content.
                0x01 | 0xd0..=0xd8 => {}
                0xda => self.scan()?,
                marker => {
                    // Between scans only these are read alike everywhere.
                    self.is_odd |= !matches!(marker, 0xc4 | 0xdd | 0xfe);
                    let content = self.segment()?;
                    self.table(marker, content)?;
                }
            }
        }
        let frame = self.frame.as_ref().ok_or(ODD)?;
        if !self.is_complete(frame) {
            return Err(CUT);
        }
        match self.is_thorough() {
            false if self.is_odd || !frame.is_common() => Err(OTHER),
            true if !frame.is_readable() => Err(OTHER),
            _ => Ok(()),
        }
    }

    /// Whether a scan has had the DC coefficients of every component.
    fn is_complete(&self, frame: &Frame) -> bool {
        self.seen[..frame.components.len()].iter().all(|seen| *seen)
    }

    /// Whether nothing is read any more but that the file has an end: a sequential one whose components are all there.
    fn is_at_end(&self) -> Result<bool, Stop> {
        let is_done = |frame: &Frame| !frame.is_progressive && self.is_complete(frame);
        if !self.is_thorough() || !self.frame.as_ref().is_some_and(is_done) {
            return Ok(false);
        }
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        match memchr::memmem::find(rest, b"\xff\xd9") {
            Some(_) => Ok(true),
            None => Err(CUT),
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
            return Err(ODD);
        }
        self.at += length;
        content.ok_or(CUT)
    }

    fn scan(&mut self) -> Result<(), Stop> {
        self.scans += 1;
        if self.scans > MAX_SCANS {
            return Err(Stop::Broken("the JPEG has more than 100 scans"));
        }
        let header = self.segment()?;
        let frame = self.frame.take().ok_or(ODD)?;
        let done = self.scan_of(&frame, header);
        self.frame = Some(frame);
        done
    }

    fn scan_of(&mut self, frame: &Frame, header: &[u8]) -> Result<(), Stop> {
        let ids = ScanHeader::parse(frame, header).ok_or(ODD)?;
        let is_quantized =
            |c: &Component| matches!(self.quantization.get(c.quantization), Some(Some(_)));
        self.is_odd |= !frame.components.iter().all(is_quantized);
        if self.is_left_out(frame, &ids) {
            return Ok(());
        }
        self.latch(frame, &ids)?;
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
        match frame.is_progressive {
            false => self.is_complete(frame),
            true => self.wanted == Wanted::Means && header.band[0] > 0,
        }
    }

    /// Keeps the tables that components have when their first scan begins, and what the scan makes known.
    fn latch(&mut self, frame: &Frame, header: &ScanHeader) -> Result<(), Stop> {
        for (index, ..) in &header.members {
            let table = self.quantization.get(frame.components[*index].quantization);
            let latched = &mut self.steps[*index];
            *latched = latched.or(table.copied().flatten());
            if latched.is_none() && self.is_thorough() {
                return Err(ODD);
            }
            for place in header.band[0]..=header.band[1].min(KEPT as u32 - 1) {
                self.known[*index][place as usize] = header.low as i8;
            }
        }
        Ok(())
    }

    fn prepare(&mut self, frame: &Frame, header: &ScanHeader) {
        for (index, _, ac) in &header.members {
            let component = &frame.components[*index];
            let blocks = component.stride * component.rows;
            if !frame.is_progressive {
                self.prepare_sequential(*index, *ac, component);
            } else if header.band[0] > 0 {
                self.filled[*index].resize(blocks, 0);
                if self.wanted == Wanted::Whole {
                    self.values[*index].resize(64 * blocks, 0);
                }
            }
            if self.keeps_dc(*index, frame.is_progressive) {
                self.dc_values[*index].resize(blocks, 0);
            }
            self.seen[*index] |= header.band[0] == 0;
        }
    }

    fn prepare_sequential(&mut self, index: usize, ac: usize, component: &Component) {
        let Some(tables) = &mut self.ac[ac] else {
            return;
        };
        let side = match self.wanted {
            Wanted::Image(side @ 2..) => side,
            Wanted::Whole => 8,
            _ => {
                tables.strides.get_or_insert_with(|| tables.codes.strides());
                return;
            }
        };
        tables.values.get_or_insert_with(|| tables.codes.values());
        self.planes[index] = Plane::new(component, side);
    }

    fn keeps_dc(&self, index: usize, is_progressive: bool) -> bool {
        match self.wanted {
            Wanted::Proof | Wanted::Image(2..) => false,
            Wanted::Means => index == 0,
            Wanted::Image(_) => true,
            Wanted::Whole => is_progressive,
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
        // How the colours are coded in the usual way.
        let has_names = frame.components.iter().map(|c| c.id).eq(*b"RGB");
        if has_names || self.adobe.is_some_and(|colours| colours != 1) {
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
