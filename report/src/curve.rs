//! The loss curve of the encoder's training, as `train-encoder` leaves it beside the weights.

use laioncele_core::TableId;

use crate::view::RunView;

/// A point of the curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    /// Steps taken.
    pub step: u64,
    /// Mean error over the batches since the last point.
    pub training: f64,
    /// The validation people's error; none without such people.
    pub validation: Option<f64>,
}

/// The points of the run's curve; none before the training.
pub(crate) fn read(view: &RunView) -> Vec<Point> {
    let mut parts = view.parts(TableId::Encoder);
    let part = parts.find(|part| part.path.ends_with("loss.csv"));
    let bytes = part.and_then(|part| view.bytes(part)).unwrap_or_default();
    parse(&String::from_utf8_lossy(&bytes))
}

/// The lines of `step,training_loss,validation_loss` that can be read.
fn parse(text: &str) -> Vec<Point> {
    let point = |line: &str| {
        let mut cells = line.split(',');
        Some(Point {
            step: cells.next()?.parse().ok()?,
            training: cells.next()?.parse().ok()?,
            validation: cells.next().and_then(|cell| cell.parse().ok()),
        })
    };
    text.lines().filter_map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_no_points_are_passed_over() {
        let text = "step,training_loss,validation_loss\n1,0.5,0.25\nx\n2,0.125,\n";
        let expected = [(1, 0.5, Some(0.25)), (2, 0.125, None)];
        let expected = expected.map(|(step, training, validation)| Point {
            step,
            training,
            validation,
        });
        assert_eq!(parse(text), expected);
    }
}
