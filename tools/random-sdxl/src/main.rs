//! Writes an SDXL folder of random weights.
#![allow(clippy::print_stderr)]

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use laioncele_random_sdxl::{Form, Stored, write};

const EXAMPLES: &str = "\
Examples:
  random-sdxl /data/random-sdxl                       SDXL base 1.0's sizes in float16: 7 GB
  random-sdxl --like sdxl-turbo/ --dtype f32 random/  the configurations of another folder";

/// Writes an SDXL folder in Diffusers layout whose weights are random: for measuring time and
/// memory where the real weights are not at hand. A tensor is never in memory as a whole.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
struct Arguments {
    /// The folder to write; it must not exist yet
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Take the configurations of this SDXL folder instead of SDXL base 1.0's
    #[arg(long, value_name = "FOLDER")]
    like: Option<PathBuf>,
    /// A folder with tokenizer/ and tokenizer_2/ to copy [default: that of --like, else the
    /// embedded world's mini SDXL]
    #[arg(long, value_name = "FOLDER")]
    tokenizers: Option<PathBuf>,
    /// How numbers are stored
    #[arg(long, value_enum, default_value_t = Stored::F16)]
    dtype: Stored,
    /// Another seed gives other weights
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let form = Form {
        like: arguments.like,
        tokenizers: arguments.tokenizers,
        dtype: arguments.dtype,
        seed: arguments.seed,
    };
    match write(&arguments.folder, &form) {
        Ok(written) => {
            let numbers: u64 = written.iter().map(|part| part.parameters).sum();
            for part in written {
                eprintln!(
                    "{}: {} tensors, {} numbers",
                    part.part, part.tensors, part.parameters
                );
            }
            eprintln!("{numbers} numbers in all");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let causes = std::iter::successors(error.source(), |cause| (*cause).source());
            let text = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
            eprintln!("error: {text}");
            ExitCode::from(3)
        }
    }
}
