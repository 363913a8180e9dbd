//! The manifest's reference, `docs/manifest.md`, from the types that read it.
//!
//! A section is a struct that derives `Deserialize` and whose documentation starts with `` `[name]` ``. Keys, types and
//! explanations are its fields; defaults are what its `Default` or serde attributes say. A default that is more than
//! a literal is shown as the code has it.

mod source;
mod values;

use std::fmt::Write;
use std::io;
use std::path::Path;

use source::{Field, Section, Source};

/// Sections in the order of the page: what a run is, its models, the stages in data order, the rest.
const ORDER: [&str; 25] = [
    "run",
    "source",
    "embedding_dims",
    "models.ner",
    "models.sdxl",
    "models.face",
    "models.image_encoders",
    "models.ip_adapter",
    "models.photomaker",
    "extract_names",
    "merge_names",
    "encode_names",
    "generate_portraits",
    "verify_portraits",
    "download_images",
    "dedupe_images",
    "verify_images",
    "filter_counts",
    "pack_shards",
    "train_encoder",
    "generate_samples",
    "evaluate",
    "finetune",
    "mini_world",
    "workers",
];

const HEAD: &str = "# The manifest

<!-- Written by `make docs` from the types that read a manifest: change those, not this page. -->

A manifest is one TOML file that says what a run is. Relative paths start at its folder. An unknown section or key is an error that
names the nearest valid one. `laioncele doctor --manifest FILE` checks a manifest and everything that it names;
`laioncele plan` says which tasks a change makes necessary. [`manifests/mini.toml`](../manifests/mini.toml) and
[`manifests/laion2b-en.toml`](../manifests/laion2b-en.toml) are whole examples. Models may be named by [urls of a bucket](machines.md#models-by-url), too.

A key without a default must be given, if its section is. A section that has only defaults may be left out.
";

/// The page for the repository at `root`.
///
/// # Errors
/// A source file that cannot be read or is no Rust.
pub fn manifest(root: &Path) -> io::Result<String> {
    let source = Source::of(root)?;
    let mut sections: Vec<&Section> = source.sections().collect();
    let place = |s: &Section| {
        ORDER
            .iter()
            .position(|&o| o == s.name)
            .unwrap_or(ORDER.len())
    };
    sections.sort_by_key(|s| (place(s), s.name.clone()));
    let mut page = HEAD.to_owned();
    for section in sections {
        write_section(&mut page, section, &source);
    }
    Ok(page)
}

fn write_section(page: &mut String, section: &Section, source: &Source) {
    let _ = write!(page, "\n## `[{}]`\n", section.name);
    if !section.docs.is_empty() {
        let _ = write!(page, "\n{}\n", section.docs);
    }
    if section.fields.is_empty() {
        page.push_str("\nNo keys.\n");
        return;
    }
    page.push_str("\n| key | value | default | |\n|---|---|---|---|\n");
    let mut rows: Vec<(String, &Field)> =
        section.fields.iter().map(|f| (f.name.clone(), f)).collect();
    rows.reverse();
    while let Some((name, field)) = rows.pop() {
        let value = values::kind(&field.kind, &section.krate, source);
        let default = field.default.as_ref().map_or_else(String::new, |d| {
            values::default(d, &field.kind, &section.krate, source)
        });
        let _ = writeln!(
            page,
            "| `{name}` | {value} | {default} | {} |",
            cell(&field.docs)
        );
        if let Some(inner) = values::table(&field.kind, &section.krate, source) {
            rows.extend(
                inner
                    .iter()
                    .rev()
                    .map(|f| (format!("{name}.{}", f.name), f)),
            );
        }
    }
}

/// A text for a cell of a Markdown table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
