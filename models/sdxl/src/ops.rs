//! Tensor operations of the U-Net and the VAE: fused kernels on the processor in float32, candle
//! elsewhere.

use std::cell::RefCell;

use candle_core::{CpuStorage, CustomOp1, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};
use laioncele_nn::ops::{contiguous, on_cpu_in_bf16, on_cpu_in_f32};

use crate::kernels::{self, ConvShape};

thread_local! {
    /// The unfolded input of a convolution, kept between calls.
    static COLUMNS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Stride and zero padding of a convolution, and how it may be computed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geometry {
    pub stride: usize,
    pub before: usize,
    pub after: usize,
    /// [`laioncele_nn::LoadOptions::tf32`], which only cuDNN follows.
    #[cfg_attr(not(feature = "cudnn"), expect(dead_code))]
    pub tf32: bool,
}

/// x [batch, in, h, w] with weight [out, in, k, k] → [batch, out, h', w']; bias is `[out]`, or
/// [batch, out] for one that differs by row.
pub(crate) fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    geometry: Geometry,
) -> Result<Tensor> {
    if on_cpu_in_f32(x) {
        return x
            .contiguous()?
            .apply_op3_no_bwd(weight, bias, &ConvOp(geometry));
    }
    if on_cpu_in_bf16(x) {
        let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.to_dtype(DType::F32));
        return conv2d(&x?, &weight?, &bias?, geometry)?.to_dtype(DType::BF16);
    }
    let Geometry { before, after, .. } = geometry;
    let y = if before == after {
        plain_conv2d(x, weight, geometry)?
    } else {
        let padded = x
            .pad_with_zeros(2, before, after)?
            .pad_with_zeros(3, before, after)?;
        let (before, after) = (0, 0);
        plain_conv2d(
            &padded,
            weight,
            Geometry {
                before,
                after,
                ..geometry
            },
        )?
    };
    let out = weight.dim(0)?;
    let rows = if bias.rank() == 2 { bias.dim(0)? } else { 1 };
    y.broadcast_add(&bias.reshape((rows, out, 1, 1))?)
}

/// Without bias, and with `before` of padding on all sides.
fn plain_conv2d(x: &Tensor, weight: &Tensor, geometry: Geometry) -> Result<Tensor> {
    let Geometry { stride, before, .. } = geometry;
    #[cfg(feature = "cudnn")]
    if x.device().is_cuda() {
        let convolution = crate::cudnn::Convolution {
            stride,
            padding: before,
            tf32: geometry.tf32,
        };
        return x.contiguous()?.apply_op2_no_bwd(weight, &convolution);
    }
    x.conv2d(weight, before, stride, 1, 1)
}

struct ConvOp(Geometry);

impl CustomOp3 for ConvOp {
    fn name(&self) -> &'static str {
        "conv2d"
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
        let (batch, channels, height, width) = xl.shape().dims4()?;
        let (out, depth, kernel, other) = wl.shape().dims4()?;
        let Geometry {
            stride,
            before,
            after,
            ..
        } = self.0;
        let shape = ConvShape {
            channels,
            height,
            width,
            kernel,
            stride,
            before,
            after,
        };
        let (out_height, out_width) = (shape.out_height(), shape.out_width());
        let bias = contiguous(b, bl)?;
        let matching = depth == channels
            && other == kernel
            && (bias.len() == out || bias.len() == batch * out);
        if !matching || out_height == 0 || out_width == 0 {
            bail!(
                "a convolution of {:?} with {:?} and {:?}",
                xl.shape(),
                wl.shape(),
                bl.shape()
            );
        }
        let (input, weight) = (contiguous(x, xl)?, contiguous(w, wl)?);
        let plane = out_height * out_width;
        let mut output = vec![0f32; batch * out * plane];
        for (i, channel) in output.chunks_exact_mut(plane).enumerate() {
            channel.fill(bias[i % bias.len()]);
        }
        COLUMNS.with_borrow_mut(|columns| {
            let images = input.chunks_exact(channels * height * width);
            for (image, out) in images.zip(output.chunks_exact_mut(out * plane)) {
                kernels::conv2d(&shape, image, weight, out, columns);
            }
        });
        Ok((
            CpuStorage::F32(output),
            (batch, out, out_height, out_width).into(),
        ))
    }
}

/// Group norm of x [batch, channels, …] in float32, followed by silu if `activate`.
pub(crate) fn group_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    groups: usize,
    eps: f64,
    activate: bool,
) -> Result<Tensor> {
    if on_cpu_in_f32(x) {
        return x.contiguous()?.apply_op3_no_bwd(
            weight,
            bias,
            &GroupNormOp {
                groups,
                eps,
                activate,
            },
        );
    }
    let dims = x.dims().to_vec();
    let (batch, channels) = (dims[0], dims[1]);
    let dtype = x.dtype();
    let grouped = x.to_dtype(DType::F32)?.reshape((batch, groups, ()))?;
    let centred = grouped.broadcast_sub(&grouped.mean_keepdim(2)?)?;
    let variance = centred.sqr()?.mean_keepdim(2)?;
    let normed = centred
        .broadcast_div(&(variance + eps)?.sqrt()?)?
        .reshape((batch, channels, ()))?;
    let normed = normed.broadcast_mul(&weight.to_dtype(DType::F32)?.reshape((1, channels, 1))?)?;
    let normed = normed.broadcast_add(&bias.to_dtype(DType::F32)?.reshape((1, channels, 1))?)?;
    let y = if activate { normed.silu()? } else { normed };
    y.to_dtype(dtype)?.reshape(dims)
}

struct GroupNormOp {
    groups: usize,
    eps: f64,
    activate: bool,
}

impl CustomOp3 for GroupNormOp {
    fn name(&self) -> &'static str {
        "group-norm"
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
        let (weight, bias) = (contiguous(w, wl)?, contiguous(b, bl)?);
        let image = xl.dims().iter().skip(1).product::<usize>();
        if xl.dims().get(1) != Some(&weight.len()) || weight.len() % self.groups != 0 || image == 0
        {
            bail!(
                "a group norm of {:?} in {} groups with {:?}",
                xl.shape(),
                self.groups,
                wl.shape()
            );
        }
        let mut output = vec![0f32; input.len()];
        for (row, out) in input
            .chunks_exact(image)
            .zip(output.chunks_exact_mut(image))
        {
            kernels::group_norm(row, weight, bias, self.groups, self.eps, self.activate, out);
        }
        Ok((CpuStorage::F32(output), xl.shape().clone()))
    }
}

/// [value, gate] halves of the last dimension → value · gelu(gate), with the exact gelu.
pub(crate) fn geglu(x: &Tensor) -> Result<Tensor> {
    if on_cpu_in_f32(x) {
        return x.contiguous()?.apply_op1_no_bwd(&GegluOp);
    }
    let halves = x.chunk(2, candle_core::D::Minus1)?;
    &halves[0] * halves[1].gelu_erf()?
}

struct GegluOp;

impl CustomOp1 for GegluOp {
    fn name(&self) -> &'static str {
        "geglu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let input = contiguous(x, layout)?;
        let mut dims = layout.dims().to_vec();
        let Some(last) = dims.last_mut() else {
            bail!("geglu of a scalar")
        };
        *last /= 2;
        let width = *last;
        let mut output = vec![0f32; input.len() / 2];
        kernels::geglu(input, width, &mut output);
        Ok((CpuStorage::F32(output), dims.into()))
    }
}

/// Nearest-neighbour resize of x [batch, channels, h, w] to `height` × `width`.
pub(crate) fn upsample_nearest(x: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    if on_cpu_in_f32(x) {
        return x
            .contiguous()?
            .apply_op1_no_bwd(&UpsampleOp { height, width });
    }
    x.upsample_nearest2d(height, width)
}

struct UpsampleOp {
    height: usize,
    width: usize,
}

impl CustomOp1 for UpsampleOp {
    fn name(&self) -> &'static str {
        "upsample-nearest"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, channels, height, width) = layout.shape().dims4()?;
        let input = contiguous(x, layout)?;
        let mut output = vec![0f32; batch * channels * self.height * self.width];
        let planes = input.chunks_exact((height * width).max(1));
        for (plane, out) in planes.zip(output.chunks_exact_mut((self.height * self.width).max(1))) {
            kernels::upsample_nearest(plane, (height, width), (self.height, self.width), out);
        }
        Ok((
            CpuStorage::F32(output),
            (batch, channels, self.height, self.width).into(),
        ))
    }
}
