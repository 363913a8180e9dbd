//! Files of every format and mode, held against Pillow.

// Names of fixtures, which we wrote.
#![allow(clippy::case_sensitive_file_extension_comparisons)]

mod cut;
mod jpeg;
mod pillow;

use std::path::{Path, PathBuf};

/// Every file that `tools/record-image/record.py` wrote, with its name.
fn fixtures() -> Vec<(String, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let files = std::fs::read_dir(folder).expect("the folder of fixtures");
    let mut found: Vec<(String, PathBuf)> = files
        .map(|file| file.expect("an entry").path())
        .map(|path| {
            (
                path.file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
                path,
            )
        })
        .filter(|(name, _)| !name.ends_with(".expected.png"))
        .collect();
    found.sort();
    assert!(found.len() > 60, "{} fixtures", found.len());
    found
}
