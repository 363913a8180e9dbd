//! The SDXL crate against its fixtures, in one program.

mod bad_input;
mod checks;
mod common;
mod invariants;
mod mini;
mod models;
mod naming;
mod schedulers;
mod trajectories;
mod weights;
