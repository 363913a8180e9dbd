//! Confidence intervals: people are redrawn, not images. A person's images are one observation.

use std::collections::BTreeMap;

use crate::random::SplitMix64;

/// The bounds of an interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The 2.5 % quantile.
    pub low: f64,
    /// The 97.5 % quantile.
    pub high: f64,
}

/// A bootstrap over people: 95 % between the percentiles of figures of redrawn people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// Each interval has a generator of its own, with this seed.
    pub seed: u64,
    /// Rounds; 0 gives no interval.
    pub resamples: usize,
}

impl Bootstrap {
    /// The interval of the mean of `values`, each with its person: in each round as many people as have values are
    /// drawn, and the figure is the sum of their values over the count of them. `None` for fewer than two people.
    pub fn of_mean<P: Ord + Clone>(&self, values: &[(P, f64)]) -> Option<Interval> {
        let mut sums: BTreeMap<&P, (f64, f64)> = BTreeMap::new();
        for (person, value) in values {
            let (sum, count) = sums.entry(person).or_default();
            *sum += value;
            *count += 1.0;
        }
        let sums: Vec<(f64, f64)> = sums.into_values().collect();
        self.of(sums.len(), |drawn| {
            let add = |(sum, count): (f64, f64), k: &usize| (sum + sums[*k].0, count + sums[*k].1);
            let (sum, count) = drawn.iter().fold((0.0, 0.0), add);
            Some(sum / count)
        })
    }

    /// The interval of any figure of `people` people; `figure` is given those of a round, by number, some of them
    /// several times, and may say that there is none. `None` for fewer than two people, or where a round has none.
    pub fn of(&self, people: usize, figure: impl Fn(&[usize]) -> Option<f64>) -> Option<Interval> {
        if people < 2 || self.resamples == 0 {
            return None;
        }
        let mut random = SplitMix64::new(self.seed);
        let mut drawn = vec![0; people];
        let mut figures = Vec::with_capacity(self.resamples);
        for _ in 0..self.resamples {
            drawn.fill_with(|| random.below(people));
            figures.push(figure(&drawn).filter(|f| f.is_finite())?);
        }
        figures.sort_by(f64::total_cmp);
        Some(Interval {
            low: quantile(&figures, 0.025),
            high: quantile(&figures, 0.975),
        })
    }
}

/// The quantile of sorted values, linear between two of them, at q × (n − 1).
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let low = at as usize;
    let high = (low + 1).min(sorted.len() - 1);
    sorted[low] + (sorted[high] - sorted[low]) * (at - low as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOTSTRAP: Bootstrap = Bootstrap {
        seed: 7,
        resamples: 500,
    };

    #[test]
    fn quantiles_are_linear_between_values() {
        let values = [0.0, 1.0, 2.0, 3.0, 10.0];
        assert_eq!(quantile(&values, 0.5), 2.0);
        assert_eq!(quantile(&values, 0.875), 6.5);
        assert_eq!(quantile(&[4.0], 0.975), 4.0);
    }

    #[test]
    fn an_interval_needs_two_people() {
        assert_eq!(BOOTSTRAP.of_mean(&[("a", 1.0), ("a", 2.0)]), None);
        assert_eq!(BOOTSTRAP.of_mean::<&str>(&[]), None);
        let none = Bootstrap {
            resamples: 0,
            ..BOOTSTRAP
        };
        assert_eq!(none.of_mean(&[("a", 1.0), ("b", 2.0)]), None);
        assert_eq!(BOOTSTRAP.of(3, |_| Some(f64::NAN)), None);
    }

    #[test]
    fn equal_people_have_no_width_however_different_their_images_are() {
        let values: Vec<_> = (0..8).map(|k| (k / 2, f64::from(k % 2))).collect();
        let found = BOOTSTRAP.of_mean(&values);
        assert_eq!(
            found,
            Some(Interval {
                low: 0.5,
                high: 0.5
            })
        );
        let wide = BOOTSTRAP.of_mean(&[(1, 0.0), (2, 1.0), (3, 5.0)]);
        assert!(wide.is_some_and(|i| i.low < 1.0 && i.high > 3.0));
    }
}
