//! Maxout layers with layer norm, and the encoder's layers over windows of three rows.
//!
//! An encoder layer is a convolution along the text. Four rows of its output are made from six rows
//! of input by six products instead of twelve (Winograd's minimal filtering F(4, 3)), each of a
//! mixture of the input rows with a mixture of the window's three matrices; the rounding errors
//! grow a little, which is why close decisions are taken again.

use pulp::Simd;

use crate::matmul::{LANES, Line, Loops, Packed, product, vectorized};
use crate::package::{Maxout, WIDE, WIDTH};

/// A vector of the encoder.
pub(crate) type Row = [f32; WIDTH];
/// The row before a text's first token and behind its last.
pub(crate) const ZERO: Row = [0.0; WIDTH];
/// Rows of output made at once.
pub(crate) const TILE: usize = 4;
/// Products per tile, and its rows of input.
const POINTS: usize = 6;
/// Tiles whose products lie in the processor's cache together.
const TILES: usize = 32;
/// The three pieces of sixteen outputs of a layer: what a panel of its matrix makes of a row.
type Pieces = [Line; 3];
/// Panels of a layer's matrix.
const PANELS: usize = WIDTH / LANES;

/// What follows the products of a maxout layer: bias, the maximum over its pieces, layer norm.
struct Norm {
    bias: [Pieces; PANELS],
    gain: Row,
    shift: Row,
}

impl Norm {
    fn new(layer: &Maxout) -> Self {
        let bias = |panel: usize, piece: usize, lane: usize| {
            layer.b[output((panel * 3 + piece) * LANES + lane)]
        };
        Self {
            bias: std::array::from_fn(|panel| {
                std::array::from_fn(|piece| std::array::from_fn(|lane| bias(panel, piece, lane)))
            }),
            gain: std::array::from_fn(|i| layer.gain[i]),
            shift: std::array::from_fn(|i| layer.shift[i]),
        }
    }

    /// The largest piece of each output of a panel.
    #[inline(always)]
    fn largest(&self, panel: usize, pieces: &Pieces, out: &mut Row) {
        let bias = &self.bias[panel];
        for (lane, out) in out[panel * LANES..][..LANES].iter_mut().enumerate() {
            let (a, b) = (
                pieces[0][lane] + bias[0][lane],
                pieces[1][lane] + bias[1][lane],
            );
            *out = larger(larger(a, b), pieces[2][lane] + bias[2][lane]);
        }
    }

    /// Puts the largest pieces' norm in their place.
    #[inline(always)]
    fn apply(&self, y: &mut Row) {
        let mean = sum(y) / WIDTH as f32;
        let mut squares = ZERO;
        for o in 0..WIDTH {
            squares[o] = (y[o] - mean) * (y[o] - mean);
        }
        let scale = (sum(&squares) / WIDTH as f32 + 1e-8).sqrt().recip();
        for (o, y) in y.iter_mut().enumerate() {
            *y = (*y - mean) * scale * self.gain[o] + self.shift[o];
        }
    }
}

/// Which output [96 × 3] of a layer is column `i` of its matrix here: a panel is the three pieces
/// of sixteen outputs.
fn output(i: usize) -> usize {
    let (panel, piece, lane) = (i / (3 * LANES), i / LANES % 3, i % LANES);
    (panel * LANES + lane) * 3 + piece
}

/// A maxout layer over single rows of `K`.
pub(crate) struct Layer<const K: usize> {
    w: Packed<K, 3>,
    norm: Norm,
}

impl<const K: usize> Layer<K> {
    pub(crate) fn new(layer: &Maxout) -> Self {
        Self {
            w: Packed::new(WIDE, |k, i| layer.w[output(i) * K + k]),
            norm: Norm::new(layer),
        }
    }

    /// The rows' norms at `out`, which is as long.
    pub(crate) fn forward(&self, rows: &[[f32; K]], out: &mut [Row]) {
        vectorized(Forward {
            layer: self,
            rows,
            out,
        });
    }
}

struct Forward<'a, const K: usize> {
    layer: &'a Layer<K>,
    rows: &'a [[f32; K]],
    out: &'a mut [Row],
}

impl<const K: usize> Loops for Forward<'_, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Layer { w, norm } = self.layer;
        let mut wide = [[[0.0; LANES]; 3]; TILES];
        for (rows, out) in self.rows.chunks(TILES).zip(self.out.chunks_mut(TILES)) {
            for (panel, weights) in w.panels().iter().enumerate() {
                product(simd, rows, weights, &mut wide);
                for (pieces, out) in wide.iter().zip(out.iter_mut()) {
                    norm.largest(panel, pieces, out);
                }
            }
            for out in out {
                norm.apply(out);
            }
        }
    }
}

/// An encoder layer.
pub(crate) struct Convolution {
    /// The mixtures of the three matrices.
    w: [Packed<WIDTH, 3>; POINTS],
    norm: Norm,
}

/// Memory of [`Convolution::forward`].
pub(crate) struct TileScratch {
    /// Mixtures of the input rows: [6 × tiles].
    mixed: Vec<[Row; TILES]>,
    /// Their products with a panel: [6 × tiles].
    wide: Vec<[Pieces; TILES]>,
}

impl Default for TileScratch {
    fn default() -> Self {
        Self {
            mixed: vec![[ZERO; TILES]; POINTS],
            wide: vec![[[[0.0; LANES]; 3]; TILES]; POINTS],
        }
    }
}

impl Convolution {
    pub(crate) fn new(layer: &Maxout) -> Self {
        let mixture = |filter: [f64; 3]| {
            Packed::new(WIDE, |k, i| {
                let part =
                    |j: usize| filter[j] * f64::from(layer.w[(output(i) * 3 + j) * WIDTH + k]);
                (part(0) + part(1) + part(2)) as f32
            })
        };
        Self {
            w: FILTERS.map(mixture),
            norm: Norm::new(layer),
        }
    }

    /// `out[r] = x[r + 1] + norm of the window x[r], x[r + 1], x[r + 2]`, for as many rows as `out`
    /// has: a multiple of [`TILE`]. `x` has two rows more.
    pub(crate) fn forward(&self, x: &[Row], out: &mut [Row], scratch: &mut TileScratch) {
        assert!(out.len().is_multiple_of(TILE) && x.len() >= out.len() + 2);
        vectorized(Convolve {
            layer: self,
            x,
            out,
            scratch,
        });
    }
}

/// How each product mixes the window's three matrices.
const FILTERS: [[f64; 3]; POINTS] = [
    [1.0 / 4.0, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

struct Convolve<'a> {
    layer: &'a Convolution,
    x: &'a [Row],
    out: &'a mut [Row],
    scratch: &'a mut TileScratch,
}

impl Loops for Convolve<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Convolution { w, norm } = self.layer;
        let TileScratch { mixed, wide } = self.scratch;
        for (i, out) in self.out.chunks_mut(TILES * TILE).enumerate() {
            let x = &self.x[i * TILES * TILE..][..out.len() + 2];
            mix(x, mixed);
            for panel in 0..PANELS {
                for ((w, mixed), wide) in w.iter().zip(&*mixed).zip(&mut *wide) {
                    product(simd, &mixed[..out.len() / TILE], &w.panels()[panel], wide);
                }
                unmix(norm, panel, wide, out);
            }
            for (out, middle) in out.iter_mut().zip(&x[1..]) {
                norm.apply(out);
                for (out, middle) in out.iter_mut().zip(middle) {
                    *out += middle;
                }
            }
        }
    }
}

/// Mixes the six rows of input of each tile of `x`.
#[inline(always)]
fn mix(x: &[Row], mixed: &mut [[Row; TILES]]) {
    let Some(mixed) = mixed.first_chunk_mut::<POINTS>() else {
        return;
    };
    for (tile, start) in (0..x.len() - 2).step_by(TILE).enumerate() {
        let Some(x) = x[start..].first_chunk::<POINTS>() else {
            return;
        };
        for c in 0..WIDTH {
            let (a, b) = (x[4][c] - 4.0 * x[2][c], x[3][c] - 4.0 * x[1][c]);
            let (d, e) = (x[4][c] - x[2][c], 2.0 * (x[3][c] - x[1][c]));
            mixed[0][tile][c] = 4.0 * x[0][c] - 5.0 * x[2][c] + x[4][c];
            mixed[1][tile][c] = a + b;
            mixed[2][tile][c] = a - b;
            mixed[3][tile][c] = d + e;
            mixed[4][tile][c] = d - e;
            mixed[5][tile][c] = 4.0 * x[1][c] - 5.0 * x[3][c] + x[5][c];
        }
    }
}

/// Puts the six products of each tile with a panel together, and their largest pieces to `out`.
#[inline(always)]
fn unmix(norm: &Norm, panel: usize, wide: &[[Pieces; TILES]], out: &mut [Row]) {
    let Some(m) = wide.first_chunk::<POINTS>() else {
        return;
    };
    for (tile, out) in out.as_chunks_mut::<TILE>().0.iter_mut().enumerate() {
        let mut rows = [[[0.0; LANES]; 3]; TILE];
        for piece in 0..3 {
            for lane in 0..LANES {
                let m = |point: usize| m[point][tile][piece][lane];
                let (a, b) = (m(1) + m(2), m(1) - m(2));
                let (c, d) = (m(3) + m(4), m(3) - m(4));
                rows[0][piece][lane] = m(0) + a + c;
                rows[1][piece][lane] = b + 2.0 * d;
                rows[2][piece][lane] = a + 4.0 * c;
                rows[3][piece][lane] = b + 8.0 * d + m(5);
            }
        }
        for (pieces, out) in rows.iter().zip(out) {
            norm.largest(panel, pieces, out);
        }
    }
}

/// The larger number; one instruction, unlike `f32::max`, for numbers are all this ever sees.
#[inline(always)]
pub(crate) fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// A sum in sixteen lanes, so that it is vectorized.
#[inline(always)]
fn sum(values: &Row) -> f32 {
    let mut lanes = [0f32; LANES];
    for chunk in values.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            lanes[lane] += chunk[lane];
        }
    }
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matmul::tests::numbers;

    #[test]
    fn tiles_are_windows() {
        let layer = Maxout {
            w: numbers(WIDE * 3 * WIDTH, 1),
            b: numbers(WIDE, 2),
            gain: numbers(WIDTH, 3),
            shift: numbers(WIDTH, 4),
        };
        let rows = TILES * TILE + 3 * TILE;
        let x = numbers((rows + 2) * WIDTH, 5);
        let x: &[Row] = x.as_chunks().0;
        let mut out = vec![ZERO; rows];
        Convolution::new(&layer).forward(x, &mut out, &mut TileScratch::default());

        let windows: Vec<[f32; 3 * WIDTH]> = x
            .windows(3)
            .map(|rows| std::array::from_fn(|i| rows.as_flattened()[i]))
            .collect();
        let mut expected = vec![ZERO; rows];
        Layer::new(&layer).forward(&windows, &mut expected);
        for (r, (out, norm)) in out.iter().zip(&expected).enumerate() {
            for (o, out) in out.iter().enumerate() {
                let expected = x[r + 1][o] + norm[o];
                assert!((out - expected).abs() < 1e-4, "{r}, {o}: {out}, {expected}");
            }
        }
    }
}
