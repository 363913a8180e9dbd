//! The loss curve as a picture: an SVG file, for browsers and dataset pages.

use std::fmt::Write;

use crate::curve::Point;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
/// Room for the axes' texts: left, top, right, bottom.
const MARGIN: [f64; 4] = [72.0, 24.0, 24.0, 48.0];

/// Both curves over the steps. The losses' axis is logarithmic.
pub(crate) fn svg(points: &[Point]) -> String {
    let training: Vec<(u64, f64)> = points.iter().map(|p| (p.step, p.training)).collect();
    let with_loss = |p: &Point| Some((p.step, p.validation?));
    let validation: Vec<(u64, f64)> = points.iter().filter_map(with_loss).collect();
    let axes = Axes::of(training.iter().chain(&validation));
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    axes.draw(&mut text);
    let curves = [
        ("training loss", "#1f77b4", &training, 0.0),
        ("validation loss", "#d62728", &validation, 1.0),
    ];
    for (name, color, curve, line) in curves {
        if curve.is_empty() {
            continue;
        }
        let place = |&(step, loss): &(u64, f64)| format!("{:.1},{:.1}", axes.x(step), axes.y(loss));
        let places: Vec<String> = curve.iter().map(place).collect();
        let (x, y) = (WIDTH - MARGIN[2] - 120.0, MARGIN[1] + 16.0 + 18.0 * line);
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "<polyline fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\" points=\"{}\"/>\n\
             <text x=\"{x}\" y=\"{y}\" fill=\"{color}\">{name}</text>\n",
            places.join(" ")
        );
    }
    text.push_str("</svg>\n");
    text
}

/// The ranges of both axes.
struct Axes {
    steps: f64,
    low: f64,
    high: f64,
}

impl Axes {
    fn of<'a>(points: impl Iterator<Item = &'a (u64, f64)> + Clone) -> Self {
        let losses = points.clone().map(|p| p.1);
        let losses = losses.filter(|loss| loss.is_finite() && *loss > 0.0);
        let (low, high) = losses.fold((f64::INFINITY, 0.0f64), |(low, high), loss| {
            (low.min(loss), high.max(loss))
        });
        let (low, high) = match low < high {
            true => (low, high),
            false if high > 0.0 => (high * 0.5, high * 2.0),
            false => (0.1, 1.0),
        };
        let steps = points.map(|p| p.0).max().unwrap_or(1).max(1) as f64;
        Self { steps, low, high }
    }

    fn x(&self, step: u64) -> f64 {
        MARGIN[0] + step as f64 / self.steps * (WIDTH - MARGIN[0] - MARGIN[2])
    }

    fn y(&self, loss: f64) -> f64 {
        let way = (loss.max(self.low) / self.low).ln() / (self.high / self.low).ln();
        HEIGHT - MARGIN[3] - way * (HEIGHT - MARGIN[1] - MARGIN[3])
    }

    fn draw(&self, text: &mut String) {
        let (left, right) = (MARGIN[0], WIDTH - MARGIN[2]);
        for part in 0..=4u32 {
            let loss = self.low * (self.high / self.low).powf(f64::from(part) / 4.0);
            let y = self.y(loss);
            let _ = write!(
                text,
                "<line x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\n\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{loss:.4}</text>\n",
                left - 6.0,
                y + 4.0
            );
            let step = (self.steps * f64::from(part) / 4.0).round() as u64;
            let (x, y) = (self.x(step), HEIGHT - MARGIN[3] + 18.0);
            let _ = writeln!(
                text,
                "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{step}</text>"
            );
        }
        let (x, y) = ((left + right) / 2.0, HEIGHT - 10.0);
        let _ = writeln!(
            text,
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">steps</text>"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_goes_from_corner_to_corner() {
        let point = |step, training, validation| Point {
            step,
            training,
            validation,
        };
        let text = svg(&[point(0, 8.0, Some(4.0)), point(100, 2.0, None)]);
        assert!(text.contains("points=\"72.0,24.0 696.0,352.0\""), "{text}");
        assert!(text.contains("points=\"72.0,188.0\""), "{text}");
        assert_eq!(text.matches("<polyline").count(), 2);
    }

    #[test]
    fn strange_curves_are_pictures_too() {
        for loss in [0.0, f64::NAN, f64::INFINITY, 1.0] {
            let point = Point {
                step: 0,
                training: loss,
                validation: None,
            };
            assert!(svg(&[point]).ends_with("</svg>\n"));
        }
        assert!(svg(&[]).ends_with("</svg>\n"));
    }
}
