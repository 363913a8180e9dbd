//! Arithmetic on a handful of samples at once: functions without branches or calls, so that the
//! compiler turns loops over a [`Lane`] into vector instructions on any processor. Accurate to
//! 1e-5, far below one step of a colour.

use std::f32::consts::{FRAC_1_PI, FRAC_PI_2, LN_2, LOG2_E, PI};

/// Samples that are painted together: [`COLUMNS`] columns of [`ROWS`] rows of the supersampled
/// image.
pub(super) const LANES: usize = COLUMNS * ROWS;
/// Columns of a tile, in samples.
pub(super) const COLUMNS: usize = 16;
/// Rows of a tile, in samples.
pub(super) const ROWS: usize = 2;

/// One value for each sample of a tile.
pub(super) type Lane = [f32; LANES];
/// Red, green and blue, 0 to 1.
pub(super) type Colour = [f32; 3];
/// Red, green and blue of each sample of a tile.
pub(super) type Colours = [Lane; 3];

/// A lane from a function of the sample's index.
#[inline(always)]
pub(super) fn lane(value: impl Fn(usize) -> f32) -> Lane {
    let mut out = [0.0; LANES];
    for (i, out) in out.iter_mut().enumerate() {
        *out = value(i);
    }
    out
}

/// Cubic step from 0 at `low` to 1 at `high`.
#[inline(always)]
pub(super) fn smooth(low: f32, high: f32, x: f32) -> f32 {
    let t = ((x - low) / (high - low + 1e-9)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Mixes `colour` into the samples, as much as `mask` (0 to 1) says.
#[inline(always)]
pub(super) fn blend(samples: &mut Colours, mask: &Lane, colour: Colour) {
    for (channel, colour) in samples.iter_mut().zip(colour) {
        for (sample, mask) in channel.iter_mut().zip(mask) {
            *sample += (colour - *sample) * mask;
        }
    }
}

/// The colour times a factor.
pub(super) fn times(colour: Colour, factor: f32) -> Colour {
    colour.map(|channel| channel * factor)
}

/// Adding this to a number rounds it to the nearest integer, which is then in the low bits.
const ROUND: f32 = 12_582_912.0;

/// Sine, for arguments up to some thousands.
#[inline(always)]
pub(super) fn sine(x: f32) -> f32 {
    let shifted = x * FRAC_1_PI + ROUND;
    let r = x - (shifted - ROUND) * PI;
    let s = r * r;
    let odd = r
        * (1.0
            + s * (-1.0 / 6.0 + s * (1.0 / 120.0 + s * (-1.0 / 5040.0 + s * (1.0 / 362_880.0)))));
    f32::from_bits(odd.to_bits() ^ (shifted.to_bits() << 31))
}

/// Cosine, for arguments up to some thousands.
#[inline(always)]
pub(super) fn cosine(x: f32) -> f32 {
    sine(x + FRAC_PI_2)
}

/// Angle of the point (`x`, `y`), −π to π.
#[inline(always)]
pub(super) fn arc_tangent(y: f32, x: f32) -> f32 {
    let (near, far) = (x.abs().min(y.abs()), x.abs().max(y.abs()));
    let t = near / (far + 1e-30);
    let s = t * t;
    // Least-squares fit of atan on [0, 1].
    let first = t
        * (0.999_977_26
            + s * (-0.332_623_47
                + s * (0.193_543_46 + s * (-0.116_432_87 + s * (0.052_653_32 - s * 0.011_721_2)))));
    let half = if y.abs() > x.abs() {
        FRAC_PI_2 - first
    } else {
        first
    };
    let turned = if x < 0.0 { PI - half } else { half };
    if y < 0.0 { -turned } else { turned }
}

/// Binary logarithm of a positive number; of 0, −127.
#[inline(always)]
pub(super) fn log2(x: f32) -> f32 {
    // Splits x into 2^exponent × mantissa with the mantissa between √½ and √2.
    const ROOT_HALF: u32 = 0x3f35_04f3;
    let exponent = (x.to_bits().wrapping_sub(ROOT_HALF) as i32) >> 23;
    let mantissa = f32::from_bits(x.to_bits().wrapping_sub((exponent as u32) << 23));
    let t = (mantissa - 1.0) / (mantissa + 1.0);
    let s = t * t;
    exponent as f32 + 2.0 * LOG2_E * t * (1.0 + s * (1.0 / 3.0 + s * (1.0 / 5.0 + s * (1.0 / 7.0))))
}

/// Two to the power `x`, for `x` between −126 and 126; beyond, as at the bound.
#[inline(always)]
pub(super) fn exp2(x: f32) -> f32 {
    let x = x.clamp(-126.0, 126.0);
    let shifted = x + ROUND;
    let r = (x - (shifted - ROUND)) * LN_2;
    let fraction = 1.0
        + r * (1.0
            + r * (1.0 / 2.0
                + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0))))));
    f32::from_bits(fraction.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// e to the power `x`.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    exp2(x * LOG2_E)
}

/// `x` ≥ 0 to the power `p` > 0.
#[inline(always)]
pub(super) fn power(x: f32, p: f32) -> f32 {
    exp2(p * log2(x))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Largest distance between two functions on `steps` points of [`low`, `high`].
    fn distance(low: f32, high: f32, ours: impl Fn(f32) -> f32, exact: impl Fn(f32) -> f32) -> f32 {
        let steps = 20_000;
        (0..=steps)
            .map(|i| low + (high - low) * i as f32 / steps as f32)
            .map(|x| (ours(x) - exact(x)).abs())
            .fold(0.0, f32::max)
    }

    #[test]
    fn approximations_are_within_their_stated_error() {
        assert!(distance(-120.0, 120.0, sine, f32::sin) < 2e-5);
        assert!(distance(-120.0, 120.0, cosine, f32::cos) < 2e-5);
        assert!(distance(-9.0, 1.0, exp, f32::exp) < 1e-5);
        assert!(distance(1e-6, 9.0, log2, f32::log2) < 1e-5);
        assert!(distance(0.0, 2.0, |x| power(x, 2.6), |x| x.powf(2.6)) < 1e-5);
        assert!(distance(0.0, 2.0, |x| power(x, 1.0 / 1.7), |x| x.powf(1.0 / 1.7)) < 1e-5);
        let circle = |f: fn(f32, f32) -> f32| move |t: f32| f(t.sin() * 0.7, t.cos() * 0.7);
        assert!(distance(-PI, PI, circle(arc_tangent), circle(f32::atan2)) < 1e-5);
    }

    #[test]
    fn approximations_hold_at_the_ends_of_their_ranges() {
        assert_eq!(arc_tangent(0.0, 0.0), 0.0);
        assert!(power(0.0, 1.7) < 1e-30);
        assert!(exp(-1e9) < 1e-30);
        assert_eq!((smooth(0.0, 1.0, -1.0), smooth(0.0, 1.0, 2.0)), (0.0, 1.0));
    }
}
