//! The singular values of a matrix: Householder's reflections to two diagonals, then bisection. No result depends on the
//! number of threads.

use rayon::prelude::*;

/// Rows that one thread adds up; always the same, so that sums have one order.
const BLOCK: usize = 32;

/// Halvings of an interval: more than float64 has bits.
const HALVINGS: usize = 64;

/// The singular values of a matrix of any shape, largest first.
pub(crate) fn singular_values(matrix: Vec<Vec<f64>>) -> Vec<f64> {
    let width = matrix.first().map_or(0, Vec::len);
    if width == 0 {
        return Vec::new();
    }
    // At least as many rows as columns.
    let rows = if matrix.len() < width {
        transposed(&matrix)
    } else {
        matrix
    };
    values_of_diagonals(&diagonals(rows))
}

/// The matrix with rows and columns exchanged.
pub(crate) fn transposed(rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let column = |c: usize| rows.iter().map(|row| row[c]).collect();
    (0..rows[0].len()).map(column).collect()
}

/// Eight sums side by side, so that the processor's wide registers are used; always in the same
/// order.
pub(crate) fn dot(x: &[f64], y: &[f64]) -> f64 {
    let mut sums = [0f64; 8];
    let (wide_x, wide_y) = (x.chunks_exact(8), y.chunks_exact(8));
    let rest: f64 = (wide_x.remainder().iter().zip(wide_y.remainder()))
        .map(|(a, b)| a * b)
        .sum();
    for (a, b) in wide_x.zip(wide_y) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// A reflection I − f v vᵀ that brings a vector to (target, 0, …, 0).
struct Reflection {
    vector: Vec<f64>,
    factor: f64,
    target: f64,
}

impl Reflection {
    /// Of `vector`; that of zeros changes nothing.
    fn of(mut vector: Vec<f64>) -> Self {
        let length = dot(&vector, &vector).sqrt();
        // Away from the first entry's sign, so that nothing cancels.
        let target = if vector[0] > 0.0 { -length } else { length };
        vector[0] -= target;
        let squared = dot(&vector, &vector);
        let factor = if squared > 0.0 { 2.0 / squared } else { 0.0 };
        Self {
            vector,
            factor,
            target,
        }
    }
}

fn subtract(from: &mut [f64], factor: f64, vector: &[f64]) {
    let pairs = from.iter_mut().zip(vector);
    pairs.for_each(|(value, v)| *value -= factor * v);
}

/// The matrix brought to a diagonal and the one above it by reflections from both sides: d₁, e₁, d₂, e₂, …, dₙ.
fn diagonals(mut rows: Vec<Vec<f64>>) -> Vec<f64> {
    let width = rows[0].len();
    let mut found = Vec::with_capacity(2 * width);
    for k in 0..width {
        let left = Reflection::of(rows[k..].iter().map(|row| row[k]).collect());
        found.push(left.target);
        if k + 1 == width {
            break;
        }
        let sums = weighted_sum(&rows[k..], &left.vector, k + 1);
        let (pivot, rest) = rows[k..].split_at_mut(1);
        subtract(&mut pivot[0][k + 1..], left.factor * left.vector[0], &sums);
        let right = Reflection::of(pivot[0][k + 1..].to_vec());
        found.push(right.target);
        let reflect = |(row, weight): (&mut Vec<f64>, &f64)| {
            let row = &mut row[k + 1..];
            subtract(row, left.factor * weight, &sums);
            let along = dot(row, &right.vector);
            subtract(row, right.factor * along, &right.vector);
        };
        rest.par_iter_mut()
            .zip(&left.vector[1..])
            .with_min_len(BLOCK)
            .for_each(reflect);
    }
    found
}

/// Σ weight · row, of the columns from `first` on.
fn weighted_sum(rows: &[Vec<f64>], weights: &[f64], first: usize) -> Vec<f64> {
    let block = |(rows, weights): (&[Vec<f64>], &[f64])| {
        let mut sums = vec![0f64; rows[0].len() - first];
        for (row, weight) in rows.iter().zip(weights) {
            let pairs = sums.iter_mut().zip(&row[first..]);
            pairs.for_each(|(sum, value)| *sum += weight * value);
        }
        sums
    };
    let blocks = rows.par_chunks(BLOCK).zip(weights.par_chunks(BLOCK));
    let blocks: Vec<Vec<f64>> = blocks.map(block).collect();
    let mut blocks = blocks.into_iter();
    let mut sums = blocks.next().unwrap_or_default();
    for block in blocks {
        sums.iter_mut()
            .zip(block)
            .for_each(|(sum, value)| *sum += value);
    }
    sums
}

/// The singular values of two diagonals (d₁, e₁, d₂, …, dₙ): the positive eigenvalues of the symmetric matrix that has these
/// numbers beside a diagonal of zeros.
fn values_of_diagonals(beside: &[f64]) -> Vec<f64> {
    let squares: Vec<f64> = beside.iter().map(|v| v * v).collect();
    let neighbours = |k: usize| {
        let before = k.checked_sub(1).map_or(0.0, |k| beside[k].abs());
        before + beside.get(k).map_or(0.0, |v| v.abs())
    };
    let most = (0..=beside.len()).map(neighbours).fold(0.0, f64::max);
    if most == 0.0 || !most.is_finite() {
        return vec![most; beside.len().div_ceil(2)];
    }
    // The k-th largest: half of the eigenvalues are above zero.
    let value = |k: usize| {
        let (mut low, mut high) = (0.0, most);
        for _ in 0..HALVINGS {
            let middle = 0.5 * (low + high);
            if middle <= low || middle >= high {
                break;
            }
            match count_above(&squares, middle, most) > k {
                true => low = middle,
                false => high = middle,
            }
        }
        0.5 * (low + high)
    };
    (0..beside.len().div_ceil(2))
        .into_par_iter()
        .map(value)
        .collect()
}

/// How many eigenvalues are above `at`, by the signs of the pivots of the matrix less `at` (Sturm's count).
fn count_above(squares: &[f64], at: f64, most: f64) -> usize {
    let least = most * f64::EPSILON * f64::EPSILON;
    let mut pivot = -at;
    let mut above = usize::from(pivot > 0.0);
    for square in squares {
        if pivot.abs() < least {
            pivot = -least;
        }
        pivot = -at - square / pivot;
        above += usize::from(pivot > 0.0);
    }
    above
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matrices() -> impl Strategy<Value = Vec<Vec<f64>>> {
        (1usize..9, 1usize..24).prop_flat_map(|(width, height)| {
            let row = prop::collection::vec(-3f64..3.0, width);
            prop::collection::vec(row, height)
        })
    }

    proptest! {
        /// The squared singular values of M are the eigenvalues of MMᵀ: their power sums are
        /// traces.
        #[test]
        fn singular_values_have_the_moments_of_the_matrix(m in matrices()) {
            let total = |rows: &[Vec<f64>]| rows.iter().map(|r| dot(r, r)).sum::<f64>();
            let gram: Vec<Vec<f64>> = m.iter().map(|a| m.iter().map(|b| dot(a, b)).collect()).collect();
            let values = singular_values(m.clone());
            prop_assert_eq!(values.len(), m.len().min(m[0].len()));
            prop_assert!(values.windows(2).all(|w| w[0] >= w[1] - 1e-12));
            let power = |p: i32| values.iter().map(|v| v.powi(p)).sum::<f64>();
            let near = |found: f64, known: f64| (found - known).abs() < 1e-9 * (1.0 + known);
            prop_assert!(near(power(2), total(&m)));
            prop_assert!(near(power(4), total(&gram)));
        }
    }

    #[test]
    fn known_matrices_have_known_values() {
        let near = |found: Vec<f64>, known: &[f64]| {
            assert_eq!(found.len(), known.len());
            for (found, known) in found.iter().zip(known) {
                assert!((found - known).abs() < 1e-12, "{found} {known}");
            }
        };
        let diagonal = |values: &[f64]| -> Vec<Vec<f64>> {
            let row =
                |k: usize| (0..values.len()).map(move |j| if j == k { values[k] } else { 0.0 });
            (0..values.len()).map(|k| row(k).collect()).collect()
        };
        near(
            singular_values(diagonal(&[3.0, -1.0, 2.0])),
            &[3.0, 2.0, 1.0],
        );
        near(singular_values(diagonal(&[0.0, 0.0])), &[0.0, 0.0]);
        near(singular_values(vec![vec![3.0, 4.0]]), &[5.0]);
        near(
            singular_values(vec![vec![1.0, 1.0]; 3]),
            &[6f64.sqrt(), 0.0],
        );
        assert!(singular_values(Vec::new()).is_empty());
    }

    #[test]
    fn one_thread_equals_many() {
        let matrix: Vec<Vec<f64>> = (0..90)
            .map(|i| {
                (0..70)
                    .map(|j| f64::from((i * 37 + j * 101) % 89) - 40.0)
                    .collect()
            })
            .collect();
        let by = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.expect("a pool")
                .install(|| singular_values(matrix.clone()))
        };
        assert_eq!(by(1), by(3));
    }
}
