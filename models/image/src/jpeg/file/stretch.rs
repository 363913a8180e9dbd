//! The blocks between two restart markers: stepped over, or read as far as is wanted of them.

use super::{CUT, File, NO_CODE, ODD, Stop, Wanted};
use crate::jpeg::bits::Bits;
use crate::jpeg::frame::{McuBlock, Member, Scan};
use crate::jpeg::idct::{inverse, inverse_flat};
use crate::jpeg::plane::Transform;
use crate::jpeg::progressive::{Band, Kept, Values};
use crate::jpeg::{progressive, sequential};

impl File<'_> {
    /// The MCUs between two restart markers; what is left behind them.
    pub(super) fn stretch<'d>(
        &mut self,
        scan: &Scan,
        bits: Bits<'d>,
        mcus: std::ops::Range<usize>,
        across: usize,
    ) -> Result<Bits<'d>, Stop> {
        match (scan.frame.is_progressive, scan.band[0], self.wanted) {
            (false, _, Wanted::Proof) => skip_sequential(scan, bits, mcus),
            (false, _, Wanted::Image(side @ 2..)) => {
                self.stretch_pixels(scan, bits, mcus, &Transform::new(side))
            }
            (false, _, Wanted::Whole) => self.stretch_whole(scan, bits, mcus),
            (false, ..) | (true, 0, _) => self.stretch_dc(scan, bits, mcus, across),
            (true, ..) => self.stretch_ac(scan, bits, mcus, across),
        }
    }

    /// MCUs of which the DC coefficients are known afterwards.
    fn stretch_dc<'d>(
        &mut self,
        scan: &Scan,
        mut bits: Bits<'d>,
        mcus: std::ops::Range<usize>,
        across: usize,
    ) -> Result<Bits<'d>, Stop> {
        let blocks = scan.blocks_of_mcu();
        let mut last = [0_i32; 4];
        for mcu in mcus {
            let place = [mcu / across, mcu % across];
            for block in &blocks {
                let member = block.member;
                if scan.is_refinement {
                    bits.fill();
                    let refined = bits.peek(1) << scan.low;
                    bits.skip(1);
                    if let Some(value) = self.kept(scan, block, place) {
                        *value |= refined as i32;
                    }
                    continue;
                }
                let difference = match scan.frame.is_progressive {
                    true => sequential::dc_difference(&mut bits, member),
                    false => sequential::block(&mut bits, member),
                };
                let difference = difference.ok_or_else(|| no_code(&bits))?;
                let value = &mut last[member.index & 3];
                *value = value.wrapping_add(difference);
                let value = value.wrapping_shl(scan.low);
                if let Some(kept) = self.kept(scan, block, place) {
                    *kept = value;
                }
            }
            if bits.is_beyond() {
                return Err(CUT);
            }
        }
        Ok(bits)
    }

    /// Where the DC coefficient of a block is kept.
    #[inline(always)]
    fn kept(&mut self, scan: &Scan, block: &McuBlock, mcu: [usize; 2]) -> Option<&mut i32> {
        let index = block.member.index;
        if !self.keeps_dc(index, scan.frame.is_progressive) {
            return None;
        }
        let [row, column] = block.at(mcu);
        let at = row * scan.frame.components[index].stride + column;
        self.dc_values[index].get_mut(at)
    }

    /// MCUs of a sequential scan whose pixels are made.
    fn stretch_pixels<'d>(
        &mut self,
        scan: &Scan,
        mut bits: Bits<'d>,
        mcus: std::ops::Range<usize>,
        transform: &Transform,
    ) -> Result<Bits<'d>, Stop> {
        let blocks = scan.blocks_of_mcu();
        let across = scan.mcus()[1];
        let steps = |member: &Member| {
            let component = &scan.frame.components[member.index];
            let table = self.quantization.get(component.quantization);
            transform.steps(&table.copied().flatten().unwrap_or([1; 64]))
        };
        let steps: Vec<[f32; 64]> = scan.members.iter().map(steps).collect();
        let mut last = [0_i32; 4];
        for mcu in mcus {
            let place = [mcu / across, mcu % across];
            for block in &blocks {
                let (member, steps) = (block.member, &steps[block.number]);
                let mut coefficients = [0.0; 64];
                let read = sequential::values(&mut bits, member, steps, &mut coefficients);
                let (difference, rows) = read.ok_or_else(|| no_code(&bits))?;
                let value = &mut last[member.index & 3];
                *value = value.wrapping_add(difference);
                coefficients[0] = *value as f32 * steps[0];
                let [row, column] = block.at(place);
                self.planes[member.index & 3].put(row, column, transform, &coefficients, rows);
            }
            if bits.is_beyond() {
                return Err(CUT);
            }
        }
        Ok(bits)
    }

    /// MCUs of a sequential scan whose pixels are made as libjpeg-turbo makes them.
    fn stretch_whole<'d>(
        &mut self,
        scan: &Scan,
        mut bits: Bits<'d>,
        mcus: std::ops::Range<usize>,
    ) -> Result<Bits<'d>, Stop> {
        let blocks = scan.blocks_of_mcu();
        let across = scan.mcus()[1];
        let steps = |member: &Member| {
            let table = self.steps[member.index & 3].unwrap_or([1; 64]);
            table.map(|step| step as i16)
        };
        let steps: Vec<[i16; 64]> = scan.members.iter().map(steps).collect();
        let mut last = [0_i32; 4];
        for mcu in mcus {
            let place = [mcu / across, mcu % across];
            for block in &blocks {
                let (member, steps) = (block.member, &steps[block.number]);
                let mut coefficients = [0; 64];
                let read = sequential::coefficients(&mut bits, member, steps, &mut coefficients);
                let (difference, has_more) = read.ok_or_else(|| no_code(&bits))?;
                let value = &mut last[member.index & 3];
                *value = value.wrapping_add(difference);
                coefficients[0] = (*value as i16).wrapping_mul(steps[0]);
                let [row, column] = block.at(place);
                let (target, stride) = self.planes[member.index & 3].block(row, column);
                match has_more {
                    true => inverse(&coefficients, target, stride),
                    false => inverse_flat(coefficients[0], target, stride),
                }
            }
            if bits.is_beyond() {
                return Err(CUT);
            }
        }
        Ok(bits)
    }

    fn stretch_ac<'d>(
        &mut self,
        scan: &Scan,
        mut bits: Bits<'d>,
        mcus: std::ops::Range<usize>,
        across: usize,
    ) -> Result<Bits<'d>, Stop> {
        let member = scan.members.first().ok_or(ODD)?;
        let stride = scan.frame.components[member.index].stride;
        let has_values = self.wanted == Wanted::Whole;
        let (values, _) = self.values[member.index].as_chunks_mut();
        let mut run = 0;
        for mcu in mcus {
            let at = mcu / across * stride + mcu % across;
            let mut filled = self.filled[member.index].get_mut(at).ok_or(ODD)?;
            match has_values {
                false => ac_block(scan, member, &mut bits, &mut run, &mut filled)?,
                true => {
                    let values = values.get_mut(at).ok_or(ODD)?;
                    let low = scan.low;
                    let mut block = Values {
                        filled,
                        values,
                        low,
                    };
                    ac_block(scan, member, &mut bits, &mut run, &mut block)?;
                }
            }
        }
        Ok(bits)
    }
}

/// A block of a progressive scan without DC coefficients.
#[inline(always)]
fn ac_block(
    scan: &Scan,
    member: &Member,
    bits: &mut Bits,
    run: &mut u32,
    block: &mut impl Kept,
) -> Result<(), Stop> {
    let ac = member.ac.ok_or(NO_CODE)?;
    let (band, low) = (scan.band, scan.low);
    let scanned = match scan.is_refinement {
        true => progressive::refine(bits, Band { ac, band, low }, run, block),
        false => progressive::first(bits, Band { ac, band, low }, run, block),
    };
    scanned.ok_or_else(|| no_code(bits))?;
    match bits.is_beyond() {
        true => Err(CUT),
        false => Ok(()),
    }
}

/// The MCUs of a sequential scan, of which nothing is kept.
fn skip_sequential<'d>(
    scan: &Scan,
    mut bits: Bits<'d>,
    mcus: std::ops::Range<usize>,
) -> Result<Bits<'d>, Stop> {
    let blocks = scan.blocks_of_mcu();
    for _ in mcus {
        for block in &blocks {
            sequential::block(&mut bits, block.member).ok_or_else(|| no_code(&bits))?;
        }
        if bits.is_beyond() {
            return Err(CUT);
        }
    }
    Ok(bits)
}

/// Behind the end there are codes that stand for nothing, too.
#[cold]
fn no_code(bits: &Bits) -> Stop {
    match bits.is_beyond() {
        true => CUT,
        false => NO_CODE,
    }
}
