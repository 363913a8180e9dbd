//! The baselines against their fixtures, in one program.

mod adapters;
#[path = "../../../clip/tests/it/common.rs"]
mod common;
mod half;
mod photomaker;
mod refusals;
mod setup;
