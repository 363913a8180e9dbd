//! Which rows are read: those with a url and a caption that pass the filters.

use std::borrow::Cow;

use laioncele_core::{CaptionId, DropReason};
use url::Url;

use crate::settings::Settings;
use crate::source::SourceRow;

/// A row to drop, and why.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DroppedRow {
    pub(crate) caption_id: CaptionId,
    pub(crate) reason: DropReason,
    pub(crate) detail: Option<String>,
}

/// A row whose caption is to be read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Readable<'a> {
    pub(crate) caption_id: CaptionId,
    pub(crate) url: &'a str,
    pub(crate) caption: &'a str,
    pub(crate) hash: Option<Cow<'a, str>>,
}

/// Checks the row's url, then its caption, then the filters in the settings' order.
///
/// # Errors
/// The first check that the row does not pass.
pub(crate) fn filter<'a>(
    row: &SourceRow<'a>,
    filters: &Settings,
) -> Result<Readable<'a>, DroppedRow> {
    let dropped = |(reason, detail)| DroppedRow {
        caption_id: id_of(row),
        reason,
        detail: Some(detail),
    };
    let url = url(row.url).map_err(|why| dropped((DropReason::BadUrl, why)))?;
    let caption = caption(row.caption).map_err(|why| dropped((DropReason::EmptyCaption, why)))?;
    if let Some(failed) = failed_filter(row, filters) {
        return Err(dropped(failed));
    }
    Ok(Readable {
        caption_id: CaptionId::of(url, caption),
        url,
        caption,
        hash: row.hash.map(String::from_utf8_lossy),
    })
}

/// The row's id; of what is null or not UTF-8, the id of what can be made of it.
fn id_of(row: &SourceRow) -> CaptionId {
    let text =
        |bytes: Option<&'_ [u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    CaptionId::of(&text(row.url), &text(row.caption))
}

fn url(bytes: Option<&[u8]>) -> Result<&str, String> {
    let text = utf8(bytes)?;
    let url = Url::parse(text).map_err(|e| e.to_string())?;
    match url.scheme() {
        "http" | "https" => Ok(text),
        scheme => Err(format!("scheme {scheme}")),
    }
}

fn caption(bytes: Option<&[u8]>) -> Result<&str, String> {
    let text = utf8(bytes)?;
    if text.trim().is_empty() {
        return Err("blank".to_owned());
    }
    Ok(text)
}

fn utf8(bytes: Option<&[u8]>) -> Result<&str, String> {
    let bytes = bytes.ok_or("null")?;
    std::str::from_utf8(bytes).map_err(|e| format!("not UTF-8 at byte {}", e.valid_up_to()))
}

/// The first filter that the row does not pass. A filter that is set is not passed by a row without
/// its value.
fn failed_filter(row: &SourceRow, filters: &Settings) -> Option<(DropReason, String)> {
    let below = |value: Option<f64>, least: Option<u32>| {
        least.is_some_and(|least| value.is_none_or(|v| v < f64::from(least)))
    };
    if below(row.width, filters.min_width) || below(row.height, filters.min_height) {
        let side = |v: Option<f64>| v.map_or("null".to_owned(), |v| v.to_string());
        let size = format!("{} x {}", side(row.width), side(row.height));
        return Some((DropReason::TooSmall, size));
    }
    // Scores are single precision in the sources: so is the comparison, and 0.8 is not above 0.8.
    let above = |value: Option<f32>, most: Option<f64>| {
        most.is_some_and(|most| value.is_none_or(|v| v > most as f32))
    };
    let negative = |v: Option<f32>| v.map(|v| -v);
    let scores = [
        (
            row.punsafe,
            above(row.punsafe, filters.max_punsafe),
            DropReason::Unsafe,
        ),
        (
            row.pwatermark,
            above(row.pwatermark, filters.max_pwatermark),
            DropReason::Watermarked,
        ),
        (
            row.similarity,
            above(negative(row.similarity), filters.min_similarity.map(|v| -v)),
            DropReason::LowSimilarity,
        ),
    ];
    let (value, _, reason) = scores.into_iter().find(|(_, failed, _)| *failed)?;
    Some((reason, value.map_or("null".to_owned(), |v| v.to_string())))
}
