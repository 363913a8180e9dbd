//! Square convolutions with bias.

use std::cell::Cell;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use laioncele_nn::kernels::{Matrix, MatrixMut, matmul};
use laioncele_nn::ops::{contiguous, on_cpu_in_f32};

use super::gathered::gradient;
use super::{numbers, tensor, wanted};

/// Floats of unfolded input per matrix product: they stay in the second-level cache.
const TILE: usize = 96 * 1024;

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
    channels: usize,
    height: usize,
    width: usize,
    kernel: usize,
    out: usize,
    out_height: usize,
    out_width: usize,
    geometry: Geometry,
}

impl Sizes {
    fn new(x: &Shape, weight: &Shape, geometry: Geometry) -> Result<(usize, Self)> {
        let (batch, channels, height, width) = x.dims4()?;
        let (out, depth, kernel, other) = weight.dims4()?;
        let Geometry { stride, padding } = geometry;
        let after = |size: usize| (size + 2 * padding + stride).saturating_sub(kernel) / stride;
        let sizes = Self {
            channels,
            height,
            width,
            kernel,
            out,
            out_height: after(height),
            out_width: after(width),
            geometry,
        };
        if depth != channels || kernel != other || sizes.plane() == 0 || sizes.image() == 0 {
            bail!("a convolution of {x:?} with {weight:?}");
        }
        Ok((batch, sizes))
    }

    /// Inputs of one output.
    fn depth(&self) -> usize {
        self.channels * self.kernel * self.kernel
    }

    /// Outputs of one channel.
    fn plane(&self) -> usize {
        self.out_height * self.out_width
    }

    /// Numbers of one image.
    fn image(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Whether an image itself is its unfolded form.
    fn pointwise(&self) -> bool {
        self.kernel == 1 && self.geometry.stride == 1 && self.geometry.padding == 0
    }

    /// Output rows in tiles: first and number.
    fn tiles(&self) -> impl Iterator<Item = (usize, usize)> {
        let rows = (TILE / (self.depth() * self.out_width)).clamp(1, self.out_height);
        let height = self.out_height;
        (0..height)
            .step_by(rows)
            .map(move |first| (first, rows.min(height - first)))
    }

    /// Calls `f` for each lane of the tile's unfolded form [depth × rows · out width] and each of
    /// its rows: lane, row, the image's row and column of the first output that lies inside, and
    /// the columns of such outputs. Rows outside have none.
    fn lanes(
        &self,
        first: usize,
        rows: usize,
        mut f: impl FnMut(usize, usize, usize, std::ops::Range<usize>),
    ) {
        let Geometry { stride, padding } = self.geometry;
        for lane in 0..self.depth() {
            let (channel, ky, kx) = (
                lane / (self.kernel * self.kernel),
                lane / self.kernel % self.kernel,
                lane % self.kernel,
            );
            let start = padding
                .saturating_sub(kx)
                .div_ceil(stride)
                .min(self.out_width);
            let end = (self.width + padding)
                .saturating_sub(kx)
                .div_ceil(stride)
                .clamp(start, self.out_width);
            for row in 0..rows {
                let y = ((first + row) * stride + ky).wrapping_sub(padding);
                let inside = if y < self.height { start..end } else { 0..0 };
                let x = (inside.start * stride + kx).saturating_sub(padding);
                let at = (channel * self.height + y.min(self.height - 1)) * self.width + x;
                f(lane, row, at, inside);
            }
        }
    }

    /// The inputs that each output of `rows` rows from `first` meets.
    fn unfold(&self, image: &[f32], first: usize, rows: usize, tile: &mut [f32]) {
        let (stride, width) = (self.geometry.stride, self.out_width);
        self.lanes(first, rows, |lane, row, at, inside| {
            let to = &mut tile[(lane * rows + row) * width..][..width];
            to[..inside.start].fill(0.0);
            to[inside.end..].fill(0.0);
            if inside.is_empty() {
                to.fill(0.0);
            } else if stride == 1 {
                let count = inside.len();
                to[inside].copy_from_slice(&image[at..at + count]);
            } else {
                let from = image[at..].iter().step_by(stride);
                to[inside].iter_mut().zip(from).for_each(|(to, v)| *to = *v);
            }
        });
    }

    /// The reverse of [`Sizes::unfold`]: adds what came from an input to it.
    fn fold(&self, tile: &[f32], first: usize, rows: usize, image: &mut [f32]) {
        let (stride, width) = (self.geometry.stride, self.out_width);
        self.lanes(first, rows, |lane, row, at, inside| {
            if inside.is_empty() {
                return;
            }
            let from = &tile[(lane * rows + row) * width..][inside];
            if stride == 1 {
                let to = &mut image[at..at + from.len()];
                to.iter_mut().zip(from).for_each(|(to, v)| *to += v);
            } else {
                let to = image[at..].iter_mut().step_by(stride);
                to.zip(from).for_each(|(to, v)| *to += v);
            }
        });
    }

    /// Columns `first`… of rows of the output's plane.
    fn part<'a>(&self, output: &'a [f32], first: usize, rows: usize) -> Matrix<'a> {
        Matrix {
            data: &output[first * self.out_width..],
            rows: self.out,
            cols: rows * self.out_width,
            row_stride: self.plane(),
            col_stride: 1,
        }
    }

    /// Adds the convolution of one image to `output`.
    fn forward(&self, image: &[f32], weight: &[f32], output: &mut [f32], columns: &mut Vec<f32>) {
        let weight = Matrix::new(weight, self.out, self.depth());
        let plane = self.plane();
        if self.pointwise() {
            let image = Matrix::new(image, self.channels, plane);
            matmul(
                MatrixMut::new(output, self.out, plane),
                weight,
                image,
                1.0,
                true,
            );
            return;
        }
        for (first, rows) in self.tiles() {
            let cols = rows * self.out_width;
            columns.resize(self.depth() * cols, 0.0);
            self.unfold(image, first, rows, columns);
            let to = MatrixMut {
                data: &mut output[first * self.out_width..],
                rows: self.out,
                cols,
                row_stride: plane,
                col_stride: 1,
            };
            matmul(
                to,
                weight,
                Matrix::new(columns, self.depth(), cols),
                1.0,
                true,
            );
        }
    }

    /// Adds ∂loss/∂image.
    fn by_image(&self, grad: &[f32], weight: &[f32], image: &mut [f32], columns: &mut Vec<f32>) {
        let weight = Matrix::new(weight, self.out, self.depth()).transposed();
        if self.pointwise() {
            let (channels, plane) = (self.channels, self.plane());
            let to = MatrixMut::new(image, channels, plane);
            matmul(to, weight, Matrix::new(grad, self.out, plane), 1.0, true);
            return;
        }
        for (first, rows) in self.tiles() {
            let cols = rows * self.out_width;
            columns.resize(self.depth() * cols, 0.0);
            let to = MatrixMut::new(columns, self.depth(), cols);
            matmul(to, weight, self.part(grad, first, rows), 1.0, false);
            self.fold(columns, first, rows, image);
        }
    }

    /// Adds ∂loss/∂weight of one image.
    fn by_weight(&self, grad: &[f32], image: &[f32], weight: &mut [f32], columns: &mut Vec<f32>) {
        let (out, depth) = (self.out, self.depth());
        if self.pointwise() {
            let image = Matrix::new(image, depth, self.plane()).transposed();
            let grad = Matrix::new(grad, out, self.plane());
            matmul(MatrixMut::new(weight, out, depth), grad, image, 1.0, true);
            return;
        }
        for (first, rows) in self.tiles() {
            let cols = rows * self.out_width;
            columns.resize(depth * cols, 0.0);
            self.unfold(image, first, rows, columns);
            let unfolded = Matrix::new(columns, depth, cols).transposed();
            let to = MatrixMut::new(weight, out, depth);
            matmul(to, self.part(grad, first, rows), unfolded, 1.0, true);
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
        let one = sizes.out * sizes.plane();
        let mut output = vec![0f32; batch * one];
        let channels = output.chunks_exact_mut(sizes.plane()).enumerate();
        channels.for_each(|(i, channel)| channel.fill(bias[i % bias.len()]));
        let mut columns = COLUMNS.take();
        let images = x.chunks_exact(sizes.image());
        for (image, output) in images.zip(output.chunks_exact_mut(one)) {
            sizes.forward(image, weight, output, &mut columns);
        }
        COLUMNS.set(columns);
        let shape = (batch, sizes.out, sizes.out_height, sizes.out_width);
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
        let one = sizes.out * sizes.plane();
        let mut columns = COLUMNS.take();
        let by_x = wanted(x, || {
            let mut by = vec![0f32; values.len()];
            let images = by.chunks_exact_mut(sizes.image());
            for (image, grad) in images.zip(grad.chunks_exact(one)) {
                sizes.by_image(grad, &weights, image, &mut columns);
            }
            tensor(by, x.shape())
        })?;
        let by_weight = gradient(weight, |by| {
            let images = values.chunks_exact(sizes.image());
            for (image, grad) in images.zip(grad.chunks_exact(one)) {
                sizes.by_weight(grad, image, by, &mut columns);
            }
            Ok(())
        })?;
        COLUMNS.set(columns);
        let by_bias = gradient(bias, |by| {
            add_bias_sums(&grad, sizes.plane(), by);
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
