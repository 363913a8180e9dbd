//! How metrics are printed: with the digits that their sample size supports.
//!
//! The unit of the last printed digit is at most half of the standard error, so that rounding hides
//! nothing and noise is not printed. The table of scores and the JSON keep all digits.

/// How a metric is printed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NumberFormat {
    /// A count.
    Whole,
    /// A mean of numbers with about this standard deviation, printed times `scale`, with at most
    /// `most_decimals`.
    Mean {
        /// Standard deviation of what the mean is taken of, as order of magnitude.
        deviation: f64,
        /// What the printed number is multiplied with.
        scale: f64,
        /// The most decimals.
        most_decimals: usize,
    },
    /// A Fréchet distance; its standard error is about its value over the root of the sample size.
    Distance,
    /// A kernel distance, printed times 1000.
    Kernel,
    /// An area under the ROC curve.
    Area,
    /// A share of one, in percent.
    Share,
}

/// Cosine of an image and its prompt, as CLIP scores are published: times 100 already.
pub(crate) const CLIP_COSINE: NumberFormat = NumberFormat::Mean {
    deviation: 4.0,
    scale: 1.0,
    most_decimals: 2,
};

/// Cosine of two faces.
pub(crate) const FACE_COSINE: NumberFormat = NumberFormat::Mean {
    deviation: 0.25,
    scale: 1.0,
    most_decimals: 4,
};

/// Mean absolute difference of two images over the range of a pixel.
pub(crate) const PIXEL_DIFFERENCE: NumberFormat = NumberFormat::Mean {
    deviation: 0.1,
    scale: 1.0,
    most_decimals: 4,
};

impl NumberFormat {
    /// `value`, a metric of a sample of `count`, as text.
    pub(crate) fn write(self, value: f64, count: u64) -> String {
        let root = (count.max(1) as f64).sqrt();
        match self {
            Self::Whole => format!("{value:.0}"),
            Self::Mean {
                deviation,
                scale,
                most_decimals,
            } => rounded(value * scale, deviation * scale / root, most_decimals),
            Self::Distance => rounded(value, value / root, 2),
            Self::Kernel => rounded(value * 1000.0, 1000.0 * value.abs() / root, 2),
            Self::Area => rounded(value, share_error(value, count), 4),
            Self::Share => {
                let error = 100.0 * share_error(value, count);
                format!("{} %", rounded(value * 100.0, error, 1))
            }
        }
    }
}

/// The standard error of a share of `count`. Two imagined members, one with and one without, keep
/// it from being nothing for 0 and 1.
fn share_error(share: f64, count: u64) -> f64 {
    let count = count as f64 + 2.0;
    let share = (share * (count - 2.0) + 1.0) / count;
    (share * (1.0 - share) / count).sqrt()
}

/// `value` with the fewest decimals whose unit is at most half of `error`, but no more than `most`.
fn rounded(value: f64, error: f64, most: usize) -> String {
    let needed = (0..most).find(|decimals| 0.1_f64.powi(*decimals as i32) <= error / 2.0);
    let decimals = needed.unwrap_or(most);
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_grow_with_the_sample() {
        let clip = |count| CLIP_COSINE.write(38.241, count);
        assert_eq!([7, 40, 5000].map(clip), ["38.2", "38.2", "38.24"]);
        assert_eq!(NumberFormat::Kernel.write(-0.000_039_23, 1000), "-0.04");
        let face = |count| FACE_COSINE.write(0.123_456, count);
        assert_eq!(
            [1, 20, 1000, 1_000_000].map(face),
            ["0.1", "0.12", "0.123", "0.1235"]
        );
        let distance = |count| NumberFormat::Distance.write(12.345, count);
        assert_eq!([4, 100, 5000].map(distance), ["12", "12.3", "12.35"]);
    }

    #[test]
    fn shares_near_the_ends_keep_their_digits() {
        let share = |value, count| NumberFormat::Share.write(value, count);
        assert_eq!(share(0.75, 4), "75 %");
        assert_eq!(share(0.996, 10_000), "99.6 %");
        assert_eq!(share(1.0, 3), "100 %");
        assert_eq!(NumberFormat::Area.write(0.953_24, 50), "0.95");
        assert_eq!(NumberFormat::Area.write(0.953_24, 100_000), "0.9532");
        assert_eq!(NumberFormat::Whole.write(20.0, 20), "20");
    }
}
