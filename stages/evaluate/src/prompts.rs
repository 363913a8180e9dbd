//! The file that gives each image its prompt: CSV or JSON lines.

use std::collections::BTreeMap;
use std::path::Path;

use laioncele_core::CoreError;
use laioncele_inference::lists::{ListRow, csv_records, named_fields};
use serde::Deserialize;

use crate::error::{EvaluateError, Result};

/// The largest file of prompts.
const MAX_BYTES: u64 = 1 << 30;

/// The prompt an image was generated from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Prompted {
    /// The image's file, relative to the folder of images.
    pub(crate) image: String,
    /// Its prompt.
    pub prompt: String,
    /// The prompt's group; of no group without one.
    #[serde(default)]
    pub group: Option<String>,
}

/// Reads a file of prompts, `.csv` with a header or `.jsonl` with an object a line: the columns or
/// keys `image`, `prompt` and, where wanted, `group`; others are ignored. Returns the prompts by
/// image path.
///
/// # Errors
/// A file that cannot be read or is not of that form, with the line.
pub(crate) fn read_prompts(path: &Path) -> Result<BTreeMap<String, Prompted>> {
    let fail = |reason: String| EvaluateError::Prompts {
        path: path.to_owned(),
        reason,
    };
    let text = read_text(path)?;
    let text = text.as_str();
    let extension = path
        .extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let rows = match extension.as_str() {
        "csv" => from_csv(text),
        "jsonl" | "ndjson" => from_json_lines(text),
        _ => Err("prompts are read from a .csv or a .jsonl file".to_owned()),
    };
    let mut prompts = BTreeMap::new();
    for (line, row) in rows.map_err(fail)? {
        let image = normal(&row.image);
        if prompts.insert(image, row).is_some() {
            return Err(fail(format!(
                "line {line}: a second prompt for the same image"
            )));
        }
    }
    Ok(prompts)
}

/// The text of a file, without a byte order mark.
fn read_text(path: &Path) -> Result<String> {
    let io = |error| CoreError::from_io(path, error);
    let fail = |reason: String| EvaluateError::Prompts {
        path: path.to_owned(),
        reason,
    };
    let size = std::fs::metadata(path).map_err(io)?.len();
    if size > MAX_BYTES {
        return Err(fail(format!("{size} bytes, more than {MAX_BYTES}")));
    }
    let bytes = std::fs::read(path).map_err(io)?;
    let text = String::from_utf8(bytes).map_err(|e| fail(format!("not UTF-8: {e}")))?;
    match text.strip_prefix('\u{feff}') {
        Some(rest) => Ok(rest.to_owned()),
        None => Ok(text),
    }
}

/// Reads a `.csv` file with a header, or a `.jsonl` file with an object a line whose values are texts or numbers.
///
/// # Errors
/// A file that cannot be read or is not of that form, with the line.
pub(crate) fn read_records(path: &Path) -> Result<Vec<ListRow>> {
    let text = read_text(path)?;
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    let records = match extension.to_lowercase().as_str() {
        "csv" => named_fields(&text, &[]),
        "jsonl" | "ndjson" => named_values(&text),
        _ => Err("lists are read from a .csv or a .jsonl file".to_owned()),
    };
    records.map_err(|reason| EvaluateError::Prompts {
        path: path.to_owned(),
        reason,
    })
}

fn named_values(text: &str) -> std::result::Result<Vec<ListRow>, String> {
    let lines = text.lines().zip(1..);
    let parse = |(text, line): (&str, usize)| {
        let values: BTreeMap<String, serde_json::Value> =
            serde_json::from_str(text).map_err(|e| format!("line {line}: {e}"))?;
        let field = |(name, value): (String, serde_json::Value)| {
            let value = match value {
                serde_json::Value::String(text) => text,
                serde_json::Value::Null => String::new(),
                other => other.to_string(),
            };
            (name.to_lowercase(), value)
        };
        let fields = values.into_iter().map(field).collect();
        Ok(ListRow { line, fields })
    };
    let filled = lines.filter(|(line, _)| !line.trim().is_empty());
    filled.map(parse).collect()
}

/// Whether a file of prompts says of each image whom it shows, so that it is a list of images by itself.
///
/// # Errors
/// As [`read_records`].
pub(crate) fn names_people(path: &Path) -> Result<bool> {
    let records = read_records(path)?;
    Ok(records
        .iter()
        .any(|record| record.fields.contains_key("person")))
}

/// A path as the folder's files are called: `/` between its parts, nothing before the first.
fn normal(path: &str) -> String {
    let path = path.trim().replace('\\', "/");
    path.strip_prefix("./").unwrap_or(&path).to_owned()
}

/// Rows with their line numbers, or what is wrong.
type Rows = std::result::Result<Vec<(usize, Prompted)>, String>;

fn from_json_lines(text: &str) -> Rows {
    let lines = text
        .lines()
        .zip(1..)
        .filter(|(line, _)| !line.trim().is_empty());
    let parse = |(line, number): (&str, usize)| match serde_json::from_str(line) {
        Ok(row) => Ok((number, row)),
        Err(error) => Err(format!("line {number}: {error}")),
    };
    lines.map(parse).collect()
}

fn from_csv(text: &str) -> Rows {
    let mut records = csv_records(text)?.into_iter();
    let (_, header) = records
        .next()
        .ok_or("empty; a header `image,prompt` was expected")?;
    let column = |name: &str| {
        header
            .iter()
            .position(|h| h.trim().eq_ignore_ascii_case(name))
    };
    let needed = |name: &str| column(name).ok_or(format!("line 1: no column `{name}`"));
    let (image, prompt, group) = (needed("image")?, needed("prompt")?, column("group"));
    let row = |(line, mut fields): (usize, Vec<String>)| {
        if fields.len() != header.len() {
            let (found, expected) = (fields.len(), header.len());
            return Err(format!(
                "line {line}: {found} fields where the header has {expected}"
            ));
        }
        let mut take = |at: usize| std::mem::take(&mut fields[at]);
        let row = Prompted {
            image: take(image),
            prompt: take(prompt),
            group: group.map(take),
        };
        Ok((
            line,
            Prompted {
                group: row.group.filter(|g| !g.trim().is_empty()),
                ..row
            },
        ))
    };
    records.map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> std::result::Result<BTreeMap<String, Prompted>, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        read_prompts(&path).map_err(|e| e.to_string())
    }

    fn prompt<'a>(
        prompts: &'a BTreeMap<String, Prompted>,
        image: &str,
    ) -> (&'a str, Option<&'a str>) {
        let found = &prompts[image];
        (&found.prompt, found.group.as_deref())
    }

    #[test]
    fn both_forms_say_the_same() {
        let csv = "\u{feff}Group,image,PROMPT,seed\r\nmood,./ada/1.png,\"a \"\"sad\"\" man,\nalone\",3\r\n\r\n,bea\\2.jpg,a man,4";
        let json = "{\"image\": \"ada/1.png\", \"prompt\": \"a \\\"sad\\\" man,\\nalone\", \"group\": \"mood\", \"seed\": 3}\n\n\
                    {\"image\": \"bea/2.jpg\", \"prompt\": \"a man\"}\n";
        for (name, text) in [("a.csv", csv), ("a.JSONL", json)] {
            let prompts = read(name, text).expect("prompts");
            assert_eq!(prompts.len(), 2);
            assert_eq!(
                prompt(&prompts, "ada/1.png"),
                ("a \"sad\" man,\nalone", Some("mood"))
            );
            assert_eq!(prompt(&prompts, "bea/2.jpg"), ("a man", None));
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (name, text, expected) in [
            ("a.csv", "", "empty"),
            ("a.csv", "image,text\na,b", "no column `prompt`"),
            ("a.csv", "image,prompt\na,b\n\na,b,c", "line 4: 3 fields"),
            (
                "a.csv",
                "image,prompt\n\"a\nb\",c\nd,\"e",
                "line 4: a quote",
            ),
            (
                "a.csv",
                "image,prompt\na,b\n./a,c",
                "line 3: a second prompt",
            ),
            (
                "a.jsonl",
                "{\"image\": \"a\", \"prompt\": \"b\"}\n{\"image\": \"c\"}",
                "line 2: missing field",
            ),
            ("a.txt", "", ".jsonl"),
        ] {
            let error = read(name, text).expect_err(text);
            assert!(error.contains(expected) && error.contains(name), "{error}");
        }
        assert!(matches!(
            read_prompts(Path::new("no/such.csv")),
            Err(EvaluateError::Core(_))
        ));
    }
}
