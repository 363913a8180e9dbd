//! Multi-head attention without a mask.

use candle_core::{CpuStorage, CustomOp3, D, DType, Layout, Result, Shape, Tensor, bail};
use laioncele_nn::kernels::{self, AttentionShape, Matrix, MatrixMut, matmul, softmax};
use laioncele_nn::ops::{contiguous, on_cpu_in_f32};

use super::{numbers, sum_pairs, tensor, wanted};

/// Query rows at a time going back: the scores of a whole image would not fit the cache.
const ROWS: usize = 256;

/// softmax(q kᵀ / √head width) v: q [batch × queries × width], k and v [batch × keys × width] →
/// [batch × queries × width].
pub(crate) fn attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize) -> Result<Tensor> {
    if on_cpu_in_f32(q) {
        let (k, v) = (k.contiguous()?, v.contiguous()?);
        return q.contiguous()?.apply_op3(&k, &v, AttentionOp { heads });
    }
    plain(q, k, v, heads)
}

fn plain(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize) -> Result<Tensor> {
    let (batch, queries, width) = q.dims3()?;
    let split = |x: &Tensor| {
        x.reshape((batch, x.dim(1)?, heads, width / heads))?
            .transpose(1, 2)?
            .contiguous()
    };
    // Scaled before the product, which would leave float16's range.
    let q = (split(q)? * (1.0 / ((width / heads) as f64).sqrt()))?;
    let scores = q.matmul(&split(k)?.t()?)?.to_dtype(DType::F32)?;
    let weights = candle_nn::ops::softmax(&scores, D::Minus1)?.to_dtype(v.dtype())?;
    let y = weights.matmul(&split(v)?)?;
    y.transpose(1, 2)?.reshape((batch, queries, width))
}

struct AttentionOp {
    heads: usize,
}

impl AttentionOp {
    /// The batch, and the sizes of one row of it.
    fn shape(&self, q: &Shape, k: &Shape, v: &Shape) -> Result<(usize, AttentionShape)> {
        let ((batch, queries, width), (others, keys, k_width)) = (q.dims3()?, k.dims3()?);
        let fits = others == batch && k_width == width && k == v;
        if !fits || self.heads == 0 || width % self.heads != 0 || keys == 0 || queries == 0 {
            bail!(
                "attention of {q:?} to {k:?} and {v:?} with {} heads",
                self.heads
            );
        }
        let shape = AttentionShape {
            queries,
            keys,
            heads: self.heads,
            width,
            causal: false,
        };
        Ok((batch, shape))
    }
}

/// One batch row's q, k, v and the gradient of its output.
struct Row<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    grad: &'a [f32],
}

/// One batch row's gradients by q, k and v.
struct RowGradient<'a> {
    q: &'a mut [f32],
    k: &'a mut [f32],
    v: &'a mut [f32],
}

/// Room for a tile's probabilities and their gradients.
#[derive(Default)]
struct Room {
    weights: Vec<f32>,
    by_weights: Vec<f32>,
}

fn head_of<'a>(data: &'a [f32], rows: usize, shape: &AttentionShape) -> Matrix<'a> {
    Matrix {
        data,
        rows,
        cols: shape.width / shape.heads,
        row_stride: shape.width,
        col_stride: 1,
    }
}

fn head_of_mut<'a>(data: &'a mut [f32], rows: usize, shape: &AttentionShape) -> MatrixMut<'a> {
    MatrixMut {
        data,
        rows,
        cols: shape.width / shape.heads,
        row_stride: shape.width,
        col_stride: 1,
    }
}

/// Adds the gradients of one head over `rows` queries from `first`.
fn tile_gradient(
    shape: &AttentionShape,
    row: &Row<'_>,
    by: &mut RowGradient<'_>,
    (head, first, rows): (usize, usize, usize),
    room: &mut Room,
) {
    let (keys, offset) = (shape.keys, head * (shape.width / shape.heads));
    let scale = 1.0 / ((shape.width / shape.heads) as f32).sqrt();
    let start = first * shape.width + offset;
    let (q, grad) = (
        head_of(&row.q[start..], rows, shape),
        head_of(&row.grad[start..], rows, shape),
    );
    let (k, v) = (
        head_of(&row.k[offset..], keys, shape),
        head_of(&row.v[offset..], keys, shape),
    );
    room.weights.resize(rows * keys, 0.0);
    room.by_weights.resize(rows * keys, 0.0);
    let (weights, by_weights) = (&mut room.weights[..], &mut room.by_weights[..]);
    matmul(
        MatrixMut::new(weights, rows, keys),
        q,
        k.transposed(),
        scale,
        false,
    );
    weights.chunks_exact_mut(keys).for_each(softmax);
    let probabilities = Matrix::new(weights, rows, keys);
    let by_v = head_of_mut(&mut by.v[offset..], keys, shape);
    matmul(by_v, probabilities.transposed(), grad, 1.0, true);
    matmul(
        MatrixMut::new(by_weights, rows, keys),
        grad,
        v.transposed(),
        1.0,
        false,
    );
    for (by, p) in by_weights
        .chunks_exact_mut(keys)
        .zip(weights.chunks_exact(keys))
    {
        let mean = sum_pairs(by, p, |by, p| by * p) as f32;
        by.iter_mut()
            .zip(p)
            .for_each(|(by, p)| *by = p * (*by - mean));
    }
    let by_scores = Matrix::new(by_weights, rows, keys);
    let by_q = head_of_mut(&mut by.q[start..], rows, shape);
    matmul(by_q, by_scores, k, scale, false);
    let by_k = head_of_mut(&mut by.k[offset..], keys, shape);
    matmul(by_k, by_scores.transposed(), q, scale, true);
}

impl CustomOp3 for AttentionOp {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        ql: &Layout,
        k: &CpuStorage,
        kl: &Layout,
        v: &CpuStorage,
        vl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, shape) = self.shape(ql.shape(), kl.shape(), vl.shape())?;
        let (q, k, v) = (contiguous(q, ql)?, contiguous(k, kl)?, contiguous(v, vl)?);
        let (queries, keys) = (shape.queries * shape.width, shape.keys * shape.width);
        let mut output = vec![0f32; q.len()];
        let rows = q
            .chunks_exact(queries)
            .zip(output.chunks_exact_mut(queries));
        let texts = k.chunks_exact(keys).zip(v.chunks_exact(keys));
        for ((q, output), (k, v)) in rows.zip(texts) {
            kernels::attention(&shape, q, k, v, output);
        }
        Ok((CpuStorage::F32(output), ql.shape().clone()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (batch, shape) = self.shape(q.shape(), k.shape(), v.shape())?;
        let grad = grad.contiguous()?;
        let grad = numbers(&grad)?;
        let (qs, ks, vs) = (numbers(q)?, numbers(k)?, numbers(v)?);
        let mut by_q = vec![0f32; qs.len()];
        let (mut by_k, mut by_v) = (vec![0f32; ks.len()], vec![0f32; vs.len()]);
        let mut room = Room::default();
        let (queries, keys) = (shape.queries * shape.width, shape.keys * shape.width);
        for i in 0..batch {
            let (own, others) = (i * queries..(i + 1) * queries, i * keys..(i + 1) * keys);
            let row = Row {
                q: &qs[own.clone()],
                k: &ks[others.clone()],
                v: &vs[others.clone()],
                grad: &grad[own.clone()],
            };
            let mut by = RowGradient {
                q: &mut by_q[own],
                k: &mut by_k[others.clone()],
                v: &mut by_v[others],
            };
            for head in 0..shape.heads {
                for first in (0..shape.queries).step_by(ROWS) {
                    let rows = ROWS.min(shape.queries - first);
                    tile_gradient(&shape, &row, &mut by, (head, first, rows), &mut room);
                }
            }
        }
        Ok((
            wanted(q, || tensor(by_q, q.shape()))?,
            wanted(k, || tensor(by_k, k.shape()))?,
            wanted(v, || tensor(by_v, v.shape()))?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::tests::{assert_same, some};

    #[test]
    fn gradients_of_attention_equal_candles() {
        // More queries than a tile has.
        for (queries, keys) in [(5, 7), (300, 3)] {
            let inputs = [
                some(&[2, queries, 6], 0.7),
                some(&[2, keys, 6], 1.1),
                some(&[2, keys, 6], 0.4),
            ];
            assert_same(
                &inputs,
                |t| attention(&t[0], &t[1], &t[2], 3),
                |t| plain(&t[0], &t[1], &t[2], 3),
            );
        }
    }
}
