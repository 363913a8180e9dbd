//! Blocks of progressive AC scans. Of the coefficients only which are not zero is kept: the lengths
//! of refinements depend on it.

use super::bits::Bits;
use super::huffman::Huffman;

/// Blocks still to come that end at once.
pub(crate) type EndRun = u32;

/// A block of a first scan over `band`. `filled` has a bit for each coefficient that is not zero.
#[inline(always)]
pub(crate) fn first(
    bits: &mut Bits,
    ac: &Huffman,
    band: [u32; 2],
    run: &mut EndRun,
    filled: &mut u64,
) -> Option<()> {
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
                bits.skip(size);
                *filled |= 1 << place.min(63);
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

/// A block of a refinement over `band`.
#[inline(always)]
pub(crate) fn refine(
    bits: &mut Bits,
    ac: &Huffman,
    band: [u32; 2],
    run: &mut EndRun,
    filled: &mut u64,
) -> Option<()> {
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
            bits.skip(u32::from(size != 0));
            place = pass_zeros(bits, *filled, place, band[1], zeros);
            if size != 0 && place <= band[1] {
                *filled |= 1 << place;
            }
            place += 1;
        }
    }
    if *run > 0 {
        if place <= band[1] {
            let rest = *filled & (u64::MAX << place) & (u64::MAX >> (63 - band[1]));
            refine_each(bits, rest.count_ones());
        }
        *run -= 1;
    }
    Some(())
}

/// Goes past `zeros` coefficients that are zero to the next such one, not beyond `last` + 1, and
/// takes the refining bit of each other one on the way.
#[inline(always)]
fn pass_zeros(bits: &mut Bits, filled: u64, place: u32, last: u32, zeros: u32) -> u32 {
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
    refine_each(bits, (filled & band & before).count_ones());
    end
}

fn refine_each(bits: &mut Bits, mut count: u32) {
    while count > 0 {
        bits.fill();
        let now = count.min(32);
        bits.skip(now);
        count -= now;
    }
}
