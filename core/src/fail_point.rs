//! Places at which a test makes the program fail: before and after every step that a run's durability rests on.
//!
//! A place is named by what happens there and by the folder of the run that it happens to, as in `named.ledger`
//! ([`crate::store`] lists them), or by a step and a row (`row.extract-names.1234`). Nothing is armed unless the program was
//! told to at its start; a place then costs one load.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// What happens at an armed place. An error is returned by whatever the place is in; it may also never return.
pub type Act = Box<dyn Fn() -> io::Result<()> + Send + Sync>;

struct Armed {
    place: String,
    /// Times that the place is still passed before it acts; it acts at every time after that.
    passes: AtomicU64,
    act: Act,
}

static ARMED: OnceLock<Armed> = OnceLock::new();

/// Arms one place for the rest of the process: `act` is called when it is reached, after `passes` times that nothing
/// happens. Returns whether it is the first to be armed; of several calls the first counts.
pub fn arm(place: &str, passes: u64, act: Act) -> bool {
    let armed = Armed {
        place: place.to_owned(),
        passes: AtomicU64::new(passes),
        act,
    };
    ARMED.set(armed).is_ok()
}

/// Says that the place `name` is reached. `name` is called only where some place is armed.
///
/// # Errors
/// What the armed act returns.
pub fn reach(name: impl FnOnce() -> String) -> io::Result<()> {
    let Some(armed) = ARMED.get() else {
        return Ok(());
    };
    if armed.place != name() {
        return Ok(());
    }
    let fewer = |passes: u64| passes.checked_sub(1);
    let passes = &armed.passes;
    match passes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer) {
        Ok(_) => Ok(()),
        Err(_) => (armed.act)(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The only test that arms a place in this process; its name is no store's.
    #[test]
    fn an_armed_place_acts_after_its_passes_and_no_other_does() {
        let act = || Err(io::Error::from(io::ErrorKind::StorageFull));
        assert!(arm("here", 2, Box::new(act)));
        assert!(!arm("there", 0, Box::new(|| Ok(()))), "one place at a time");
        let here = || reach(|| "here".to_owned()).is_ok();
        assert!(here() && here());
        assert!(!here() && !here());
        assert!(reach(|| "there".to_owned()).is_ok());
    }
}
