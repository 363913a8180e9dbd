//! Step count-spellings: the distinct spellings of a shard's mentions with their counts, and how its
//! words stand in mentions and captions. No setting touches it.

use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::datatypes::{UInt32Type, UInt64Type};
use laioncele_core::table::{Mention, SpellingCount, WordCount};
use laioncele_core::{
    CoreError, Manifest, Part, Partitioning, Reads, Row, StageError, StageName, Step, StepSpec,
    TableId, Task, Unit,
};

use crate::columns::{column, texts};
use crate::interner::Interner;
use crate::merge::SpellingTable;
use crate::words::WordTally;

/// Rows of a row group of `spellings`: merge-spellings holds one of each shard in memory.
const GROUP: usize = 4096;

pub(crate) struct CountSpellings;

const SPEC: StepSpec = StepSpec {
    name: "count-spellings",
    stage: StageName::MergeNames,
    version: 1,
    partitioning: Partitioning::Shards,
    reads: &[Reads::own(TableId::Mentions)],
    writes: &[TableId::Spellings, TableId::Words],
};

impl Step for CountSpellings {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn settings(&self, _: &Manifest) -> Result<serde_json::Value, CoreError> {
        Ok(serde_json::json!({}))
    }

    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let parts: Vec<Part> = task.inputs(TableId::Mentions).cloned().collect();
        let (total, mut done) = (task.rows_in(TableId::Mentions), 0);
        let mut counting = Counting::default();
        for part in &parts {
            let columns = ["caption_id", "caption", "name", "start", "end"];
            for batch in task.stream::<Mention>(part)?.columns(&columns) {
                let batch = batch?;
                counting.add(&batch, part)?;
                done += batch.num_rows() as u64;
                task.progress(done, total, Unit::Mention)?;
            }
        }
        let (spellings, words) = counting.finish();
        task.balance(Unit::Mention, total, done);
        task.metric("spellings", spellings.len() as f64);
        write_spellings(task, &spellings)?;
        task.write::<WordCount>(words)
    }
}

/// The counts of the mentions so far.
#[derive(Default)]
struct Counting {
    spellings: Interner,
    words: WordTally,
    caption: Option<OpenCaption>,
}

/// The caption of the last mention, whose other mentions may follow: they stand beside each other.
struct OpenCaption {
    id: u64,
    text: String,
    spans: Vec<(usize, usize)>,
}

impl Counting {
    fn add(&mut self, batch: &RecordBatch, part: &Part) -> Result<(), StageError> {
        let (names, captions) = (texts(batch, "name", part)?, texts(batch, "caption", part)?);
        let ids = column(batch, "caption_id", part)?.as_primitive::<UInt64Type>();
        let starts = column(batch, "start", part)?.as_primitive::<UInt32Type>();
        let ends = column(batch, "end", part)?.as_primitive::<UInt32Type>();
        for row in 0..batch.num_rows() {
            let room = self.spellings.add(names.value(row), 1, 0);
            room.ok_or_else(|| StageError::data("a shard has too many distinct spellings"))?;
            let span = (starts.value(row) as usize, ends.value(row) as usize);
            self.add_span(ids.value(row), captions, row, span);
        }
        Ok(())
    }

    /// A caption counts once. Of a long one a mention has a window only: that of the first counts.
    fn add_span(&mut self, id: u64, captions: &StringArray, row: usize, span: (usize, usize)) {
        match &mut self.caption {
            Some(open) if open.id == id => {
                if open.text == captions.value(row) {
                    open.spans.push(span);
                }
            }
            _ => {
                self.end_caption();
                self.caption = Some(OpenCaption {
                    id,
                    text: captions.value(row).to_owned(),
                    spans: vec![span],
                });
            }
        }
    }

    fn end_caption(&mut self) {
        if let Some(mut open) = self.caption.take() {
            self.words.add_caption(&open.text, &mut open.spans);
        }
    }

    fn finish(mut self) -> (SpellingTable, Vec<WordCount>) {
        self.end_caption();
        let spellings = self.spellings.into_table();
        for (spelling, mentions) in spellings.iter() {
            self.words.add_mention(spelling, mentions);
        }
        (spellings, self.words.into_rows())
    }
}

/// Writes the spellings, sorted.
fn write_spellings(task: &mut Task, spellings: &SpellingTable) -> Result<(), StageError> {
    let mut order: Vec<u32> = (0..spellings.len() as u32).collect();
    order.sort_unstable_by_key(|at| spellings.spelling(*at as usize));
    let mut writer = task.part_writer::<SpellingCount>(GROUP)?;
    for chunk in order.chunks(GROUP) {
        let row = |at: &u32| SpellingCount {
            spelling: spellings.spelling(*at as usize).to_owned(),
            mentions: spellings.mentions(*at as usize),
        };
        let rows = chunk.iter().map(row).collect();
        writer.add(&SpellingCount::to_batch(rows, task.embedding_dims())?)?;
    }
    let own = task.partition().clone();
    task.write_part::<SpellingCount>(&own, writer)
}
