//! The distinct spellings of all shards after normalization, and what came of each for the shards that
//! have it.

use std::collections::HashMap;

use laioncele_core::table::WordCount;
use laioncele_core::{DropReason, Part, StageError, TableId, Task, Unit};
use rayon::prelude::*;

use crate::codes::{Code, Codes};
use crate::interner::Interner;
use crate::normalize::{Evidence, Normalizer, Rejection, Spelling};
use crate::second_opinion::Answers;
use crate::streams::Spellings;
use crate::words::WordTally;

/// Spellings that are normalized together.
const TOGETHER: usize = 1 << 16;

/// What the shards know about words.
pub(crate) fn evidence(task: &Task) -> Result<Evidence, StageError> {
    let mut words = WordTally::default();
    for part in task.inputs(TableId::Words) {
        words.add_rows(task.read_part::<WordCount>(part)?);
    }
    Ok(Evidence {
        words: words.evidence(),
    })
}

/// The distinct spellings after normalization.
pub(crate) struct Normalized {
    pub(crate) spellings: Interner,
    /// Whether each is one name word.
    pub(crate) mononyms: Vec<bool>,
    pub(crate) codes: Codes,
    /// The spellings of mentions that hold several.
    pub(crate) several: Vec<Vec<u32>>,
    /// What may be a name among the rejected mentions, with its mentions; only where it is asked for.
    pub(crate) doubts: HashMap<String, u64>,
}

/// How mentions are normalized.
pub(crate) struct Reader<'a> {
    pub(crate) normalizer: &'a Normalizer,
    /// What is known from a second opinion.
    pub(crate) answers: &'a Answers,
    /// Whether doubts are noted.
    pub(crate) notes_doubts: bool,
}

impl Reader<'_> {
    /// What is found in a mention, and what may be a name in one that is rejected.
    fn read(&self, written: &str) -> (Result<Vec<Spelling>, Rejection>, Option<String>) {
        let found = self.normalizer.normalize(written);
        if found != Err(Rejection::NotAName) || !(self.notes_doubts || self.answers.know_persons())
        {
            return (found, None);
        }
        match self.normalizer.doubtful(written) {
            Some(reading) if self.answers.is_person(&reading.name) => (Ok(vec![reading]), None),
            Some(reading) if self.notes_doubts => (found, Some(reading.name)),
            _ => (found, None),
        }
    }
}

/// Distinct spellings as written, with the shards that have them.
#[derive(Default)]
struct Chunk {
    texts: Vec<(String, u64)>,
    /// The shards of all, and where those of each end.
    shards: Vec<u32>,
    ends: Vec<usize>,
}

impl Normalized {
    /// Reads the spellings in `parts`, one part for each shard.
    ///
    /// # Errors
    /// A damaged part; more spellings than can be numbered.
    pub(crate) fn read(task: &Task, parts: &[Part], reader: &Reader) -> Result<Self, StageError> {
        let mut all = Self {
            spellings: Interner::default(),
            mononyms: Vec::new(),
            codes: Codes::new(task.store(), parts.len()),
            several: Vec::new(),
            doubts: HashMap::new(),
        };
        let mut stream = Spellings::open(task, parts)?;
        let (total, mut done) = (task.rows_in(TableId::Spellings), 0);
        let (mut chunk, mut shards) = (Chunk::default(), Vec::new());
        while let Some(found) = stream.next(&mut shards)? {
            chunk.texts.push((found.text().to_owned(), found.mentions));
            chunk.shards.extend_from_slice(&shards);
            chunk.ends.push(chunk.shards.len());
            if chunk.texts.len() == TOGETHER {
                done += chunk.shards.len() as u64;
                all.add(std::mem::take(&mut chunk), reader)?;
                task.progress(done, total, Unit::Name)?;
            }
        }
        all.add(chunk, reader)?;
        Ok(all)
    }

    fn add(&mut self, chunk: Chunk, reader: &Reader) -> Result<(), StageError> {
        let normalized: Vec<_> = chunk
            .texts
            .par_iter()
            .map(|(written, _)| reader.read(written))
            .collect();
        let mut from = 0;
        let outcomes = normalized.into_iter().zip(&chunk.texts);
        for (((found, doubt), (_, mentions)), end) in outcomes.zip(chunk.ends) {
            if let Some(reading) = doubt {
                *self.doubts.entry(reading).or_default() += mentions;
            }
            let code = self.code(&found, *mentions)?;
            for shard in &chunk.shards[from..end] {
                self.codes.push(*shard, code)?;
            }
            from = end;
        }
        Ok(())
    }

    fn code(
        &mut self,
        found: &Result<Vec<Spelling>, Rejection>,
        mentions: u64,
    ) -> Result<Code, StageError> {
        let spellings = match found {
            Ok(spellings) => spellings,
            Err(Rejection::NotAName | Rejection::SeveralPeople) => {
                return Ok(Code::Rejected(DropReason::NotAName));
            }
        };
        let mut numbers = Vec::with_capacity(spellings.len());
        for spelling in spellings {
            let number = self.spelling(spelling, mentions)?;
            if !numbers.contains(&number) {
                numbers.push(number);
            }
        }
        match numbers.as_slice() {
            [] => Ok(Code::Rejected(DropReason::NotAName)),
            [one] => Ok(Code::One(*one)),
            _ => {
                let list = u32::try_from(self.several.len())
                    .ok()
                    .filter(|n| n >> 31 == 0);
                self.several.push(numbers);
                list.map(Code::Several).ok_or_else(too_many)
            }
        }
    }

    fn spelling(&mut self, spelling: &Spelling, mentions: u64) -> Result<u32, StageError> {
        let recased = if spelling.recased { mentions } else { 0 };
        let number = self.spellings.add(&spelling.name, mentions, recased);
        let number = number.ok_or_else(too_many)?;
        if self.mononyms.len() < self.spellings.len() {
            self.mononyms.push(false);
        }
        self.mononyms[number as usize] |= spelling.mononym;
        Ok(number)
    }
}

fn too_many() -> StageError {
    StageError::data("the source has more than two thousand million distinct spellings")
}
