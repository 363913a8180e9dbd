//! The error rates of a recognizer's thresholds: false accepts and false rejects, with 95 %
//! intervals.
//!
//! Similarities are counted in steps of 0.01. Pairs share people, so they are not independent. The
//! variance of a rate is estimated by leaving out one person after the other (the jackknife). The
//! interval is Wilson's, for the number of independent pairs that has the same variance. Nothing is
//! random.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::FaceError;

/// Steps of similarity from 0 to 1; what is below 0 counts as 0.
const STEPS: usize = 100;
/// The normal distribution's 97.5th percentile.
const Z: f64 = 1.959_963_985;
/// The most bytes that are read as a calibration.
const MAX_BYTES: u64 = 4 << 20;

/// Similarities of pairs of people, counted. A person is a position below the number given.
#[derive(Clone, Debug)]
pub struct Tally {
    all: Counts,
    by_person: Vec<Counts>,
}

/// Pairs by the step that their similarity lies in; the last step holds 1 and what rounding puts
/// above.
type Counts = [u64; STEPS + 1];

impl Tally {
    /// No pair yet, of `people` people.
    pub fn new(people: usize) -> Self {
        Self {
            all: [0; STEPS + 1],
            by_person: vec![[0; STEPS + 1]; people],
        }
    }

    /// Counts the similarity of a pair: of two people, or of one person's two faces. One that is no
    /// number counts as 0.
    ///
    /// # Panics
    /// For a person that is not below the number of people.
    pub fn add(&mut self, people: [usize; 2], similarity: f32) {
        let step = step_below(f64::from(similarity));
        self.all[step] += 1;
        self.by_person[people[0]][step] += 1;
        if people[0] != people[1] {
            self.by_person[people[1]][step] += 1;
        }
    }

    /// The number of pairs counted so far.
    pub fn pairs(&self) -> u64 {
        self.all.iter().sum()
    }

    /// The share of pairs in these steps.
    fn rate(&self, steps: std::ops::Range<usize>) -> Rate {
        let within = |counts: &Counts| counts[steps.clone()].iter().sum::<u64>() as f64;
        let of = |counts: &Counts| counts.iter().sum::<u64>() as f64;
        let (hits, pairs) = (within(&self.all), of(&self.all));
        if pairs == 0.0 {
            return Rate([0.0, 0.0, 1.0]);
        }
        let share = hits / pairs;
        let present = self.by_person.iter().filter(|c| of(c) > 0.0);
        let without: Vec<f64> = present
            .filter(|c| of(c) < pairs)
            .map(|c| (hits - within(c)) / (pairs - of(c)))
            .collect();
        wilson(share, independent(share, pairs, &without))
    }
}

/// The number of independent pairs whose share has the same variance as that of `pairs`, from the
/// shares found without each of the people.
fn independent(share: f64, pairs: f64, without: &[f64]) -> f64 {
    let people = without.len() as f64;
    let mean = without.iter().sum::<f64>() / people;
    let squares: f64 = without.iter().map(|s| (s - mean).powi(2)).sum();
    let variance = squares * (people - 1.0) / people;
    let fewest = people.clamp(1.0, pairs);
    if variance > 0.0 {
        (share * (1.0 - share) / variance).clamp(fewest, pairs)
    } else {
        // All or none: nothing is known of how the pairs depend on each other.
        fewest
    }
}

fn wilson(share: f64, pairs: f64) -> Rate {
    let square = Z * Z / pairs;
    let centre = (share + square / 2.0) / (1.0 + square);
    let spread = (share * (1.0 - share) / pairs + square / (4.0 * pairs)).sqrt();
    let half = Z * spread / (1.0 + square);
    let low = if share == 0.0 {
        0.0
    } else {
        (centre - half).max(0.0)
    };
    let high = if share == 1.0 {
        1.0
    } else {
        (centre + half).min(1.0)
    };
    Rate([share, low, high].map(|v| (v * 1e6).round() / 1e6))
}

/// A share in [0, 1] and the ends of its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate(pub [f64; 3]);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [share, low, high] = self.0.map(|v| v * 100.0);
        write!(f, "{share:.2} % ({low:.2} to {high:.2})")
    }
}

/// The error rates of one threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Lowest similarity that is accepted.
    pub threshold: f64,
    /// Pairs of two people that are accepted.
    pub false_accepts: Rate,
    /// Pairs of one person that are rejected.
    pub false_rejects: Rate,
}

/// The error rates of all thresholds from 0 to 1 in steps of 0.01: the ROC.
///
/// ```
/// use laioncele_face::calibration::{Curve, Tally};
///
/// let (mut same, mut different) = (Tally::new(3), Tally::new(3));
/// for (person, similarity) in [0.9, 0.8, 0.4].into_iter().enumerate() {
///     same.add([person, person], similarity);
/// }
/// for (pair, similarity) in [([0, 1], 0.1), ([0, 2], 0.3), ([1, 2], 0.6)] {
///     different.add(pair, similarity);
/// }
/// let point = Curve::new(&same, &different).at(0.5).expect("a threshold from 0 to 1");
/// // One of three pairs of two people is accepted, one of three of one person rejected.
/// assert_eq!(point.false_accepts.0[0], 0.333_333);
/// assert_eq!(point.false_rejects.0[0], 0.333_333);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Pairs of one person.
    pub same: u64,
    /// Pairs of two people.
    pub different: u64,
    /// By threshold, from 0 on.
    pub points: Vec<Point>,
}

impl Curve {
    /// The curve of these similarities of one person and of two.
    pub fn new(same: &Tally, different: &Tally) -> Self {
        let point = |step: usize| Point {
            threshold: step as f64 / STEPS as f64,
            false_accepts: different.rate(step..STEPS + 1),
            false_rejects: same.rate(0..step),
        };
        Self {
            same: same.pairs(),
            different: different.pairs(),
            points: (0..=STEPS).map(point).collect(),
        }
    }

    /// The error rates of `threshold`; between two steps the worse of both rates.
    pub fn at(&self, threshold: f64) -> Option<Point> {
        let below = self.points.get(step_below(threshold))?;
        let above = self.points.get(step_above(threshold))?;
        Some(Point {
            threshold,
            false_accepts: below.false_accepts,
            false_rejects: above.false_rejects,
        })
    }

    /// The lowest threshold whose share of false accepts is at most `share`.
    pub fn at_false_accepts(&self, share: f64) -> Option<Point> {
        let fits = |p: &&Point| p.false_accepts.0[0] <= share;
        self.points.iter().find(fits).copied()
    }

    /// The threshold at which both rates are nearest.
    pub fn equal_errors(&self) -> Option<Point> {
        let gap = |p: &Point| (p.false_accepts.0[0] - p.false_rejects.0[0]).abs();
        let points = self.points.iter();
        points.min_by(|a, b| gap(a).total_cmp(&gap(b))).copied()
    }
}

/// The step that holds a similarity; rounding of two decimals does not move it.
fn step_below(similarity: f64) -> usize {
    (similarity * STEPS as f64 + 1e-4)
        .floor()
        .clamp(0.0, STEPS as f64) as usize
}

fn step_above(similarity: f64) -> usize {
    (similarity * STEPS as f64 - 1e-4)
        .ceil()
        .clamp(0.0, STEPS as f64) as usize
}

/// A recognizer's calibration, as `laioncele calibrate` writes it and `[models.face] calibration`
/// names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Digest of the recognizer's file: the rates are those of no other.
    pub recognizer: String,
    /// What was compared.
    pub from: String,
    /// Two faces against one another.
    pub pair: Curve,
    /// A face against the portraits of a name (the mean of the cosines), where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub portraits: Option<Curve>,
}

impl Calibration {
    /// Reads a calibration.
    ///
    /// # Errors
    /// [`FaceError::Read`] or [`FaceError::Invalid`].
    pub fn load(path: &Path) -> Result<Self, FaceError> {
        let read = |source| FaceError::Read {
            path: path.to_owned(),
            source,
        };
        let wrong = |reason: String| FaceError::Invalid {
            path: path.to_owned(),
            reason,
        };
        if std::fs::metadata(path).map_err(read)?.len() > MAX_BYTES {
            return Err(wrong("too large for a calibration".to_owned()));
        }
        let text = std::fs::read_to_string(path).map_err(read)?;
        toml::from_str(&text).map_err(|e| wrong(e.to_string().trim_end().to_owned()))
    }
}
