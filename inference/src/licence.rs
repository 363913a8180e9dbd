//! The licence of a model, as its folder states it: for the cards of what was made with it.

use std::path::{Path, PathBuf};

use laioncele_core::Manifest;
use serde_json::{Map, Value};

/// Bytes of a README or licence that are looked at.
const MOST_BYTES: usize = 64 << 10;

/// The licence of the model that tasks call `label` (`models.face.detector`, `models.sdxl.vae`):
/// the README's table row of its file, the README's `license:`, or the first line of a LICENSE file
/// beside it.
pub fn licence(manifest: &Manifest, label: &str) -> String {
    let found = path(manifest, label).and_then(|path| stated(&path));
    found.unwrap_or_else(|| "not stated in its folder".to_owned())
}

/// Where the manifest has it: `[models.SECTION] KEY`, or KEY in that section's `folder`.
fn path(manifest: &Manifest, label: &str) -> Option<PathBuf> {
    let mut words = label.strip_prefix("models.")?.splitn(2, '.');
    let (section, key) = (words.next()?, words.next().unwrap_or("folder"));
    let section: Map<String, Value> = manifest.model(section).ok()?;
    let file = |key: &str| section.get(key).and_then(Value::as_str).map(Path::new);
    let resolve = |path: &Path| manifest.resolve_model(path).ok();
    match file(key) {
        Some(path) => resolve(path),
        None => Some(resolve(file("folder")?)?.join(key)),
    }
}

fn stated(path: &Path) -> Option<String> {
    let folders = if path.is_dir() {
        vec![path, path.parent()?]
    } else {
        vec![path.parent()?]
    };
    let file = path.file_name()?.to_string_lossy();
    folders.into_iter().find_map(|folder| {
        let readme = text(&folder.join("README.md"));
        let by_readme =
            readme.and_then(|text| table_cell(&text, &file).or_else(|| front_matter(&text)));
        by_readme.or_else(|| licence_file(folder))
    })
}

fn text(path: &Path) -> Option<String> {
    let bytes = std::fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MOST_BYTES)]);
    Some(text.into_owned())
}

fn cells(row: &str) -> Option<Vec<&str>> {
    let row = row.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(row.split('|').map(str::trim).collect())
}

/// The cell under a heading "licence" or "license" of the table row that begins with the file's
/// name.
fn table_cell(readme: &str, file: &str) -> Option<String> {
    let mut heading: Option<Vec<&str>> = None;
    for line in readme.lines() {
        let Some(row) = cells(line) else {
            heading = None;
            continue;
        };
        let Some(heading) = &heading else {
            heading = Some(row);
            continue;
        };
        let is_licence =
            |cell: &&str| matches!(cell.to_lowercase().as_str(), "licence" | "license");
        let column = heading.iter().position(is_licence);
        if let (Some(column), true) = (column, row[0].contains(&format!("`{file}`"))) {
            return row
                .get(column)
                .map(|cell| (*cell).to_owned())
                .filter(|cell| !cell.is_empty());
        }
    }
    None
}

/// `license:` between the `---` lines that a model card begins with.
fn front_matter(readme: &str) -> Option<String> {
    let (head, _) = readme.strip_prefix("---")?.split_once("\n---")?;
    let value = head
        .lines()
        .find_map(|line| line.strip_prefix("license:"))?;
    Some(value.trim().to_owned()).filter(|value| !value.is_empty())
}

fn licence_file(folder: &Path) -> Option<String> {
    let names = ["LICENSE", "LICENSE.md", "LICENSE.txt", "LICENCE"];
    let text = names.iter().find_map(|name| text(&folder.join(name)))?;
    let first = text
        .lines()
        .map(|line| line.trim_matches(['#', ' ']))
        .find(|line| !line.is_empty());
    first.map(|line| line.chars().take(80).collect::<String>().replace('|', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_is_read_from_readme_or_licence_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("written");
        };
        let file = folder.path().join("net.onnx");
        write("net.onnx", "");
        assert_eq!(stated(&file), None);
        write("LICENSE", "\nMIT License\n\nCopyright");
        assert_eq!(stated(&file).as_deref(), Some("MIT License"));
        write("README.md", "---\ntags: x\nlicense: openrail++\n---\n# Net");
        assert_eq!(stated(&file).as_deref(), Some("openrail++"));
        write(
            "README.md",
            "# Nets\n| file | licence |\n|---|---|\n| `other.onnx` | GPL |\n| `net.onnx` (detector) | MIT |\n",
        );
        assert_eq!(stated(&file).as_deref(), Some("MIT"));
    }
}
