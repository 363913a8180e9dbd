//! A sample of what img2dataset wrote: an image, its metadata as JSON, its caption as text, all of
//! one name.

use std::collections::BTreeSet;
use std::path::Path;

use laioncele_core::manifest::Layout;

use crate::batch::{TextRow, Values};
use crate::detect::{Detected, Wanted};
use crate::error::SourceError;
use crate::json::{self, Keys};
use crate::role::Role;

/// Bytes at most of a sample's JSON, and of its text.
pub(crate) const MAX_TEXT: u64 = 1 << 20;
/// What the text file of a sample is called among its JSON's keys.
const TEXT: &str = "txt";
/// What a sample's status is when the image is there.
pub(crate) const SUCCESS: &[u8] = b"success";

/// What a file of a sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Image,
    Json,
    Text,
}

/// The sample's name and the kind of a file, by the file's name: what stands before and behind the
/// first dot. None for hidden files, and for what is no part of a sample.
pub(crate) fn part_of(name: &str) -> Option<(&str, Kind)> {
    let base = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = base + name[base..].find('.')?;
    let kind = match name[dot + 1..].to_ascii_lowercase().as_str() {
        "jpg" | "jpeg" | "png" | "webp" | "gif" | "bmp" | "tif" | "tiff" | "avif" => Kind::Image,
        "json" => Kind::Json,
        "txt" => Kind::Text,
        _ => return None,
    };
    (dot > base).then_some((&name[..dot], kind))
}

/// The files of a sample, of each kind the first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) name: String,
    /// The bytes, or why there are none.
    pub(crate) json: Option<Result<Vec<u8>, String>>,
    pub(crate) text: Option<Result<Vec<u8>, String>>,
    /// Where the image is, in its shard.
    pub(crate) image: Option<String>,
    /// What else is wrong with it.
    pub(crate) fault: Option<String>,
}

impl Sample {
    /// The sample as a row; `origin` stands before the image's place.
    pub(crate) fn row(self, keys: &Keys, origin: &str) -> TextRow {
        let values = self.values(keys);
        let values = values.map_err(|why| format!("sample {}: {why}", self.name));
        let image_at = self.image.map(|place| format!("{origin}#{place}"));
        TextRow { values, image_at }
    }

    fn values(&self, keys: &Keys) -> Result<Values, String> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let mut values = match &self.json {
            Some(json) => json::values(json.as_ref().map_err(Clone::clone)?, keys)?,
            None if self.text.is_some() => Values::default(),
            None => return Err("neither .json nor .txt".to_owned()),
        };
        if let Some(text) = &self.text
            && let Some((_, role)) = keys.iter().find(|(key, _)| key == TEXT)
        {
            values[*role as usize] = Some(text.clone()?);
        }
        let status = values[Role::Status as usize].as_deref();
        if self.image.is_none() && status.is_none_or(|status| status == SUCCESS) {
            return Err("no image".to_owned());
        }
        Ok(values)
    }
}

/// The columns of a shard of samples, told from some of them.
pub(crate) fn detect(
    path: &Path,
    head: &[Sample],
    wanted: &Wanted,
) -> Result<(Detected, Keys, Vec<String>), SourceError> {
    let mut names = BTreeSet::new();
    for sample in head {
        let json = sample.json.iter().flatten();
        names.extend(json.filter_map(|json| json::names(json).ok()).flatten());
        names.extend(sample.text.as_ref().map(|_| TEXT.to_owned()));
    }
    if head.is_empty() {
        return Ok((Detected::default(), Keys::default(), Vec::new()));
    }
    let names: Vec<String> = names.into_iter().collect();
    // Whatever else its JSON holds, what lies there in samples is laid out as img2dataset does it.
    let mut settings = wanted.settings.clone();
    if !wanted.settings.maps_all() {
        settings.layout = settings.layout.or(Some(Layout::Img2dataset));
    }
    let wanted = Wanted {
        settings: &settings,
        needs: wanted.needs,
        purpose: wanted.purpose,
    };
    let detected = wanted.detect(path, &names, |role, _| role != Role::Image)?;
    let keys = detected.columns.iter();
    let keys = keys
        .map(|(role, number)| (names[*number].clone(), *role))
        .collect();
    Ok((detected, keys, names))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_named_by_what_stands_before_the_first_dot() {
        assert_eq!(part_of("0/00001.seg.jpg"), None);
        assert_eq!(part_of("a.b/00001.JPG"), Some(("a.b/00001", Kind::Image)));
        assert_eq!(part_of("00001.json"), Some(("00001", Kind::Json)));
        assert_eq!(part_of("._00001.json"), None);
        assert_eq!(part_of("00001"), None);
    }
}
