//! The embedded world's web as a file: its people, and for each url what its image shows and how
//! the page behaves.

use std::collections::BTreeMap;
use std::path::Path;

use laioncele_core::CoreError;
use serde::{Deserialize, Serialize};

use crate::behaviour::PageBehaviour;
use crate::error::WorldError;
use crate::recipe::ImageRecipe;
use crate::render::Anatomy;

/// All host names of the embedded world's web end in this.
pub const HOST_SUFFIX: &str = ".example";

/// A web of invented hosts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Web {
    /// The people in its images.
    pub people: Vec<Anatomy>,
    /// `host/path` → page.
    pub pages: BTreeMap<String, Page>,
}

/// What is at a url.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// The image.
    #[serde(rename = "picture")]
    pub image: ImageRecipe,
    /// How requests for it are answered.
    #[serde(
        rename = "manner",
        default,
        skip_serializing_if = "PageBehaviour::is_normal"
    )]
    pub behaviour: PageBehaviour,
}

impl Web {
    /// Reads `web.json`.
    ///
    /// # Errors
    /// A file that is missing or not a web.
    pub fn load(path: &Path) -> Result<Self, WorldError> {
        let text = std::fs::read(path).map_err(|e| CoreError::from_io(path, e))?;
        serde_json::from_slice(&text).map_err(|source| WorldError::Json {
            path: path.to_owned(),
            source,
        })
    }

    /// The text of `web.json`, with one person or page per line, so that `diff` can compare two
    /// worlds.
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

    /// The key in [`Web::pages`] of a path on a host, without query and fragment. Blanks and what is not ASCII are
    /// escaped, as they are in requests.
    pub(crate) fn key(host: &str, path: &str) -> String {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let mut key = host.to_ascii_lowercase();
        for byte in path.bytes() {
            match byte {
                b'!'..=b'~' => key.push(char::from(byte)),
                _ => key.push_str(&format!("%{byte:02X}")),
            }
        }
        key
    }

    /// The page at `url`.
    pub(crate) fn page(&self, url: &str) -> Option<&Page> {
        let (_, rest) = url.split_once("://")?;
        let (host, path) = rest.split_at(rest.find('/')?);
        self.pages.get(&Self::key(host, path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_what_is_asked_for() {
        for (host, path, key) in [
            ("A.example", "/x.jpg?size=1#top", "a.example/x.jpg"),
            (
                "a.example",
                "/f\u{fc}r uns/x.jpg",
                "a.example/f%C3%BCr%20uns/x.jpg",
            ),
            (
                "a.example",
                "/f%C3%BCr%20uns/x.jpg",
                "a.example/f%C3%BCr%20uns/x.jpg",
            ),
        ] {
            assert_eq!(Web::key(host, path), key);
        }
    }
}
