//! `laioncele ner`: named entities of captions, one line of output per caption.

use std::io::{self, BufWriter};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use laioncele_ner::{Entity, Label, Ner, Token, code_points};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde::Serialize;

use super::lines::{Lines, STDIN, write_answers};
use crate::failure::{Exit, Failure};
use crate::shipped::shipped;

const EXAMPLES: &str = "\
Examples:
  echo 'Mira Castellan at the premiere in Paris' | laioncele ner
  laioncele ner captions.txt --entities person --threads 8 > persons.jsonl
  laioncele ner captions.txt --tokens --offsets bytes | jq -c .tokens

Each line of the input is a caption, each line of the output
  {\"text\": ..., \"tokens\": [[start, end], ...], \"entities\": [[start, end, \"LABEL\"], ...]}
in the same order, written as soon as it is computed.";

/// `laioncele ner`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct NerCommand {
    /// Captions, one per line; `-` is standard input
    #[arg(value_name = "FILE", default_value = STDIN)]
    file: PathBuf,
    /// Entities to print: all eighteen labels, or PERSON only
    #[arg(long, value_enum, default_value_t = Entities::All)]
    entities: Entities,
    /// Also print the tokens
    #[arg(long)]
    tokens: bool,
    /// Unit of the offsets: Unicode code points, as in spaCy, or UTF-8 bytes
    #[arg(long, value_enum, default_value_t = Offsets::Chars)]
    offsets: Offsets,
    /// Threads [default: one per CPU core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Folder of the en_core_web_sm package
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "manifests/mini/ner/en_core_web_sm"
    )]
    model: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Entities {
    All,
    Person,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Offsets {
    Chars,
    Bytes,
}

/// A line of output.
#[derive(Serialize)]
struct Answer<'a> {
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<Vec<[usize; 2]>>,
    entities: Vec<(usize, usize, &'static str)>,
}

impl NerCommand {
    /// Reads to the end of the input.
    ///
    /// # Errors
    /// A package that does not load, a file that cannot be read, a line that is not UTF-8.
    pub(crate) fn execute(self) -> Result<(), Failure> {
        let environment = |text: String| Failure::new(Exit::Environment, text);
        let ner = Ner::load(&shipped(&self.model)).map_err(|e| {
            environment(laioncele_core::error::chain(&e))
                .hint("name the folder of an en_core_web_sm package with --model")
        })?;
        let threads = self.threads.map_or(0, usize::from);
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|e| environment(format!("threads: {e}")))?;
        let mut output = BufWriter::new(io::stdout().lock());
        let mut lines = Lines::open(&self.file)?;
        loop {
            let captions = lines.block()?;
            if captions.is_empty() {
                return Ok(());
            }
            let answers = self.answers(&ner, &pool, &captions);
            let answers =
                answers.map_err(|e| environment(format!("cannot write an answer as JSON: {e}")))?;
            if !write_answers(&mut output, answers)? {
                return Ok(());
            }
        }
    }

    /// A line of output for each caption.
    fn answers(
        &self,
        ner: &Ner,
        pool: &ThreadPool,
        captions: &[String],
    ) -> serde_json::Result<Vec<String>> {
        let texts: Vec<&str> = captions.iter().map(String::as_str).collect();
        pool.install(|| {
            let found = ner.entities_parallel(&texts);
            let answers = texts.par_iter().zip(found);
            let lines = answers.map(|(text, found)| self.answer(ner, text, &found));
            lines.map(|answer| serde_json::to_string(&answer)).collect()
        })
    }

    fn answer<'a>(&self, ner: &Ner, text: &'a str, entities: &[Entity]) -> Answer<'a> {
        let wanted = |e: &&Entity| self.entities == Entities::All || e.label == Label::Person;
        let entities: Vec<&Entity> = entities.iter().filter(wanted).collect();
        let spans = self.spans(text, entities.iter().map(|e| (e.start, e.end)));
        let labelled = spans.into_iter().zip(entities);
        let tokens = self.tokens.then(|| {
            let tokens = ner.tokens(text);
            let span = |t: &Token| (t.start, t.end);
            self.spans(text, tokens.iter().map(span))
        });
        Answer {
            text,
            tokens,
            entities: labelled
                .map(|([start, end], e)| (start, end, e.label.as_str()))
                .collect(),
        }
    }

    /// Byte spans in the wanted unit.
    fn spans(&self, text: &str, spans: impl Iterator<Item = (usize, usize)>) -> Vec<[usize; 2]> {
        let mut offsets: Vec<usize> = spans.flat_map(|(start, end)| [start, end]).collect();
        if self.offsets == Offsets::Chars {
            offsets = code_points(text, offsets);
        }
        let (pairs, _) = offsets.as_chunks::<2>();
        pairs.to_vec()
    }
}
