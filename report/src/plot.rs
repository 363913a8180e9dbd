//! Plots as inline SVG. Their colours are classes of the page's style sheet, so that they are light or dark with it.

use std::fmt::Write;

use crate::curve::Point;
use crate::histogram::{Histogram, STEPS};
use crate::numbers::grouped;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 220.0;
/// Left of the plot, for the numbers; below it, for the axis; above it, for the thresholds' names.
const LEFT: f64 = 56.0;
const BELOW: f64 = 28.0;
const ABOVE: f64 = 20.0;

/// Writing to a String does not fail.
macro_rules! add {
    ($text:expr, $($form:tt)*) => {{ let _ = write!($text, $($form)*); }};
}

fn begin(label: &str) -> String {
    let label = escaped(label);
    format!(
        "<svg class=\"plot\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{label}\">"
    )
}

/// Two distributions of similarities as outlines of equal area, and thresholds as lines with their names.
pub(crate) fn distributions(
    same: &Histogram,
    different: &Histogram,
    thresholds: &[(String, f64)],
    label: &str,
) -> String {
    let range = shown_range(&[same, different], thresholds);
    let x = |similarity: f64| {
        let share = (similarity - range.0) / (range.1 - range.0);
        LEFT + share * (WIDTH - LEFT - 8.0)
    };
    let mut text = begin(label);
    let tallest = [same, different].map(share_of_tallest);
    let tallest = tallest[0].max(tallest[1]).max(1e-9);
    for (histogram, class) in [(different, "different"), (same, "same")] {
        text.push_str(&outline(histogram, class, tallest, &x));
    }
    let mut tick = range.0;
    while tick <= range.1 + 1e-9 {
        add!(
            text,
            "<text class=\"axis\" text-anchor=\"middle\" x=\"{:.1}\" y=\"{:.1}\">{tick:.1}</text>",
            x(tick),
            HEIGHT - 8.0
        );
        tick += 0.2;
    }
    for (name, value) in thresholds {
        let at = x(*value);
        add!(
            text,
            "<line class=\"threshold\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{ABOVE}\" y2=\"{:.1}\"/>",
            HEIGHT - BELOW
        );
        add!(
            text,
            "<text class=\"threshold-name\" text-anchor=\"middle\" x=\"{:.1}\" y=\"14\">{} {value}</text>",
            at.clamp(LEFT + 60.0, WIDTH - 70.0),
            escaped(name)
        );
    }
    add!(
        text,
        "<text class=\"axis\" x=\"2\" y=\"{:.1}\">{:.0} %</text></svg>",
        ABOVE + 10.0,
        tallest * 100.0
    );
    text
}

/// The similarities between which there is anything, in steps of 0.2.
fn shown_range(histograms: &[&Histogram], thresholds: &[(String, f64)]) -> (f64, f64) {
    let (mut low, mut high) = (0.0f64, 1.0f64);
    for histogram in histograms {
        let used = |step: &usize| histogram.counts[*step] > 0;
        let edge = |step: usize| step as f64 * 2.0 / STEPS as f64 - 1.0;
        if let Some(first) = (0..STEPS).find(used) {
            low = low.min(edge(first));
        }
    }
    for (_, value) in thresholds {
        (low, high) = (low.min(*value), high.max(*value));
    }
    ((low * 5.0).floor() / 5.0, (high * 5.0).ceil() / 5.0)
}

fn share_of_tallest(histogram: &Histogram) -> f64 {
    let tallest = histogram.counts.iter().max().copied().unwrap_or(0);
    tallest as f64 / histogram.total().max(1) as f64
}

fn outline(histogram: &Histogram, class: &str, tallest: f64, x: &impl Fn(f64) -> f64) -> String {
    if histogram.total() == 0 {
        return String::new();
    }
    let base = HEIGHT - BELOW;
    let edge = |step: usize| step as f64 * 2.0 / STEPS as f64 - 1.0;
    let mut path = String::new();
    for (step, count) in histogram.counts.iter().enumerate() {
        if *count == 0 {
            continue;
        }
        let share = *count as f64 / histogram.total() as f64 / tallest;
        let top = base - share * (base - ABOVE);
        let (left, right) = (x(edge(step)), x(edge(step + 1)));
        add!(path, "M{left:.1} {base:.1}V{top:.1}H{right:.1}V{base:.1}Z");
    }
    format!("<path class=\"{class}\" d=\"{path}\"/>")
}

/// The loss curve: training and validation error by step, logarithmic where the errors span more than a tenfold.
pub(crate) fn losses(points: &[Point], label: &str) -> String {
    let values = || {
        let both = |p: &Point| [Some(p.training), p.validation];
        points
            .iter()
            .flat_map(both)
            .flatten()
            .filter(|v| v.is_finite() && *v > 0.0)
    };
    let (low, high) = values().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
    let last = points.iter().map(|p| p.step).max().unwrap_or(0);
    if low > high || last == 0 {
        return String::new();
    }
    let logarithmic = high / low > 10.0;
    let scale = |v: f64| if logarithmic { v.ln() } else { v };
    let span = (scale(high) - scale(low)).max(1e-12);
    let base = HEIGHT - BELOW;
    let x = |step: u64| LEFT + step as f64 / last as f64 * (WIDTH - LEFT - 8.0);
    let y = |v: f64| base - (scale(v) - scale(low)) / span * (base - ABOVE);
    let mut text = begin(label);
    let line = |class: &str, value: &dyn Fn(&Point) -> Option<f64>| {
        let mut path = String::new();
        for point in points {
            if let Some(v) = value(point).filter(|v| v.is_finite() && *v > 0.0) {
                let start = if path.is_empty() { 'M' } else { 'L' };
                add!(path, "{start}{:.1} {:.1}", x(point.step), y(v));
            }
        }
        format!("<path class=\"{class}\" d=\"{path}\"/>")
    };
    text.push_str(&line("line training", &|p| Some(p.training)));
    text.push_str(&line("line validation", &|p| p.validation));
    for value in [low, high] {
        add!(
            text,
            "<text class=\"axis\" x=\"2\" y=\"{:.1}\">{value:.3}</text>",
            y(value) + 4.0
        );
    }
    add!(
        text,
        "<text class=\"axis\" text-anchor=\"end\" x=\"{WIDTH}\" y=\"{:.1}\">step {}</text></svg>",
        HEIGHT - 8.0,
        grouped(last)
    );
    text
}

/// A bar of `share` (0 to 1) of its width.
pub(crate) fn bar(share: f64) -> String {
    let width = share.clamp(0.0, 1.0) * 100.0;
    format!(
        "<svg class=\"bar\" viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
         <rect class=\"kept\" width=\"{width:.2}\" height=\"8\"/></svg>"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(values: &[f32]) -> Histogram {
        let mut histogram = Histogram::default();
        values.iter().for_each(|v| histogram.add(*v));
        histogram
    }

    #[test]
    fn thresholds_are_drawn_where_they_are() {
        let (same, different) = (histogram(&[0.7, 0.8]), histogram(&[-0.1, 0.1]));
        let text = distributions(&same, &different, &[("a < b".to_owned(), 0.5)], "x \"y\"");
        assert!(text.starts_with("<svg") && text.ends_with("</svg>"));
        // From -0.2 to 1.0: 0.5 is 7/12 of the way.
        let at = LEFT + 7.0 / 12.0 * (WIDTH - LEFT - 8.0);
        assert!(text.contains(&format!("x1=\"{at:.1}\"")), "{text}");
        assert!(text.contains("a &lt; b 0.5") && text.contains("x &quot;y&quot;"));
    }

    #[test]
    fn a_curve_has_a_point_for_each_step_and_none_for_what_is_no_number() {
        let point = |step, training, validation| Point {
            step,
            training,
            validation,
        };
        let points = [
            point(1, 1.0, None),
            point(2, f64::NAN, Some(0.5)),
            point(4, 0.01, Some(0.2)),
        ];
        let text = losses(&points, "loss");
        let training = text.split("line training\" d=\"").nth(1).expect("a path");
        let path = training.split('"').next().unwrap_or_default();
        assert_eq!(path.matches(['M', 'L']).count(), 2);
        assert_eq!(losses(&[], "loss"), "");
    }
}
