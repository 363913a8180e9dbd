//! The SDXL crate against its fixtures, in one program.

mod bad_input;
mod checks;
#[path = "../../../clip/tests/it/common.rs"]
mod common;
mod diffusers_schedulers;
mod half;
mod invariants;
mod mini;
mod models;
mod naming;
mod schedulers;
mod trajectories;
mod variants;
mod weights;
