//! Error rates of thresholds against counting by hand, and what their intervals must keep.

use laioncele_face::calibration::{Curve, Point, Tally};
use proptest::prelude::*;

/// A tally of one pair a person.
fn alone(similarities: &[f32]) -> Tally {
    let mut tally = Tally::new(similarities.len());
    for (person, similarity) in similarities.iter().enumerate() {
        tally.add([person, person], *similarity);
    }
    tally
}

/// All pairs of people who lie on a line: neighbours are similar.
fn among(places: &[f32]) -> (Tally, Vec<f32>) {
    let (mut tally, mut all) = (Tally::new(places.len()), Vec::new());
    for (a, x) in places.iter().enumerate() {
        for (b, y) in places[..a].iter().enumerate() {
            let similarity = 1.0 - (x - y).abs();
            tally.add([a, b], similarity);
            all.push(similarity);
        }
    }
    (tally, all)
}

proptest! {
    /// Shares are those counted by hand at every step; they lie in their intervals, and the curve
    /// is monotone.
    #[test]
    fn rates_equal_counting_by_hand(same in prop::collection::vec(0.0f32..1.0, 1..40), places in prop::collection::vec(0.0f32..1.0, 2..12), step in 0usize..101) {
        let (different, all) = among(&places);
        let curve = Curve::new(&alone(&same), &different);
        let threshold = step as f64 / 100.0;
        let point = curve.at(threshold).expect("a point");
        // The same rounding as the curve's: a similarity a hair below a step counts as on it.
        let reaches = |s: &&f32| f64::from(**s) * 100.0 + 1e-4 >= step as f64;
        let accepted = all.iter().filter(reaches).count() as f64 / all.len() as f64;
        let rejected = 1.0 - same.iter().filter(reaches).count() as f64 / same.len() as f64;
        prop_assert!((point.false_accepts.0[0] - accepted).abs() < 1e-5);
        prop_assert!((point.false_rejects.0[0] - rejected).abs() < 1e-5);
        for pair in curve.points.windows(2) {
            prop_assert!(pair[0].false_accepts.0[0] >= pair[1].false_accepts.0[0]);
            prop_assert!(pair[0].false_rejects.0[0] <= pair[1].false_rejects.0[0]);
        }
        for point in &curve.points {
            for rate in [point.false_accepts, point.false_rejects] {
                let [share, low, high] = rate.0;
                prop_assert!(0.0 <= low && low <= share && share <= high && high <= 1.0, "{rate:?}");
            }
        }
    }

    /// The threshold at a share of false accepts keeps it, and no lower step does.
    #[test]
    fn at_false_accepts_gives_the_lowest_threshold(places in prop::collection::vec(0.0f32..1.0, 2..12), share in 0.0f64..1.0) {
        let curve = Curve::new(&alone(&[0.9]), &among(&places).0);
        let chosen = curve.at_false_accepts(share);
        prop_assert!(chosen.is_none_or(|p| p.false_accepts.0[0] <= share));
        let too_low = |p: &&Point| chosen.is_none_or(|chosen| p.threshold < chosen.threshold);
        let mut too_low = curve.points.iter().filter(too_low);
        prop_assert!(too_low.all(|p| p.false_accepts.0[0] > share));
    }
}

/// Wilson's interval for 10 independent pairs of which 2 are rejected: 5.7 % to 51.0 %.
#[test]
fn interval_of_independent_pairs_is_wilsons() {
    let same = [0.1, 0.2, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9];
    let curve = Curve::new(&alone(&same), &alone(&[0.0; 10]));
    let point = curve.at(0.5).expect("a point");
    let [share, low, high] = point.false_rejects.0;
    // The jackknife divides by one less than the people, so that ten count as nine, and never as
    // fewer than ten.
    assert_eq!(share, 0.2);
    assert!(
        (low - 0.0567).abs() < 2e-3 && (high - 0.5098).abs() < 2e-3,
        "{low} {high}"
    );
    // None of ten: not certainty.
    let [none, low, high] = point.false_accepts.0;
    assert!(
        none == 0.0 && low == 0.0 && (high - 0.2775).abs() < 1e-3,
        "{high}"
    );
}

/// Pairs that one person makes alike are worth less than as many of different people.
#[test]
fn pairs_that_share_a_person_widen_the_interval() {
    // Everybody is like person 0 and like nobody else.
    let mut star = Tally::new(40);
    for a in 0..40 {
        for b in 0..a {
            star.add([a, b], if b == 0 { 0.9 } else { 0.1 });
        }
    }
    let mut spread = Tally::new(780);
    for k in 0..780 {
        spread.add([k, k], if k < 39 { 0.9 } else { 0.1 });
    }
    let width = |tally: &Tally| {
        let curve = Curve::new(&alone(&[0.9]), tally);
        let [share, low, high] = curve.at(0.5).expect("a point").false_accepts.0;
        assert!((share - 0.05).abs() < 1e-9);
        high - low
    };
    assert!(width(&star) > 2.0 * width(&spread));
}

#[test]
fn at_takes_the_worse_rate_between_two_steps() {
    let curve = Curve::new(&alone(&[0.455, 0.7]), &alone(&[0.455, 0.2]));
    let point = curve.at(0.457).expect("a point");
    assert_eq!(
        (point.false_accepts.0[0], point.false_rejects.0[0]),
        (0.5, 0.5)
    );
    assert_eq!(curve.at(0.45).map(|p| p.false_rejects.0[0]), Some(0.0));
    let apart = Curve::new(&alone(&[0.8; 3]), &alone(&[0.2; 3]));
    let equal = apart.equal_errors().expect("a point");
    assert_eq!((equal.threshold, equal.false_rejects.0[0]), (0.21, 0.0));
}
