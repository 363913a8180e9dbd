//! `laioncele mini build`: writes the world of a seed.

use std::path::PathBuf;

use clap::Args;
use laioncele_mini_world::{BuildOptions, Size, build};

use crate::failure::Failure;
use crate::output;
use crate::shipped::shipped;
use crate::words::count;

const EXAMPLES: &str = "\
Examples:
  laioncele mini build --seed 7 /data/world-7
  laioncele mini build --seed 7 --size tiny tiny-world --json | jq .captions

The same seed and size give the same files. A world that is already in the folder is replaced.";

/// `laioncele mini build`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Build {
    /// The folder to write the world to: mini.toml, mini/ and truth.json
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// The seed: with the size it decides everything in the world
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The size: a run takes seconds on a `tiny` world and minutes on a `full` one
    #[arg(long, value_name = "SIZE", default_value = "full")]
    size: Size,
    /// The mini models and the people that they know
    #[arg(long, value_name = "FOLDER", default_value = "manifests/mini")]
    weights: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Build {
    /// Builds the world and prints what it consists of.
    ///
    /// # Errors
    /// Missing weights, a folder that cannot be written.
    pub(super) fn execute(self) -> Result<(), Failure> {
        let options = BuildOptions {
            seed: self.seed,
            size: self.size,
            weights: shipped(&self.weights),
        };
        let built = build(&options, &self.folder)?;
        if self.json {
            return output::json(&built);
        }
        output::data(&format!(
            "{}: {} known and {} unknown, {}, {} with {}, {} with a reference photo",
            built.manifest.display(),
            count(built.known, "name"),
            built.unknown,
            count(built.captions, "caption"),
            count(built.pages, "web page"),
            count(built.traps, "trap"),
            count(built.unseen, "unseen face"),
        ))
    }
}
