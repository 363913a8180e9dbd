//! Linear maps, plain and with a LoRA beside them.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};
use laioncele_nn::kernels::{Matrix, MatrixMut, matmul};
use laioncele_nn::ops::{contiguous, on_cpu_in_f32};

use super::gathered::gradient;
use super::{Numbers, numbers, tensor, wanted};

/// y = x Wᵀ + b over the last dimension: x [… × in], weight [out × in], bias `[out]` → [… × out].
pub(crate) fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    if on_cpu_in_f32(x) {
        let x = x.contiguous()?;
        return match bias {
            Some(bias) => x.apply_op3(weight, bias, LinearOp),
            None => x.apply_op2(weight, LinearOp),
        };
    }
    let y = product(x, weight)?;
    match bias {
        Some(bias) => y.broadcast_add(&bias.to_dtype(y.dtype())?),
        None => Ok(y),
    }
}

/// x Wᵀ by candle alone, in the type of x.
fn product(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let mut dims = x.dims().to_vec();
    let Some(width) = dims.pop() else {
        bail!("a linear map of a scalar")
    };
    let rows = x.contiguous()?.reshape(((), width))?;
    let y = rows.matmul(&weight.to_dtype(x.dtype())?.t()?)?;
    dims.push(y.dim(1)?);
    y.reshape(dims)
}

/// The frozen part of a linear map with a LoRA.
#[derive(Debug, Clone)]
pub(crate) struct Frozen {
    /// [out × in].
    pub weight: Tensor,
    /// `[out]`.
    pub bias: Option<Tensor>,
    /// alpha / rank.
    pub scale: f32,
}

/// y = x Wᵀ + b + scale · (x Aᵀ) Bᵀ; A [rank × in] and B [out × rank] in float32 whatever the type
/// of x.
pub(crate) fn with_lora(x: &Tensor, frozen: &Frozen, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if on_cpu_in_f32(x) {
        return x.contiguous()?.apply_op3(a, b, LoraOp(frozen.clone()));
    }
    let y = linear(x, &frozen.weight, frozen.bias.as_ref())?;
    let added = product(&product(&x.to_dtype(DType::F32)?, a)?, b)?;
    let added = (added * f64::from(frozen.scale))?;
    y + added.to_dtype(x.dtype())?
}

/// [rows × in] of a tensor's last dimension.
fn as_matrix(values: &[f32], width: usize) -> Matrix<'_> {
    Matrix::new(values, values.len() / width.max(1), width)
}

/// The shape of x with another last dimension, and x's own.
fn shapes(layout: &Layout, weight: &Layout) -> Result<(Shape, usize, usize)> {
    let (out, width) = weight.shape().dims2()?;
    let mut dims = layout.dims().to_vec();
    if dims.pop() != Some(width) || width == 0 {
        bail!(
            "a linear map of {:?} by {:?}",
            layout.shape(),
            weight.shape()
        );
    }
    dims.push(out);
    Ok((dims.into(), out, width))
}

/// x Wᵀ + b into new numbers.
fn forward(x: &[f32], weight: &[f32], bias: Option<&[f32]>, out: usize, width: usize) -> Vec<f32> {
    let x = as_matrix(x, width);
    let mut y = vec![0f32; x.rows * out];
    if let Some(bias) = bias {
        y.chunks_exact_mut(out.max(1))
            .for_each(|row| row.copy_from_slice(bias));
    }
    let rows = x.rows;
    let weight = Matrix::new(weight, out, width).transposed();
    matmul(
        MatrixMut::new(&mut y, rows, out),
        x,
        weight,
        1.0,
        bias.is_some(),
    );
    y
}

/// lhs · rhs as new numbers.
fn times(lhs: Matrix<'_>, rhs: Matrix<'_>, scale: f32) -> Vec<f32> {
    let mut y = vec![0f32; lhs.rows * rhs.cols];
    matmul(
        MatrixMut::new(&mut y, lhs.rows, rhs.cols),
        lhs,
        rhs,
        scale,
        false,
    );
    y
}

/// Adds the sums of the columns of `values` to `sums`.
fn add_column_sums(values: &[f32], sums: &mut [f32]) {
    for row in values.chunks_exact(sums.len().max(1)) {
        sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += v);
    }
}

struct LinearOp;

impl LinearOp {
    fn by_x(x: &Tensor, weight: &Tensor, grad: &[f32]) -> Result<Option<Tensor>> {
        let (out, width) = weight.dims2()?;
        wanted(x, || {
            let weight = numbers(weight)?;
            let by = times(as_matrix(grad, out), Matrix::new(&weight, out, width), 1.0);
            tensor(by, x.shape())
        })
    }

    fn by_weight(x: &Tensor, weight: &Tensor, grad: &[f32]) -> Result<Option<Tensor>> {
        let (out, width) = weight.dims2()?;
        gradient(weight, |by| {
            let x = numbers(x)?;
            let (grad, x) = (as_matrix(grad, out).transposed(), as_matrix(&x, width));
            matmul(MatrixMut::new(by, out, width), grad, x, 1.0, true);
            Ok(())
        })
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
        let (shape, out, width) = shapes(xl, wl)?;
        let y = forward(contiguous(x, xl)?, contiguous(w, wl)?, None, out, width);
        Ok((CpuStorage::F32(y), shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let grad = numbers(&grad)?;
        Ok((
            Self::by_x(x, weight, &grad)?,
            Self::by_weight(x, weight, &grad)?,
        ))
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
        let (shape, out, width) = shapes(xl, wl)?;
        let bias = contiguous(b, bl)?;
        if bias.len() != out {
            bail!("a bias of {} for {out} outputs", bias.len());
        }
        let y = forward(
            contiguous(x, xl)?,
            contiguous(w, wl)?,
            Some(bias),
            out,
            width,
        );
        Ok((CpuStorage::F32(y), shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let grad = numbers(&grad)?;
        Ok((
            Self::by_x(x, weight, &grad)?,
            Self::by_weight(x, weight, &grad)?,
            gradient(bias, |by| {
                add_column_sums(&grad, by);
                Ok(())
            })?,
        ))
    }
}

struct LoraOp(Frozen);

impl CustomOp3 for LoraOp {
    fn name(&self) -> &'static str {
        "linear-with-lora"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        a: &CpuStorage,
        al: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (shape, out, width) = shapes(xl, self.0.weight.layout())?;
        let ((rank, a_width), (b_out, b_rank)) = (al.shape().dims2()?, bl.shape().dims2()?);
        if a_width != width || b_out != out || b_rank != rank {
            bail!(
                "a LoRA of {:?} and {:?} for [{out}, {width}]",
                al.shape(),
                bl.shape()
            );
        }
        let x = contiguous(x, xl)?;
        let weight = numbers(&self.0.weight)?;
        let bias = self.0.bias.as_ref().map(numbers).transpose()?;
        let bias: Option<&[f32]> = bias.as_deref();
        let mut y = forward(x, &weight, bias, out, width);
        let down = Matrix::new(contiguous(a, al)?, rank, width).transposed();
        let h = times(as_matrix(x, width), down, 1.0);
        let rows = h.len() / rank.max(1);
        matmul(
            MatrixMut::new(&mut y, rows, out),
            Matrix::new(&h, rows, rank),
            Matrix::new(contiguous(b, bl)?, out, rank).transposed(),
            self.0.scale,
            true,
        );
        Ok((CpuStorage::F32(y), shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        a: &Tensor,
        b: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let ((rank, width), out) = (a.dims2()?, b.dim(0)?);
        let grad = grad.contiguous()?;
        let grad = numbers(&grad)?;
        let (values, a_values, b_values) = (numbers(x)?, numbers(a)?, numbers(b)?);
        let grad = as_matrix(&grad, out);
        let rows = as_matrix(&values, width);
        let up = Matrix::new(&b_values, out, rank);
        let down = Matrix::new(&a_values, rank, width);
        // ∂loss/∂(x Aᵀ) [rows × rank].
        let inner = times(grad, up, self.0.scale);
        let inner = Matrix::new(&inner, rows.rows, rank);
        let by_x = wanted(x, || {
            let weight: Numbers<'_> = numbers(&self.0.weight)?;
            let mut by = times(grad, Matrix::new(&weight, out, width), 1.0);
            matmul(
                MatrixMut::new(&mut by, rows.rows, width),
                inner,
                down,
                1.0,
                true,
            );
            tensor(by, x.shape())
        })?;
        let by_a = gradient(a, |by| {
            let to = MatrixMut::new(by, rank, width);
            matmul(to, inner.transposed(), rows, 1.0, true);
            Ok(())
        })?;
        let by_b = gradient(b, |by| {
            let h = times(rows, down.transposed(), 1.0);
            let h = Matrix::new(&h, rows.rows, rank);
            let to = MatrixMut::new(by, out, rank);
            matmul(to, grad.transposed(), h, self.0.scale, true);
            Ok(())
        })?;
        Ok((by_x, by_a, by_b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::tests::{assert_same, some};

    #[test]
    fn gradients_of_linear_maps_equal_candles() {
        let inputs = [some(&[2, 3, 5], 0.7), some(&[4, 5], 1.1), some(&[4], 0.3)];
        assert_same(
            &inputs,
            |t| linear(&t[0], &t[1], Some(&t[2])),
            |t| product(&t[0], &t[1])?.broadcast_add(&t[2]),
        );
        assert_same(
            &inputs[..2],
            |t| linear(&t[0], &t[1], None),
            |t| product(&t[0], &t[1]),
        );
    }

    #[test]
    fn gradients_of_a_lora_equal_candles() {
        let frozen = Frozen {
            weight: some(&[4, 5], 1.9),
            bias: Some(some(&[4], 0.2)),
            scale: 0.5,
        };
        let inputs = [
            some(&[2, 3, 5], 0.7),
            some(&[2, 5], 1.1),
            some(&[4, 2], 0.3),
        ];
        assert_same(
            &inputs,
            |t| with_lora(&t[0], &frozen, &t[1], &t[2]),
            |t| {
                let y = product(&t[0], &frozen.weight)?;
                let y = y.broadcast_add(frozen.bias.as_ref().expect("a bias"))?;
                y + (product(&product(&t[0], &t[1])?, &t[2])? * 0.5)?
            },
        );
    }

    #[test]
    fn frozen_arguments_get_no_gradient() {
        let x = candle_core::Var::from_tensor(&some(&[3, 5], 0.7)).expect("a variable");
        let weight = some(&[4, 5], 1.1);
        let y = linear(&x, &weight, None).expect("an output");
        let store = y.sum_all().and_then(|y| y.backward()).expect("gradients");
        assert!(store.get(&x).is_some() && store.get(&weight).is_none());
    }
}
