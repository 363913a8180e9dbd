//! Tensor operations with two bodies: fused float32 kernels on the processor, plain candle
//! elsewhere.

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, DType, Device, Layout, Result, Shape, Tensor, bail,
};

use crate::kernels::{self, AttentionShape, Matrix, MatrixMut};

/// Whether the float32 kernels apply to `x`.
pub fn on_cpu_in_f32(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}

/// Whether `x` is to be converted to float32 for products, whose results are rounded back: the
/// processor has none of bfloat16. Sums are then as exact as a GPU's, which adds in float32 too.
pub fn on_cpu_in_bf16(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::BF16
}

/// A tensor of bfloat16 in float32.
fn widened(x: &Tensor) -> Result<Tensor> {
    x.to_dtype(DType::F32)
}

/// The numbers of a contiguous float32 tensor.
///
/// # Errors
/// A layout with gaps, or numbers of another type.
pub fn contiguous<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("the kernel needs a contiguous tensor"),
    }
}

/// x Wᵀ + b over the last dimension: x [batch, tokens, in], weight [out, in], bias `[out]` → [batch,
/// tokens, out], or [batch, out, tokens] if `channels_first`. On the processor x may have any
/// strides.
///
/// # Errors
/// Shapes that do not match, or a tensor operation that failed.
pub fn linear(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    channels_first: bool,
) -> Result<Tensor> {
    if on_cpu_in_f32(x) {
        let op = LinearOp { channels_first };
        return match bias {
            Some(bias) => x.apply_op3_no_bwd(weight, bias, &op),
            None => x.apply_op2_no_bwd(weight, &op),
        };
    }
    if on_cpu_in_bf16(x) {
        let bias = bias.map(widened).transpose()?;
        let y = linear(
            &widened(x)?,
            &widened(weight)?,
            bias.as_ref(),
            channels_first,
        )?;
        return y.to_dtype(DType::BF16);
    }
    let y = x.contiguous()?.broadcast_matmul(&weight.t()?)?;
    let y = match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    };
    if channels_first {
        y.transpose(1, 2)?.contiguous()
    } else {
        Ok(y)
    }
}

struct LinearOp {
    channels_first: bool,
}

impl LinearOp {
    fn run(
        &self,
        x: (&CpuStorage, &Layout),
        weight: &[f32],
        out: usize,
        bias: Option<&[f32]>,
    ) -> Result<(CpuStorage, Shape)> {
        let (batch, tokens, width) = x.1.shape().dims3()?;
        let strides = x.1.stride();
        let data = &x.0.as_slice::<f32>()?[x.1.start_offset()..];
        let mut output = vec![0f32; batch * tokens * out];
        if let Some(bias) = bias {
            self.spread_bias(bias, tokens, &mut output);
        }
        let merged = !self.channels_first && (batch == 1 || strides[0] == tokens * strides[1]);
        let (batch, tokens) = if merged {
            (1, batch * tokens)
        } else {
            (batch, tokens)
        };
        for (b, y) in output
            .chunks_exact_mut((tokens * out).max(1))
            .enumerate()
            .take(batch)
        {
            let rows = Matrix {
                data: &data[b * strides[0]..],
                rows: tokens,
                cols: width,
                row_stride: strides[1],
                col_stride: strides[2],
            };
            let dst = if self.channels_first {
                MatrixMut {
                    data: y,
                    rows: tokens,
                    cols: out,
                    row_stride: 1,
                    col_stride: tokens,
                }
            } else {
                MatrixMut::new(y, tokens, out)
            };
            kernels::matmul(
                dst,
                rows,
                Matrix::new(weight, out, width).transposed(),
                1.0,
                bias.is_some(),
            );
        }
        let (batch, tokens, _) = x.1.shape().dims3()?;
        let shape = if self.channels_first {
            (batch, out, tokens)
        } else {
            (batch, tokens, out)
        };
        Ok((CpuStorage::F32(output), shape.into()))
    }

    fn spread_bias(&self, bias: &[f32], tokens: usize, output: &mut [f32]) {
        if self.channels_first {
            for image in output.chunks_exact_mut(bias.len() * tokens) {
                for (row, value) in image.chunks_exact_mut(tokens).zip(bias) {
                    row.fill(*value);
                }
            }
        } else {
            output
                .chunks_exact_mut(bias.len())
                .for_each(|row| row.copy_from_slice(bias));
        }
    }
}

impl CustomOp2 for LinearOp {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.run((x, xl), contiguous(w, wl)?, wl.shape().dims2()?.0, None)
    }
}

impl CustomOp3 for LinearOp {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.run(
            (x, xl),
            contiguous(w, wl)?,
            wl.shape().dims2()?.0,
            Some(contiguous(b, bl)?),
        )
    }
}

/// Layer norm over the last dimension, in float32 whatever the type of x.
///
/// # Errors
/// Shapes that do not match, or a tensor operation that failed.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    if on_cpu_in_f32(x) {
        return x
            .contiguous()?
            .apply_op3_no_bwd(weight, bias, &LayerNormOp { eps });
    }
    if x.device().is_cuda() {
        // One kernel, which sums in float32 too.
        return candle_nn::ops::layer_norm(&x.contiguous()?, weight, bias, eps as f32);
    }
    let dtype = x.dtype();
    let x = x.to_dtype(DType::F32)?;
    let width = x.dim(candle_core::D::Minus1)? as f64;
    let centred = x.broadcast_sub(&(x.sum_keepdim(candle_core::D::Minus1)? / width)?)?;
    let variance = (centred.sqr()?.sum_keepdim(candle_core::D::Minus1)? / width)?;
    let normed = centred.broadcast_div(&(variance + eps)?.sqrt()?)?;
    let normed = normed.broadcast_mul(&weight.to_dtype(DType::F32)?)?;
    normed
        .broadcast_add(&bias.to_dtype(DType::F32)?)?
        .to_dtype(dtype)
}

struct LayerNormOp {
    eps: f64,
}

impl CustomOp3 for LayerNormOp {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let input = contiguous(x, xl)?;
        let mut output = vec![0f32; input.len()];
        kernels::layer_norm(
            input,
            contiguous(w, wl)?,
            contiguous(b, bl)?,
            self.eps,
            &mut output,
        );
        Ok((CpuStorage::F32(output), xl.shape().clone()))
    }
}

/// Scores that are in memory at once where attention is not fused: 256 MB of them in float32. Those
/// of a whole image of 1024 pixels would be gigabytes.
const SCORES: usize = 1 << 26;

/// Multi-head attention: q [batch, queries, width], k and v [batch, keys, width] → [batch, queries,
/// width]. `causal` lets a token see only itself and those before it.
///
/// # Errors
/// Shapes that do not match, or a tensor operation that failed.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, causal: bool) -> Result<Tensor> {
    if on_cpu_in_f32(q) {
        return q.contiguous()?.apply_op3_no_bwd(
            &k.contiguous()?,
            &v.contiguous()?,
            &AttentionOp { heads, causal },
        );
    }
    if on_cpu_in_bf16(q) {
        let attended = attention(&widened(q)?, &widened(k)?, &widened(v)?, heads, causal)?;
        return attended.to_dtype(DType::BF16);
    }
    #[cfg(feature = "cuda")]
    if !causal && let Some(attended) = crate::fused::attention(q, k, v, heads)? {
        return Ok(attended);
    }
    let (batch, queries, width) = q.dims3()?;
    let keys = k.dim(1)?;
    let split = |x: &Tensor, tokens: usize| {
        x.reshape((batch, tokens, heads, width / heads))?
            .transpose(1, 2)?
            .contiguous()
    };
    // Scaled before the product, which would leave float16's range.
    let scale = 1.0 / ((width / heads) as f64).sqrt();
    let q = (split(q, queries)? * scale)?;
    let (k, v) = (split(k, keys)?.t()?, split(v, keys)?);
    let rows = (SCORES / (batch * heads * keys).max(1)).clamp(1, queries.max(1));
    let attend = |first: usize| {
        let rows = rows.min(queries - first);
        let q = q.narrow(2, first, rows)?.contiguous()?;
        let mut scores = q.matmul(&k)?.to_dtype(DType::F32)?;
        if causal {
            scores = scores.broadcast_add(&causal_mask(first, rows, keys, q.device())?)?;
        }
        let weights = candle_nn::ops::softmax_last_dim(&scores)?.to_dtype(v.dtype())?;
        weights.matmul(&v)
    };
    let parts: Vec<Tensor> = (0..queries)
        .step_by(rows)
        .map(attend)
        .collect::<Result<_>>()?;
    Tensor::cat(&parts, 2)?
        .transpose(1, 2)?
        .reshape((batch, queries, width))
}

/// −∞ for the keys after each of `rows` queries from `first`, 0 for the others.
fn causal_mask(first: usize, rows: usize, keys: usize, device: &Device) -> Result<Tensor> {
    let row = |i: usize| (0..keys).map(move |j| if j > i { f32::NEG_INFINITY } else { 0.0 });
    let mask: Vec<f32> = (first..first + rows).flat_map(row).collect();
    Tensor::from_vec(mask, (rows, keys), device)
}

struct AttentionOp {
    heads: usize,
    causal: bool,
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
        let (batch, queries, width) = ql.shape().dims3()?;
        let (_, keys, _) = kl.shape().dims3()?;
        if kl.shape() != vl.shape()
            || kl.shape().dims3()? != (batch, keys, width)
            || width % self.heads != 0
        {
            bail!(
                "attention over shapes that do not match: {:?} {:?} {:?}",
                ql.shape(),
                kl.shape(),
                vl.shape()
            );
        }
        let (q, k, v) = (contiguous(q, ql)?, contiguous(k, kl)?, contiguous(v, vl)?);
        let shape = AttentionShape {
            queries,
            keys,
            heads: self.heads,
            width,
            causal: self.causal,
        };
        let mut output = vec![0f32; q.len()];
        for (b, out) in output.chunks_exact_mut(queries * width).enumerate() {
            kernels::attention(
                &shape,
                &q[b * queries * width..][..queries * width],
                &k[b * keys * width..][..keys * width],
                &v[b * keys * width..][..keys * width],
                out,
            );
        }
        Ok((CpuStorage::F32(output), ql.shape().clone()))
    }
}

/// A function applied to every element, on the processor by a vectorized kernel.
pub struct ElementwiseOp {
    /// Its name in candle's errors.
    pub name: &'static str,
    /// Applies it to a slice.
    pub apply: fn(&[f32], &mut [f32]),
}

impl CustomOp1 for ElementwiseOp {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let input = contiguous(x, layout)?;
        let mut output = vec![0f32; input.len()];
        (self.apply)(input, &mut output);
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }
}

/// A tensor's numbers as float32, refused if any is not finite.
///
/// # Errors
/// [`crate::Error::NotFiniteResult`] about `what`.
pub fn finite_numbers(tensor: &Tensor, what: &str) -> crate::error::Result<Vec<f32>> {
    let numbers: Vec<f32> = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
    if numbers.iter().all(|number| number.is_finite()) {
        Ok(numbers)
    } else {
        Err(crate::Error::NotFiniteResult { what: what.into() })
    }
}
