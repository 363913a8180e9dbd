//! The program: command line, planner, executor, progress, report.
//!
//! The crates below are libraries that print nothing and never exit; only this crate uses the
//! terminal. Results go to standard output, messages to standard error.

mod args;
mod cli;
mod commands;
mod crew;
mod doctor;
mod error_rates;
mod executor;
mod failure;
mod fault;
mod lock;
mod logging;
mod machine;
mod output;
pub mod plan;
mod progress;
mod registry;
mod report;
mod session;
mod terminal;
mod words;
mod world_web;

use std::process::ExitCode;

/// Runs the program on this process's arguments.
pub fn main() -> ExitCode {
    cli::main()
}
