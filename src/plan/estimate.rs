//! How long the portraits of a manifest take, which is most of a run with the real SDXL.

use laioncele_core::TableId;
use serde::Serialize;

use super::StepPlan;
use crate::words::grouped;

/// Most and fewest portraits of a name: two show whether the others are worth generating.
const MOST: f64 = 4.0;
const LEAST: f64 = 2.0;

/// What is known from the run or given on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Basis {
    /// Names that get portraits.
    pub names: Option<u64>,
    /// Seconds of one worker per portrait.
    pub seconds_per_portrait: Option<f64>,
    /// Portraits generated per name.
    pub portraits_per_name: Option<f64>,
}

/// Worker-hours, which are GPU-hours if each worker has a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Names that get portraits.
    pub names: u64,
    /// Fewest and most portraits of each name.
    pub portraits_per_name: [f64; 2],
    /// Seconds of one worker per portrait.
    pub seconds_per_portrait: f64,
    /// Fewest and most hours of one worker.
    pub worker_hours: [f64; 2],
}

/// A value that an estimate needs and that is neither measured nor given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EstimateError {
    /// No names are encoded yet.
    #[error("the run does not know the number of names yet")]
    UnknownNames,
    /// No portraits are generated yet.
    #[error("the run does not know the time per portrait yet")]
    UnknownSeconds,
}

impl Basis {
    /// What the run has measured so far.
    pub fn measured(steps: &[StepPlan]) -> Self {
        let records = |step: &str| {
            let step = steps.iter().find(|s| s.name == step);
            step.into_iter().flat_map(StepPlan::records)
        };
        let parts = records("encode-names").flat_map(|r| r.outputs_of(TableId::NameEmbeddings));
        let names: u64 = parts.map(|part| part.rows).sum();
        let metric = |name: &str| -> f64 {
            let values = records("generate-portraits").filter_map(|r| r.metrics.get(name));
            values.sum()
        };
        let seconds: f64 = records("generate-portraits").map(|r| r.seconds).sum();
        let (all, saved) = (metric("portraits"), metric("portraits_saved"));
        let generated = all - metric("portraits_reused");
        Self {
            names: (names > 0).then_some(names),
            seconds_per_portrait: (generated > 0.0).then(|| seconds / generated),
            portraits_per_name: (all > 0.0).then(|| MOST * all / (all + saved)),
        }
    }

    /// Takes what is unknown from `measured`.
    #[must_use]
    pub fn or(self, measured: Self) -> Self {
        Self {
            names: self.names.or(measured.names),
            seconds_per_portrait: self.seconds_per_portrait.or(measured.seconds_per_portrait),
            portraits_per_name: self.portraits_per_name.or(measured.portraits_per_name),
        }
    }

    /// The hours. If the share of agreeing names is unknown, a lazy run generates two to four
    /// portraits per name.
    ///
    /// # Errors
    /// What is unknown.
    pub fn estimate(self, lazy: bool) -> Result<Estimate, EstimateError> {
        let names = self.names.ok_or(EstimateError::UnknownNames)?;
        let seconds = self
            .seconds_per_portrait
            .ok_or(EstimateError::UnknownSeconds)?;
        let portraits = match self.portraits_per_name {
            _ if !lazy => [MOST; 2],
            Some(known) => [known; 2],
            None => [LEAST, MOST],
        };
        let hours = |portraits: f64| names as f64 * portraits * seconds / 3600.0;
        Ok(Estimate {
            names,
            portraits_per_name: portraits,
            seconds_per_portrait: seconds,
            worker_hours: portraits.map(hours),
        })
    }
}

impl Estimate {
    /// One line.
    pub fn render(&self) -> String {
        let range = |[low, high]: [f64; 2]| {
            if low == high {
                format!("{low:.1}")
            } else {
                format!("{low:.1} to {high:.1}")
            }
        };
        format!(
            "portraits: {} names x {} portraits x {:.2} s = {} worker-hours (GPU-hours if each worker has a GPU)",
            grouped(self.names),
            range(self.portraits_per_name),
            self.seconds_per_portrait,
            range(self.worker_hours),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basis() -> Basis {
        Basis {
            names: Some(1000),
            seconds_per_portrait: Some(3.6),
            portraits_per_name: None,
        }
    }

    #[test]
    fn a_lazy_run_is_estimated_with_two_to_four_portraits() {
        let estimate = basis().estimate(true).expect("everything is known");
        assert_eq!(estimate.worker_hours, [2.0, 4.0]);
        assert_eq!(
            estimate.render(),
            "portraits: 1,000 names x 2.0 to 4.0 portraits x 3.60 s = 2.0 to 4.0 worker-hours (GPU-hours if each worker has a GPU)"
        );
        let all = basis().estimate(false).expect("everything is known");
        assert_eq!(all.worker_hours, [4.0, 4.0]);
    }

    #[test]
    fn given_values_take_precedence_over_measured_ones() {
        let measured = Basis {
            names: Some(5),
            seconds_per_portrait: None,
            portraits_per_name: Some(2.5),
        };
        let estimate = basis()
            .or(measured)
            .estimate(true)
            .expect("everything is known");
        assert_eq!((estimate.names, estimate.worker_hours), (1000, [2.5; 2]));
    }

    #[test]
    fn unknown_values_are_named() {
        assert_eq!(
            Basis::default().estimate(true),
            Err(EstimateError::UnknownNames)
        );
        let named = Basis {
            names: Some(1),
            ..Basis::default()
        };
        assert_eq!(named.estimate(true), Err(EstimateError::UnknownSeconds));
    }
}
