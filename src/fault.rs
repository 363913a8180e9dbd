//! Faults on demand, for tests: the environment variable `LAIONCELE_FAULT` makes the program and its workers fail at one place.
//!
//! `PLACE[+PASSES]=FAULT[@FILE]`: at a place of [`laioncele_core::fail_point`], after it was passed this many times, and with
//! `@FILE` only once over all processes: in the one that makes FILE. Without the variable nothing is armed.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use laioncele_core::fail_point;
use rustix::process::{Signal, getpid, getppid, kill_process};

/// The variable.
const VARIABLE: &str = "LAIONCELE_FAULT";

/// How to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// SIGKILL for this process.
    Kill,
    /// SIGKILL for the coordinator: its workers die with it.
    KillRun,
    /// SIGABRT, as a native library may do.
    Abort,
    Panic,
    /// Never goes on.
    Hang,
    /// An error of the disk: full, read-only, broken.
    Full,
    ReadOnly,
    Broken,
}

#[derive(Debug, PartialEq, Eq)]
struct Order {
    place: String,
    passes: u64,
    fault: Fault,
    once: Option<PathBuf>,
}

impl FromStr for Order {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("{VARIABLE}: `{text}` is not PLACE[+PASSES]=FAULT[@FILE]");
        let (place, fault) = text.split_once('=').ok_or_else(form)?;
        let (place, passes) = match place.split_once('+') {
            Some((place, passes)) => (place, passes.parse().map_err(|_| form())?),
            None => (place, 0),
        };
        let (fault, once) = match fault.split_once('@') {
            Some((fault, file)) => (fault, Some(PathBuf::from(file))),
            None => (fault, None),
        };
        let fault = match fault {
            "kill" => Fault::Kill,
            "kill-run" => Fault::KillRun,
            "abort" => Fault::Abort,
            "panic" => Fault::Panic,
            "hang" => Fault::Hang,
            "full" => Fault::Full,
            "read-only" => Fault::ReadOnly,
            "broken" => Fault::Broken,
            _ => return Err(form()),
        };
        Ok(Self {
            place: place.to_owned(),
            passes,
            fault,
            once,
        })
    }
}

/// Arms what the environment asks for, if anything. `driven`: in a worker that a coordinator drives.
///
/// # Errors
/// A variable of another form.
pub(crate) fn arm_from_environment(driven: bool) -> Result<(), String> {
    let Some(text) = std::env::var_os(VARIABLE) else {
        return Ok(());
    };
    let order: Order = text.to_string_lossy().parse()?;
    tracing::warn!("{VARIABLE} is set: this process fails on purpose");
    let Order {
        place,
        passes,
        fault,
        once,
    } = order;
    let act = move || match &once {
        Some(file) if File::create_new(file).is_err() => Ok(()),
        _ => commit(fault, driven),
    };
    fail_point::arm(&place, passes, Box::new(act));
    Ok(())
}

fn commit(fault: Fault, driven: bool) -> io::Result<()> {
    match fault {
        Fault::Kill => kill_process(getpid(), Signal::KILL)?,
        Fault::KillRun => {
            let coordinator = if driven { getppid() } else { None };
            kill_process(coordinator.unwrap_or(getpid()), Signal::KILL)?;
            // The kernel kills this worker when it sees the end of its parent.
            std::thread::park();
        }
        Fault::Abort => std::process::abort(),
        Fault::Panic => panic!("a fault was asked for"),
        Fault::Hang => loop {
            std::thread::park();
        },
        Fault::Full => return Err(io::ErrorKind::StorageFull.into()),
        Fault::ReadOnly => return Err(io::ErrorKind::ReadOnlyFilesystem.into()),
        Fault::Broken => return Err(io::Error::other("input/output error")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read() {
        let order = "named.ledger+2=kill-run@folder/once".parse::<Order>();
        let expected = Order {
            place: "named.ledger".to_owned(),
            passes: 2,
            fault: Fault::KillRun,
            once: Some(PathBuf::from("folder/once")),
        };
        assert_eq!(order, Ok(expected));
        assert_eq!("row.a.7=abort".parse::<Order>().map(|o| o.passes), Ok(0));
        for wrong in ["", "kill", "a=die", "a+x=kill", "a+=kill"] {
            assert!(wrong.parse::<Order>().is_err(), "{wrong}");
        }
    }
}
