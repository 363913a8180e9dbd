//! When a url is asked for again.

use std::time::Duration;

use laioncele_web::Retry;

/// Doublings of the first back-off at most.
const DOUBLINGS: u32 = 10;

/// How long to wait after failed try `number` (from 0) of item `id`; `None`: asking again does not help. The jitter is a
/// function of both, so that a run can be repeated: a factor of 0.5 to 1.5 for our own back-off, up to 10 % more than
/// what a server asked for.
pub(crate) fn wait(id: u64, number: u32, first: Duration, retry: Retry) -> Option<Duration> {
    let jitter = jitter(id, number);
    match retry {
        Retry::Never => None,
        Retry::After(asked) => Some(asked + asked.mul_f64(jitter / 10.0)),
        Retry::AfterBackoff => {
            let doubled = first.saturating_mul(1 << number.min(DOUBLINGS));
            Some(doubled.mul_f64(0.5 + jitter))
        }
    }
}

/// A number in `[0, 1)` (splitmix64 of item and try).
fn jitter(id: u64, number: u32) -> f64 {
    let mut x = id.wrapping_add(u64::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn own_back_off_doubles_within_its_jitter(id: u64, number in 0_u32..20) {
            let first = Duration::from_millis(100);
            let waited = wait(id, number, first, Retry::AfterBackoff).expect("worth another try");
            let middle = first * (1 << number.min(DOUBLINGS));
            prop_assert!(waited >= middle / 2 && waited <= middle * 3 / 2);
            prop_assert_eq!(Some(waited), wait(id, number, first, Retry::AfterBackoff));
        }

        #[test]
        fn retry_after_is_never_shortened(id: u64, number in 0_u32..5, asked in 0_u64..100_000) {
            let asked = Duration::from_millis(asked);
            let waited = wait(id, number, Duration::from_secs(1), Retry::After(asked)).expect("worth another try");
            prop_assert!(waited >= asked && waited <= asked.mul_f64(1.1));
        }
    }

    #[test]
    fn items_that_failed_together_do_not_come_back_together() {
        let waits = (0..100).map(|id| wait(id, 0, Duration::from_secs(1), Retry::AfterBackoff));
        let distinct: std::collections::HashSet<_> = waits.collect();
        assert!(distinct.len() > 90);
    }

    #[test]
    fn what_is_final_is_not_asked_again() {
        assert_eq!(wait(1, 0, Duration::from_secs(1), Retry::Never), None);
    }
}
