//! Which rows are read: those with a url and a caption that pass the filters.

use laioncele_core::url::as_meant;
use laioncele_core::{CaptionId, DropReason};
use laioncele_source::SourceRow;
use url::Url;

use crate::settings::Settings;

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
    /// As the source wrote it.
    pub(crate) url: &'a str,
    pub(crate) caption: &'a str,
    pub(crate) hash: Option<&'a str>,
    pub(crate) image_at: Option<&'a str>,
}

/// Checks the row itself, its url, its caption, then the filters in the settings' order.
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
    if let Some(why) = row.malformed {
        return Err(dropped((DropReason::MalformedRow, why.to_owned())));
    }
    if let Some(status) = row.status.filter(|status| *status != DOWNLOADED) {
        let status = String::from_utf8_lossy(status).into_owned();
        return Err(dropped((DropReason::NotDownloaded, status)));
    }
    let url = url(row.url).map_err(|why| dropped((DropReason::BadUrl, why)))?;
    let caption = caption(row.caption).map_err(|why| dropped((DropReason::EmptyCaption, why)))?;
    if let Some(failed) = failed_filter(row, filters) {
        return Err(dropped(failed));
    }
    Ok(Readable {
        caption_id: CaptionId::of(url, caption),
        url,
        caption,
        hash: row.hash,
        image_at: row.image_at,
    })
}

/// img2dataset's word for an image that it has.
const DOWNLOADED: &[u8] = b"success";

/// The row's id; of what is null or not UTF-8, the id of what can be made of it; of what cannot be
/// read, the id of what is said about it.
fn id_of(row: &SourceRow) -> CaptionId {
    if let Some(why) = row.malformed {
        return CaptionId::of("", why);
    }
    let text =
        |bytes: Option<&'_ [u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    CaptionId::of(&text(row.url), &text(row.caption))
}

fn url(bytes: Option<&[u8]>) -> Result<&str, String> {
    let written = utf8(bytes)?;
    of_the_web(written).or_else(|why| of_the_web(&as_meant(written)).map_err(|_| why))?;
    Ok(written)
}

fn of_the_web(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|e| e.to_string())?;
    match url.scheme() {
        "http" | "https" => Ok(()),
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
    let failed = scores.into_iter().find(|(_, failed, _)| *failed);
    if let Some((value, _, reason)) = failed {
        return Some((reason, value.map_or("null".to_owned(), |v| v.to_string())));
    }
    let unsafe_label = filters.max_nsfw.filter(|most| !most.passes(row.nsfw));
    let label = row.nsfw.map_or("null".into(), String::from_utf8_lossy);
    unsafe_label.map(|_| (DropReason::Unsafe, label.into_owned()))
}
