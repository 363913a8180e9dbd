//! The Fréchet distance between two sets of features, each seen as a Gaussian. The decompositions are
//! ours: they are short, no result depends on the number of threads, and the crate `faer` would add
//! more than a CPU-minute to the build.

use rayon::prelude::*;

use crate::singular::{dot, singular_values, transposed};

/// The Fréchet distance |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½) of two sets of equally wide rows, with
/// the sample covariances (over n − 1), as the Fréchet Inception Distance has it. `None` for fewer than
/// two rows in a set.
///
/// The covariances are never formed: with Σ₁ = AᵀA and Σ₂ = BᵀB, the eigenvalues of Σ₁ Σ₂ are the
/// squared singular values of A Bᵀ, so that the trace of the root is the sum of those values. That
/// is exact for singular covariances too (fewer images than features), where the root of a product
/// loses half of its digits.
pub fn frechet_distance(first: &[&[f32]], second: &[&[f32]]) -> Option<f64> {
    let (mean_a, a) = centred(first)?;
    let (mean_b, b) = centred(second)?;
    let between: f64 = mean_a
        .iter()
        .zip(&mean_b)
        .map(|(x, y)| (x - y).powi(2))
        .sum();
    let traces = total(&a) + total(&b);
    let (a, b) = (triangular(a), triangular(b));
    let product = a
        .par_iter()
        .map(|x| b.iter().map(|y| dot(x, y)).collect())
        .collect();
    let distance = between + traces - 2.0 * singular_values(product).iter().sum::<f64>();
    // Rounding may leave a little less than nothing between equal sets.
    Some(distance.max(0.0))
}

/// The mean of the rows, and the rows less it over √(n − 1), so that the covariance is their
/// product with themselves.
fn centred(rows: &[&[f32]]) -> Option<(Vec<f64>, Vec<Vec<f64>>)> {
    if rows.len() < 2 {
        return None;
    }
    let mut mean = vec![0f64; rows[0].len()];
    for row in rows {
        let add = |(sum, value): (&mut f64, &f32)| *sum += f64::from(*value);
        mean.iter_mut().zip(*row).for_each(add);
    }
    mean.iter_mut().for_each(|sum| *sum /= rows.len() as f64);
    let scale = ((rows.len() - 1) as f64).sqrt().recip();
    let centre = |row: &&[f32]| {
        let values = row.iter().zip(&mean);
        values.map(|(v, m)| (f64::from(*v) - m) * scale).collect()
    };
    Some((mean.clone(), rows.iter().map(centre).collect()))
}

/// Rows R with RᵀR = XᵀX and no more of them than columns: X's QR decomposition by Householder's
/// reflections, without Q. Rows that are no more than their columns stay as they are.
fn triangular(rows: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let width = rows[0].len();
    if rows.len() <= width {
        return rows;
    }
    let mut columns = transposed(&rows);
    for k in 0..width {
        let (done, rest) = columns.split_at_mut(k + 1);
        let pivot = &mut done[k][k..];
        let length = dot(pivot, pivot).sqrt();
        if length == 0.0 {
            continue;
        }
        // Away from the first entry's sign, so that nothing cancels.
        let target = if pivot[0] > 0.0 { -length } else { length };
        pivot[0] -= target;
        let reflector = pivot.to_vec();
        let squared = dot(&reflector, &reflector);
        rest.par_iter_mut().for_each(|column| {
            let factor = 2.0 * dot(&reflector, &column[k..]) / squared;
            let subtract = |(c, r): (&mut f64, &f64)| *c -= factor * r;
            column[k..].iter_mut().zip(&reflector).for_each(subtract);
        });
        pivot.fill(0.0);
        pivot[0] = target;
    }
    columns.iter_mut().for_each(|column| column.truncate(width));
    transposed(&columns)
}

fn total(rows: &[Vec<f64>]) -> f64 {
    rows.iter().map(|row| dot(row, row)).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn distance(first: &[Vec<f32>], second: &[Vec<f32>]) -> f64 {
        let first: Vec<&[f32]> = first.iter().map(Vec::as_slice).collect();
        let second: Vec<&[f32]> = second.iter().map(Vec::as_slice).collect();
        frechet_distance(&first, &second).expect("two rows each")
    }

    /// Rows with exactly the mean `mean` and a diagonal covariance with these deviations: a row on
    /// either side of the mean along each axis.
    fn gaussian(mean: &[f64], deviations: &[f64]) -> Vec<Vec<f32>> {
        let count = 2 * mean.len();
        let mut rows = vec![mean.to_vec(); count];
        for (k, deviation) in deviations.iter().enumerate() {
            // Two of the squared steps over count − 1 are the variance.
            let step = deviation * ((count - 1) as f64 / 2.0).sqrt();
            rows[2 * k][k] += step;
            rows[2 * k + 1][k] -= step;
        }
        let floats = |row: Vec<f64>| row.into_iter().map(|v| v as f32).collect();
        rows.into_iter().map(floats).collect()
    }

    fn sets() -> impl Strategy<Value = [Vec<Vec<f32>>; 2]> {
        (1usize..9).prop_flat_map(|width| {
            let row = prop::collection::vec(-3f32..3.0, width);
            let set = prop::collection::vec(row, 2..24);
            [set.clone(), set]
        })
    }

    proptest! {
        /// Gaussians whose covariances commute: |μ₁ − μ₂|² + Σ (σ₁ − σ₂)².
        #[test]
        fn distance_of_gaussians_with_the_same_axes_is_closed_form(axes in prop::collection::vec([-2f64..2.0, -2.0..2.0, 0.0..3.0, 0.0..3.0], 2..7)) {
            let column = |c: usize| axes.iter().map(|axis| axis[c]).collect::<Vec<_>>();
            let known: f64 = axes.iter().map(|[m, n, s, t]| (m - n).powi(2) + (s - t).powi(2)).sum();
            let found = distance(&gaussian(&column(0), &column(2)), &gaussian(&column(1), &column(3)));
            prop_assert!((found - known).abs() < 1e-4, "{found} {known}");
        }

        #[test]
        fn distance_of_a_set_to_its_permutation_is_zero([set, _] in sets()) {
            let mut turned = set.clone();
            turned.reverse();
            prop_assert!(distance(&set, &turned) < 1e-9);
        }

        #[test]
        fn distance_is_symmetric([a, b] in sets()) {
            let (there, back) = (distance(&a, &b), distance(&b, &a));
            prop_assert!((there - back).abs() < 1e-9 * (1.0 + there), "{there} {back}");
        }

        /// Compressed rows have the same products.
        #[test]
        fn triangular_keeps_the_products_of_columns([m, _] in sets()) {
            let m: Vec<Vec<f64>> = m.iter().map(|r| r.iter().map(|v| f64::from(*v)).collect()).collect();
            let r = triangular(m.clone());
            prop_assert_eq!(r.len(), m.len().min(m[0].len()));
            let (of_rows, of_triangle) = (transposed(&m), transposed(&r));
            for (a, x) in of_rows.iter().zip(&of_triangle) {
                for (b, y) in of_rows.iter().zip(&of_triangle) {
                    prop_assert!((dot(a, b) - dot(x, y)).abs() < 1e-9);
                }
            }
        }
    }

    /// Correlated features, against NumPy and SciPy: `tools/record-evaluate/record.py`.
    #[test]
    fn distance_equals_scipy() {
        let recorded = include_str!("../tests/fixtures/frechet.json");
        let recorded: Vec<Recorded> = serde_json::from_str(recorded).expect("the fixture");
        assert_eq!(recorded.len(), 4);
        for Recorded {
            name,
            first,
            second,
            distance: known,
        } in recorded
        {
            let found = distance(&first, &second);
            assert!(
                (found - known).abs() < 1e-6 * (1.0 + known),
                "{name}: {found} {known}"
            );
        }
    }

    #[derive(serde::Deserialize)]
    struct Recorded {
        name: String,
        first: Vec<Vec<f32>>,
        second: Vec<Vec<f32>>,
        distance: f64,
    }

    #[test]
    fn distance_needs_two_rows_in_each_set() {
        let (one, two): ([&[f32]; 1], [&[f32]; 2]) = ([&[1.0]], [&[1.0], &[2.0]]);
        assert_eq!(frechet_distance(&one, &two), None);
        assert_eq!(frechet_distance(&two, &[]), None);
    }
}
