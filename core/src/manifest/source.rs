//! `[source]`: which files hold the captions, and what their columns are called.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use strum::Display;

use crate::nearest::suggestion;

/// `[source]`: where the captions are, and what their columns are called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSettings {
    /// A file, a folder (with all its sub-folders) or a glob pattern, of this machine or below a bucket's url (`s3://…`), or a
    /// list of these. A file of the source is one shard.
    /// Add new entries at the end of a list: shards keep their names, and only the new ones are read.
    pub path: SourcePath,
    /// The layout of the files. Without it, each file's layout is told from its columns' names.
    #[serde(default)]
    pub layout: Option<Layout>,
    /// Our column name → the file's, in any case; it overrides the layout's, and `""` takes a column out. Ours are
    /// `url caption width height similarity punsafe pwatermark hash nsfw status image`. Where `url` and `caption` are mapped
    /// and no layout is set, the columns that are mapped are all that is read. Columns of a file without a header are called
    /// `1`, `2`, ….
    #[serde(default)]
    pub columns: BTreeMap<String, String>,
}

impl SourceSettings {
    /// Whether the columns that it maps are all that is read: then nothing is told from the files.
    pub fn maps_all(&self) -> bool {
        let mapped = |column| self.columns.contains_key(column);
        self.layout.is_none() && mapped("url") && mapped("caption")
    }
}

/// `[source] path`: one entry, or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SourcePath {
    /// One.
    One(PathBuf),
    /// Several, at least one.
    Several(Vec<PathBuf>),
}

impl SourcePath {
    /// The entries, in the manifest's order.
    pub fn entries(&self) -> &[PathBuf] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::Several(paths) => paths,
        }
    }

    /// The first entry, which names the source in messages.
    pub fn first(&self) -> &Path {
        self.entries()
            .first()
            .map_or(Path::new(""), PathBuf::as_path)
    }
}

/// A layout of source files that is known by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Display)]
pub enum Layout {
    /// LAION-2B-en and its relatives.
    #[serde(rename = "laion-2b")]
    #[strum(serialize = "laion-2b")]
    Laion2b,
    /// LAION-400M.
    #[serde(rename = "laion-400m")]
    #[strum(serialize = "laion-400m")]
    Laion400m,
    /// Re-LAION-5B.
    #[serde(rename = "relaion")]
    #[strum(serialize = "relaion")]
    Relaion,
    /// DataComp's pools.
    #[serde(rename = "datacomp")]
    #[strum(serialize = "datacomp")]
    Datacomp,
    /// COYO-700M.
    #[serde(rename = "coyo")]
    #[strum(serialize = "coyo")]
    Coyo,
    /// CC12M and CC3M: two columns without a header.
    #[serde(rename = "cc12m")]
    #[strum(serialize = "cc12m")]
    Cc12m,
    /// What img2dataset wrote: tar shards, Parquet with image bytes, or folders of files.
    #[serde(rename = "img2dataset")]
    #[strum(serialize = "img2dataset")]
    Img2dataset,
}

/// The source columns that a manifest may map.
pub const SOURCE_COLUMNS: [&str; 11] = [
    "url",
    "caption",
    "width",
    "height",
    "similarity",
    "punsafe",
    "pwatermark",
    "hash",
    "nsfw",
    "status",
    "image",
];

pub(super) fn check_source(source: &SourceSettings) -> Result<(), String> {
    if let Some(unknown) = source
        .columns
        .keys()
        .find(|k| !SOURCE_COLUMNS.contains(&k.as_str()))
    {
        return Err(format!(
            "[source.columns] unknown key `{unknown}`{}",
            suggestion(unknown, &SOURCE_COLUMNS.map(str::to_owned))
        ));
    }
    if source.path.entries().is_empty() {
        return Err("[source] path: an empty list; name at least one file or folder".to_owned());
    }
    if (source.path.entries().iter()).any(|path| path.as_os_str().is_empty()) {
        return Err(
            "[source] path: an empty text; name a file or folder (`.` is the manifest's own)"
                .to_owned(),
        );
    }
    Ok(())
}
