//! One metric: a value, what it was taken over, and its target.

use serde::{Deserialize, Serialize};

/// What the value of a metric must be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
}

/// One metric of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// What it measures, in snake case.
    pub name: String,
    /// The value; null if the run has not written the tables that it needs, or if there was nothing
    /// to count.
    pub value: Option<f64>,
    /// Rows or pairs that it was taken over.
    pub count: u64,
    /// What the value must be; null for metrics without a target.
    pub target: Option<Target>,
    /// Whether the target is met. True without a target, false with a target but without a value.
    pub met: bool,
}

impl Metric {
    pub(super) fn new(name: &str, value: Option<f64>, count: u64, target: Option<Target>) -> Self {
        let met = match (target, value) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(Target::AtLeast(least)), Some(value)) => value >= least,
            (Some(Target::AtMost(most)), Some(value)) => value <= most,
        };
        Self {
            name: name.to_owned(),
            value,
            count,
            target,
            met,
        }
    }

    /// The share of `part` in `whole`. It has no value if the whole is empty.
    pub(super) fn share(name: &str, (part, whole): (u64, u64), target: Option<Target>) -> Self {
        let value = (whole > 0).then(|| part as f64 / whole as f64);
        Self::new(name, value, whole, target)
    }

    /// A number of things, out of `of` things.
    pub(super) fn number(name: &str, number: u64, of: u64, target: Option<Target>) -> Self {
        Self::new(name, Some(number as f64), of, target)
    }

    /// A metric without a value, because the run has not written a table that it needs.
    pub(super) fn missing(name: &str, target: Option<Target>) -> Self {
        Self::new(name, None, 0, target)
    }

    /// A line of the table for people; the name takes `wide` columns.
    pub(super) fn line(&self, wide: usize) -> String {
        let value = self.value.map_or("-".to_owned(), |v| format!("{v:.3}"));
        let target = match self.target {
            Some(Target::AtLeast(least)) => format!("≥ {least}"),
            Some(Target::AtMost(most)) => format!("≤ {most}"),
            None => String::new(),
        };
        let verdict = match (self.target, self.met) {
            (None, _) => "",
            (_, true) => "met",
            (_, false) => "MISSED",
        };
        let Self { name, count, .. } = self;
        let line = format!("{name:<wide$}  {value:>8}  {count:>6}  {target:>8}  {verdict}");
        line.trim_end().to_owned()
    }
}

/// For how many of `items` `holds` is true, and how many items there are.
pub(super) fn count<T>(
    items: impl IntoIterator<Item = T>,
    mut holds: impl FnMut(&T) -> bool,
) -> (u64, u64) {
    let mut counts = (0, 0);
    for item in items {
        counts.0 += u64::from(holds(&item));
        counts.1 += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn met_compares_the_value_with_the_target() {
        let met = |value, target| Metric::new("m", value, 1, target).met;
        assert!(met(Some(0.9), Some(Target::AtLeast(0.9))));
        assert!(!met(Some(0.89), Some(Target::AtLeast(0.9))));
        assert!(met(Some(0.1), Some(Target::AtMost(0.1))));
        assert!(!met(Some(0.11), Some(Target::AtMost(0.1))));
        assert!(met(None, None) && met(Some(0.0), None));
    }

    #[test]
    fn a_missing_value_does_not_meet_a_target() {
        assert!(!Metric::missing("m", Some(Target::AtMost(1.0))).met);
        assert!(!Metric::share("m", (0, 0), Some(Target::AtLeast(0.0))).met);
    }

    #[test]
    fn share_divides_what_count_counts() {
        let metric = Metric::share("m", count([1, 2, 3, 4], |n| n % 2 == 0), None);
        assert_eq!((metric.value, metric.count), (Some(0.5), 4));
    }
}
