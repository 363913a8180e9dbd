//! Reading the JSON files of a model folder: bounded, with unsupported values refused by key and
//! value.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::foreign;

/// The largest JSON file that is read; tokenizer.json of the real CLIP has 2.2 MB.
const JSON_LIMIT: u64 = 64 << 20;

/// The largest width, head count, image edge or vocabulary that a configuration may ask for.
const DIMENSION_LIMIT: usize = 1 << 17;

/// A JSON file in memory, not yet interpreted.
#[derive(Debug, Clone)]
pub struct JsonFile {
    path: PathBuf,
    text: String,
    value: Value,
}

impl JsonFile {
    /// Reads and parses `path`.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::TooLarge`], [`Error::Json`].
    pub fn read(path: &Path) -> Result<Self> {
        let mut text = read_text(path)?;
        // Editors on Windows put a byte order mark in front, which JSON has none of.
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        Self::parsed(path, text)
    }

    /// A file that is part of the program; `path` is what errors call it.
    ///
    /// # Errors
    /// [`Error::Json`]
    pub fn built_in(path: &Path, text: &str) -> Result<Self> {
        Self::parsed(path, text.to_owned())
    }

    fn parsed(path: &Path, text: String) -> Result<Self> {
        let text = finite(text);
        let value = serde_json::from_str(&text).map_err(|source| {
            foreign::what_is(path).unwrap_or_else(|| Error::Json {
                path: path.into(),
                source,
            })
        })?;
        Ok(Self {
            path: path.into(),
            text,
            value,
        })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole value.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The value of `key` on the top level; `None` if absent.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.value.get(key)
    }

    /// The file as a typed configuration; unknown keys are ignored, missing ones take their
    /// defaults.
    ///
    /// # Errors
    /// [`Error::Json`]
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.text).map_err(|source| Error::Json {
            path: self.path.clone(),
            source,
        })
    }

    /// The object under `key` as a typed configuration.
    ///
    /// # Errors
    /// [`Error::Json`]
    pub fn parse_section<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        let section = self.value.get(key).cloned().unwrap_or(Value::Null);
        serde_json::from_value(section).map_err(|source| Error::Json {
            path: self.path.clone(),
            source,
        })
    }

    /// Refuses a present value of `key` that is none of `allowed` (JSON literals).
    ///
    /// # Errors
    /// [`Error::Unsupported`]
    pub fn require(&self, key: &str, allowed: &[&str]) -> Result<()> {
        match self.value.get(key) {
            Some(found) if !allowed.iter().any(|literal| is_literal(found, literal)) => {
                Err(self.unsupported(key, found, &allowed.join(" or ")))
            }
            _ => Ok(()),
        }
    }

    /// [`JsonFile::require`] for a table of keys.
    ///
    /// # Errors
    /// [`Error::Unsupported`]
    pub fn require_all(&self, table: &[(&str, &[&str])]) -> Result<()> {
        table
            .iter()
            .try_for_each(|(key, allowed)| self.require(key, allowed))
    }

    /// An [`Error::Unsupported`] about this file.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "callers pass literals and numbers"
    )]
    pub fn unsupported(&self, key: &str, value: impl ToString, expected: &str) -> Error {
        Error::Unsupported {
            path: self.path.clone(),
            key: key.into(),
            value: value.to_string(),
            expected: expected.into(),
        }
    }

    /// Refuses a dimension that is zero or absurdly large.
    ///
    /// # Errors
    /// [`Error::Unsupported`]
    pub fn check_dimension(&self, key: &str, value: usize) -> Result<()> {
        if value == 0 || value > DIMENSION_LIMIT {
            return Err(self.unsupported(key, value, &format!("1 to {DIMENSION_LIMIT}")));
        }
        Ok(())
    }

    /// Refuses a count of layers or levels above `most`, or zero.
    ///
    /// # Errors
    /// [`Error::Unsupported`]
    pub fn check_count(&self, key: &str, value: usize, most: usize) -> Result<()> {
        if value == 0 || value > most {
            return Err(self.unsupported(key, value, &format!("1 to {most}")));
        }
        Ok(())
    }

    /// Refuses `value` unless it is a multiple of `divisor`.
    ///
    /// # Errors
    /// [`Error::Unsupported`]
    pub fn check_multiple(&self, key: &str, value: usize, divisor: usize) -> Result<()> {
        if divisor == 0 || !value.is_multiple_of(divisor) {
            return Err(self.unsupported(key, value, &format!("a multiple of {divisor}")));
        }
        Ok(())
    }
}

/// The text of a file of at most 64 MiB.
///
/// # Errors
/// A file that cannot be read, or is larger.
pub fn read_text(path: &Path) -> Result<String> {
    let fail = |source| Error::Io {
        path: path.into(),
        source,
    };
    let bytes = std::fs::metadata(path).map_err(fail)?.len();
    if bytes > JSON_LIMIT {
        return Err(Error::TooLarge {
            path: path.into(),
            bytes,
            limit: JSON_LIMIT,
        });
    }
    std::fs::read_to_string(path).map_err(fail)
}

/// The text with `null` for numbers that are not finite, which Python writes and JSON does not have.
fn finite(text: String) -> String {
    const NAMES: [&str; 3] = ["-Infinity", "Infinity", "NaN"];
    if !NAMES.iter().any(|name| text.contains(name)) {
        return text;
    }
    let mut found = String::with_capacity(text.len());
    let (mut rest, mut is_in_string) = (text.as_str(), false);
    while let Some(next) = rest.chars().next() {
        let name = NAMES.iter().find(|name| rest.starts_with(**name));
        let taken = match (is_in_string, next, name) {
            (false, _, Some(name)) => {
                found.push_str("null");
                rest = &rest[name.len()..];
                continue;
            }
            (true, '\\', _) => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            (_, '"', _) => {
                is_in_string = !is_in_string;
                1
            }
            _ => next.len_utf8(),
        };
        found.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    found
}

/// Whether `value` is what the JSON literal says; 1 and 1.0 are the same number.
fn is_literal(value: &Value, literal: &str) -> bool {
    let Ok(expected) = serde_json::from_str::<Value>(literal) else {
        return false;
    };
    match (value.as_f64(), expected.as_f64()) {
        (Some(found), Some(wanted)) => found == wanted,
        _ => *value == expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_not_finite_are_null() {
        let text = r#"{"a": -Infinity, "b": [NaN, Infinity], "-Infinity \\\" NaN": "NaN"}"#;
        let file = JsonFile::built_in(Path::new("x.json"), text).expect("JSON");
        let expected =
            serde_json::json!({"a": null, "b": [null, null], "-Infinity \\\" NaN": "NaN"});
        assert_eq!(file.value(), &expected);
        for text in ["", "{-Infinity", "\"\\", "NaNé\"ü"] {
            assert!(JsonFile::built_in(Path::new("x.json"), text).is_err());
        }
    }
}
