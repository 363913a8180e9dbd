//! Training against recordings of diffusers, peft and torch, in one program.

mod checkpoints;
#[path = "../../../clip/tests/it/common.rs"]
mod common;
mod forward;
mod models;
mod recorded;
mod saved;
