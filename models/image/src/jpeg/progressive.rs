//! Blocks of progressive AC scans. Of the coefficients which are not zero is always kept, since the lengths
//! of refinements depend on it; the values only where they are wanted.

use super::bits::Bits;
use super::huffman::{Huffman, extend};
use super::sequential::NATURAL;

/// Blocks still to come that end at once.
pub(crate) type EndRun = u32;

/// What is kept of a block's coefficients.
pub(crate) trait Kept {
    /// By bit, in zigzag order: which coefficients are not zero.
    fn filled(&self) -> u64;
    /// Puts a coefficient that was zero at a place in zigzag order.
    fn put(&mut self, place: u32, value: i32);
    /// Takes a bit for each of these coefficients: whether they have the lowest bit of the scan.
    fn refine(&mut self, bits: &mut Bits, which: u64);
}

/// Which coefficients are not zero, and nothing else.
impl Kept for &mut u64 {
    #[inline(always)]
    fn filled(&self) -> u64 {
        **self
    }

    #[inline(always)]
    fn put(&mut self, place: u32, _: i32) {
        **self |= 1 << place;
    }

    #[inline(always)]
    fn refine(&mut self, bits: &mut Bits, which: u64) {
        let mut count = which.count_ones();
        while count > 0 {
            bits.fill();
            let now = count.min(32);
            bits.skip(now);
            count -= now;
        }
    }
}

/// All of a block.
pub(crate) struct Values<'a> {
    pub(crate) filled: &'a mut u64,
    /// Row by row, in the 16 bits that libjpeg keeps.
    pub(crate) values: &'a mut [i16; 64],
    /// The lowest bit of the scan.
    pub(crate) low: u32,
}

impl Kept for Values<'_> {
    #[inline(always)]
    fn filled(&self) -> u64 {
        *self.filled
    }

    #[inline(always)]
    fn put(&mut self, place: u32, value: i32) {
        *self.filled |= 1 << place;
        self.values[usize::from(NATURAL[place as usize & 63] & 63)] = value as i16;
    }

    #[inline(always)]
    fn refine(&mut self, bits: &mut Bits, mut which: u64) {
        let one = 1_i16 << self.low;
        while which != 0 {
            bits.fill();
            let place = which.trailing_zeros() as usize;
            which &= which - 1;
            let is_set = bits.peek(1) == 1;
            bits.skip(1);
            let value = &mut self.values[usize::from(NATURAL[place & 63] & 63)];
            if is_set && *value & one == 0 {
                *value = value.wrapping_add(if *value < 0 { -one } else { one });
            }
        }
    }
}

/// What a scan says of all of its blocks.
#[derive(Clone, Copy)]
pub(crate) struct Band<'a> {
    pub(crate) ac: &'a Huffman,
    /// First and last coefficient, in zigzag order.
    pub(crate) band: [u32; 2],
    /// The lowest bit that it codes.
    pub(crate) low: u32,
}

/// A block of a first scan.
#[inline(always)]
pub(crate) fn first(
    bits: &mut Bits,
    scan: Band,
    run: &mut EndRun,
    block: &mut impl Kept,
) -> Option<()> {
    let Band { ac, band, low } = scan;
    if *run > 0 {
        *run -= 1;
        return Some(());
    }
    let mut place = band[0];
    while place <= band[1] {
        bits.fill();
        let (symbol, length) = ac.look(bits)?;
        bits.skip(length);
        let size = u32::from(symbol & 15);
        match (u32::from(symbol >> 4), size) {
            (15, 0) => place += 16,
            (zeros, 0) => {
                *run = end_run(bits, zeros) - 1;
                break;
            }
            (zeros, _) => {
                place += zeros;
                let value = extend(bits.peek(size), size);
                bits.skip(size);
                block.put(place.min(63), value << low);
                place += 1;
            }
        }
    }
    Some(())
}

/// 2^`size` and as many bits more.
fn end_run(bits: &mut Bits, size: u32) -> EndRun {
    if size == 0 {
        return 1;
    }
    let more = bits.peek(size);
    bits.skip(size);
    (1 << size) + more
}

/// A block of a refinement.
#[inline(always)]
pub(crate) fn refine(
    bits: &mut Bits,
    scan: Band,
    run: &mut EndRun,
    block: &mut impl Kept,
) -> Option<()> {
    let Band { ac, band, low } = scan;
    let mut place = band[0];
    if *run == 0 {
        while place <= band[1] {
            bits.fill();
            let (symbol, length) = ac.look(bits)?;
            bits.skip(length);
            let (zeros, size) = (u32::from(symbol >> 4), symbol & 15);
            if size == 0 && zeros < 15 {
                *run = end_run(bits, zeros);
                break;
            }
            // The sign of a new coefficient.
            let value = if bits.peek(1) == 1 { 1 } else { -1 };
            bits.skip(u32::from(size != 0));
            place = pass_zeros(bits, block, place, band[1], zeros);
            if size != 0 && place <= band[1] {
                block.put(place, value << low);
            }
            place += 1;
        }
    }
    if *run > 0 {
        if place <= band[1] {
            let rest = block.filled() & (u64::MAX << place) & (u64::MAX >> (63 - band[1]));
            block.refine(bits, rest);
        }
        *run -= 1;
    }
    Some(())
}

/// Goes past `zeros` coefficients that are zero to the next such one, not beyond `last` + 1, and
/// takes the refining bit of each other one on the way.
#[inline(always)]
fn pass_zeros(bits: &mut Bits, block: &mut impl Kept, place: u32, last: u32, zeros: u32) -> u32 {
    let filled = block.filled();
    let band = (u64::MAX << place) & (u64::MAX >> (63 - last));
    let mut empty = !filled & band;
    for _ in 0..zeros {
        empty &= empty.wrapping_sub(1);
    }
    let end = match empty {
        0 => last + 1,
        _ => empty.trailing_zeros(),
    };
    let before = match end {
        64.. => u64::MAX,
        _ => (1 << end) - 1,
    };
    block.refine(bits, filled & band & before);
    end
}
