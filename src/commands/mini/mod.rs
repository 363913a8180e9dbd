//! `laioncele mini`: builds an embedded world, serves its web, scores a run on it.

mod build;
mod score;
mod serve;

use clap::{Args, Subcommand};

use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  laioncele mini build --seed 7 /data/world-7          another world, its manifest and truth
  laioncele run --manifest /data/world-7/mini.toml --output /data/run-7
  laioncele mini score --manifest /data/world-7/mini.toml --output /data/run-7
  laioncele mini serve --port 8080                     only the web, until Ctrl-C";

/// `laioncele mini`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Mini {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build a world: captions, web, reference photos, manifest and truth
    Build(build::Build),
    /// Serve the web of a world on this machine
    Serve(serve::Serve),
    /// Compare a run on a world with the world's truth
    Score(score::Score),
}

impl Mini {
    /// Executes the chosen command.
    ///
    /// # Errors
    /// Folders that cannot be read or written, a port that is taken, a folder without a run.
    pub(crate) fn execute(self) -> Result<(), Failure> {
        match self.command {
            Command::Build(command) => command.execute(),
            Command::Serve(command) => command.execute(),
            Command::Score(command) => command.execute(),
        }
    }
}
