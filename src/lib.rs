//! The program: command line, planner, executor, progress, report.
//!
//! Everything below it is a library that prints nothing and exits never; only this crate talks to the terminal. Data
//! goes to standard output, talk to standard error.

mod args;
mod cli;
mod commands;
mod doctor;
mod error_rates;
mod executor;
mod failure;
mod lock;
mod logging;
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
