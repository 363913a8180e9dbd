//! The loss curve: what the training and the validation people's error was, step by step.

use std::fmt::Write;

/// One point of the curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
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

/// Whether the last `patience` points (at least 1) are all no better than the best before them.
pub(crate) fn is_stuck(points: &[Point], patience: u64) -> bool {
    let losses: Vec<f64> = points.iter().filter_map(|p| p.validation).collect();
    let best = (0..losses.len()).min_by(|a, b| losses[*a].total_cmp(&losses[*b]));
    best.is_some_and(|best| (losses.len() - 1 - best) as u64 >= patience)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(step: u64, validation: Option<f64>) -> Point {
        Point {
            step,
            training: 0.5,
            validation,
        }
    }

    #[test]
    fn csv_has_a_line_for_each_point() {
        let text = csv(&[point(1, Some(0.25)), point(2, None)]);
        assert_eq!(
            text,
            "step,training_loss,validation_loss\n1,0.5,0.25\n2,0.5,\n"
        );
    }

    #[test]
    fn patience_counts_points_since_the_best() {
        let points: Vec<Point> = [3.0, 1.0, 2.0, 1.0]
            .map(|loss| point(1, Some(loss)))
            .to_vec();
        assert!(is_stuck(&points, 2));
        assert!(!is_stuck(&points, 3));
        assert!(!is_stuck(&[], 1));
        assert!(!is_stuck(&[point(1, None)], 1));
    }
}
