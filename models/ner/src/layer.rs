//! Maxout layers with layer norm, and the encoder's layers over windows of three rows.
//!
//! An encoder layer is a convolution along the text. Four rows of its output are made from six rows of input by six
//! products instead of twelve (Winograd's minimal filtering F(4, 3)), each of a mixture of the input rows with a mixture
//! of the window's three matrices; the rounding errors grow a little, which is why close decisions are taken again.

use crate::matmul::{Loops, Rows, product, transposed, vectorized};
use crate::package::{Maxout, WIDE, WIDTH};

/// Rows of output made at once.
pub(crate) const TILE: usize = 4;
/// Products per tile, and its rows of input.
const POINTS: usize = 6;
/// Tiles whose products lie in the processor's cache together.
const TILES: usize = 32;

/// What follows the products of a maxout layer: bias, the maximum over its pieces, layer norm.
pub(crate) struct Norm {
    /// [3 × 96]: the first piece of every output, then the second, then the third.
    bias: [f32; WIDE],
    gain: [f32; WIDTH],
    shift: [f32; WIDTH],
}

impl Norm {
    fn new(layer: &Maxout) -> Self {
        Self {
            bias: std::array::from_fn(|i| layer.b[piece_last(i)]),
            gain: std::array::from_fn(|i| layer.gain[i]),
            shift: std::array::from_fn(|i| layer.shift[i]),
        }
    }

    /// Adds to each row of `x` the norm of a row of `wide`, products without bias.
    pub(crate) fn add_to(&self, wide: &[f32], x: &mut [f32]) {
        vectorized(AddNorms {
            norm: self,
            wide: wide.as_chunks().0,
            x: x.as_chunks_mut().0,
        });
    }

    /// The larger of the pieces of output `o` of `wide`.
    #[inline(always)]
    fn largest(&self, o: usize, wide: impl Fn(usize) -> f32) -> f32 {
        let piece = |p: usize| wide(p * WIDTH + o) + self.bias[p * WIDTH + o];
        larger(larger(piece(0), piece(1)), piece(2))
    }

    /// Adds to `x` the norm of `wide`, products without bias.
    #[inline(always)]
    pub(crate) fn add(&self, wide: &[f32; WIDE], x: &mut [f32; WIDTH]) {
        let mut y = [0.0; WIDTH];
        for (o, y) in y.iter_mut().enumerate() {
            *y = self.largest(o, |i| wide[i]);
        }
        self.add_norm(&y, x);
    }

    #[inline(always)]
    fn add_norm(&self, y: &[f32; WIDTH], x: &mut [f32; WIDTH]) {
        let mean = sum(y) / WIDTH as f32;
        let mut squares = [0.0; WIDTH];
        for o in 0..WIDTH {
            squares[o] = (y[o] - mean) * (y[o] - mean);
        }
        let scale = (sum(&squares) / WIDTH as f32 + 1e-8).sqrt().recip();
        for o in 0..WIDTH {
            x[o] += (y[o] - mean) * scale * self.gain[o] + self.shift[o];
        }
    }
}

struct AddNorms<'a> {
    norm: &'a Norm,
    wide: &'a [[f32; WIDE]],
    x: &'a mut [[f32; WIDTH]],
}

impl Loops for AddNorms<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        for (wide, x) in self.wide.iter().zip(self.x) {
            self.norm.add(wide, x);
        }
    }
}

/// A maxout layer over single rows.
pub(crate) struct Layer {
    /// [inputs × 288]
    w: Vec<f32>,
    pub(crate) norm: Norm,
}

impl Layer {
    pub(crate) fn new(layer: &Maxout) -> Self {
        Self {
            w: matrix(layer),
            norm: Norm::new(layer),
        }
    }

    /// The rows' norms at `out` [rows × 96]; `wide` is memory.
    pub(crate) fn forward(&self, rows: Rows, wide: &mut Vec<f32>, out: &mut Vec<f32>) {
        wide.resize(rows.count * WIDE, 0.0);
        product(rows, &self.w, WIDE, wide);
        out.clear();
        out.resize(rows.count * WIDTH, 0.0);
        self.norm.add_to(&wide[..rows.count * WIDE], out);
    }
}

/// The layer's matrix [inputs × 288], its outputs piece after piece.
pub(crate) fn matrix(layer: &Maxout) -> Vec<f32> {
    let inputs = layer.w.len() / WIDE;
    let row = |i: usize| &layer.w[piece_last(i) * inputs..][..inputs];
    let rows: Vec<f32> = (0..WIDE).flat_map(row).copied().collect();
    transposed(&rows, inputs)
}

/// Where output `i` of [3 × 96] lies in [96 × 3].
fn piece_last(i: usize) -> usize {
    (i % WIDTH) * 3 + i / WIDTH
}

/// An encoder layer.
pub(crate) struct Convolution {
    /// The mixtures of the three matrices: [6 × 96 × 288].
    w: Vec<f32>,
    norm: Norm,
}

/// Memory of [`Convolution::forward`].
#[derive(Default)]
pub(crate) struct TileScratch {
    /// Mixtures of the input rows: [6 × tiles × 96].
    mixed: Vec<f32>,
    /// Their products: [6 × tiles × 288].
    wide: Vec<f32>,
}

impl Convolution {
    pub(crate) fn new(layer: &Maxout) -> Self {
        let w = matrix(layer);
        let row = |point: [f64; 3]| {
            let (w, one) = (&w, WIDTH * WIDE);
            let mix = move |i: usize| {
                let part = |j: usize| point[j] * f64::from(w[j * one + i]);
                (part(0) + part(1) + part(2)) as f32
            };
            (0..one).map(mix)
        };
        Self {
            w: FILTERS.into_iter().flat_map(row).collect(),
            norm: Norm::new(layer),
        }
    }

    /// `out[r] = x[r + 1] + norm of the window x[r], x[r + 1], x[r + 2]`, for as many rows as `out` has: a multiple of
    /// [`TILE`]. `x` has two rows more.
    pub(crate) fn forward(&self, x: &[f32], out: &mut [f32], scratch: &mut TileScratch) {
        let x: &[[f32; WIDTH]] = x.as_chunks().0;
        let out: &mut [[f32; WIDTH]] = out.as_chunks_mut().0;
        assert!(out.len().is_multiple_of(TILE) && x.len() >= out.len() + 2);
        scratch.mixed.resize(POINTS * TILES * WIDTH, 0.0);
        scratch.wide.resize(POINTS * TILES * WIDE, 0.0);
        for (i, out) in out.chunks_mut(TILES * TILE).enumerate() {
            let x = &x[i * TILES * TILE..][..out.len() + 2];
            let mixed: &mut [[f32; WIDTH]] = scratch.mixed.as_chunks_mut().0;
            vectorized(MixRows { x, mixed });
            for point in 0..POINTS {
                let rows = Rows {
                    data: &scratch.mixed[point * TILES * WIDTH..],
                    count: out.len() / TILE,
                    stride: WIDTH,
                    width: WIDTH,
                };
                let wide = &mut scratch.wide[point * TILES * WIDE..];
                product(rows, &self.w[point * WIDTH * WIDE..], WIDE, wide);
            }
            vectorized(AddTiles {
                norm: &self.norm,
                wide: scratch.wide.as_chunks().0,
                x,
                out,
            });
        }
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

/// Mixes six rows of input, for each tile of `x`.
struct MixRows<'a> {
    x: &'a [[f32; WIDTH]],
    /// [6 × tiles]
    mixed: &'a mut [[f32; WIDTH]],
}

impl Loops for MixRows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        for (tile, start) in (0..self.x.len() - 2).step_by(TILE).enumerate() {
            let mut points = [[0.0; WIDTH]; POINTS];
            let Some(rows) = self.x[start..].first_chunk::<POINTS>() else {
                return;
            };
            for c in 0..WIDTH {
                let x: [f32; POINTS] = std::array::from_fn(|i| rows[i][c]);
                let (a, b) = (x[4] - 4.0 * x[2], x[3] - 4.0 * x[1]);
                let (d, e) = (x[4] - x[2], 2.0 * (x[3] - x[1]));
                points[0][c] = 4.0 * x[0] - 5.0 * x[2] + x[4];
                points[1][c] = a + b;
                points[2][c] = a - b;
                points[3][c] = d + e;
                points[4][c] = d - e;
                points[5][c] = 4.0 * x[1] - 5.0 * x[3] + x[5];
            }
            for (point, values) in points.iter().enumerate() {
                self.mixed[point * TILES + tile] = *values;
            }
        }
    }
}

/// Puts the products of each tile together, and adds their norms to the windows' middle rows.
struct AddTiles<'a> {
    norm: &'a Norm,
    /// [6 × tiles]
    wide: &'a [[f32; WIDE]],
    x: &'a [[f32; WIDTH]],
    out: &'a mut [[f32; WIDTH]],
}

impl Loops for AddTiles<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let middle = &self.x[1..];
        for (tile, out) in self.out.chunks_exact_mut(TILE).enumerate() {
            let m: [&[f32; WIDE]; POINTS] =
                std::array::from_fn(|point| &self.wide[point * TILES + tile]);
            let mut y = [[0.0; WIDTH]; TILE];
            for o in 0..WIDTH {
                let pieces: [[f32; TILE]; 3] = std::array::from_fn(|p| {
                    let (i, bias) = (p * WIDTH + o, self.norm.bias[p * WIDTH + o]);
                    let (a, b) = (m[1][i] + m[2][i], m[1][i] - m[2][i]);
                    let (c, d) = (m[3][i] + m[4][i], m[3][i] - m[4][i]);
                    [
                        m[0][i] + a + c + bias,
                        b + 2.0 * d + bias,
                        a + 4.0 * c + bias,
                        b + 8.0 * d + m[5][i] + bias,
                    ]
                });
                for (row, y) in y.iter_mut().enumerate() {
                    y[o] = larger(larger(pieces[0][row], pieces[1][row]), pieces[2][row]);
                }
            }
            for (row, (y, out)) in y.iter().zip(out).enumerate() {
                *out = middle[tile * TILE + row];
                self.norm.add_norm(y, out);
            }
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
fn sum(values: &[f32; WIDTH]) -> f32 {
    let mut lanes = [0f32; 16];
    for chunk in values.chunks_exact(16) {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let next = |state: &mut u32| {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Some((*state >> 8) as f32 / (1 << 23) as f32 - 1.0)
        };
        let mut state = seed;
        (0..count).map_while(|_| next(&mut state)).collect()
    }

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
        let mut out = vec![0.0; rows * WIDTH];
        Convolution::new(&layer).forward(&x, &mut out, &mut TileScratch::default());

        let windows = Rows {
            data: &x,
            count: rows,
            stride: WIDTH,
            width: 3 * WIDTH,
        };
        let mut expected = Vec::new();
        Layer::new(&layer).forward(windows, &mut Vec::new(), &mut expected);
        for (i, (out, norm)) in out.iter().zip(&expected).enumerate() {
            let expected = x[WIDTH + i] + norm;
            assert!((out - expected).abs() < 1e-4, "{i}: {out}, {expected}");
        }
    }
}
