//! The kernel distance (KID): the squared maximum mean discrepancy of two sets of features. It is
//! unbiased at any count, where the Fréchet distance grows as sets become small.

use rayon::prelude::*;

use crate::intervals::{Bootstrap, Interval};

/// The squared MMD of two sets of equally wide rows with the kernel (x·y / width + 1)³, over all pairs and unbiased:
/// no subsets and no randomness. Below zero where the sets are more alike than two samples of one distribution are on
/// average. `None` for fewer than two rows in a set.
pub fn kernel_distance(first: &[&[f32]], second: &[&[f32]]) -> Option<f64> {
    if first.len() < 2 || second.len() < 2 {
        return None;
    }
    let within = |rows: &[&[f32]]| {
        let pairs = rows.len() as f64 * (rows.len() - 1) as f64;
        let of = |(k, x): (usize, &&[f32])| rows[k + 1..].iter().map(|y| kernel(x, y)).sum();
        let sums: Vec<f64> = rows.par_iter().enumerate().map(of).collect();
        2.0 * sums.iter().sum::<f64>() / pairs
    };
    let of = |x: &&[f32]| second.iter().map(|y| kernel(x, y)).sum();
    let across: Vec<f64> = first.par_iter().map(of).collect();
    let across = across.iter().sum::<f64>() / (first.len() as f64 * second.len() as f64);
    Some(within(first) + within(second) - 2.0 * across)
}

fn kernel(x: &[f32], y: &[f32]) -> f64 {
    (product(x, y) / x.len().max(1) as f64 + 1.0).powi(3)
}

/// Four sums side by side, always in the same order.
fn product(x: &[f32], y: &[f32]) -> f64 {
    let mut sums = [0f64; 4];
    let (wide_x, rest_x) = x.as_chunks::<4>();
    let (wide_y, rest_y) = y.as_chunks::<4>();
    for (a, b) in wide_x.iter().zip(wide_y) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += f64::from(*a) * f64::from(*b);
        }
    }
    let rest = rest_x.iter().zip(rest_y);
    sums.iter().sum::<f64>()
        + rest
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum::<f64>()
}

/// Features of one side with the number of each row's person; `None` where nobody is shown.
#[derive(Clone, Debug)]
pub(crate) struct Side<'a> {
    pub(crate) rows: Vec<&'a [f32]>,
    pub(crate) people: Option<Vec<usize>>,
}

/// The kernel distance of two sides and its interval when people are redrawn: those of both sides together where both
/// show people, so that one draw serves both; a side without people stays as it is. A person who is drawn twice is not
/// compared with the same picture of themselves. `None` for fewer than two rows in a side.
pub(crate) fn kernel_figure(
    first: &Side<'_>,
    second: &Side<'_>,
    people: usize,
    bootstrap: Bootstrap,
) -> Option<(f64, Option<Interval>)> {
    if first.people.is_none() || bootstrap.resamples == 0 {
        return kernel_distance(&first.rows, &second.rows).map(|value| (value, None));
    }
    if first.rows.len() < 2 || second.rows.len() < 2 {
        return None;
    }
    let within = [
        Blocks::of(first, first, people),
        Blocks::of(second, second, people),
    ];
    let across = Blocks::of(first, second, people);
    let distance = |times: &[f64]| {
        let ([a, b], c) = (within.each_ref().map(|w| w.mean(times)), across.mean(times));
        Some(a? + b? - 2.0 * c?)
    };
    // Only who is on a side that is drawn counts as a person.
    let seen: Vec<usize> = (0..people)
        .filter(|p| [first, second].iter().any(|s| s.shows(*p)))
        .collect();
    let interval = bootstrap.of(seen.len(), |drawn| {
        let mut times = vec![0f64; people];
        drawn.iter().for_each(|at| times[seen[*at]] += 1.0);
        distance(&times)
    });
    Some((distance(&vec![1.0; people])?, interval))
}

impl Side<'_> {
    fn shows(&self, person: usize) -> bool {
        self.people.as_ref().is_some_and(|p| p.contains(&person))
    }
}

/// Sums and counts of kernels of all pairs of two people, the pairs of a row with itself left out.
struct Blocks {
    people: usize,
    /// By (person of the first, person of the second): sum and count.
    sums: Vec<(f64, f64)>,
    /// Whether the sides' rows are drawn with their people.
    drawn: [bool; 2],
}

impl Blocks {
    fn of(first: &Side<'_>, second: &Side<'_>, people: usize) -> Self {
        let drawn = [first.people.is_some(), second.people.is_some()];
        let size = |drawn: bool| if drawn { people } else { 1 };
        let width = size(drawn[1]);
        let same = std::ptr::eq(first, second);
        let person = |side: &Side<'_>, k: usize| side.people.as_ref().map_or(0, |p| p[k]);
        let of_row = |(k, x): (usize, &&[f32])| {
            let mut sums = vec![(0.0, 0.0); width];
            for (j, y) in second
                .rows
                .iter()
                .enumerate()
                .filter(|(j, _)| !same || *j != k)
            {
                let (sum, count) = &mut sums[person(second, j)];
                *sum += kernel(x, y);
                *count += 1.0;
            }
            sums
        };
        let rows: Vec<Vec<(f64, f64)>> = first.rows.par_iter().enumerate().map(of_row).collect();
        let mut sums = vec![(0.0, 0.0); size(drawn[0]) * width];
        for (k, row) in rows.iter().enumerate() {
            let start = person(first, k) * width;
            for (to, from) in sums[start..start + width].iter_mut().zip(row) {
                *to = (to.0 + from.0, to.1 + from.1);
            }
        }
        Self {
            people,
            sums,
            drawn,
        }
    }

    /// The mean kernel where each person is there so many times.
    fn mean(&self, times: &[f64]) -> Option<f64> {
        let once = [1.0];
        let weights = self.drawn.map(|drawn| if drawn { times } else { &once });
        debug_assert!(times.len() == self.people);
        let (mut total, mut count) = (0.0, 0.0);
        for (row, weight) in self.sums.chunks(weights[1].len()).zip(weights[0]) {
            for ((sum, pairs), other) in row.iter().zip(weights[1]) {
                total += weight * other * sum;
                count += weight * other * pairs;
            }
        }
        (count > 0.0).then(|| total / count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(values: &[[f32; 2]]) -> Vec<&[f32]> {
        values.iter().map(|v| &v[..]).collect()
    }

    const A: [[f32; 2]; 4] = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 0.5]];
    const B: [[f32; 2]; 3] = [[3.0, 0.0], [2.0, 1.0], [2.5, 0.0]];

    #[test]
    fn distance_is_the_unbiased_sum_over_pairs() {
        let k =
            |x: [f32; 2], y: [f32; 2]| f64::from((x[0] * y[0] + x[1] * y[1]) / 2.0 + 1.0).powi(3);
        let off = |set: &[[f32; 2]]| {
            let n = set.len();
            let pairs = (0..n)
                .flat_map(|i| (0..n).map(move |j| (i, j)))
                .filter(|(i, j)| i != j);
            pairs.map(|(i, j)| k(set[i], set[j])).sum::<f64>() / (n * (n - 1)) as f64
        };
        let across: f64 = A.iter().flat_map(|a| B.iter().map(|b| k(*a, *b))).sum();
        let expected = off(&A) + off(&B) - 2.0 * across / 12.0;
        let found = kernel_distance(&rows(&A), &rows(&B)).expect("two rows each");
        assert!((found - expected).abs() < 1e-12);
        assert_eq!(kernel_distance(&rows(&A[..1]), &rows(&B)), None);
    }

    #[test]
    fn a_draw_of_everybody_once_is_the_distance() {
        let side = |set: &'static [[f32; 2]], people: Option<Vec<usize>>| Side {
            rows: rows(set),
            people,
        };
        let (a, b) = (side(&A, Some(vec![0, 0, 1, 2])), side(&B, None));
        let mean = |x: &Side<'_>, y: &Side<'_>| Blocks::of(x, y, 3).mean(&[1.0; 3]).expect("pairs");
        let found = mean(&a, &a) + mean(&b, &b) - 2.0 * mean(&a, &b);
        let known = kernel_distance(&rows(&A), &rows(&B)).expect("two rows each");
        assert!((found - known).abs() < 1e-12);
        let bootstrap = Bootstrap {
            seed: 1,
            resamples: 200,
        };
        let (value, interval) = kernel_figure(&a, &b, 3, bootstrap).expect("a figure");
        assert!((value - known).abs() < 1e-12);
        assert!(interval.is_none_or(|i| i.low <= i.high));
        let (value, interval) = kernel_figure(&b, &a, 3, bootstrap).expect("a figure");
        assert!((value - known).abs() < 1e-12 && interval.is_none());
    }
}
