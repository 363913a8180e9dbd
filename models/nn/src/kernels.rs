//! Float32 kernels for the processor: strided matrix products, norms, softmax and activations on
//! slices.
//!
//! Every output element is computed by one thread in one order, so that results do not depend on
//! the number of threads. The elementwise functions are written without branches, for the
//! vectorizer.

use gemm::Parallelism;

/// Lanes in which sums are kept, so that they vectorize without reordering at run time.
const LANES: usize = 16;

/// Multiply-adds below which a product is not worth handing to other threads.
const PARALLEL_WORK: usize = 1 << 21;

/// A matrix inside a slice: element (i, j) is `data[i * row_stride + j * col_stride]`.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    /// The numbers.
    pub data: &'a [f32],
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Distance between rows.
    pub row_stride: usize,
    /// Distance between columns.
    pub col_stride: usize,
}

/// A [`Matrix`] to write to; no two elements may share a place.
#[derive(Debug)]
pub struct MatrixMut<'a> {
    /// The numbers.
    pub data: &'a mut [f32],
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Distance between rows.
    pub row_stride: usize,
    /// Distance between columns.
    pub col_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A row-major matrix without gaps.
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self {
            data,
            rows,
            cols,
            row_stride: cols,
            col_stride: 1,
        }
    }

    /// Rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }
}

impl<'a> MatrixMut<'a> {
    /// A row-major matrix without gaps.
    pub fn new(data: &'a mut [f32], rows: usize, cols: usize) -> Self {
        Self {
            data,
            rows,
            cols,
            row_stride: cols,
            col_stride: 1,
        }
    }
}

/// The number of places a strided matrix spans; `None` on overflow.
fn extent(rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> Option<usize> {
    if rows == 0 || cols == 0 {
        return Some(0);
    }
    let down = (rows - 1).checked_mul(row_stride)?;
    let across = (cols - 1).checked_mul(col_stride)?;
    down.checked_add(across)?.checked_add(1)
}

/// dst = scale · lhs · rhs, or dst += scale · lhs · rhs if `accumulate`.
///
/// # Panics
/// If the shapes do not match, a matrix leaves its slice, or elements of `dst` overlap: mistakes of
/// the caller, never of the data.
#[allow(unsafe_code)]
#[allow(
    clippy::needless_pass_by_value,
    reason = "the caller gives the destination away"
)]
pub fn matmul(dst: MatrixMut<'_>, lhs: Matrix<'_>, rhs: Matrix<'_>, scale: f32, accumulate: bool) {
    let (m, n, k) = (lhs.rows, rhs.cols, lhs.cols);
    assert!(
        rhs.rows == k && dst.rows == m && dst.cols == n,
        "matrix shapes do not match"
    );
    let inside = |rows, cols, row_stride, col_stride, len| {
        extent(rows, cols, row_stride, col_stride).is_some_and(|places| places <= len)
    };
    assert!(
        inside(m, k, lhs.row_stride, lhs.col_stride, lhs.data.len()),
        "lhs leaves its slice"
    );
    assert!(
        inside(k, n, rhs.row_stride, rhs.col_stride, rhs.data.len()),
        "rhs leaves its slice"
    );
    assert!(
        inside(m, n, dst.row_stride, dst.col_stride, dst.data.len()),
        "dst leaves its slice"
    );
    let apart = (dst.col_stride > 0 && dst.row_stride >= n * dst.col_stride)
        || (dst.row_stride > 0 && dst.col_stride >= m * dst.row_stride);
    assert!(apart, "elements of dst overlap");
    if m == 0 || n == 0 {
        return;
    }
    let threads = rayon::current_num_threads();
    let parallelism = if threads > 1 && m * n * k >= PARALLEL_WORK {
        Parallelism::Rayon(threads)
    } else {
        Parallelism::None
    };
    // SAFETY: the three assertions above prove that every element of every matrix lies in its
    // slice, the borrows prove that dst aliases neither operand, and `apart` that no two threads
    // write to one place. The strides fit isize because the extents fit the slices' lengths.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            dst.data.as_mut_ptr(),
            dst.col_stride as isize,
            dst.row_stride as isize,
            accumulate,
            lhs.data.as_ptr(),
            lhs.col_stride as isize,
            lhs.row_stride as isize,
            rhs.data.as_ptr(),
            rhs.col_stride as isize,
            rhs.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// Sum of `f` over a slice, in lanes of float32 over short blocks, in float64 between them.
#[inline(always)]
fn sum_by(values: &[f32], f: impl Fn(f32) -> f32) -> f64 {
    let mut total = 0f64;
    for block in values.chunks(4096) {
        let mut lanes = [0f32; LANES];
        let (chunks, rest) = block.as_chunks::<LANES>();
        for chunk in chunks {
            for (lane, value) in lanes.iter_mut().zip(chunk) {
                *lane += f(*value);
            }
        }
        total += lanes.iter().map(|lane| f64::from(*lane)).sum::<f64>();
        total += rest.iter().map(|value| f64::from(f(*value))).sum::<f64>();
    }
    total
}

/// Mean and 1/√(variance + eps) of a slice.
pub fn moments(values: &[f32], eps: f64) -> (f32, f32) {
    let count = values.len() as f64;
    let mean = (sum_by(values, |v| v) / count) as f32;
    let variance = sum_by(values, |v| (v - mean) * (v - mean)) / count;
    (mean, (1.0 / (variance + eps).sqrt()) as f32)
}

/// Layer norm of each row of `input` [rows × width] into `output`.
pub fn layer_norm(input: &[f32], weight: &[f32], bias: &[f32], eps: f64, output: &mut [f32]) {
    let width = weight.len();
    for (row, out) in input
        .chunks_exact(width)
        .zip(output.chunks_exact_mut(width))
    {
        let (mean, scale) = moments(row, eps);
        for (((o, v), w), b) in out.iter_mut().zip(row).zip(weight).zip(bias) {
            *o = (v - mean) * scale * w + b;
        }
    }
}

/// Softmax of one row in place.
pub fn softmax(row: &mut [f32]) {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = if *value > *lane { *value } else { *lane };
        }
    }
    let top = lanes
        .iter()
        .chain(rest)
        .fold(f32::NEG_INFINITY, |a, b| if *b > a { *b } else { a });
    for value in row.iter_mut() {
        *value = exp(*value - top);
    }
    let scale = (1.0 / sum_by(row, |v| v)) as f32;
    for value in row.iter_mut() {
        *value *= scale;
    }
}

/// e^x within 2 units in the last place; 0 below -87, finite above 88.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // 1.5 · 2^23: adding it leaves the nearest integer in the low bits of the mantissa.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, the first with zeros at its end so that its products are exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let clamped = x.clamp(-87.0, 88.0);
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (clamped - n * LN2_HIGH) - n * LN2_LOW;
    // Taylor's series of degree 7 on |r| ≤ ln 2 / 2: the remainder is below 6e-9.
    let mut p = 1.0 / 5040.0;
    for c in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        p = p * r + c;
    }
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    let value = p * power;
    if x < -87.0 { 0.0 } else { value }
}

/// The error function within 3e-7.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    // erf(x) = x P(x²) / Q(x²) on |x| ≤ 4, beyond which it is ±1 in float32; the coefficients are
    // those that Eigen's and XLA's float kernels use.
    let x = x.clamp(-4.0, 4.0);
    let s = x * x;
    let mut p = -2.726_142_3e-10;
    for c in [
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ] {
        p = p * s + c;
    }
    let mut q = -1.456_607_2e-5;
    for c in [
        -2.133_740_6e-4,
        -1.682_827e-3,
        -7.373_329e-3,
        -1.426_473_9e-2,
    ] {
        q = q * s + c;
    }
    x * p / q
}

/// x · σ(x).
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// x · σ(1.702 x).
#[inline(always)]
pub fn quick_gelu(x: f32) -> f32 {
    x / (1.0 + exp(-1.702 * x))
}

/// x · Φ(x), exact up to [`erf`]'s error.
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// How the scores of [`attention`] are laid out and masked.
#[derive(Debug, Clone, Copy)]
pub struct AttentionShape {
    /// Query tokens.
    pub queries: usize,
    /// Key and value tokens.
    pub keys: usize,
    /// Heads.
    pub heads: usize,
    /// Width of all heads together.
    pub width: usize,
    /// Whether a token sees only itself and those before it.
    pub causal: bool,
}

/// softmax(q kᵀ / √head width) v for one batch row; q and output [queries × width], k and v [keys ×
/// width].
pub fn attention(shape: &AttentionShape, q: &[f32], k: &[f32], v: &[f32], output: &mut [f32]) {
    // Query rows at a time: the scores of a whole image would not fit the cache, or memory.
    const ROWS: usize = 256;
    let AttentionShape {
        queries,
        keys,
        heads,
        width,
        causal,
    } = *shape;
    let head_width = width / heads;
    let scale = 1.0 / (head_width as f32).sqrt();
    let head = |data, rows| Matrix {
        data,
        rows,
        cols: head_width,
        row_stride: width,
        col_stride: 1,
    };
    let mut scores = vec![0f32; ROWS.min(queries) * keys];
    for h in 0..heads {
        let offset = h * head_width;
        for first in (0..queries).step_by(ROWS) {
            let rows = ROWS.min(queries - first);
            let start = first * width + offset;
            let scores = &mut scores[..rows * keys];
            matmul(
                MatrixMut::new(scores, rows, keys),
                head(&q[start..], rows),
                head(&k[offset..], keys).transposed(),
                scale,
                false,
            );
            for (i, row) in scores.chunks_exact_mut(keys).enumerate() {
                if causal {
                    let seen = (first + i + 1).min(keys);
                    softmax(&mut row[..seen]);
                    row[seen..].fill(0.0);
                } else {
                    softmax(row);
                }
            }
            let out = MatrixMut {
                data: &mut output[start..],
                rows,
                cols: head_width,
                row_stride: width,
                col_stride: 1,
            };
            matmul(
                out,
                Matrix::new(scores, rows, keys),
                head(&v[offset..], keys),
                1.0,
                false,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        for i in -8_700..=8_800 {
            let x = i as f32 * 0.01;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 2.5e-7, "exp({x}) is off by {error}");
        }
        assert_eq!(exp(-1000.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(1000.0).is_finite());
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn erf_matches_its_series() {
        // Taylor's series in float64: enough terms for |x| ≤ 3.
        let series = |x: f64| {
            let (mut term, mut sum) = (x, x);
            for n in 1..120 {
                term *= -x * x / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            sum * 2.0 / std::f64::consts::PI.sqrt()
        };
        for i in -300..=300 {
            let x = i as f32 * 0.01;
            let error = (f64::from(erf(x)) - series(f64::from(x))).abs();
            assert!(error < 3e-7, "erf({x}) is off by {error}");
        }
        assert!((erf(10.0) - 1.0).abs() < 3e-7);
        assert!((erf(-10.0) + 1.0).abs() < 3e-7);
        assert!(erf(f32::NAN).is_nan());
    }

    #[test]
    fn strided_products_match_plain_ones() {
        let lhs: Vec<f32> = (0..12).map(|v| v as f32).collect();
        let rhs: Vec<f32> = (0..20).map(|v| (v % 7) as f32).collect();
        let mut plain = vec![1f32; 15];
        matmul(
            MatrixMut::new(&mut plain, 3, 5),
            Matrix::new(&lhs, 3, 4),
            Matrix::new(&rhs, 4, 5),
            2.0,
            true,
        );
        for i in 0..3 {
            for j in 0..5 {
                let sum: f32 = (0..4).map(|l| lhs[i * 4 + l] * rhs[l * 5 + j]).sum();
                assert_eq!(plain[i * 5 + j], 1.0 + 2.0 * sum);
            }
        }
        let mut across = vec![0f32; 15];
        let columns = MatrixMut {
            data: &mut across,
            rows: 3,
            cols: 5,
            row_stride: 1,
            col_stride: 3,
        };
        matmul(
            columns,
            Matrix::new(&lhs, 3, 4),
            Matrix::new(&rhs, 4, 5),
            1.0,
            false,
        );
        assert_eq!(across[2 * 3 + 1], (plain[5 + 2] - 1.0) / 2.0);
    }

    #[test]
    #[should_panic(expected = "dst overlap")]
    fn overlapping_destinations_are_refused() {
        let mut data = vec![0f32; 4];
        let dst = MatrixMut {
            data: &mut data,
            rows: 2,
            cols: 2,
            row_stride: 1,
            col_stride: 1,
        };
        matmul(
            dst,
            Matrix::new(&[0.0; 4], 2, 2),
            Matrix::new(&[0.0; 4], 2, 2),
            1.0,
            false,
        );
    }
}
