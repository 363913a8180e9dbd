//! Who is set apart for validation, and the constants that come from the others.

use std::collections::HashSet;

use half::f16;
use laioncele_core::{KeyHasher, NameId};

/// Which of `people` are set apart: the fraction `share` (one at least, if there are two and
/// `share` is not 0), by a hash of seed and name. Who it is hardly depends on who else is in the
/// dataset.
pub(crate) fn set_apart(
    people: impl ExactSizeIterator<Item = NameId>,
    share: f64,
    seed: u64,
) -> HashSet<NameId> {
    let wanted = (people.len() as f64 * share).round() as usize;
    let count = match people.len() {
        0 | 1 => 0,
        all => wanted.clamp(usize::from(share > 0.0), all - 1),
    };
    let rank = |name: NameId| {
        let hasher = KeyHasher::new("validation-split").number("seed", seed);
        (hasher.number("name", name.0).finish(), name)
    };
    let mut ranks: Vec<_> = people.map(rank).collect();
    ranks.sort_unstable();
    let first = ranks.into_iter().take(count);
    first.map(|(_, name)| name).collect()
}

/// Mean and population deviation of each column of `rows`, summed in float64. What never varies
/// (deviation at most 1e-12) has the deviation 1.
pub fn statistics<'a, T: Copy + Into<f64> + 'a, I: Iterator<Item = &'a [T]>>(
    width: usize,
    rows: impl Fn() -> I,
) -> (Vec<f32>, Vec<f32>) {
    let (mut means, mut count) = (vec![0f64; width], 0usize);
    for row in rows() {
        count += 1;
        let pairs = means.iter_mut().zip(row);
        pairs.for_each(|(mean, x)| *mean += (*x).into());
    }
    let count = count.max(1) as f64;
    means.iter_mut().for_each(|mean| *mean /= count);
    let mut squares = vec![0f64; width];
    for row in rows() {
        let pairs = squares.iter_mut().zip(row.iter().zip(&means));
        pairs.for_each(|(square, (x, mean))| *square += ((*x).into() - mean).powi(2));
    }
    let deviation = |square: &f64| match (square / count).sqrt() {
        deviation if deviation > 1e-12 => deviation as f32,
        _ => 1.0,
    };
    let means = means.iter().map(|mean| *mean as f32).collect();
    (means, squares.iter().map(deviation).collect())
}

/// [`statistics`] of name embeddings.
pub(crate) fn of_names<'a>(
    width: usize,
    names: impl Iterator<Item = &'a [f16]> + Clone,
) -> (Vec<f32>, Vec<f32>) {
    statistics(width, || names.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(count: u64, share: f64, seed: u64) -> HashSet<NameId> {
        let people: Vec<NameId> = (0..count).map(NameId).collect();
        set_apart(people.into_iter(), share, seed)
    }

    #[test]
    fn split_is_by_person_and_stable() {
        let validation = apart(100, 0.1, 7);
        assert_eq!(validation.len(), 10);
        assert!(apart(60, 0.1, 7).intersection(&validation).count() >= 3);
        assert_ne!(apart(100, 0.1, 8), validation);
        assert_eq!(apart(2, 0.001, 1).len(), 1);
        assert_eq!(apart(1, 0.5, 1).len(), 0);
        assert_eq!(apart(9, 0.0, 1).len(), 0);
        assert_eq!(apart(0, 0.5, 1).len(), 0);
    }

    #[test]
    fn statistics_are_of_the_population() {
        let rows = [[0.0f32, 5.0], [2.0, 5.0]];
        let found = statistics(2, || rows.iter().map(|row| &row[..]));
        assert_eq!(found, (vec![1.0, 5.0], vec![1.0, 1.0]));
    }
}
