//! Metrics of generated people. The stage evaluate computed most of them; here they get their
//! targets.

use laioncele_core::table::EvaluationScore;

use super::metric::{Metric, Target};
use super::tables::RunTables;
use crate::truth::Truth;

/// The system of the run's own images.
pub(super) const OURS: &str = "laioncele";
/// The base model, of nobody.
const BASE: &str = "sdxl";
/// The metric of images that differ in their seeds alone.
const SEEDS: &str = "seed_pixel_difference";
/// How many unseen people the run must generate, in a world that has so many.
const PEOPLE: usize = 20;
/// How much two images of a person from two seeds must differ on average, as a share of a pixel's
/// range. Images that ignore the seed differ by nothing.
const SEED_DIFFERENCE: f64 = 0.01;

/// The group in which people are to be told apart, in a world that has it. The paper, too, judges identity in one group
/// (scenes for the similarity to references): a gray or a bright photo changes faces on purpose.
const IDENTITY_GROUP: &str = "background";
/// Metrics of identity: the name here, that of the `evaluation` table, the target.
const IDENTITY: [(&str, &str, Option<Target>); 4] = [
    (
        "same_person_auc",
        "same_person_auc",
        Some(Target::AtLeast(0.9)),
    ),
    ("reference_auc", "reference_auc", Some(Target::AtLeast(0.8))),
    ("same_person_auc_of_all_groups", "same_person_auc", None),
    ("reference_auc_of_all_groups", "reference_auc", None),
];
/// The other metrics of the `evaluation` table with their targets.
const METRICS: [(&str, Option<Target>); 4] = [
    ("same_person_mean", None),
    ("random_pair_mean", None),
    ("reference_mean", None),
    (SEEDS, Some(Target::AtLeast(SEED_DIFFERENCE))),
];

pub(super) fn metrics(truth: &Truth, tables: &RunTables, metrics: &mut Vec<Metric>) {
    let name = "unseen_people_generated";
    let target = Some(Target::AtLeast(truth.unseen.min(PEOPLE) as f64));
    metrics.push(match &tables.sample_people {
        Some(people) => {
            // Samples of the base model show no particular person.
            let generated = people.iter().filter(|person| !person.is_empty()).count();
            Metric::number(name, generated as u64, truth.unseen as u64, target)
        }
        None => Metric::missing(name, target),
    });
    let rows = tables.evaluation.as_deref().unwrap_or_default();
    for (name, metric, target) in IDENTITY {
        let in_group = find(rows, OURS, metric, IDENTITY_GROUP);
        let row = match target {
            Some(_) => in_group.or_else(|| row(rows, OURS, metric)),
            // Said beside the one group's only.
            None if in_group.is_none() => continue,
            None => row(rows, OURS, metric),
        };
        metrics.push(match row {
            Some(row) => Metric::new(name, Some(row.value), row.count, target),
            None => Metric::missing(name, target),
        });
    }
    for (name, target) in METRICS {
        // Where each person has one image of a prompt, seeds are seen in the base model's.
        let row = row(rows, OURS, name).or_else(|| match name {
            SEEDS => row(rows, BASE, name),
            _ => None,
        });
        metrics.push(match row {
            Some(row) => Metric::new(name, Some(row.value), row.count, target),
            None => Metric::missing(name, target),
        });
    }
}

/// The row of a metric of a system in a group.
pub(super) fn find<'a>(
    rows: &'a [EvaluationScore],
    system: &str,
    metric: &str,
    group: &str,
) -> Option<&'a EvaluationScore> {
    let mut rows = rows.iter();
    rows.find(|row| row.system == system && row.metric == metric && row.group == group)
}

/// The row of a metric of a system, over all prompts, or over the first group if no row is over all.
fn row<'a>(rows: &'a [EvaluationScore], system: &str, metric: &str) -> Option<&'a EvaluationScore> {
    let of_system = rows.iter().filter(|row| row.system == system);
    let mut of_metric = of_system.filter(|row| row.metric == metric);
    let first = of_metric.clone().next();
    of_metric.find(|row| row.group == "all").or(first)
}
