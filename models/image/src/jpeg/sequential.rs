//! Blocks of a sequential scan (baseline and extended).

use super::bits::Bits;
use super::frame::Member;

/// Steps over a block; the difference of its DC coefficient. `None`: no such code.
#[inline(always)]
pub(crate) fn block(bits: &mut Bits, member: &Member) -> Option<i32> {
    let difference = dc_difference(bits, member)?;
    let (ac, strides) = (member.ac?, member.strides?);
    let mut place = 1;
    while place < 64 {
        bits.fill();
        // Two looks take 2 · 26 of the 56 bits at most.
        for _ in 0..2 {
            let stride = strides.look(bits);
            let end = place + stride.places();
            if stride.bits() > 0 && end < 64 {
                bits.skip(stride.bits());
                place = end;
                if stride.is_end() {
                    return Some(difference);
                }
                continue;
            }
            break;
        }
        bits.fill();
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
    let value = bits.peek(size) as i32;
    bits.skip(size);
    let is_negative = value >> (size - 1) == 0;
    Some(if is_negative {
        value - (1 << size) + 1
    } else {
        value
    })
}
