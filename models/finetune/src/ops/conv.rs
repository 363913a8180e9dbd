//! Square convolutions with bias.

use std::cell::Cell;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use laioncele_nn::kernels::{Matrix, MatrixMut, matmul};
use laioncele_nn::ops::{contiguous, on_cpu_in_f32};
use laioncele_sdxl::kernels::{self, ConvShape};

use super::gathered::gradient;
use super::{numbers, tensor, wanted};

thread_local! {
    /// Unfolded input, kept between calls. Taken, not borrowed: a thread that waits for a product's
    /// other half may begin another convolution.
    static COLUMNS: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Stride of a convolution, and zeros around its input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geometry {
    pub stride: usize,
    pub padding: usize,
}

/// x [batch × in × h × w] with weight [out × in × k × k] → [batch × out × h' × w']; bias is `[out]`,
/// or [batch × out] for one that differs by row.
pub(crate) fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    geometry: Geometry,
) -> Result<Tensor> {
    if on_cpu_in_f32(x) {
        return x.contiguous()?.apply_op3(weight, bias, ConvOp(geometry));
    }
    plain(x, weight, bias, geometry)
}

fn plain(x: &Tensor, weight: &Tensor, bias: &Tensor, geometry: Geometry) -> Result<Tensor> {
    let weight = weight.to_dtype(x.dtype())?;
    let y = x.conv2d(&weight, geometry.padding, geometry.stride, 1, 1)?;
    let rows = if bias.rank() == 2 { bias.dim(0)? } else { 1 };
    let bias = bias
        .to_dtype(x.dtype())?
        .reshape((rows, weight.dim(0)?, 1, 1))?;
    y.broadcast_add(&bias)
}

/// The sizes of one image's convolution.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    shape: ConvShape,
    /// Channels that come out.
    out: usize,
}

impl Sizes {
    fn new(x: &Shape, weight: &Shape, geometry: Geometry) -> Result<(usize, Self)> {
        let (batch, channels, height, width) = x.dims4()?;
        let (out, depth, kernel, other) = weight.dims4()?;
        let Geometry { stride, padding } = geometry;
        let shape = ConvShape {
            channels,
            height,
            width,
            kernel,
            stride,
            before: padding,
            after: padding,
        };
        if depth != channels || kernel != other || shape.plane() == 0 || shape.image() == 0 {
            bail!("a convolution of {x:?} with {weight:?}");
        }
        Ok((batch, Self { shape, out }))
    }

    /// Columns of `rows` rows of the output's plane from `first`.
    fn part<'a>(&self, output: &'a [f32], first: usize, rows: usize) -> Matrix<'a> {
        let width = self.shape.out_width();
        Matrix {
            data: &output[first * width..],
            rows: self.out,
            cols: rows * width,
            row_stride: self.shape.plane(),
            col_stride: 1,
        }
    }

    /// Adds ∂loss/∂image.
    fn by_image(&self, grad: &[f32], weight: &[f32], image: &mut [f32], columns: &mut Vec<f32>) {
        let (shape, depth) = (&self.shape, self.shape.depth());
        let weight = Matrix::new(weight, self.out, depth).transposed();
        if shape.is_pointwise() {
            let to = MatrixMut::new(image, depth, shape.plane());
            let grad = Matrix::new(grad, self.out, shape.plane());
            matmul(to, weight, grad, 1.0, true);
            return;
        }
        for (first, rows) in shape.tiles() {
            let cols = rows * shape.out_width();
            columns.resize(depth * cols, 0.0);
            let to = MatrixMut::new(columns, depth, cols);
            matmul(to, weight, self.part(grad, first, rows), 1.0, false);
            fold(shape, columns, first, rows, image);
        }
    }

    /// Adds ∂loss/∂weight of one image.
    fn by_weight(&self, grad: &[f32], image: &[f32], weight: &mut [f32], columns: &mut Vec<f32>) {
        let (shape, out, depth) = (&self.shape, self.out, self.shape.depth());
        if shape.is_pointwise() {
            let image = Matrix::new(image, depth, shape.plane()).transposed();
            let grad = Matrix::new(grad, out, shape.plane());
            matmul(MatrixMut::new(weight, out, depth), grad, image, 1.0, true);
            return;
        }
        for (first, rows) in shape.tiles() {
            let cols = rows * shape.out_width();
            columns.resize(depth * cols, 0.0);
            kernels::unfold(shape, image, first, rows, columns);
            let unfolded = Matrix::new(columns, depth, cols).transposed();
            let to = MatrixMut::new(weight, out, depth);
            matmul(to, self.part(grad, first, rows), unfolded, 1.0, true);
        }
    }
}

/// The reverse of [`kernels::unfold`]: adds what came from an input to it.
fn fold(shape: &ConvShape, tile: &[f32], first: usize, rows: usize, image: &mut [f32]) {
    let (stride, kernel, before) = (shape.stride, shape.kernel, shape.before);
    let (width, plane) = (shape.out_width(), shape.height * shape.width);
    for (i, lane) in tile.chunks_exact(rows * width).enumerate() {
        let (channel, ky, kx) = (i / (kernel * kernel), i / kernel % kernel, i % kernel);
        let image = &mut image[channel * plane..][..plane];
        // Outputs whose input column ox · stride + kx − before lies inside the image.
        let start = before.saturating_sub(kx).div_ceil(stride).min(width);
        let end = (shape.width + before).saturating_sub(kx).div_ceil(stride);
        let end = end.clamp(start, width);
        for (row, from) in lane.chunks_exact(width).enumerate() {
            let y = ((first + row) * stride + ky).wrapping_sub(before);
            if y >= shape.height || start == end {
                continue;
            }
            let (from, x) = (&from[start..end], start * stride + kx - before);
            let to = &mut image[y * shape.width..][..shape.width][x..];
            if stride == 1 {
                to.iter_mut().zip(from).for_each(|(to, v)| *to += v);
            } else {
                let to = to.iter_mut().step_by(stride);
                to.zip(from).for_each(|(to, v)| *to += v);
            }
        }
    }
}

struct ConvOp(Geometry);

/// Adds the sums over each channel's plane to `sums`: one per row and channel, or over all rows.
fn add_bias_sums(grad: &[f32], plane: usize, sums: &mut [f32]) {
    let count = sums.len();
    for (i, channel) in grad.chunks_exact(plane).enumerate() {
        sums[i % count] += channel.iter().sum::<f32>();
    }
}

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
        let (batch, sizes) = Sizes::new(xl.shape(), wl.shape(), self.0)?;
        let bias = contiguous(b, bl)?;
        if bias.len() != sizes.out && bias.len() != batch * sizes.out {
            bail!("a bias of {:?} for {} outputs", bl.shape(), sizes.out);
        }
        let (x, weight) = (contiguous(x, xl)?, contiguous(w, wl)?);
        let shape = &sizes.shape;
        let one = sizes.out * shape.plane();
        let mut output = vec![0f32; batch * one];
        let channels = output.chunks_exact_mut(shape.plane()).enumerate();
        channels.for_each(|(i, channel)| channel.fill(bias[i % bias.len()]));
        let mut columns = COLUMNS.take();
        let images = x.chunks_exact(shape.image());
        for (image, output) in images.zip(output.chunks_exact_mut(one)) {
            kernels::conv2d(shape, image, weight, output, &mut columns);
        }
        COLUMNS.set(columns);
        let shape = (batch, sizes.out, shape.out_height(), shape.out_width());
        Ok((CpuStorage::F32(output), shape.into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (_, sizes) = Sizes::new(x.shape(), weight.shape(), self.0)?;
        let grad = grad.contiguous()?;
        let grad = numbers(&grad)?;
        let (values, weights) = (numbers(x)?, numbers(weight)?);
        let (image, plane) = (sizes.shape.image(), sizes.shape.plane());
        let one = sizes.out * plane;
        let mut columns = COLUMNS.take();
        let by_x = wanted(x, || {
            let mut by = vec![0f32; values.len()];
            let images = by.chunks_exact_mut(image);
            for (image, grad) in images.zip(grad.chunks_exact(one)) {
                sizes.by_image(grad, &weights, image, &mut columns);
            }
            tensor(by, x.shape())
        })?;
        let by_weight = gradient(weight, |by| {
            let images = values.chunks_exact(image);
            for (image, grad) in images.zip(grad.chunks_exact(one)) {
                sizes.by_weight(grad, image, by, &mut columns);
            }
            Ok(())
        })?;
        COLUMNS.set(columns);
        let by_bias = gradient(bias, |by| {
            add_bias_sums(&grad, plane, by);
            Ok(())
        })?;
        Ok((by_x, by_weight, by_bias))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::tests::{assert_same, some};

    #[test]
    fn gradients_of_convolutions_equal_candles() {
        for (size, kernel, stride, padding) in [
            ((6, 8), 3, 1, 1),
            ((6, 8), 1, 1, 0),
            ((6, 8), 3, 2, 1),
            ((4, 4), 3, 2, 1),
        ] {
            let geometry = Geometry { stride, padding };
            for bias in [vec![5], vec![2, 5]] {
                let inputs = [
                    some(&[2, 3, size.0, size.1], 0.7),
                    some(&[5, 3, kernel, kernel], 1.1),
                    some(&bias, 0.4),
                ];
                assert_same(
                    &inputs,
                    |t| conv2d(&t[0], &t[1], &t[2], geometry),
                    |t| plain(&t[0], &t[1], &t[2], geometry),
                );
            }
        }
    }

    /// Odd sizes, for which candle's own backward pass has the wrong shape: the adjoint by its
    /// definition, ⟨conv x, g⟩ = ⟨x, by_x⟩ = ⟨weight, by_weight⟩.
    #[test]
    fn gradients_of_odd_sizes_are_adjoint() {
        let geometry = Geometry {
            stride: 2,
            padding: 1,
        };
        let (x, weight) = (some(&[1, 3, 5, 8], 0.7), some(&[4, 3, 3, 3], 1.1));
        let bias =
            Tensor::zeros(4, candle_core::DType::F32, &candle_core::Device::Cpu).expect("a bias");
        let (y, by) = crate::ops::tests::gradients(&[x.clone(), weight.clone(), bias], |t| {
            conv2d(&t[0], &t[1], &t[2], geometry)
        });
        let seed = some(&[1, 4, 3, 4], 0.61);
        let flat = |t: &Tensor| {
            t.flatten_all()
                .and_then(|t| t.to_vec1::<f32>())
                .expect("numbers")
        };
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let expected = dot(&y, &flat(&seed));
        for found in [dot(&flat(&x), &by[0]), dot(&flat(&weight), &by[1])] {
            assert!((found - expected).abs() < 1e-3 * expected.abs().max(1.0));
        }
    }
}
