//! The rows of the `evaluation` table as they are collected.

use laioncele_core::table::EvaluationScore;

use crate::images::{ALL, MEAN};
use crate::intervals::Interval;

/// Metrics of which the mean over the groups is printed, as the paper's "All".
const AVERAGED: [&str; 5] = ["clip_ti", "fid", "kid", "frechet_clip", "kernel_clip"];

/// A figure with what it was taken of.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    value: f64,
    count: usize,
    interval: Option<Interval>,
    against: Option<(String, usize)>,
}

impl Value {
    /// A figure of `count` images or pairs.
    pub(crate) fn new(value: f64, count: usize) -> Self {
        Self {
            value,
            count,
            interval: None,
            against: None,
        }
    }

    pub(crate) fn with_interval(mut self, interval: Option<Interval>) -> Self {
        self.interval = interval;
        self
    }

    /// Compared with so many images of a system.
    pub(crate) fn against(mut self, system: &str, count: usize) -> Self {
        self.against = Some((system.to_owned(), count));
        self
    }
}

/// The rows so far.
#[derive(Default)]
pub(crate) struct Rows(Vec<EvaluationScore>);

impl Rows {
    /// Adds a figure; one that is no number is none.
    pub(crate) fn add(&mut self, system: &str, group: &str, metric: &str, value: Value) {
        if !value.value.is_finite() {
            return;
        }
        let (against, against_count) = value.against.unzip();
        self.0.push(EvaluationScore {
            system: system.to_owned(),
            metric: metric.to_owned(),
            group: group.to_owned(),
            value: value.value,
            low: value.interval.map(|i| i.low),
            high: value.interval.map(|i| i.high),
            count: value.count as u64,
            against,
            against_count: against_count.map(|count| count as u64),
        });
    }

    /// Adds the means over the groups, where there are several and all of them have the metric.
    pub(crate) fn add_means(&mut self, groups: &[&str]) {
        let named: Vec<&str> = groups.iter().filter(|g| **g != ALL).copied().collect();
        if named.len() < 2 {
            return;
        }
        let whole: Vec<EvaluationScore> = (self.0.iter())
            .filter(|row| row.group == ALL && AVERAGED.contains(&row.metric.as_str()))
            .cloned()
            .collect();
        for row in whole {
            let of = |group: &&str| {
                let mut rows = self.0.iter();
                rows.find(|r| r.group == *group && r.system == row.system && r.metric == row.metric)
            };
            let Some(parts) = named.iter().map(of).collect::<Option<Vec<_>>>() else {
                continue;
            };
            let mean = EvaluationScore {
                group: MEAN.to_owned(),
                value: parts.iter().map(|r| r.value).sum::<f64>() / parts.len() as f64,
                count: parts.iter().map(|r| r.count).sum(),
                against_count: parts.iter().map(|r| r.against_count).sum(),
                low: None,
                high: None,
                ..row
            };
            self.0.push(mean);
        }
    }

    /// Gives a row its interval, where the row is there.
    pub(crate) fn set_interval(
        &mut self,
        system: &str,
        group: &str,
        metric: &str,
        interval: Option<Interval>,
    ) {
        let mut rows = self.0.iter_mut();
        let found = rows.find(|r| r.system == system && r.group == group && r.metric == metric);
        if let Some(row) = found {
            row.low = interval.map(|i| i.low);
            row.high = interval.map(|i| i.high);
        }
    }

    pub(crate) fn into_table(self) -> Vec<EvaluationScore> {
        self.0
    }
}
