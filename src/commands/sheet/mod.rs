//! `laioncele sheet`: experiments with names as one labelled image each.

mod disentangle;
mod labelled;
mod sweep;

use clap::{Args, Subcommand};

use crate::args::Verbosity;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  laioncele sheet disentangle 'name:Mira Castellan' photo.jpg
  laioncele sheet sweep photo.jpg --deltas 1,3,5,7 --etas 40,60,80,100";

/// `laioncele sheet`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SheetCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One name with several prompts and at several places in them, then other names with the same
    /// prompts (Figure 2 of the paper)
    Disentangle(disentangle::Disentangle),
    /// One person by several δ and η (Algorithm 1 of the paper)
    Sweep(sweep::Sweep),
}

impl SheetCommand {
    /// Draws, writes and prints.
    ///
    /// # Errors
    /// As `generate`.
    pub(crate) fn execute(self, verbosity: &Verbosity) -> Result<(), Failure> {
        match self.command {
            Command::Disentangle(command) => command.execute(verbosity.quiet),
            Command::Sweep(command) => command.execute(verbosity.quiet),
        }
    }
}
