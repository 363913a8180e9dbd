//! The TDM reservation protocol: whether a site reserves text and data mining for itself.
//!
//! A reservation in the file or in the header counts: the protocol lets a publisher use either.

use serde::Deserialize;

use crate::head::Head;
use crate::path_pattern::{Pattern, normalized};

/// Bytes of a file that are read at most: a longer one cannot be read.
pub(crate) const MAX_BYTES: usize = 500 << 10;
/// Rules of a file that are kept.
const MAX_RULES: usize = 10_000;

/// What `/.well-known/tdmrep.json` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TdmFile {
    rules: Vec<(Pattern, bool)>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default = "everywhere")]
    location: String,
    #[serde(rename = "tdm-reservation", default)]
    reservation: serde_json::Value,
}

fn everywhere() -> String {
    "/".to_owned()
}

impl TdmFile {
    /// Reads the file; one that cannot be read reserves nothing.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let entries: Vec<serde_json::Value> = serde_json::from_slice(bytes).unwrap_or_default();
        let rules = entries
            .into_iter()
            .take(MAX_RULES)
            .filter_map(|entry| serde_json::from_value::<Entry>(entry).ok())
            .map(|entry| {
                let reserved = match &entry.reservation {
                    serde_json::Value::Number(number) => number.as_f64() == Some(1.0),
                    serde_json::Value::String(text) => text.trim() == "1",
                    other => other.as_bool() == Some(true),
                };
                (Pattern::new(&entry.location), reserved)
            })
            .collect();
        Self { rules }
    }

    /// The pattern that reserves `path`: the longest that matches decides.
    pub(crate) fn reserves(&self, path: &str) -> Option<&str> {
        let path = normalized(path);
        self.rules
            .iter()
            .filter(|(pattern, _)| pattern.matches(&path))
            .max_by_key(|(pattern, reserved)| (pattern.len(), *reserved))
            .filter(|(_, reserved)| *reserved)
            .map(|(pattern, _)| pattern.as_str())
    }
}

/// Whether an answer's own header reserves it.
pub(crate) fn is_reserved(head: &Head) -> bool {
    head.list("tdm-reservation")
        .iter()
        .any(|value| value == "1")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_location_decides() {
        let file = TdmFile::parse(
            br#"[{"location": "/", "tdm-reservation": 1, "tdm-policy": "https://a.example/p"},
                 {"location": "/free/*", "tdm-reservation": 0},
                 {"location": "/free/*.gif$", "tdm-reservation": "1"}, 7, {"tdm-reservation": []}]"#,
        );
        assert_eq!(file.reserves("/x.jpg"), Some("/"));
        assert_eq!(file.reserves("/free/x.jpg"), None);
        assert_eq!(file.reserves("/free/x.gif"), Some("/free/*.gif$"));
        assert_eq!(TdmFile::parse(b"<html>").reserves("/"), None);
    }

    #[test]
    fn the_header_is_1_or_nothing() {
        let head = |value: &str| Head {
            headers: vec![(b"tdm-reservation".to_vec(), value.as_bytes().to_vec())],
            ..Head::default()
        };
        assert!(is_reserved(&head("1")));
        assert!(!is_reserved(&head("0")) && !is_reserved(&head("11")));
        assert!(!is_reserved(&Head::default()));
    }

    proptest! {
        #[test]
        fn parse_accepts_any_bytes(bytes: Vec<u8>) {
            let _ = TdmFile::parse(&bytes).reserves("/x");
        }
    }
}
