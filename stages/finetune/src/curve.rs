//! What every step came to: the losses as a table, their running mean, and the guard against a loss
//! that runs away.

use std::fmt::Write;

use laioncele_finetune::StepReport;
use serde::{Deserialize, Serialize};

/// Steps that the running mean is taken over.
const WINDOW: usize = 200;

/// How many times its best the running mean may be.
const MOST: f64 = 3.0;

/// One step. Numbers are kept as their bits: JSON's readers round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Point {
    loss: u64,
    norm: u64,
    clipped: bool,
    /// Mean loss of the rows of each quarter of the timesteps, early ones first; none without rows.
    quarters: [Option<u64>; 4],
}

/// All steps so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Curve(Vec<Point>);

impl Curve {
    /// Adds a step whose rows had these timesteps, of `all`.
    pub(crate) fn add(&mut self, report: &StepReport, timesteps: &[usize], all: usize) {
        let quarter = |q: usize| {
            let rows = timesteps.iter().zip(&report.rows);
            let own = rows.filter(|(t, _)| (*t * 4 / all.max(1)).min(3) == q);
            let losses: Vec<f64> = own.map(|(_, loss)| *loss).collect();
            let mean = losses.iter().sum::<f64>() / losses.len() as f64;
            (!losses.is_empty()).then(|| mean.to_bits())
        };
        self.0.push(Point {
            loss: report.loss.to_bits(),
            norm: report.gradient_norm.to_bits(),
            clipped: report.clipped,
            quarters: std::array::from_fn(quarter),
        });
    }

    /// Steps.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Mean loss of the last steps before `end`.
    fn smoothed(&self, end: usize) -> f64 {
        let window = &self.0[end.saturating_sub(WINDOW)..end];
        let sum: f64 = window.iter().map(|point| f64::from_bits(point.loss)).sum();
        sum / window.len().max(1) as f64
    }

    /// Mean loss of the last steps.
    pub(crate) fn last(&self) -> f64 {
        self.smoothed(self.0.len())
    }

    /// Mean loss of the first steps.
    pub(crate) fn first(&self) -> f64 {
        self.smoothed(self.0.len().min(WINDOW))
    }

    /// Mean loss of the last steps by quarter of the timesteps, early ones first.
    pub(crate) fn last_quarters(&self) -> [Option<f64>; 4] {
        let window = &self.0[self.0.len().saturating_sub(WINDOW)..];
        std::array::from_fn(|q| {
            let found: Vec<f64> = (window.iter())
                .filter_map(|point| point.quarters[q].map(f64::from_bits))
                .collect();
            (!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64)
        })
    }

    /// The share of steps whose gradients were scaled down.
    pub(crate) fn clipped(&self) -> f64 {
        let clipped = self.0.iter().filter(|point| point.clipped).count();
        clipped as f64 / self.0.len().max(1) as f64
    }

    /// Why the training is to stop, if the running mean has left its best behind.
    pub(crate) fn diverged(&self) -> Option<String> {
        let count = self.0.len();
        if count < WINDOW || !count.is_multiple_of(WINDOW) {
            return None;
        }
        let now = self.smoothed(count);
        let ends = (WINDOW..=count).step_by(WINDOW);
        let best = ends
            .map(|end| self.smoothed(end))
            .fold(f64::INFINITY, f64::min);
        (now > MOST * best).then(|| {
            format!(
                "step {count}: the mean loss of {WINDOW} steps is {now:.4}, more than {MOST} times its best, {best:.4}; \
                 lower learning_rate in [finetune]"
            )
        })
    }

    /// As a CSV file.
    pub(crate) fn csv(&self, rate: impl Fn(u64) -> f64) -> String {
        let mut text =
            "step,loss,smoothed_loss,gradient_norm,clipped,learning_rate,loss_t1,loss_t2,loss_t3,loss_t4\n"
                .to_owned();
        for (i, point) in self.0.iter().enumerate() {
            let [loss, norm] = [point.loss, point.norm].map(f64::from_bits);
            let (smoothed, step) = (self.smoothed(i + 1), i + 1);
            let clipped = u8::from(point.clipped);
            // Writing to a String does not fail.
            let _ = write!(
                text,
                "{step},{loss},{smoothed},{norm},{clipped},{}",
                rate(step as u64)
            );
            for quarter in point.quarters {
                let value = quarter.map(|bits| f64::from_bits(bits).to_string());
                let _ = write!(text, ",{}", value.unwrap_or_default());
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(loss: f64) -> StepReport {
        StepReport {
            loss,
            rows: vec![loss - 0.25, loss + 0.25],
            gradient_norm: 2.0,
            clipped: true,
        }
    }

    #[test]
    fn rows_are_told_by_their_quarter() {
        let mut curve = Curve::default();
        curve.add(&report(0.5), &[0, 999], 1000);
        curve.add(&report(1.5), &[250, 250], 1000);
        assert_eq!(
            curve.last_quarters(),
            [Some(0.25), Some(1.5), None, Some(0.75)]
        );
        assert_eq!((curve.last(), curve.clipped()), (1.0, 1.0));
        let csv = curve.csv(|_| 1e-5);
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines[1], "1,0.5,0.5,2,1,0.00001,0.25,,,0.75");
        assert_eq!(lines[2], "2,1.5,1,2,1,0.00001,,1.5,,");
    }

    #[test]
    fn a_loss_that_runs_away_stops_the_training() {
        let mut curve = Curve::default();
        (0..400).for_each(|_| curve.add(&report(0.5), &[1, 2], 1000));
        assert_eq!(curve.diverged(), None);
        (0..200).for_each(|_| curve.add(&report(1.4), &[1, 2], 1000));
        assert_eq!(curve.diverged(), None);
        (0..200).for_each(|_| curve.add(&report(1.6), &[1, 2], 1000));
        let text = curve.diverged().expect("diverged");
        assert!(
            text.contains("step 800") && text.contains("learning_rate"),
            "{text}"
        );
    }

    #[test]
    fn a_curve_goes_through_json_unchanged() {
        let mut curve = Curve::default();
        curve.add(&report(0.005_191_643_539_367_116), &[1, 2], 1000);
        let text = serde_json::to_string(&curve).expect("JSON");
        assert_eq!(
            serde_json::from_str::<Curve>(&text).expect("a curve"),
            curve
        );
    }
}
