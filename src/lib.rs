//! The program: command line, planner, executor, progress, report.
//!
//! The crates below are libraries that print nothing and never exit; only this crate uses the
//! terminal. Results go to standard output, messages to standard error.

mod args;
mod bar;
mod cli;
mod commands;
mod crew;
mod doctor;
mod error_rates;
mod events;
mod executor;
mod failure;
mod fault;
mod lock;
mod logging;
mod machine;
mod machines;
mod node_cache;
mod output;
mod overrides;
pub mod plan;
mod progress;
mod published;
mod registry;
mod report;
mod report_facts;
mod run_folder;
mod run_view;
mod session;
mod shipped;
mod staleness;
mod table_digests;
mod terminal;
mod units;
mod words;
mod world_web;

use std::process::ExitCode;

/// Runs the program on this process's arguments.
pub fn main() -> ExitCode {
    keep_onnx_runtime_silent();
    laioncele_image::quiet_panics();
    cli::main()
}

/// Microsoft's builds of ONNX Runtime tell their makers of every process that loads them, before a program can turn that off
/// in any other way.
#[allow(unsafe_code)]
fn keep_onnx_runtime_silent() {
    // SAFETY: this is the program's first statement: there are no other threads that could read the environment.
    unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") }
}
