//! A JPEG file from its first marker to its last, every block of it stepped over.

use super::bits::{Bits, unstuff};
use super::frame::{Component, Frame, Means, Member, Scan};
use super::huffman::{Huffman, Strides};
use super::{progressive, sequential};

/// Scans that a JPEG may have: each costs a pass over the whole image.
const MAX_SCANS: usize = 100;

/// What a walk through a file says.
#[derive(Debug)]
pub(crate) enum Walked {
    /// Every block is there, and the decoder makes pixels of them.
    Whole,
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

/// Steps through the file. `means` is filled where it is given; the walk may then leave out what
/// they do not depend on, and ends as [`Walked::Unusual`] where there are none.
pub(crate) fn walk(bytes: &[u8], means: Option<&mut Means>) -> Walked {
    let mut file = File::new(bytes, means.is_some());
    match file.all() {
        Ok(()) => {
            if let Some(means) = means {
                let Some(found) = file.means() else {
                    return Walked::Unusual;
                };
                *means = found;
            }
            Walked::Whole
        }
        Err(Stop::Unusual) => Walked::Unusual,
        Err(Stop::Broken(what)) => Walked::Broken(what),
    }
}

struct File<'a> {
    bytes: &'a [u8],
    at: usize,
    frame: Option<Frame>,
    dc: [Option<Huffman>; 4],
    ac: [Option<(Huffman, Option<Strides>)>; 4],
    quantization_dc: [Option<u16>; 4],
    /// MCUs between restart markers; 0: there are none.
    restart: usize,
    scans: usize,
    /// By component: whether a scan has had its DC coefficients.
    seen: [bool; 4],
    /// By component and block, for progressive files: which coefficients are not zero.
    filled: [Vec<u64>; 4],
    /// DC coefficients of the first component, where means are wanted.
    dc_values: Vec<i32>,
    wants_means: bool,
    /// Whether something was met that decoders differ about.
    is_odd: bool,
    /// Entropy-coded data without its stuffed zeros.
    data: Vec<u8>,
}

const CUT: Stop = Stop::Broken("the JPEG is cut off");
const NO_CODE: Stop = Stop::Broken("the JPEG has a code that stands for nothing");

impl<'a> File<'a> {
    fn new(bytes: &'a [u8], wants_means: bool) -> Self {
        Self {
            bytes,
            at: 2,
            frame: None,
            dc: [const { None }; 4],
            ac: [const { None }; 4],
            quantization_dc: [None; 4],
            restart: 0,
            scans: 0,
            seen: [false; 4],
            filled: [const { Vec::new() }; 4],
            dc_values: Vec::new(),
            wants_means,
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
                1 => *self.ac.get_mut(index)? = Some((table, None)),
                _ => return None,
            }
            content = &rest[16 + count..];
        }
        Some(())
    }

    /// Of the quantization only that of the DC coefficients is needed.
    fn quantization(&mut self, mut content: &[u8]) -> Option<()> {
        while let Some((head, rest)) = content.split_first() {
            let width = 1 + usize::from(head >> 4);
            let first = rest.get(..64 * width)?;
            let value = first[..width].iter().fold(0, |v, b| v << 8 | u16::from(*b));
            *self.quantization_dc.get_mut(usize::from(head & 15))? = Some(value);
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
            |c: &Component| matches!(self.quantization_dc.get(c.quantization), Some(Some(_)));
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
            ac: ac[*ac_at].as_ref().map(|(table, _)| table),
            strides: ac[*ac_at].as_ref().and_then(|(_, s)| s.as_ref()),
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
            true => self.wants_means && header.band[0] > 0,
        }
    }

    fn prepare(&mut self, frame: &Frame, header: &ScanHeader) {
        for (index, _, ac) in &header.members {
            let component = &frame.components[*index];
            let blocks = component.stride * component.rows;
            if !frame.is_progressive {
                if let Some((table, strides)) = &mut self.ac[*ac] {
                    strides.get_or_insert_with(|| table.strides());
                }
            } else if header.band[0] > 0 {
                self.filled[*index].resize(blocks, 0);
            }
            if self.wants_means && *index == 0 {
                self.dc_values.resize(blocks, 0);
            }
            self.seen[*index] |= header.band[0] == 0;
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
            let mut bits = Bits::new(&data);
            self.stretch(scan, &mut bits, done..until, across)?;
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

    /// The MCUs between two restart markers.
    fn stretch(
        &mut self,
        scan: &Scan,
        bits: &mut Bits,
        mcus: std::ops::Range<usize>,
        across: usize,
    ) -> Result<(), Stop> {
        let whole = match (scan.frame.is_progressive, scan.band[0], self.wants_means) {
            (false, ..) if !self.wants_means => skip_sequential(scan, bits, mcus),
            (false, ..) | (true, 0, _) => self.stretch_dc(scan, bits, mcus, across),
            (true, ..) => self.stretch_ac(scan, bits, mcus, across),
        };
        whole.ok_or(if bits.is_beyond() { CUT } else { NO_CODE })?;
        match bits.is_beyond() {
            true => Err(CUT),
            false => Ok(()),
        }
    }

    /// MCUs of which the DC coefficients are known afterwards.
    fn stretch_dc(
        &mut self,
        scan: &Scan,
        bits: &mut Bits,
        mcus: std::ops::Range<usize>,
        across: usize,
    ) -> Option<()> {
        let mut last = [0_i32; 4];
        for mcu in mcus {
            let [row, column] = [mcu / across, mcu % across];
            for member in &scan.members {
                let [wide, high] = scan.blocks_of(member);
                let keeps = self.wants_means && member.index == 0;
                let stride = scan.frame.components[member.index].stride;
                for (down, right) in (0..high).flat_map(|y| (0..wide).map(move |x| (y, x))) {
                    let at = (row * high + down) * stride + column * wide + right;
                    if scan.is_refinement {
                        bits.fill();
                        if keeps {
                            self.dc_values[at] |= (bits.peek(1) << scan.low) as i32;
                        }
                        bits.skip(1);
                        continue;
                    }
                    let difference = match scan.frame.is_progressive {
                        true => sequential::dc_difference(bits, member)?,
                        false => sequential::block(bits, member)?,
                    };
                    let value = &mut last[member.index];
                    *value = value.wrapping_add(difference);
                    if keeps {
                        self.dc_values[at] = value.wrapping_shl(scan.low);
                    }
                }
            }
            if bits.is_beyond() {
                return None;
            }
        }
        Some(())
    }

    fn stretch_ac(
        &mut self,
        scan: &Scan,
        bits: &mut Bits,
        mcus: std::ops::Range<usize>,
        across: usize,
    ) -> Option<()> {
        let member = scan.members.first()?;
        let ac = member.ac?;
        let stride = scan.frame.components[member.index].stride;
        let filled = &mut self.filled[member.index];
        let mut run = 0;
        for mcu in mcus {
            let block = filled.get_mut(mcu / across * stride + mcu % across)?;
            match scan.is_refinement {
                true => progressive::refine(bits, ac, scan.band, &mut run, block)?,
                false => progressive::first(bits, ac, scan.band, &mut run, block)?,
            }
            if bits.is_beyond() {
                return None;
            }
        }
        Some(())
    }

    fn means(&self) -> Option<Means> {
        let frame = self.frame.as_ref()?;
        let component = frame.components.first()?;
        let step = f32::from((*self.quantization_dc.get(component.quantization)?)?) / 8.0;
        let across = frame.components.iter().map(|c| c.across).max()?;
        let down = frame.components.iter().map(|c| c.down).max()?;
        // A luma of less than full resolution is left to the decoder.
        if component.across != across || component.down != down {
            return None;
        }
        let [wide, high] = component.blocks;
        let rows = self.dc_values.chunks_exact(component.stride).take(high);
        let values = rows.flat_map(|row| row[..wide].iter().map(|v| 128.0 + *v as f32 * step));
        Some(Means {
            size: [frame.width, frame.height],
            blocks: [wide, high],
            values: values.collect(),
        })
    }
}

/// The MCUs of a sequential scan, of which nothing is kept.
fn skip_sequential(scan: &Scan, bits: &mut Bits, mcus: std::ops::Range<usize>) -> Option<()> {
    let blocks = scan.members.iter().flat_map(|member| {
        let [wide, high] = scan.blocks_of(member);
        std::iter::repeat_n(member, wide * high)
    });
    let blocks: Vec<&Member> = blocks.collect();
    for _ in mcus {
        for member in &blocks {
            sequential::block(bits, member)?;
        }
        if bits.is_beyond() {
            return None;
        }
    }
    Some(())
}

/// What a scan header says.
struct ScanHeader {
    /// Index of the component, of its DC table and of its AC table.
    members: Vec<(usize, usize, usize)>,
    band: [u32; 2],
    is_refinement: bool,
    low: u32,
}

impl ScanHeader {
    fn parse(frame: &Frame, header: &[u8]) -> Option<Self> {
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
