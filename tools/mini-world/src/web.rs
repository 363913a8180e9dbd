//! The embedded world's web as a file: people, and for each url what its picture shows and how it answers.

use std::collections::BTreeMap;
use std::path::Path;

use laioncele_core::CoreError;
use serde::{Deserialize, Serialize};

use crate::error::WorldError;
use crate::manner::Manner;
use crate::picture::Picture;
use crate::render::Anatomy;

/// All hosts of the embedded world's web end in this.
pub const HOST_SUFFIX: &str = ".example";

/// A web of invented hosts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Web {
    /// The anatomies of those in its pictures.
    pub people: Vec<Anatomy>,
    /// `host/path` → page.
    pub pages: BTreeMap<String, Page>,
}

/// What stands at a url.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// The picture.
    pub picture: Picture,
    /// How it is answered.
    #[serde(default, skip_serializing_if = "Manner::is_plain")]
    pub manner: Manner,
}

impl Web {
    /// Reads `web.json`.
    ///
    /// # Errors
    /// A missing file, or one of another shape.
    pub fn load(path: &Path) -> Result<Self, WorldError> {
        let text = std::fs::read(path).map_err(|e| CoreError::from_io(path, e))?;
        serde_json::from_slice(&text).map_err(|source| WorldError::Json {
            path: path.to_owned(),
            source,
        })
    }

    /// Its file: a page and an anatomy to a line, so that two worlds can be compared.
    pub(crate) fn to_json(&self) -> Result<String, serde_json::Error> {
        let people: Result<Vec<_>, _> = self.people.iter().map(serde_json::to_string).collect();
        let page = |(url, page): (&String, &Page)| {
            let (url, page) = (serde_json::to_string(url)?, serde_json::to_string(page)?);
            Ok::<_, serde_json::Error>(format!("{url}:{page}"))
        };
        let pages: Result<Vec<_>, _> = self.pages.iter().map(page).collect();
        Ok(format!(
            "{{\"people\":[\n{}\n],\"pages\":{{\n{}\n}}}}\n",
            people?.join(",\n"),
            pages?.join(",\n")
        ))
    }

    /// The key of a url without its scheme in [`Web::pages`]: without query.
    pub(crate) fn key(host: &str, path: &str) -> String {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        format!("{}{path}", host.to_ascii_lowercase())
    }
}
