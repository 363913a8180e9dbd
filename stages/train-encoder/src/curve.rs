//! The loss curve: what the training and the validation people's error was, step by step.

use std::fmt::Write;

/// One point of the curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    /// Steps taken.
    pub step: u64,
    /// Mean over the batches since the last point.
    pub training: f64,
    /// Error on the validation people's photos, without noise; none without such people.
    pub validation: Option<f64>,
}

/// The curve as a CSV file.
pub(crate) fn csv(points: &[Point]) -> String {
    let mut text = "step,training_loss,validation_loss\n".to_owned();
    for point in points {
        let validation = point.validation.map(|v| v.to_string()).unwrap_or_default();
        // Writing to a String does not fail.
        let _ = writeln!(text, "{},{},{validation}", point.step, point.training);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_has_a_line_for_each_point() {
        let point = |step, validation| Point {
            step,
            training: 0.5,
            validation,
        };
        let text = csv(&[point(1, Some(0.25)), point(2, None)]);
        assert_eq!(
            text,
            "step,training_loss,validation_loss\n1,0.5,0.25\n2,0.5,\n"
        );
    }
}
