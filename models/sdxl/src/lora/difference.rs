//! The arithmetic of one module: ΔW of its two or three factors, and DoRA's magnitudes, in float32.

use candle_core::{Device, Tensor};

/// The factors of a module, read.
pub(super) struct Factors {
    /// [rank, in (× kernel)]
    pub down: Vec<f32>,
    /// [out, rank]
    pub up: Vec<f32>,
    /// Tucker's core [rank, rank, kernel]; `down` is then [rank, in].
    pub mid: Option<Vec<f32>>,
    pub rank: usize,
    /// alpha / rank, or what takes its place.
    pub scale: f32,
}

/// DoRA's lengths.
pub(super) struct Magnitude {
    pub lengths: Vec<f32>,
    pub axis: Axis,
    pub rule: Rule,
}

/// Whose lengths they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    /// Of everything that makes one output.
    Output,
    /// Of everything that one input is multiplied by.
    Input,
}

/// Where the strength counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// On the way from the plain weight to the new one: LyCORIS' and kohya's files.
    Between,
    /// On the low-rank difference, with the magnitudes in full: PEFT's files.
    Inside,
}

/// What is to be added to the weight `w` of `shape` at `strength`.
pub(super) fn difference(
    w: &[f32],
    shape: &[usize],
    factors: &Factors,
    magnitude: Option<&Magnitude>,
    strength: f32,
) -> candle_core::Result<Vec<f32>> {
    let mut low = low_rank(shape, factors)?;
    let Some(magnitude) = magnitude else {
        low.iter_mut().for_each(|v| *v *= strength);
        return Ok(low);
    };
    let inside = match magnitude.rule {
        Rule::Between => 1.0,
        Rule::Inside => strength,
    };
    let moved: Vec<f32> = w.iter().zip(&low).map(|(w, d)| w + inside * d).collect();
    let lengths = lengths(&moved, shape, magnitude.axis);
    let outside = match magnitude.rule {
        Rule::Between => strength,
        Rule::Inside => 1.0,
    };
    let place = |i: usize| place(i, shape, magnitude.axis);
    let new = moved.iter().enumerate().map(|(i, v)| {
        let at = place(i);
        v * magnitude.lengths[at] / lengths[at]
    });
    Ok(new.zip(w).map(|(new, w)| outside * (new - w)).collect())
}

/// scale · up · down, or with the core between them.
fn low_rank(shape: &[usize], factors: &Factors) -> candle_core::Result<Vec<f32>> {
    let (rank, output) = (factors.rank, shape[0]);
    let columns: usize = shape[1..].iter().product();
    let tensor =
        |values: &[f32], rows, columns| Tensor::from_slice(values, (rows, columns), &Device::Cpu);
    let right = match &factors.mid {
        None => tensor(&factors.down, rank, columns)?,
        Some(mid) => {
            let (input, kernel) = (shape[1], columns / shape[1].max(1));
            // Σ_b M[a, b, k] D[b, i] → [a, i, k]
            let mid = Tensor::from_slice(mid, (rank, rank, kernel), &Device::Cpu)?;
            let mid = mid
                .transpose(1, 2)?
                .contiguous()?
                .reshape((rank * kernel, rank))?;
            let product = mid.matmul(&tensor(&factors.down, rank, input)?)?;
            let product = product.reshape((rank, kernel, input))?.transpose(1, 2)?;
            product.contiguous()?.reshape((rank, columns))?
        }
    };
    let product = tensor(&factors.up, output, rank)?.matmul(&right)?;
    let product = (product.flatten_all()?.to_vec1::<f32>()?).into_iter();
    Ok(product.map(|v| factors.scale * v).collect())
}

/// Which length the number `i` of a weight counts to.
fn place(i: usize, shape: &[usize], axis: Axis) -> usize {
    let columns: usize = shape[1..].iter().product();
    match axis {
        Axis::Output => i / columns,
        Axis::Input => i % columns / shape[2..].iter().product::<usize>(),
    }
}

/// ‖v‖ over all axes but one.
fn lengths(values: &[f32], shape: &[usize], axis: Axis) -> Vec<f32> {
    let count = match axis {
        Axis::Output => shape[0],
        Axis::Input => shape[1],
    };
    let mut squares = vec![0f64; count];
    for (i, v) in values.iter().enumerate() {
        squares[place(i, shape, axis)] += f64::from(*v) * f64::from(*v);
    }
    squares.into_iter().map(|s| s.sqrt() as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(down: &[f32], up: &[f32], rank: usize, scale: f32) -> Factors {
        Factors {
            down: down.to_vec(),
            up: up.to_vec(),
            mid: None,
            rank,
            scale,
        }
    }

    #[test]
    fn a_difference_is_the_scaled_product() {
        // [2, 1] × [1, 3], halved, at strength 2.
        let factors = factors(&[1.0, 2.0, 3.0], &[10.0, -1.0], 1, 0.5);
        let found = difference(&[0.0; 6], &[2, 3], &factors, None, 2.0).expect("numbers");
        assert_eq!(found, [10.0, 20.0, 30.0, -1.0, -2.0, -3.0]);
    }

    /// A core that is the identity for every pixel of the kernel repeats the plain product.
    #[test]
    fn a_core_stands_between_the_factors() {
        let mut with_core = factors(&[1.0, 2.0, 3.0, 4.0], &[1.0, 0.0], 2, 1.0);
        with_core.up = vec![1.0, 10.0];
        // M[a, b, k]: at pixel 0 the identity, at pixel 1 only b = 1 → a = 0.
        with_core.mid = Some(vec![1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0]);
        let found = difference(&[0.0; 4], &[1, 2, 1, 2], &with_core, None, 1.0);
        // Pixel 0: D[0, i] + 10 D[1, i]; pixel 1: D[1, i].
        assert_eq!(found.expect("numbers"), [31.0, 3.0, 42.0, 4.0]);
    }

    #[test]
    fn strength_counts_outside_or_inside_of_the_magnitudes() {
        let factors = factors(&[0.0, 4.0], &[1.0], 1, 1.0);
        let magnitude = |rule| Magnitude {
            lengths: vec![10.0],
            axis: Axis::Output,
            rule,
        };
        let find = |rule, strength| {
            let magnitude = magnitude(rule);
            difference(&[3.0, 0.0], &[1, 2], &factors, Some(&magnitude), strength)
        };
        // V = (3, 4) of length 5 → (6, 8).
        for rule in [Rule::Between, Rule::Inside] {
            assert_eq!(find(rule, 1.0).expect("numbers"), [3.0, 8.0]);
        }
        assert_eq!(find(Rule::Between, 0.5).expect("numbers"), [1.5, 4.0]);
        assert_eq!(find(Rule::Inside, 0.0).expect("numbers"), [7.0, 0.0]);
    }
}
