//! Whether images show their prompts, in worlds with several groups of prompts.

use std::collections::BTreeSet;

use laioncele_core::table::EvaluationScore;

use super::generated::{OURS, find};
use super::metric::{Metric, Target, count};

/// The group that is the mean over the groups, which only several groups have.
const MEAN: &str = "mean";
/// Images that are nearest to their own prompt, among those that were drawn of the person.
const PRECISION: f64 = 0.8;
/// How much nearer images are to their own prompt than to the others, in points of CLIP-TI.
const OVER_OTHERS: f64 = 10.0;

/// The metrics of prompts; none where the run had one group only.
pub(super) fn metrics(rows: &[EvaluationScore], metrics: &mut Vec<Metric>) {
    let groups: BTreeSet<&str> = rows.iter().map(|row| row.group.as_str()).collect();
    if !groups.contains(MEAN) {
        return;
    }
    let ours = find(rows, OURS, "clip_ti", MEAN);
    metrics.push(Metric::new(
        "clip_ti",
        ours.map(|r| r.value),
        ours.map_or(0, |r| r.count),
        None,
    ));
    for (name, system) in [
        ("clip_ti_less_sdxl", "sdxl"),
        ("clip_ti_less_sdxl_name", "sdxl-name"),
    ] {
        metrics.push(less(name, ours, find(rows, system, "clip_ti", MEAN)));
    }
    metrics.push(over_others(rows));
    let precision = find(rows, OURS, "prompt_precision", "all");
    let target = Some(Target::AtLeast(PRECISION));
    metrics.push(match precision {
        Some(row) => Metric::new("prompt_precision", Some(row.value), row.count, target),
        None => Metric::missing("prompt_precision", target),
    });
    let distances = rows.iter().filter(|row| row.metric == "frechet_clip");
    let equal = count(distances, |row| row.against_count == Some(row.count));
    metrics.push(Metric::share(
        "distances_of_equal_counts",
        equal,
        Some(Target::AtLeast(1.0)),
    ));
}

/// Ours less another system's, which may be below zero by as much as the lower half of our interval is wide.
fn less(name: &str, ours: Option<&EvaluationScore>, other: Option<&EvaluationScore>) -> Metric {
    let (Some(ours), Some(other)) = (ours, other) else {
        return Metric::missing(name, Some(Target::AtLeast(0.0)));
    };
    let half = ours.low.map_or(0.0, |low| ours.value - low);
    let least = (-half * 1000.0).floor() / 1000.0;
    Metric::new(
        name,
        Some(ours.value - other.value),
        ours.count,
        Some(Target::AtLeast(least)),
    )
}

fn over_others(rows: &[EvaluationScore]) -> Metric {
    let of = |metric| find(rows, OURS, metric, "all");
    let (name, target) = (
        "clip_ti_over_other_prompts",
        Some(Target::AtLeast(OVER_OTHERS)),
    );
    match (of("clip_ti"), of("clip_ti_others")) {
        (Some(own), Some(others)) => {
            Metric::new(name, Some(own.value - others.value), own.count, target)
        }
        _ => Metric::missing(name, target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(system: &str, metric: &str, group: &str, value: f64) -> EvaluationScore {
        EvaluationScore {
            system: system.to_owned(),
            metric: metric.to_owned(),
            group: group.to_owned(),
            value,
            low: Some(value - 0.5),
            high: Some(value + 0.5),
            count: 8,
            against: Some("sdxl-name".to_owned()),
            against_count: Some(8),
        }
    }

    fn rows() -> Vec<EvaluationScore> {
        let mut rows = vec![
            row(OURS, "clip_ti", MEAN, 80.0),
            row(OURS, "clip_ti", "all", 80.0),
            row(OURS, "clip_ti_others", "all", 20.0),
            row(OURS, "prompt_precision", "all", 0.9),
            row(OURS, "frechet_clip", "all", 3.0),
        ];
        rows.extend(["sdxl", "sdxl-name"].map(|system| row(system, "clip_ti", MEAN, 80.25)));
        rows
    }

    fn missed(rows: &[EvaluationScore]) -> Vec<String> {
        let mut found = Vec::new();
        metrics(rows, &mut found);
        assert_eq!(found.len(), 6);
        let missed = found.into_iter().filter(|metric| !metric.met);
        missed.map(|metric| metric.name).collect()
    }

    #[test]
    fn a_quarter_of_a_point_is_within_the_interval() {
        assert!(missed(&rows()).is_empty());
    }

    #[test]
    fn each_fault_misses_its_own_target() {
        type Change = fn(&mut EvaluationScore);
        let changes: [(usize, Change, &str); 5] = [
            (5, |row| row.value = 80.6, "clip_ti_less_sdxl"),
            (6, |row| row.value = 80.6, "clip_ti_less_sdxl_name"),
            (2, |row| row.value = 75.0, "clip_ti_over_other_prompts"),
            (3, |row| row.value = 0.7, "prompt_precision"),
            (
                4,
                |row| row.against_count = Some(2),
                "distances_of_equal_counts",
            ),
        ];
        for (at, change, metric) in changes {
            let mut rows = rows();
            change(&mut rows[at]);
            assert_eq!(missed(&rows), [metric]);
            rows.remove(at);
            assert_eq!(missed(&rows), [metric], "a missing row is no met target");
        }
    }

    #[test]
    fn one_group_has_no_such_metrics() {
        let mut found = Vec::new();
        metrics(&[row(OURS, "clip_ti", "all", 80.0)], &mut found);
        assert!(found.is_empty());
    }
}
