//! Progressive files that end before their last scans: what libjpeg-turbo guesses of coefficients that it does not
//! know exactly, from the means of the blocks around. Files that are whole have nothing to guess.

use super::frame::Component;

/// The coefficients that can be guessed, in zigzag order from the second on: their places row by row.
const PLACES: [usize; 9] = [1, 8, 16, 9, 2, 3, 10, 17, 24];
/// Coefficients of which a file's knowledge is kept: the mean and those that can be guessed.
pub(crate) const KEPT: usize = 1 + PLACES.len();

/// By coefficient: the lowest bit that is known; −1: nothing is.
pub(crate) type Known = [i8; KEPT];

/// Weights of the means of 5 × 5 blocks around, in 256ths.
type Weights = [i16; 25];

/// Where nothing but means is known.
#[rustfmt::skip]
const OF_MEANS: [Weights; 9] = [
    [-1, -1, 0, 1, 1,  -3, 13, 0, -13, 3,  -3, 38, 0, -38, 3,  -3, 13, 0, -13, 3,  -1, -1, 0, 1, 1],
    [-1, -3, -3, -3, -1,  -1, 13, 38, 13, -1,  0, 0, 0, 0, 0,  1, -13, -38, -13, 1,  1, 3, 3, 3, 1],
    [0, 0, 1, 0, 0,  0, 2, 7, 2, 0,  0, -5, -14, -5, 0,  0, 2, 7, 2, 0,  0, 0, 1, 0, 0],
    [-1, 0, 0, 0, 1,  0, 9, 0, -9, 0,  0, 0, 0, 0, 0,  0, -9, 0, 9, 0,  1, 0, 0, 0, -1],
    [0, 0, 0, 0, 0,  0, 2, -5, 2, 0,  1, 7, -14, 7, 1,  0, 2, -5, 2, 0,  0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0,  0, 1, 0, -1, 0,  0, 2, 0, -2, 0,  0, 1, 0, -1, 0,  0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0,  0, 1, -3, 1, 0,  0, 0, 0, 0, 0,  0, -1, 3, -1, 0,  0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0,  0, 1, 0, -1, 0,  0, -3, 0, 3, 0,  0, 1, 0, -1, 0,  0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0,  0, 1, 2, 1, 0,  0, 0, 0, 0, 0,  0, -1, -2, -1, 0,  0, 0, 0, 0, 0],
];
/// The mean itself, there.
#[rustfmt::skip]
const MEAN: Weights =
    [-2, -6, -8, -6, -2,  -6, 6, 42, 6, -6,  -8, 42, 152, 42, -8,  -6, 6, 42, 6, -6,  -2, -6, -8, -6, -2];
/// Where some coefficients are known.
#[rustfmt::skip]
const OF_MORE: [Weights; 5] = [
    [0, 0, 0, 0, 0,  0, 0, 0, 0, 0,  -7, 50, 0, -50, 7,  0, 0, 0, 0, 0,  0, 0, 0, 0, 0],
    [0, 0, -7, 0, 0,  0, 0, 50, 0, 0,  0, 0, 0, 0, 0,  0, 0, -50, 0, 0,  0, 0, 7, 0, 0],
    [0, 0, -1, 0, 0,  0, 0, 13, 0, 0,  0, 0, -24, 0, 0,  0, 0, 13, 0, 0,  0, 0, -1, 0, 0],
    [0, -1, 0, 1, 0,  -1, 10, 0, -10, 1,  0, 0, 0, 0, 0,  1, -10, 0, 10, -1,  0, 1, 0, -1, 0],
    [0, 0, 0, 0, 0,  0, 0, 0, 0, 0,  -1, 13, -24, 13, -1,  0, 0, 0, 0, 0,  0, 0, 0, 0, 0],
];

/// Whether there is something to guess: a coefficient is not known exactly, and no step is zero.
pub(crate) fn is_needed(known: &[Known], steps: &[[i16; 64]]) -> bool {
    let can = |steps: &[i16; 64]| steps[0] != 0 && PLACES.iter().all(|place| steps[*place] != 0);
    let has_mean = |known: &Known| known[0] >= 0;
    let is_open = |known: &Known| known[1..].iter().any(|bit| *bit != 0);
    steps.iter().all(can) && known.iter().all(has_mean) && known.iter().any(is_open)
}

/// A component whose coefficients are guessed.
pub(crate) struct Smooth<'a> {
    pub(crate) component: &'a Component,
    /// The means of its blocks, whole MCUs.
    pub(crate) means: &'a [i32],
    pub(crate) known: Known,
    /// Row by row.
    pub(crate) steps: &'a [i16; 64],
}

impl Smooth<'_> {
    /// Guesses of the block at a row and column.
    pub(crate) fn guess(&self, row: usize, column: usize, block: &mut [i16; 64]) {
        let around = self.around(row, column);
        let has_means_only = self.known[1..].iter().all(|bit| *bit == -1);
        let weights: &[Weights] = match has_means_only {
            true => &OF_MEANS,
            false => &OF_MORE,
        };
        for ((weights, place), known) in weights.iter().zip(PLACES).zip(&self.known[1..]) {
            if *known != 0 && block[place] == 0 {
                block[place] = self.estimate(&around, weights, place, i32::from(*known));
            }
        }
        if has_means_only {
            block[0] = self.estimate(&around, &MEAN, 0, 0);
        }
    }

    /// Rounded away from zero at halves, and below the lowest bit that is known.
    fn estimate(&self, around: &[i64; 25], weights: &Weights, place: usize, known: i32) -> i16 {
        let step = |at: usize| i64::from(self.steps[at] as u16);
        let products = around.iter().zip(weights);
        let sum: i64 = products.map(|(mean, w)| mean * i64::from(*w)).sum::<i64>() * step(0);
        let mut size = ((step(place) << 7) + sum.abs()) / (step(place) << 8);
        if known > 0 {
            size = size.min((1 << known) - 1);
        }
        (size * sum.signum()) as i16
    }

    /// The means of 5 × 5 blocks. At the edges the outermost counts again. At the lower edge libjpeg-turbo counts rows of
    /// its last MCUs in its own way.
    fn around(&self, row: usize, column: usize) -> [i64; 25] {
        let Component {
            blocks: [across, high],
            stride,
            rows,
            down,
            ..
        } = *self.component;
        let mcus = rows / down;
        let mcu = row / down;
        let inside = match mcu + 1 == mcus && high % down != 0 {
            true => high % down,
            false => down,
        };
        let counted = mcu * inside + row % down;
        let last = inside * mcus - 1;
        let above = |n: usize| row - n.min(counted);
        let below = |n: usize| (row + n.min(last - counted.min(last))).min(rows - 1);
        let lines = [above(2), above(1), row, below(1), below(2)];
        std::array::from_fn(|i| {
            let x = (column + i % 5).saturating_sub(2).min(across - 1);
            let mean = self.means.get(lines[i / 5] * stride + x);
            i64::from(mean.copied().unwrap_or_default() as i16)
        })
    }
}
