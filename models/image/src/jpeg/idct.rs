//! The inverse DCT of 8 × 8 coefficients to pixels, with libjpeg-turbo's integers: the same numbers in the same
//! widths as its vector code has them, so that nonsense comes out equal too.

/// Two multiplications of which the sum is taken, with the factors in 13 bits behind the point.
#[inline(always)]
fn pair(a: i16, by_a: i16, b: i16, by_b: i16) -> i32 {
    i32::from(a) * i32::from(by_a) + i32::from(b) * i32::from(by_b)
}

/// Bits behind the point of the factors.
const POINT: i32 = 13;

/// One transform of eight numbers, to `SHIFT` bits less, rounded.
#[inline(always)]
fn eight<const SHIFT: i32>(v: [i16; 8]) -> [i16; 8] {
    let low = pair(v[2], 4433, v[6], 4433 - 15_137);
    let high = pair(v[2], 4433 + 6270, v[6], 4433);
    let sum = i32::from(v[0].wrapping_add(v[4])) << POINT;
    let difference = i32::from(v[0].wrapping_sub(v[4])) << POINT;
    let even = [
        sum.wrapping_add(high),
        difference.wrapping_add(low),
        difference.wrapping_sub(low),
        sum.wrapping_sub(high),
    ];
    let (left, right) = (v[7].wrapping_add(v[3]), v[5].wrapping_add(v[1]));
    let of_left = pair(left, 9633 - 16_069, right, 9633);
    let of_right = pair(left, 9633, right, 9633 - 3196);
    let odd = [
        pair(v[7], -7373, v[1], 12_299 - 7373).wrapping_add(of_right),
        pair(v[5], -20_995, v[3], 25_172 - 20_995).wrapping_add(of_left),
        pair(v[5], 16_819 - 20_995, v[3], -20_995).wrapping_add(of_right),
        pair(v[7], 2446 - 7373, v[1], -7373).wrapping_add(of_left),
    ];
    let rounded = |value: i32| narrow(value.wrapping_add(1 << (SHIFT - 1)) >> SHIFT);
    std::array::from_fn(|i| match i {
        0..4 => rounded(even[i].wrapping_add(odd[i])),
        _ => rounded(even[7 - i].wrapping_sub(odd[7 - i])),
    })
}

#[inline(always)]
fn narrow(value: i32) -> i16 {
    value.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}

#[inline(always)]
fn pixel(value: i16) -> u8 {
    (value.clamp(-128, 127) + 128) as u8
}

/// Eight numbers of eight columns, or of eight rows, at once.
#[inline(always)]
fn pass<const SHIFT: i32>(from: &[[i16; 8]; 8]) -> [[i16; 8]; 8] {
    let mut to = [[0; 8]; 8];
    for lane in 0..8 {
        let out = eight::<SHIFT>(std::array::from_fn(|i| from[i][lane]));
        (0..8).for_each(|i| to[i][lane] = out[i]);
    }
    to
}

#[inline(always)]
fn transposed(from: &[[i16; 8]; 8]) -> [[i16; 8]; 8] {
    std::array::from_fn(|i| std::array::from_fn(|j| from[j][i]))
}

/// The pixels of coefficients (times their steps, row by row), into the lines of `target`.
#[inline(always)]
pub(crate) fn inverse(coefficients: &[i16; 64], target: &mut [u8], stride: usize) {
    let columns = std::array::from_fn(|row| std::array::from_fn(|x| coefficients[8 * row + x]));
    let rows = transposed(&pass::<{ POINT - 2 }>(&columns));
    let pixels = transposed(&pass::<{ POINT + 2 + 3 }>(&rows));
    for (line, row) in target.chunks_mut(stride.max(1)).zip(&pixels) {
        if let Some(line) = line.get_mut(..8) {
            line.copy_from_slice(&row.map(pixel));
        }
    }
}

/// As [`inverse`] where all but the first coefficient are zero.
#[inline(always)]
pub(crate) fn inverse_flat(mean: i16, target: &mut [u8], stride: usize) {
    let value = pixel((mean.wrapping_shl(2).saturating_add(16)) >> 5);
    for line in target.chunks_mut(stride.max(1)).take(8) {
        if let Some(line) = line.get_mut(..8) {
            line.fill(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the definition, in f64: rounding to whole numbers is all that differs.
    fn by_definition(coefficients: &[i16; 64]) -> [f64; 64] {
        let scale = |k: usize| if k == 0 { 0.5_f64.sqrt() } else { 1.0 };
        let wave = |x: usize, u: usize| {
            (((2 * x + 1) * u) as f64 * std::f64::consts::PI / 16.0).cos() * scale(u)
        };
        std::array::from_fn(|at| {
            let (y, x) = (at / 8, at % 8);
            let term = |k: usize| f64::from(coefficients[k]) * wave(y, k / 8) * wave(x, k % 8);
            (0..64).map(term).sum::<f64>() / 4.0 + 128.0
        })
    }

    proptest::proptest! {
        #[test]
        fn pixels_are_those_of_the_definition(first in -1000i16..1000, places in proptest::collection::vec((1usize..64, -120i16..120), 0..12)) {
            let mut coefficients = [0; 64];
            coefficients[0] = first;
            places.iter().for_each(|(at, value)| coefficients[*at] = *value);
            let mut found = [0_u8; 64];
            inverse(&coefficients, &mut found, 8);
            for (found, expected) in found.iter().zip(by_definition(&coefficients)) {
                let apart = (f64::from(*found) - expected.clamp(0.0, 255.0)).abs();
                proptest::prop_assert!(apart < 0.6, "{apart}");
            }
        }

        #[test]
        fn a_flat_block_is_one(first in -8191i16..8191) {
            let mut coefficients = [0; 64];
            coefficients[0] = first;
            let (mut whole, mut flat) = ([0_u8; 64], [1_u8; 64]);
            inverse(&coefficients, &mut whole, 8);
            inverse_flat(first, &mut flat, 8);
            proptest::prop_assert_eq!(whole, flat);
        }
    }
}
