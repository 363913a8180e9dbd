//! `laioncele mini`: the embedded world built, served alone, and held against its truth.

mod build;
mod score;
mod serve;

use clap::{Args, Subcommand};

use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  laioncele mini build --seed 7 /data/world-7          another world, with its manifest and its truth
  laioncele run --manifest /data/world-7/mini.toml --output /data/run-7
  laioncele mini score --manifest /data/world-7/mini.toml --output /data/run-7
  laioncele mini serve --port 8080                     its web alone, until Ctrl-C";

/// `laioncele mini`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Mini {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a world: captions, web, reference photos, manifest and truth
    Build(build::Build),
    /// Serve a world's web on this machine
    Serve(serve::Serve),
    /// Hold what a run made of a world against its truth
    Score(score::Score),
}

impl Mini {
    /// Does what its command says.
    ///
    /// # Errors
    /// Folders that cannot be read or written, a port that is taken, a run that is not there.
    pub fn execute(self) -> Result<(), Failure> {
        match self.command {
            Command::Build(command) => command.execute(),
            Command::Serve(command) => command.execute(),
            Command::Score(command) => command.execute(),
        }
    }
}
