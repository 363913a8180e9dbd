//! Blocks of a sequential scan (baseline and extended).

use super::bits::Bits;
use super::frame::Member;
use super::huffman::{extend, zeros_of};

/// Steps over a block; the difference of its DC coefficient. `None`: no such code.
#[inline(always)]
pub(crate) fn block(bits: &mut Bits, member: &Member) -> Option<i32> {
    let difference = dc_difference(bits, member)?;
    let (ac, strides) = (member.ac?, member.strides?);
    let mut place = 1;
    while place < 64 {
        bits.fill();
        // Two strides take 2 · 27 of the 56 bits at most.
        let (mut stride, mut end) = strides.look(bits, place);
        if stride.is_inside(end) {
            bits.skip(stride.bits());
            place = end;
            if stride.is_end() {
                break;
            }
            (stride, end) = strides.look(bits, place);
            if stride.is_inside(end) {
                bits.skip(stride.bits());
                place = end;
                if stride.is_end() {
                    break;
                }
                continue;
            }
            bits.fill();
        }
        let (symbol, length) = ac.look(bits)?;
        let size = u32::from(symbol & 15);
        bits.skip(length + size);
        match (symbol >> 4, size) {
            (15, 0) => place += 16,
            (_, 0) => break,
            (run, _) => place += u32::from(run) + 1,
        }
    }
    Some(difference)
}

/// The difference of a DC coefficient to the one before.
#[inline(always)]
pub(crate) fn dc_difference(bits: &mut Bits, member: &Member) -> Option<i32> {
    bits.fill();
    let (size, length) = member.dc?.look(bits)?;
    bits.skip(length);
    let size = u32::from(size);
    if size == 0 {
        return Some(0);
    }
    if size > 16 {
        return None;
    }
    let raw = bits.peek(size);
    bits.skip(size);
    Some(extend(raw, size))
}

/// The places of zigzag order, row by row.
pub(crate) const NATURAL: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// Reads a block's AC coefficients, each times its step (both in zigzag order), into `into`, row by row.
/// The difference of its DC coefficient, and by bit which rows have AC coefficients. `None`: no such code.
#[inline(always)]
pub(crate) fn values(
    bits: &mut Bits,
    member: &Member,
    steps: &[f32; 64],
    into: &mut [f32; 64],
) -> Option<(i32, u32)> {
    let difference = dc_difference(bits, member)?;
    let (ac, values) = (member.ac?, member.values?);
    let (mut place, mut rows) = (1_usize, 0_u32);
    while place < 64 {
        bits.fill();
        let quick = values.look(bits);
        let (zeros, value) = if quick.bits > 0 {
            bits.skip(u32::from(quick.bits));
            (quick.zeros, f32::from(quick.value))
        } else {
            let (symbol, length) = ac.look(bits)?;
            bits.skip(length);
            let size = u32::from(symbol & 15);
            let value = match size {
                0 => 0,
                _ => extend(bits.peek(size), size),
            };
            bits.skip(size);
            (zeros_of(symbol), value as f32)
        };
        place += usize::from(zeros);
        if place > 63 {
            break;
        }
        let natural = NATURAL[place];
        into[usize::from(natural & 63)] = value * steps[place];
        rows |= u32::from(value != 0.0) << (natural >> 3);
        place += 1;
    }
    Some((difference, rows))
}

/// Reads a block's AC coefficients, each times its step (in zigzag order), into `into`, row by row, as libjpeg-turbo
/// has them in 16 bits. The difference of its DC coefficient, and whether there are others. `None`: no such code.
#[inline(always)]
pub(crate) fn coefficients(
    bits: &mut Bits,
    member: &Member,
    steps: &[i16; 64],
    into: &mut [i16; 64],
) -> Option<(i32, bool)> {
    let difference = dc_difference(bits, member)?;
    let (ac, values) = (member.ac?, member.values?);
    let (mut place, mut has_more) = (1_usize, false);
    while place < 64 {
        bits.fill();
        let quick = values.look(bits);
        let (zeros, value) = if quick.bits > 0 {
            bits.skip(u32::from(quick.bits));
            (quick.zeros, quick.value)
        } else {
            let (symbol, length) = ac.look(bits)?;
            bits.skip(length);
            let size = u32::from(symbol & 15);
            let value = match size {
                0 => 0,
                _ => extend(bits.peek(size), size),
            };
            bits.skip(size);
            (zeros_of(symbol), value as i16)
        };
        place += usize::from(zeros);
        if zeros == 64 {
            break;
        }
        // Runs beyond the end reach no further than it.
        let at = place.min(63);
        into[usize::from(NATURAL[at] & 63)] = value.wrapping_mul(steps[at]);
        has_more = true;
        place += 1;
    }
    Some((difference, has_more))
}
