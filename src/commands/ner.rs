//! `laioncele ner`: named entities of captions, one line of output per caption.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use laioncele_core::CoreError;
use laioncele_ner::{Entity, Label, Ner, Token, code_points};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde::Serialize;

use crate::failure::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  echo 'Mira Castellan at the premiere in Paris' | laioncele ner
  laioncele ner captions.txt --entities person --threads 8 > persons.jsonl
  laioncele ner captions.txt --tokens --offsets bytes | jq -c .tokens

Each line of the input is a caption, each line of the output
  {\"text\": ..., \"tokens\": [[start, end], ...], \"entities\": [[start, end, \"LABEL\"], ...]}
in the same order, written as soon as it is computed.";

/// What editors on Windows begin a UTF-8 file with; no part of the first caption.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// The file name that stands for standard input.
const STDIN: &str = "-";
/// Most captions processed together.
const BLOCK: usize = 8192;
/// Size of the input buffer in bytes.
const BLOCK_BYTES: usize = 1 << 20;

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
        let ner = Ner::load(&self.model).map_err(|e| {
            environment(laioncele_core::error::chain(&e))
                .hint("name the folder of an en_core_web_sm package with --model")
        })?;
        let threads = self.threads.map_or(0, usize::from);
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|e| environment(format!("threads: {e}")))?;
        let input: Box<dyn Read> = if self.file == Path::new(STDIN) {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(&self.file).map_err(|e| CoreError::from_io(&self.file, e))?)
        };
        let mut output = BufWriter::new(io::stdout().lock());
        let mut lines = Lines::new(&self.file, input);
        loop {
            let captions = lines.block()?;
            if captions.is_empty() {
                return Ok(());
            }
            let answers = self.answers(&ner, &pool, &captions);
            let answers =
                answers.map_err(|e| environment(format!("cannot write an answer as JSON: {e}")))?;
            match write_all(&mut output, &answers) {
                Ok(()) => {}
                // A closed pipe is no error.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(environment(format!("standard output: {error}"))),
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

fn write_all(output: &mut impl Write, answers: &[String]) -> io::Result<()> {
    for answer in answers {
        writeln!(output, "{answer}")?;
    }
    output.flush()
}

/// The input's lines, block by block.
struct Lines {
    name: String,
    reader: BufReader<Box<dyn Read>>,
    number: u64,
    /// The error that the next call returns.
    failure: Option<Failure>,
}

impl Lines {
    fn new(file: &Path, input: Box<dyn Read>) -> Self {
        let name = if file == Path::new(STDIN) {
            "standard input".to_owned()
        } else {
            file.display().to_string()
        };
        Self {
            name,
            reader: BufReader::with_capacity(BLOCK_BYTES, input),
            number: 0,
            failure: None,
        }
    }

    /// The next lines: waits for one, then takes those already buffered. Empty at the end. An error
    /// is returned after the lines before it.
    fn block(&mut self) -> Result<Vec<String>, Failure> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let mut lines = Vec::new();
        while lines.len() < BLOCK && (lines.is_empty() || self.reader.buffer().contains(&b'\n')) {
            match self.line() {
                Ok(Some(line)) => lines.push(line),
                Ok(None) => break,
                Err(failure) if lines.is_empty() => return Err(failure),
                Err(failure) => {
                    self.failure = Some(failure);
                    break;
                }
            }
        }
        Ok(lines)
    }

    /// The next line, without its end: LF or CRLF.
    fn line(&mut self) -> Result<Option<String>, Failure> {
        let mut bytes = Vec::new();
        let read = self.reader.read_until(b'\n', &mut bytes);
        let location = || format!("{}, line {}", self.name, self.number + 1);
        let read =
            read.map_err(|e| Failure::new(Exit::Environment, format!("{}: {e}", location())))?;
        if read == 0 {
            return Ok(None);
        }
        if bytes.ends_with(b"\n") {
            bytes.pop();
            if bytes.ends_with(b"\r") {
                bytes.pop();
            }
        }
        if self.number == 0 && bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
        let line = String::from_utf8(bytes).map_err(|e| {
            let at = e.utf8_error().valid_up_to();
            Failure::new(
                Exit::Usage,
                format!("{}: not UTF-8 from byte {at} on", location()),
            )
        })?;
        self.number += 1;
        Ok(Some(line))
    }
}
