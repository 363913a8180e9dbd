//! Reads the captions of a batch on all threads, and makes rows of what is found.

use std::ops::Range;

use laioncele_core::forgotten::Forgotten;
use laioncele_core::table::Mention;
use laioncele_core::task::{Poison, Rows};
use laioncele_core::{CaptionId, DropReason, ImageId};
use laioncele_ner::{EngineError, FindPersons};
use laioncele_source::{SourceBatch, SourceRow};
use rayon::prelude::*;

use crate::filter::{DroppedRow, Readable, filter};
use crate::settings::Settings;

/// Rows that one thread takes at a time.
const CHUNK: usize = 512;

/// The persons in a row's caption, at least one, or why the row is dropped.
pub(crate) type Caption<'a> = Result<Persons<'a>, DroppedRow>;

/// A row whose caption names somebody. Its mentions are made one by one, as they are written: each
/// holds its caption's text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Persons<'a> {
    pub(crate) row: Readable<'a>,
    pub(crate) image_id: ImageId,
    /// In order and disjoint.
    pub(crate) spans: Vec<Range<usize>>,
}

/// Reads captions: the filters and the NER engine.
pub(crate) struct Reader<'a> {
    pub(crate) engine: &'a dyn FindPersons,
    pub(crate) filters: &'a Settings,
    /// Who was taken down.
    pub(crate) forgotten: Option<&'a Forgotten>,
    pub(crate) rows: Rows,
}

impl Reader<'_> {
    /// What became of each row of the batch, in its order.
    pub(crate) fn captions<'b>(
        &self,
        batch: &'b SourceBatch,
    ) -> Result<Vec<Caption<'b>>, EngineError> {
        let rows = batch.rows();
        let chunks = rows.par_chunks(CHUNK).map(|c| self.chunk(c));
        let chunks: Vec<Vec<Caption>> = chunks.collect::<Result<_, _>>()?;
        Ok(chunks.into_iter().flatten().collect())
    }

    fn chunk<'b>(&self, rows: &[SourceRow<'b>]) -> Result<Vec<Caption<'b>>, EngineError> {
        let digestible = |row: Readable<'b>| match self.rows.poison(row.caption_id.0) {
            Some(poison) => Err(dropped(&row, poison)),
            None => Ok(row),
        };
        let filtered = rows.iter().map(|row| self.admit(filter(row, self.filters)));
        let filtered: Vec<_> = filtered.map(|row| row.and_then(digestible)).collect();
        let readable = || filtered.iter().flatten();
        let texts: Vec<&str> = readable().map(|r| r.caption).collect();
        let ids = readable().map(|row| row.caption_id.0);
        let together = match self.rows.one_by_one() {
            true => None,
            false => (self.rows.together(ids, || self.engine.persons(&texts))).ok(),
        };
        let Some(spans) = together else {
            return filtered.into_iter().map(|row| self.one(row)).collect();
        };
        let mut spans = spans?.into_iter();
        let mut read = |row| persons(row, spans.next().unwrap_or_default());
        let captions = filtered.into_iter().map(|row| row.and_then(&mut read));
        Ok(captions.collect())
    }

    /// Drops what names somebody who was taken down, whatever else is wrong with it: without an id or a text that could say whom.
    fn admit<'b>(&self, row: Result<Readable<'b>, DroppedRow>) -> Result<Readable<'b>, DroppedRow> {
        let Some(stones) = self.forgotten else {
            return row;
        };
        let is_out = match &row {
            Ok(row) => {
                let texts = [row.url, row.caption];
                stones.has_url(row.url) || texts.iter().any(|text| stones.is_named_in(text))
            }
            Err(dropped) => (dropped.detail.as_deref()).is_some_and(|d| stones.is_named_in(d)),
        };
        match is_out {
            true => Err(DroppedRow {
                caption_id: CaptionId(0),
                reason: DropReason::Forgotten,
                detail: None,
            }),
            false => row,
        }
    }

    /// One caption by itself: after a panic in several, or where they kill workers.
    fn one<'b>(&self, row: Result<Readable<'b>, DroppedRow>) -> Result<Caption<'b>, EngineError> {
        let row = match row {
            Ok(row) => row,
            Err(dropped) => return Ok(Err(dropped)),
        };
        let read = || self.engine.persons(&[row.caption]);
        match self.rows.look(row.caption_id.0, read) {
            Ok(spans) => Ok(persons(row, spans?.pop().unwrap_or_default())),
            Err(poison) => Ok(Err(dropped(&row, poison))),
        }
    }
}

fn dropped(row: &Readable<'_>, poison: Poison) -> DroppedRow {
    DroppedRow {
        caption_id: row.caption_id,
        reason: DropReason::Poison,
        detail: Some(poison.detail),
    }
}

fn persons(row: Readable<'_>, spans: Vec<Range<usize>>) -> Caption<'_> {
    if spans.is_empty() {
        return Err(DroppedRow {
            caption_id: row.caption_id,
            reason: DropReason::NoPerson,
            detail: None,
        });
    }
    Ok(Persons {
        image_id: ImageId::of(row.url),
        row,
        spans,
    })
}

impl Persons<'_> {
    /// The mention of a span, with at most `window` bytes of the caption, or the span alone where
    /// that is longer.
    pub(crate) fn mention(&self, span: &Range<usize>, window: usize) -> Mention {
        let row = &self.row;
        let shown = window_around(row.caption, span, window);
        Mention {
            caption_id: row.caption_id,
            image_id: self.image_id,
            url: row.url.to_owned(),
            caption: row.caption[shown.clone()].to_owned(),
            name: row.caption[span.clone()].to_owned(),
            start: offset(span.start - shown.start),
            end: offset(span.end - shown.start),
            hash: row.hash.map(str::to_owned),
            image_at: row.image_at.map(str::to_owned),
        }
    }
}

/// What is kept of `text` around `span`, cut at characters: all of it if it has at most `length`
/// bytes, else `length` bytes with as much before the span as after it, as far as the text goes.
fn window_around(text: &str, span: &Range<usize>, length: usize) -> Range<usize> {
    if text.len() <= length {
        return 0..text.len();
    }
    let before = length.saturating_sub(span.len()) / 2;
    let end = (span.start.saturating_sub(before) + length).clamp(span.end, text.len());
    let start = end.saturating_sub(length).min(span.start);
    let start = (start..=span.start).find(|at| text.is_char_boundary(*at));
    let end = (span.end..=end).rev().find(|at| text.is_char_boundary(*at));
    start.unwrap_or(span.start)..end.unwrap_or(span.end)
}

/// A byte offset; a caption is a value of a Parquet column and so shorter than 2 GiB.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn windows_stay_in_the_text_and_keep_both_sides() {
        let text = "0123456789";
        let cut = |span: Range<usize>, length| &text[window_around(text, &span, length)];
        assert_eq!(cut(4..6, 10), text);
        assert_eq!(cut(4..6, 6), "234567");
        assert_eq!(cut(0..2, 6), "012345");
        assert_eq!(cut(8..10, 6), "456789");
        assert_eq!(cut(1..9, 4), "12345678", "a span is never cut");
        let wide = "äääMäää";
        let window = window_around(wide, &(6..7), 4);
        assert_eq!(&wide[window], "Mä", "whole characters only");
    }

    proptest! {
        #[test]
        fn windows_hold_their_span_and_no_more_than_they_may(
            text in "\\PC{1,60}", ends in (0usize..60, 0usize..60), length in 0usize..70,
        ) {
            let places: Vec<usize> = (0..=text.len()).filter(|at| text.is_char_boundary(*at)).collect();
            let (a, b) = (places[ends.0 % places.len()], places[ends.1 % places.len()]);
            let span = a.min(b)..a.max(b);
            let window = window_around(&text, &span, length);
            prop_assert!(window.start <= span.start && span.end <= window.end);
            prop_assert!(text.get(window.clone()).is_some());
            prop_assert!(window.len() <= length.max(span.len()) || window.len() == text.len());
            prop_assert!(window.len() + 6 >= length.min(text.len()), "two characters at most are cut");
        }
    }
}
