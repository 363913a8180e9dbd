//! The crate by its public API, on the shipped networks and on tiny ones.

mod calibration;
mod close_ups;
mod common;
mod parity;
mod reduced;
mod specs;
