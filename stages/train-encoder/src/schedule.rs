//! The learning rate of a step: a closed function of its number, so that nothing of it is state.

use std::f64::consts::PI;

use crate::choices::Schedule;
use crate::settings::Settings;

/// The learning rate of step `step`, from 0.
pub fn learning_rate(settings: &Settings, step: u64) -> f64 {
    settings.learning_rate * factor(settings, step)
}

fn factor(settings: &Settings, step: u64) -> f64 {
    let warmup = settings.warmup;
    if step < warmup {
        return (step + 1) as f64 / warmup as f64;
    }
    match settings.schedule {
        Schedule::Constant => 1.0,
        Schedule::Cosine if step >= settings.scheduled() => settings.floor,
        Schedule::Cosine => {
            let way = (step - warmup) as f64 / (settings.scheduled() - warmup) as f64;
            settings.floor + (1.0 - settings.floor) * 0.5 * (1.0 + (PI * way).cos())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(settings: &Settings, steps: [u64; 4]) -> [f64; 4] {
        steps.map(|step| learning_rate(settings, step))
    }

    #[test]
    fn a_cosine_goes_from_one_to_its_floor_and_stays() {
        let mut settings = Settings {
            learning_rate: 1.0,
            schedule: Schedule::Cosine,
            schedule_steps: Some(10),
            steps: 1000,
            ..Settings::default()
        };
        let found = rates(&settings, [0, 5, 10, 999]);
        let close = |a: [f64; 4], b: [f64; 4]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-15);
        assert!(close(found, [1.0, 0.5, 0.0, 0.0]), "{found:?}");
        (settings.warmup, settings.floor) = (2, 0.2);
        let found = rates(&settings, [0, 1, 2, 6]);
        assert!(close(found, [0.5, 1.0, 1.0, 0.6]), "{found:?}");
        assert!((learning_rate(&settings, 10) - 0.2).abs() < 1e-15);
    }

    #[test]
    fn a_constant_rate_may_warm_up() {
        let settings = Settings {
            learning_rate: 4.0,
            warmup: 4,
            ..Settings::default()
        };
        assert_eq!(rates(&settings, [0, 2, 3, 9]), [1.0, 3.0, 4.0, 4.0]);
    }
}
