//! `[pack_shards]` of the manifest.

use laioncele_core::{CoreError, Manifest};
use serde::{Deserialize, Serialize};

/// `[pack_shards]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Bytes of images in a shard, about: a bucket's photos, or with `repack` the dataset's, are cut
    /// into as few shards of equal size as none of them is much larger.
    pub shard_bytes: u64,
    /// Rows in a row group: what a reader holds at once.
    pub row_group: usize,
    /// Whether each identity gets a contact sheet.
    pub sheets: bool,
    /// Photos on a sheet at most, best matches first.
    pub sheet_photos: usize,
    /// Whether the published shards are files of their own, cut across buckets; they then take as
    /// much disk again. Otherwise they are links to the buckets' shards. Other ids, more columns and
    /// splits are always files of their own.
    pub repack: bool,
    /// How ids and hashes of 64 bits are published: `uint64`; `int64`, the same bits, for torch, whose
    /// tensors know no other; `text`, 16 hexadecimal digits as the program prints them.
    pub ids: Ids,
    /// Columns published besides: `other_names`, `faces`, `landmarks`, `face_embedding`,
    /// `aligned_face`.
    pub columns: Vec<Extra>,
    /// Fraction of the people, in [0, 0.5], who are published as the split `validation`.
    pub validation: f64,
    /// The same for the split `test`.
    pub test: f64,
    /// Whether each published shard is also written as a tar file for the `webdataset` library.
    pub webdataset: bool,
    /// The licence as the Hugging Face hub names it.
    pub licence: String,
    /// What a licence `other` is called.
    pub licence_name: String,
    /// Where a licence `other` is: a file of the published folder, or a url.
    pub licence_link: String,
    /// The page of the published dataset, for `croissant.json`.
    pub url: String,
    /// The dataset's version, for `croissant.json`.
    pub version: String,
    /// When the dataset is published, YYYY-MM-DD, for `croissant.json`. The default is a day of the
    /// program's version, so that the same run always gives the same bytes.
    pub date_published: String,
}

/// How numbers of 64 bits without a sign are published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ids {
    /// As they are.
    #[default]
    Uint64,
    /// The same bits with a sign.
    Int64,
    /// 16 hexadecimal digits.
    Text,
}

/// A column that is published on demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extra {
    /// The other names that the photo stands under.
    OtherNames,
    /// How many faces the photo shows.
    Faces,
    /// The matching face's five landmarks.
    Landmarks,
    /// The matching face's embedding.
    FaceEmbedding,
    /// The matching face, upright, 112 × 112.
    AlignedFace,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shard_bytes: 512 << 20,
            row_group: 256,
            sheets: true,
            sheet_photos: 24,
            repack: false,
            ids: Ids::Uint64,
            columns: Vec::new(),
            validation: 0.0,
            test: 0.0,
            webdataset: false,
            licence: "other".to_owned(),
            licence_name: "works-of-others".to_owned(),
            licence_link: "LICENSE.md".to_owned(),
            url: "https://magicfusion.github.io/MagicNaming/".to_owned(),
            version: "1.0.0".to_owned(),
            date_published: "2026-11-30".to_owned(),
        }
    }
}

impl Settings {
    /// Reads and checks the section.
    ///
    /// # Errors
    /// An unknown key, a wrong type, a number out of range, a text that no card can hold.
    pub fn from_manifest(manifest: &Manifest) -> Result<Self, CoreError> {
        let settings: Self = manifest.section("pack_shards")?;
        match settings.problem() {
            Some(problem) => Err(manifest.error(format!("[pack_shards] {problem}"))),
            None => Ok(settings),
        }
    }

    fn problem(&self) -> Option<String> {
        let share = 0.0..=0.5;
        let mut columns = self.columns.clone();
        columns.sort_unstable();
        columns.dedup();
        if self.shard_bytes == 0 || self.row_group == 0 {
            return Some("shard_bytes and row_group must be at least 1".to_owned());
        }
        if !share.contains(&self.validation) || !share.contains(&self.test) {
            return Some("validation and test must be in [0, 0.5]".to_owned());
        }
        if columns.len() < self.columns.len() {
            return Some("columns names one of them twice".to_owned());
        }
        if !is_date(&self.date_published) {
            return Some("date_published must be a day such as 2026-11-30".to_owned());
        }
        let texts = [
            ("licence", &self.licence),
            ("licence_name", &self.licence_name),
            ("licence_link", &self.licence_link),
            ("url", &self.url),
            ("version", &self.version),
        ];
        let (name, _) = texts.into_iter().find(|(_, text)| !is_plain(text))?;
        Some(format!(
            "{name} must be one word of letters, digits and punctuation without quotes"
        ))
    }

    /// Whether the published shards are the buckets' own.
    pub(crate) fn is_linked(&self) -> bool {
        let splits = self.validation > 0.0 || self.test > 0.0;
        !(self.repack || splits || self.ids != Ids::Uint64 || !self.columns.is_empty())
    }
}

/// Whether a text may stand in YAML as it is.
fn is_plain(text: &str) -> bool {
    let allowed =
        |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '#' | '`' | '{' | '[');
    let first = text.chars().next();
    first.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '/'))
        && text.chars().all(allowed)
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let number = |text: &str, digits: usize, range: std::ops::RangeInclusive<u32>| {
        text.len() == digits && text.parse().is_ok_and(|n| range.contains(&n))
    };
    matches!(parts[..], [year, month, day]
        if number(year, 4, 1..=9999) && number(month, 2, 1..=12) && number(day, 2, 1..=31))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(section: &str) -> Result<Settings, String> {
        let text = format!(
            "[run]\nseed = 1\n[source]\npath = \"c\"\n[source.columns]\nurl = \"U\"\ncaption = \"T\"\n\
             [embedding_dims]\nname_tokens = 8\nname_channels = 4\nface = 4\nfeatures = 3\n[pack_shards]\n{section}"
        );
        let manifest = Manifest::parse(Path::new("m.toml"), &text).expect("a manifest");
        Settings::from_manifest(&manifest).map_err(|error| error.to_string())
    }

    #[test]
    fn shards_are_linked_unless_their_form_is_another() {
        assert!(read("webdataset = true").expect("settings").is_linked());
        for other in [
            "repack = true",
            "ids = \"text\"",
            "columns = [\"faces\"]",
            "validation = 0.1",
            "test = 0.1",
        ] {
            assert!(!read(other).expect(other).is_linked(), "{other}");
        }
    }

    #[test]
    fn from_manifest_rejects_what_cannot_be() {
        for wrong in [
            "row_group = 0",
            "test = 0.6",
            "validation = -0.1",
            "columns = [\"faces\", \"faces\"]",
            "columns = [\"age\"]",
            "ids = \"uint32\"",
            "date_published = \"30.11.2026\"",
            "licence = \"two words\"",
            "licence_link = \"\"",
            "url = \"a\\nb\"",
        ] {
            let text = read(wrong).expect_err(wrong);
            assert!(text.contains("pack_shards"), "{text}");
        }
    }
}
