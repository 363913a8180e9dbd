//! Tables as they are printed: Markdown, CSV, LaTeX, or cells for a terminal.

use std::fmt::Write;

use serde::Serialize;

/// How a table is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Markdown, with the notes as a list below.
    #[default]
    Markdown,
    /// CSV by RFC 4180: one line for each row, without the notes.
    Csv,
    /// LaTeX's `tabular` with booktabs' rules, with the notes as comments.
    Latex,
}

/// A cell.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cell {
    /// What is printed; empty where there is nothing.
    pub text: String,
    /// The best of its column.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bold: bool,
    /// The value with all digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
}

/// A row: who, and a cell for every other column.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The system.
    pub name: String,
    /// One for each column but the first.
    pub cells: Vec<Cell>,
    /// Whether it is shown for comparison only: somebody else's figures.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gray: bool,
}

/// A table with what must be known to read it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Layout {
    /// What it shows.
    pub title: String,
    /// The columns' heads, the rows' names first.
    pub header: Vec<String>,
    /// The rows.
    pub rows: Vec<Row>,
    /// Sentences.
    pub notes: Vec<String>,
}

/// Where there is no value.
const NOTHING: &str = "–";

impl Layout {
    /// The table as a text.
    pub fn write(&self, format: Format) -> String {
        match format {
            Format::Markdown => self.markdown(),
            Format::Csv => self.csv(),
            Format::Latex => self.latex(),
        }
    }

    /// Header and rows as plain cells; the best of a column has an asterisk.
    pub fn cells(&self) -> Vec<Vec<String>> {
        let mut lines = vec![self.header.clone()];
        for row in &self.rows {
            let cell = |cell: &Cell| match cell {
                Cell { text, .. } if text.is_empty() => NOTHING.to_owned(),
                Cell {
                    text, bold: true, ..
                } => format!("{text}*"),
                Cell { text, .. } => text.clone(),
            };
            let mut line = vec![row.name.clone()];
            line.extend(row.cells.iter().map(cell));
            lines.push(line);
        }
        lines
    }

    fn markdown(&self) -> String {
        let escaped = |text: &str| text.replace('|', "\\|");
        let mut text = format!("# {}\n\n", self.title);
        let head: Vec<String> = self.header.iter().map(|h| escaped(h)).collect();
        let rule = "---:|".repeat(self.header.len().saturating_sub(1));
        let _ = write!(text, "| {} |\n|---|{rule}\n", head.join(" | "));
        for row in &self.rows {
            let cell = |cell: &Cell| match (cell.text.as_str(), cell.bold, row.gray) {
                ("", _, _) => NOTHING.to_owned(),
                (text, true, _) => format!("**{}**", escaped(text)),
                (text, false, true) => format!("*{}*", escaped(text)),
                (text, false, false) => escaped(text),
            };
            let cells: Vec<String> = row.cells.iter().map(cell).collect();
            let _ = writeln!(text, "| {} | {} |", escaped(&row.name), cells.join(" | "));
        }
        text.push('\n');
        for note in &self.notes {
            let _ = writeln!(text, "- {note}");
        }
        text
    }

    fn csv(&self) -> String {
        let line = |fields: &mut dyn Iterator<Item = &str>| {
            let quoted: Vec<String> = fields.map(csv_field).collect();
            quoted.join(",") + "\n"
        };
        let mut text = line(&mut self.header.iter().map(String::as_str));
        for row in &self.rows {
            let cells = row.cells.iter().map(|cell| cell.text.as_str());
            text += &line(&mut std::iter::once(row.name.as_str()).chain(cells));
        }
        text
    }

    fn latex(&self) -> String {
        let mut text = String::new();
        for note in &self.notes {
            let _ = writeln!(text, "% {}", note.replace('\n', " "));
        }
        let columns = "r".repeat(self.header.len().saturating_sub(1));
        let head: Vec<String> = self.header.iter().map(|h| tex(h)).collect();
        let _ = write!(
            text,
            "\\begin{{tabular}}{{l{columns}}}\n\\toprule\n{} \\\\\n\\midrule\n",
            head.join(" & ")
        );
        for row in &self.rows {
            let gray = |text: String| match row.gray {
                true => format!("\\textcolor{{gray}}{{{text}}}"),
                false => text,
            };
            let cell = |cell: &Cell| match (cell.text.as_str(), cell.bold) {
                ("", _) => gray("--".to_owned()),
                (text, true) => format!("\\textbf{{{}}}", tex(text)),
                (text, false) => gray(tex(text)),
            };
            let mut cells = vec![gray(tex(&row.name))];
            cells.extend(row.cells.iter().map(cell));
            let _ = writeln!(text, "{} \\\\", cells.join(" & "));
        }
        text + "\\bottomrule\n\\end{tabular}\n"
    }
}

fn csv_field(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

/// Text for LaTeX: what it reads otherwise is escaped or written in its own way.
fn tex(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', c]),
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '↑' => out.push_str("$\\uparrow$"),
            '↓' => out.push_str("$\\downarrow$"),
            '≠' => out.push_str("$\\neq$"),
            '×' => out.push_str("$\\times$"),
            '–' => out.push_str("--"),
            '−' => out.push_str("$-$"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        let cell = |text: &str, bold| Cell {
            text: text.to_owned(),
            bold,
            value: None,
        };
        Layout {
            title: "Systems".to_owned(),
            header: vec!["system".to_owned(), "FID ↓".to_owned(), "a,b".to_owned()],
            rows: vec![
                Row {
                    name: "a_b".to_owned(),
                    cells: vec![cell("1.5", true), cell("", false)],
                    gray: false,
                },
                Row {
                    name: "the \"paper\"".to_owned(),
                    cells: vec![cell("2.5", false), cell("50 %", false)],
                    gray: true,
                },
            ],
            notes: vec!["A note.".to_owned()],
        }
    }

    #[test]
    fn a_table_is_written_in_each_format() {
        let layout = layout();
        let markdown = "# Systems\n\n| system | FID ↓ | a,b |\n|---|---:|---:|\n| a_b | **1.5** | – |\n\
                        | the \"paper\" | *2.5* | *50 %* |\n\n- A note.\n";
        assert_eq!(layout.write(Format::Markdown), markdown);
        let csv = "system,FID ↓,\"a,b\"\na_b,1.5,\n\"the \"\"paper\"\"\",2.5,50 %\n";
        assert_eq!(layout.write(Format::Csv), csv);
        let latex = "% A note.\n\\begin{tabular}{lrr}\n\\toprule\nsystem & FID $\\downarrow$ & a,b \\\\\n\\midrule\n\
                     a\\_b & \\textbf{1.5} & -- \\\\\n\\textcolor{gray}{the \"paper\"} & \\textcolor{gray}{2.5} & \\textcolor{gray}{50 \\%} \\\\\n\
                     \\bottomrule\n\\end{tabular}\n";
        assert_eq!(layout.write(Format::Latex), latex);
        assert_eq!(layout.cells()[1], ["a_b", "1.5*", "–"]);
    }
}
