//! The face thresholds and their calibration were measured on the full world of seed 1. Worlds of
//! other seeds have other people and other portraits: the calibration must predict their errors too.
//!
//! CI looks at a tiny world. `make soak` sets `LAIONCELE_SOAK=N` and looks at N full worlds as well.

use std::path::Path;

use laioncele_face::calibration::{Calibration, Curve, Rate};
use serde_json::Value;

use crate::sandbox::{stderr, stdout};
use crate::test_run::{TestRun, soak_rounds};
use crate::world_metrics::missed;

/// The seed of the tiny world. That of seed 1 has the first names of the full world of seed 1.
const TINY_SEED: u64 = 2;
/// The seed of the first full world.
const FIRST_FULL_SEED: u64 = 2;
/// A calibration whose thresholds are wrong by so many hundredths must fail the comparison.
const WRONG_BY: usize = 10;

#[test]
fn the_shipped_calibration_holds_on_worlds_of_other_seeds() {
    check_calibration(&TestRun::finished(TINY_SEED));
    for seed in (FIRST_FULL_SEED..).take(soak_rounds().unwrap_or(0)) {
        println!("the full world of seed {seed}");
        let world = TestRun::finished_full(seed);
        check_calibration(&world);
        let missed = missed(&world.score("output"));
        assert!(missed.is_empty(), "seed {seed}: {}", missed.join("\n"));
    }
}

/// At every threshold the 95 % interval of each error rate that is measured on `world` overlaps the
/// shipped one, for two faces as for a face and portraits.
fn check_calibration(world: &TestRun) {
    let measured = measure(world);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/mini/calibration.toml");
    let shipped = Calibration::load(&file).expect("the shipped calibration");
    let portraits = shipped.portraits.as_ref().expect("a curve for portraits");
    for (key, curve) in [("pair", &shipped.pair), ("portraits", portraits)] {
        let points = measured[key]["points"].as_array().expect("points");
        let apart = apart(points, curve, 0);
        assert!(apart.is_empty(), "{key}: {}", apart.join("\n"));
        let control = self::apart(points, curve, WRONG_BY);
        assert!(!control.is_empty(), "{key}: the world is too small to tell");
    }
}

/// `calibrate` on the portraits of a finished run.
fn measure(world: &TestRun) -> Value {
    let mut command = world.command(&["calibrate", "--json"], "output");
    let ended = command.output().expect("the program");
    assert!(ended.status.success(), "{}", stderr(&ended));
    serde_json::from_str(&stdout(&ended)).expect("JSON")
}

/// The measured points whose intervals do not overlap those that are shipped for a threshold higher
/// by `shift` hundredths.
fn apart(measured: &[Value], shipped: &Curve, shift: usize) -> Vec<String> {
    assert_eq!(measured.len(), shipped.points.len());
    let pairs = measured.iter().zip(&shipped.points[shift..]);
    let overlap = |point: &Value, key: &str, Rate([_, low, high]): Rate| {
        let end = |at: usize| point[key][at].as_f64().expect("a rate");
        end(1) <= high && low <= end(2)
    };
    pairs
        .filter(|(point, shipped)| {
            !overlap(point, "false_accepts", shipped.false_accepts)
                || !overlap(point, "false_rejects", shipped.false_rejects)
        })
        .map(|(point, shipped)| format!("{point} where {shipped:?} is shipped"))
        .collect()
}
