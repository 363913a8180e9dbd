//! Counts of similarities in equal steps from -1 to 1.

/// Steps between -1 and 1: each is 0.02 wide.
pub(crate) const STEPS: usize = 100;

/// Counted similarities.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Histogram {
    /// By step; the last holds 1 too.
    pub counts: [u64; STEPS],
    /// The values, in the order in which they came.
    values: Vec<f32>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: [0; STEPS],
            values: Vec::new(),
        }
    }
}

impl Histogram {
    /// Counts a similarity; one that is no number is none.
    pub(crate) fn add(&mut self, similarity: f32) {
        if !similarity.is_finite() {
            return;
        }
        let step = ((f64::from(similarity) + 1.0) / 2.0 * STEPS as f64).floor();
        self.counts[(step.max(0.0) as usize).min(STEPS - 1)] += 1;
        self.values.push(similarity);
    }

    /// All of them.
    pub(crate) fn total(&self) -> u64 {
        self.values.len() as u64
    }

    /// How many are not below `threshold`.
    pub(crate) fn from(&self, threshold: f64) -> u64 {
        let reaches = |value: &&f32| f64::from(**value) >= threshold;
        self.values.iter().filter(reaches).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similarities_are_counted_in_their_step() {
        let mut histogram = Histogram::default();
        for value in [-1.0, -2.0, 0.01, 0.5, 1.0, 1.000_01, f32::NAN] {
            histogram.add(value);
        }
        assert_eq!(histogram.total(), 6);
        assert_eq!((histogram.counts[0], histogram.counts[99]), (2, 2));
        assert_eq!((histogram.counts[50], histogram.counts[75]), (1, 1));
        assert_eq!((histogram.from(0.5), histogram.from(0.01)), (3, 3));
        assert_eq!(histogram.from(0.0), 4);
    }
}
