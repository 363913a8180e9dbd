//! CSV, TSV, JSON lines, and text of a url a line: the columns are told from the head, the rest is read when its turn
//! comes.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use laioncele_core::manifest::{Layout, SourceSettings};

use crate::batch::{TextRow, Values};
use crate::delimited::{Record, Records, too_long};
use crate::detect::{Detected, Wanted};
use crate::error::SourceError;
use crate::json::{self, Keys};
use crate::lines::Lines;
use crate::role::Role;
use crate::shards::Format;

/// Lines of JSON whose keys are looked at.
const HEAD_LINES: usize = 64;

/// How a file's lines become rows.
#[derive(Clone, Debug)]
pub(crate) struct TextFile {
    pub(crate) detected: Detected,
    pub(crate) names: Vec<String>,
    gzip: bool,
    rows: Rows,
}

#[derive(Clone, Debug)]
enum Rows {
    Delimited {
        tabs: bool,
        has_header: bool,
    },
    Json(Keys),
    /// A url a line.
    Urls,
}

impl TextFile {
    /// Looks at the head of the file at `path`.
    pub(crate) fn open(
        path: &Path,
        (format, gzip): (Format, bool),
        wanted: &Wanted,
    ) -> Result<Self, SourceError> {
        let lines = Lines::open(path, gzip).map_err(|e| cannot_open(path, e))?;
        match format {
            Format::JsonLines => Self::open_json(path, gzip, lines, wanted),
            Format::Text => Self::open_urls(path, gzip, lines),
            format => Self::open_delimited(path, gzip, lines, format == Format::Tsv, wanted),
        }
    }

    fn open_delimited(
        path: &Path,
        gzip: bool,
        lines: Lines,
        tabs: bool,
        wanted: &Wanted,
    ) -> Result<Self, SourceError> {
        let format = if tabs { "TSV" } else { "CSV" };
        let refuse = |reason: String| not(path, format, reason);
        let first = Records::new(lines, tabs)
            .next()
            .map_err(|e| cannot_open(path, e))?;
        let Some(first) = first else {
            return Err(refuse("nothing but blank lines".to_owned()));
        };
        let in_first = |why| refuse(format!("line {}: {why}", first.line));
        let fields = first.fields.clone().map_err(in_first)?;
        if fields.iter().any(|field| field.contains(&0)) {
            return Err(refuse(
                "it holds zero bytes, as UTF-16 does: convert it to UTF-8".to_owned(),
            ));
        }
        let texts: Vec<String> = fields
            .iter()
            .map(|field| String::from_utf8_lossy(field).trim().to_owned())
            .collect();
        let (names, settings) = headerless(&texts, wanted.settings);
        let has_header = settings.is_none();
        let names = names.unwrap_or(texts);
        let wanted_here = Wanted {
            settings: settings.as_ref().unwrap_or(wanted.settings),
            needs: wanted.needs,
            purpose: wanted.purpose,
        };
        let mut detected = wanted_here.detect(path, &names, |role, _| role != Role::Image)?;
        if !has_header && !wanted.settings.maps_all() {
            detected.layout = detected.layout.or(Some(Layout::Cc12m));
        }
        let rows = Rows::Delimited { tabs, has_header };
        Self::new(path, gzip, rows, detected, names)
    }

    fn open_json(
        path: &Path,
        gzip: bool,
        mut lines: Lines,
        wanted: &Wanted,
    ) -> Result<Self, SourceError> {
        let format = "JSON lines";
        let (mut names, mut first_wrong, mut objects) = (BTreeSet::new(), None, 0);
        for _ in 0..HEAD_LINES {
            let Some(line) = lines.next().map_err(|e| cannot_open(path, e))? else {
                break;
            };
            let bytes = line.bytes.unwrap_or_default();
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            match json::names(&bytes) {
                Ok(found) => {
                    objects += 1;
                    names.extend(found);
                }
                Err(_) if bytes.trim_ascii().starts_with(b"[") && objects == 0 => {
                    let reason = "it begins with `[`: one object a line is expected, no array";
                    return Err(not(path, format, reason.to_owned()));
                }
                Err(why) => first_wrong = first_wrong.or(Some((line.number, why))),
            }
        }
        if let (0, Some((number, why))) = (objects, first_wrong) {
            return Err(not(path, format, format!("line {number}: {why}")));
        }
        let names: Vec<String> = names.into_iter().collect();
        let detected = match objects {
            // Nothing but blank lines: no rows, so no columns are missed.
            0 => Detected::default(),
            _ => wanted.detect(path, &names, |role, _| role != Role::Image)?,
        };
        let keys = detected.columns.iter();
        let keys = keys
            .map(|(role, number)| (names[*number].clone(), *role))
            .collect();
        Self::new(path, gzip, Rows::Json(keys), detected, names)
    }

    fn open_urls(path: &Path, gzip: bool, mut lines: Lines) -> Result<Self, SourceError> {
        let first = lines.next().map_err(|e| cannot_open(path, e))?;
        if first.is_some_and(|line| line.bytes.is_some_and(|bytes| bytes.contains(&0))) {
            let reason = "it holds zero bytes: text as UTF-8, a url a line, is expected";
            return Err(not(path, "text", reason.to_owned()));
        }
        let detected = Detected {
            layout: None,
            columns: [(Role::Url, 0)].into(),
        };
        Self::new(path, gzip, Rows::Urls, detected, vec!["line".to_owned()])
    }

    fn new(
        path: &Path,
        gzip: bool,
        rows: Rows,
        detected: Detected,
        names: Vec<String>,
    ) -> Result<Self, SourceError> {
        if let Some(number) = detected.columns.get(&Role::Image) {
            return Err(SourceError::ColumnType {
                path: path.to_owned(),
                column: names[*number].clone(),
                mapping: "[source.columns] maps to `image`".to_owned(),
                expected: "bytes",
                found: "text".to_owned(),
            });
        }
        Ok(Self {
            detected,
            names,
            gzip,
            rows,
        })
    }

    /// Its rows, in order. An error is of the file as a whole.
    pub(crate) fn rows(&self, path: &Path) -> io::Result<Box<TextRows>> {
        let lines = Lines::open(path, self.gzip)?;
        Ok(match &self.rows {
            Rows::Delimited { tabs, has_header } => {
                let mut records = Records::new(lines, *tabs);
                if *has_header {
                    records.next()?;
                }
                Box::new(DelimitedRows {
                    records,
                    fields: self.names.len(),
                    columns: self
                        .detected
                        .columns
                        .iter()
                        .map(|(r, n)| (*r, *n))
                        .collect(),
                })
            }
            Rows::Json(keys) => Box::new(JsonRows {
                lines,
                keys: keys.clone(),
            }),
            Rows::Urls => Box::new(UrlRows(lines)),
        })
    }
}

/// Rows of text, one after the other; an error is of the file as a whole.
pub(crate) type TextRows = dyn Iterator<Item = io::Result<TextRow>> + Send;

/// The names and settings of a file whose first record is a row; none where it is a header.
fn headerless(
    first: &[String],
    settings: &SourceSettings,
) -> (Option<Vec<String>>, Option<SourceSettings>) {
    let is_url = |text: &String| {
        let start = text.get(..8).unwrap_or(text).to_ascii_lowercase();
        start.starts_with("http://") || start.starts_with("https://")
    };
    let url = first.iter().position(is_url);
    let is_header = first.iter().any(|name| name.eq_ignore_ascii_case("url"));
    if url.is_none() && (is_header || settings.layout != Some(Layout::Cc12m)) {
        return (None, None);
    }
    // CC12M has the url first, CC3M the caption.
    let url = url.unwrap_or(0);
    let names: Vec<String> = (1..=first.len()).map(|number| number.to_string()).collect();
    let mut settings = settings.clone();
    let mut map = |role: Role, column: usize| {
        let column = names.get(column).cloned();
        let mapped = settings.columns.entry(role.as_str().to_owned());
        mapped.or_insert(column.unwrap_or_default());
    };
    map(Role::Url, url);
    map(Role::Caption, usize::from(url == 0));
    (Some(names), Some(settings))
}

fn not(path: &Path, format: &'static str, reason: String) -> SourceError {
    SourceError::NotOfFormat {
        path: path.to_owned(),
        format,
        reason,
    }
}

fn cannot_open(path: &Path, source: io::Error) -> SourceError {
    SourceError::Open {
        path: path.to_owned(),
        source,
    }
}

struct DelimitedRows {
    records: Records,
    fields: usize,
    columns: Vec<(Role, usize)>,
}

impl DelimitedRows {
    fn row(&self, record: Record) -> TextRow {
        let values = record.fields.and_then(|mut fields| {
            while fields.len() > self.fields && fields.last().is_some_and(Vec::is_empty) {
                fields.pop();
            }
            if fields.len() != self.fields {
                return Err(format!(
                    "{} fields instead of {}",
                    fields.len(),
                    self.fields
                ));
            }
            let mut values = Values::default();
            for (role, number) in &self.columns {
                values[*role as usize] = Some(fields[*number].clone());
            }
            Ok(values)
        });
        text_row(values, record.line)
    }
}

fn text_row(values: Result<Values, String>, line: u64) -> TextRow {
    TextRow {
        values: values.map_err(|why| format!("line {line}: {why}")),
        image_at: None,
    }
}

impl Iterator for DelimitedRows {
    type Item = io::Result<TextRow>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.records.next().transpose()?;
        Some(record.map(|record| self.row(record)))
    }
}

struct UrlRows(Lines);

impl Iterator for UrlRows {
    type Item = io::Result<TextRow>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = match self.0.next().transpose()? {
                Ok(line) => line,
                Err(error) => return Some(Err(error)),
            };
            let values = match line.bytes {
                None => Err(too_long()),
                Some(bytes) if bytes.trim_ascii().is_empty() => continue,
                Some(bytes) => {
                    let mut values = Values::default();
                    values[Role::Url as usize] = Some(bytes);
                    Ok(values)
                }
            };
            return Some(Ok(text_row(values, line.number)));
        }
    }
}

struct JsonRows {
    lines: Lines,
    keys: Keys,
}

impl Iterator for JsonRows {
    type Item = io::Result<TextRow>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = match self.lines.next().transpose()? {
                Ok(line) => line,
                Err(error) => return Some(Err(error)),
            };
            let values = match line.bytes {
                None => Err(too_long()),
                Some(bytes) if bytes.trim_ascii().is_empty() => continue,
                Some(bytes) => json::values(&bytes, &self.keys),
            };
            return Some(Ok(text_row(values, line.number)));
        }
    }
}
