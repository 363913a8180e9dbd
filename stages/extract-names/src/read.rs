//! Reads the captions of a batch on all threads.

use std::ops::Range;

use laioncele_core::table::Mention;
use laioncele_core::{DropReason, ImageId};
use laioncele_ner::{EngineError, FindPersons};
use rayon::prelude::*;

use crate::filter::{DroppedRow, Readable, filter};
use crate::settings::Settings;
use crate::source::{SourceBatch, SourceRow};

/// Rows that one thread takes at a time.
const CHUNK: usize = 512;

/// The mentions of a row's caption, at least one, or why the row is dropped.
pub(crate) type Caption = Result<Vec<Mention>, DroppedRow>;

/// Reads captions: the filters and the NER engine.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) engine: &'a dyn FindPersons,
    pub(crate) filters: &'a Settings,
}

impl Reader<'_> {
    /// What became of each row of the batch, in its order.
    pub(crate) fn captions(&self, batch: &SourceBatch) -> Result<Vec<Caption>, EngineError> {
        let rows = batch.rows();
        let chunks = rows.par_chunks(CHUNK).map(|c| self.chunk(c));
        let chunks: Vec<Vec<Caption>> = chunks.collect::<Result<_, _>>()?;
        Ok(chunks.into_iter().flatten().collect())
    }

    fn chunk(&self, rows: &[SourceRow]) -> Result<Vec<Caption>, EngineError> {
        let filtered: Vec<_> = rows.iter().map(|row| filter(row, self.filters)).collect();
        let texts: Vec<&str> = filtered.iter().flatten().map(|r| r.caption).collect();
        let mut persons = self.engine.persons(&texts)?.into_iter();
        let mut read = |row: Readable| mentions(&row, persons.next().unwrap_or_default());
        let captions = filtered.into_iter().map(|row| row.and_then(&mut read));
        Ok(captions.collect())
    }
}

fn mentions(row: &Readable, persons: Vec<Range<usize>>) -> Caption {
    if persons.is_empty() {
        return Err(DroppedRow {
            caption_id: row.caption_id,
            reason: DropReason::NoPerson,
            detail: None,
        });
    }
    let image_id = ImageId::of(row.url);
    let mention = |span: Range<usize>| Mention {
        caption_id: row.caption_id,
        image_id,
        url: row.url.to_owned(),
        caption: row.caption.to_owned(),
        name: row.caption[span.clone()].to_owned(),
        start: offset(span.start),
        end: offset(span.end),
        hash: row.hash.as_deref().map(str::to_owned),
        image_at: None,
    };
    Ok(persons.into_iter().map(mention).collect())
}

/// A byte offset; a caption is a value of a Parquet column and so shorter than 2 GiB.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
