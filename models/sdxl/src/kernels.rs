//! Float32 kernels for the processor that only SDXL needs: convolution, group norm, GEGLU,
//! upsampling. Drawing and training go forward with the same ones.

use laioncele_nn::kernels::{Matrix, MatrixMut, gelu, matmul, moments, silu};

/// Floats of unfolded input per matrix product: they stay in the second-level cache.
const TILE: usize = 96 * 1024;

/// The sizes of a square-kernel convolution of one image.
#[derive(Debug, Clone, Copy)]
pub struct ConvShape {
    /// Channels that go in.
    pub channels: usize,
    /// Rows that go in.
    pub height: usize,
    /// Columns that go in.
    pub width: usize,
    /// Edge of the kernel.
    pub kernel: usize,
    /// Inputs between two outputs.
    pub stride: usize,
    /// Zero rows and columns above and to the left.
    pub before: usize,
    /// Zero rows and columns below and to the right.
    pub after: usize,
}

impl ConvShape {
    fn out(&self, size: usize) -> usize {
        (size + self.before + self.after + self.stride).saturating_sub(self.kernel) / self.stride
    }

    /// Rows that come out.
    pub fn out_height(&self) -> usize {
        self.out(self.height)
    }

    /// Columns that come out.
    pub fn out_width(&self) -> usize {
        self.out(self.width)
    }

    /// Inputs of one output.
    pub fn depth(&self) -> usize {
        self.channels * self.kernel * self.kernel
    }

    /// Outputs of one channel.
    pub fn plane(&self) -> usize {
        self.out_height() * self.out_width()
    }

    /// Numbers of one image that goes in.
    pub fn image(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Whether an image itself is its unfolded form.
    pub fn is_pointwise(&self) -> bool {
        self.kernel == 1 && self.stride == 1 && self.before + self.after == 0
    }

    /// Rows of the output in tiles whose unfolded inputs stay in the cache: first and number.
    pub fn tiles(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let height = self.out_height();
        let rows = (TILE / (self.depth() * self.out_width()).max(1)).clamp(1, height.max(1));
        (0..height)
            .step_by(rows)
            .map(move |first| (first, rows.min(height - first)))
    }
}

/// Adds the convolution of `input` [channels × height × width] with `weight` [out × channels ×
/// kernel × kernel] to `output` [out × out_height × out_width], which holds the bias.
pub fn conv2d(
    shape: &ConvShape,
    input: &[f32],
    weight: &[f32],
    output: &mut [f32],
    columns: &mut Vec<f32>,
) {
    let (out_width, depth, plane) = (shape.out_width(), shape.depth(), shape.plane());
    let out_channels = weight.len() / depth;
    let weight = Matrix::new(weight, out_channels, depth);
    if shape.is_pointwise() {
        matmul(
            MatrixMut::new(output, out_channels, plane),
            weight,
            Matrix::new(input, depth, plane),
            1.0,
            true,
        );
        return;
    }
    for (first, rows) in shape.tiles() {
        let cols = rows * out_width;
        columns.resize(depth * cols, 0.0);
        unfold(shape, input, first, rows, columns);
        let dst = MatrixMut {
            data: &mut output[first * out_width..],
            rows: out_channels,
            cols,
            row_stride: plane,
            col_stride: 1,
        };
        matmul(dst, weight, Matrix::new(columns, depth, cols), 1.0, true);
    }
}

/// The inputs that each output of `rows` rows from `first` meets: [channels · kernel² × rows ·
/// out_width].
pub fn unfold(shape: &ConvShape, input: &[f32], first: usize, rows: usize, tile: &mut [f32]) {
    let out_width = shape.out_width();
    let kernel = shape.kernel;
    for (i, lane) in tile.chunks_exact_mut(rows * out_width).enumerate() {
        let (channel, ky, kx) = (i / (kernel * kernel), i / kernel % kernel, i % kernel);
        let plane = &input[channel * shape.height * shape.width..][..shape.height * shape.width];
        // Outputs whose input column ox · stride + kx − before lies inside the image.
        let start = shape
            .before
            .saturating_sub(kx)
            .div_ceil(shape.stride)
            .min(out_width);
        let end = (shape.width + shape.before)
            .saturating_sub(kx)
            .div_ceil(shape.stride)
            .clamp(start, out_width);
        for (r, row) in lane.chunks_exact_mut(out_width).enumerate() {
            let y = ((first + r) * shape.stride + ky).wrapping_sub(shape.before);
            if y >= shape.height || start == end {
                row.fill(0.0);
                continue;
            }
            let x = start * shape.stride + kx - shape.before;
            let source = &plane[y * shape.width..][..shape.width][x..];
            row[..start].fill(0.0);
            row[end..].fill(0.0);
            if shape.stride == 1 {
                for (to, from) in row[start..end].iter_mut().zip(source) {
                    *to = *from;
                }
            } else {
                for (to, from) in row[start..end]
                    .iter_mut()
                    .zip(source.iter().step_by(shape.stride))
                {
                    *to = *from;
                }
            }
        }
    }
}

/// Group norm of one image [channels × plane], followed by silu if `activate`.
pub fn group_norm(
    input: &[f32],
    weight: &[f32],
    bias: &[f32],
    groups: usize,
    eps: f64,
    activate: bool,
    output: &mut [f32],
) {
    let channels = weight.len();
    let plane = input.len() / channels;
    let per_group = channels / groups;
    for group in 0..groups {
        let span = group * per_group * plane..(group + 1) * per_group * plane;
        let (mean, scale) = moments(&input[span], eps);
        for channel in group * per_group..(group + 1) * per_group {
            let factor = scale * weight[channel];
            let shift = bias[channel] - mean * factor;
            let span = channel * plane..(channel + 1) * plane;
            let pairs = output[span.clone()].iter_mut().zip(&input[span]);
            if activate {
                pairs.for_each(|(y, x)| *y = silu(x * factor + shift));
            } else {
                pairs.for_each(|(y, x)| *y = x * factor + shift);
            }
        }
    }
}

/// [value, gate] halves of each row of `input` [rows × 2 width] → value · gelu(gate) [rows ×
/// width].
pub fn geglu(input: &[f32], width: usize, output: &mut [f32]) {
    for (row, out) in input
        .chunks_exact(2 * width)
        .zip(output.chunks_exact_mut(width))
    {
        let (values, gates) = row.split_at(width);
        for ((y, value), gate) in out.iter_mut().zip(values).zip(gates) {
            *y = value * gelu(*gate);
        }
    }
}

/// Nearest-neighbour resize of one plane: input column of output i is ⌊i · in / out⌋.
pub fn upsample_nearest(
    input: &[f32],
    from: (usize, usize),
    to: (usize, usize),
    output: &mut [f32],
) {
    let columns: Vec<usize> = (0..to.1).map(|x| x * from.1 / to.1).collect();
    for (y, row) in output.chunks_exact_mut(to.1).enumerate() {
        let source = &input[(y * from.0 / to.0) * from.1..][..from.1];
        for (out, column) in row.iter_mut().zip(&columns) {
            *out = source[*column];
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, one output at a time.
    fn plain(shape: &ConvShape, input: &[f32], weight: &[f32], out_channels: usize) -> Vec<f32> {
        let mut out = Vec::new();
        for o in 0..out_channels {
            for (oy, ox) in
                (0..shape.out_height()).flat_map(|y| (0..shape.out_width()).map(move |x| (y, x)))
            {
                let mut sum = 0f32;
                for c in 0..shape.channels {
                    for (ky, kx) in
                        (0..shape.kernel).flat_map(|y| (0..shape.kernel).map(move |x| (y, x)))
                    {
                        let y = (oy * shape.stride + ky).wrapping_sub(shape.before);
                        let x = (ox * shape.stride + kx).wrapping_sub(shape.before);
                        if y < shape.height && x < shape.width {
                            let w = weight[((o * shape.channels + c) * shape.kernel + ky)
                                * shape.kernel
                                + kx];
                            sum += w * input[(c * shape.height + y) * shape.width + x];
                        }
                    }
                }
                out.push(sum);
            }
        }
        out
    }

    proptest! {
        #[test]
        fn convolutions_follow_the_definition(
            channels in 1usize..4, out in 1usize..4, height in 1usize..9, width in 1usize..9,
            kernel in prop::sample::select(vec![1usize, 3]), stride in 1usize..3, before in 0usize..2, after in 0usize..2,
        ) {
            let shape = ConvShape { channels, height, width, kernel, stride, before, after };
            prop_assume!(height + before + after >= kernel && width + before + after >= kernel);
            let input: Vec<f32> = (0..channels * height * width).map(|i| (i * 7 % 11) as f32 - 5.0).collect();
            let weight: Vec<f32> = (0..out * channels * kernel * kernel).map(|i| (i * 5 % 7) as f32 - 3.0).collect();
            let expected = plain(&shape, &input, &weight, out);
            let mut ours = vec![0f32; expected.len()];
            conv2d(&shape, &input, &weight, &mut ours, &mut Vec::new());
            prop_assert_eq!(ours, expected);
        }
    }

    #[test]
    fn nearest_neighbours_are_floored() {
        let mut out = vec![0f32; 5];
        upsample_nearest(&[1.0, 2.0, 3.0], (1, 3), (1, 5), &mut out);
        assert_eq!(out, [1.0, 1.0, 2.0, 2.0, 3.0]);
    }
}
