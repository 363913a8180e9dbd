//! `laioncele names`: what merge-names makes of mentions and spellings, for any list of them.

use std::io::{self, BufWriter};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use laioncele_merge_names::verdict::{Verdict, file_spellings, read_mention};
use laioncele_merge_names::{Settings, normalize::Normalizer};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::lines::{Lines, STDIN, write_answers};
use super::name_export::Export;
use crate::failure::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  printf 'Emma Watson Photoshoot\\nkitchen table\\n' | laioncele names normalize
  laioncele names merge spellings.jsonl > merged.jsonl
  laioncele names export anna-1.jpg anna-2.jpg --to anna.safetensors";

const NORMALIZE: &str = "\
Examples:
  printf 'Emma Watson Photoshoot\\nkitchen table\\n' | laioncele names normalize
  laioncele names normalize mentions.txt > names.jsonl

Each line of the input is a mention, each line of the output
  {\"raw\": ..., \"name\": ..., \"reason\": ...}
in the same order. The name is null where the mention is rejected; then the reason is not_a_name,
several_people or mononym (one name word), else null. Nothing but the mention itself and the lists
of names and words that the program ships decides; a run also counts the words of its captions.";

const MERGE: &str = "\
Examples:
  laioncele names merge spellings.jsonl > merged.jsonl
  laioncele names merge --common-ratio 10 spellings.jsonl

Each line of the input is a distinct text with how often it was found, {\"s\": ..., \"n\": ...} or
{\"raw\": ..., \"count\": ...}; each line of the output
  {\"s\": ..., \"name\": ..., \"why\": ...}
in the same order. The name is the one that the spelling is filed under, null where it is rejected.
Why is canonical (it is the name's own spelling), folded (same letters), edit_distance (a rare
spelling of it), or the reason of the rejection.";

/// `laioncele names`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Names {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "a process has one of them")]
enum Command {
    /// Find the name in each mention
    Normalize(Normalize),
    /// Write a person's name embedding to a file, from photos
    Export(Export),
    /// Normalize spellings and file those of one person under one name
    Merge(Merge),
}

#[derive(Args, Debug)]
#[command(after_help = NORMALIZE)]
struct Normalize {
    /// Mentions, one per line; `-` is standard input
    #[arg(value_name = "FILE", default_value = STDIN)]
    file: PathBuf,
    /// Each line is a JSON object with the mention as `raw`
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
#[command(after_help = MERGE)]
struct Merge {
    /// Spellings with their counts, a JSON object per line; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How many times as common a spelling must be for a rare one nearby to be its misspelling
    #[arg(long, value_name = "RATIO", default_value_t = Settings::default().common_ratio, value_parser = ratio)]
    common_ratio: f64,
    /// One-word names with fewer mentions are rejected
    #[arg(long, value_name = "N", default_value_t = Settings::default().mononym_min_mentions)]
    mononym_min_mentions: u64,
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if ratio.is_finite() && ratio >= 1.0 {
        Ok(ratio)
    } else {
        Err("it must be at least 1".to_owned())
    }
}

impl Names {
    /// Reads to the end of the input.
    ///
    /// # Errors
    /// A file that cannot be read, a line that is not what is asked for.
    pub(crate) fn execute(self) -> Result<(), Failure> {
        match self.command {
            Command::Normalize(command) => command.execute(),
            Command::Export(command) => command.execute(),
            Command::Merge(command) => command.execute(),
        }
    }
}

/// A line of `names normalize --json`.
#[derive(Deserialize)]
struct Raw {
    raw: String,
}

#[derive(Serialize)]
struct Normalized<'a> {
    raw: &'a str,
    name: Option<String>,
    reason: Option<&'static str>,
}

impl Normalize {
    fn execute(self) -> Result<(), Failure> {
        let normalizer = Normalizer::default();
        let mut output = BufWriter::new(io::stdout().lock());
        let mut lines = Lines::open(&self.file)?;
        let mut number = 0;
        loop {
            let mut mentions = lines.block()?;
            if mentions.is_empty() {
                return Ok(());
            }
            if self.json {
                mentions = parse(&lines, number, &mentions, |raw: Raw| raw.raw)?;
            }
            number += mentions.len() as u64;
            let answers: Result<Vec<String>, _> = mentions
                .par_iter()
                .map(|raw| {
                    let Verdict { name, why } = read_mention(&normalizer, raw);
                    let reason = name.is_none().then_some(why);
                    serde_json::to_string(&Normalized { raw, name, reason })
                })
                .collect();
            if !write_answers(&mut output, answers.map_err(unwritable)?)? {
                return Ok(());
            }
        }
    }
}

fn unwritable(error: serde_json::Error) -> Failure {
    Failure::new(
        Exit::Defect,
        format!("cannot write an answer as JSON: {error}"),
    )
}

/// The values of lines of JSON, of which `before` were read earlier.
fn parse<T: for<'a> Deserialize<'a>, U>(
    lines: &Lines,
    before: u64,
    texts: &[String],
    value: impl Fn(T) -> U,
) -> Result<Vec<U>, Failure> {
    let parsed = texts.iter().zip(before + 1..).map(|(text, number)| {
        serde_json::from_str(text).map(&value).map_err(|error| {
            let location = lines.location(number);
            Failure::new(Exit::Usage, format!("{location}: {error}"))
        })
    });
    parsed.collect()
}

/// A line of `names merge`, with the keys that the answer has too.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "not an object with `s`, a text, and `n`, a whole number"
)]
enum Counted {
    Short { s: String, n: u64 },
    Long { raw: String, count: u64 },
}

impl Counted {
    fn parts(&self) -> (&str, u64) {
        match self {
            Self::Short { s, n } => (s, *n),
            Self::Long { raw, count } => (raw, *count),
        }
    }
}

#[derive(Serialize)]
struct Merged<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<&'a str>,
    name: Option<String>,
    why: &'static str,
}

impl Merge {
    fn execute(self) -> Result<(), Failure> {
        let mut lines = Lines::open(&self.file)?;
        let mut spellings: Vec<Counted> = Vec::new();
        loop {
            let block = lines.block()?;
            if block.is_empty() {
                break;
            }
            let before = spellings.len() as u64;
            spellings.extend(parse(&lines, before, &block, |counted: Counted| counted)?);
        }
        let settings = Settings {
            common_ratio: self.common_ratio,
            mononym_min_mentions: self.mononym_min_mentions,
            ..Settings::default()
        };
        let counted: Vec<_> = spellings.iter().map(Counted::parts).collect();
        let verdicts = file_spellings(&counted, &settings);
        let answers: Result<Vec<String>, _> = spellings
            .iter()
            .zip(verdicts)
            .map(|(counted, Verdict { name, why })| {
                let (s, raw) = match counted {
                    Counted::Short { s, .. } => (Some(s.as_str()), None),
                    Counted::Long { raw, .. } => (None, Some(raw.as_str())),
                };
                serde_json::to_string(&Merged { s, raw, name, why })
            })
            .collect();
        let mut output = BufWriter::new(io::stdout().lock());
        write_answers(&mut output, answers.map_err(unwritable)?).map(|_| ())
    }
}
