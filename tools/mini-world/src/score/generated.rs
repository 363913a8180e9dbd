//! Figures about generated people: evaluate computed them, here they meet their targets.

use laioncele_core::table::EvaluationScore;

use super::found::Found;
use super::{Figure, Target};
use crate::truth::Truth;

/// Unseen people who must have been drawn, in a world that has so many.
const PEOPLE: usize = 20;
/// What two pictures of a person from two seeds must differ by on the mean, in parts of the whole range of a pixel:
/// frozen pictures do not.
const DIFFERENCE: f64 = 0.01;

/// The metrics of the `evaluation` table with their targets.
const METRICS: [(&str, Option<Target>); 6] = [
    ("same_person_auc", Some(Target::AtLeast(0.9))),
    ("reference_auc", Some(Target::AtLeast(0.8))),
    ("same_person_mean", None),
    ("random_pair_mean", None),
    ("reference_mean", None),
    ("seed_pixel_difference", Some(Target::AtLeast(DIFFERENCE))),
];

pub(super) fn figures(truth: &Truth, found: &Found, figures: &mut Vec<Figure>) {
    let (name, target) = ("unseen_people_drawn", truth.unseen.min(PEOPLE) as f64);
    let target = Some(Target::AtLeast(target));
    figures.push(match &found.people_drawn {
        Some(people) => {
            // The plain model's pictures show nobody in particular.
            let drawn = people.iter().filter(|p| !p.is_empty()).count() as u64;
            Figure::number(name, drawn, truth.unseen as u64, target)
        }
        None => Figure::missing(name, target),
    });
    for (metric, target) in METRICS {
        let row = found.evaluation.as_ref().and_then(|rows| row(rows, metric));
        figures.push(match row {
            Some(row) => Figure::new(metric, Some(row.value), row.count, target),
            None => Figure::missing(metric, target),
        });
    }
}

/// A metric over all prompts, or over the only group there is.
fn row<'a>(rows: &'a [EvaluationScore], metric: &str) -> Option<&'a EvaluationScore> {
    let mut of_metric = rows.iter().filter(|r| r.metric == metric);
    let first = of_metric.clone().next();
    of_metric.find(|r| r.group == "all").or(first)
}
