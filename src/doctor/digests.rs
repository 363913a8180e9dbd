//! What the SHA-256 of SDXL's weight files says of them: SDXL base 1.0's own, or others.

use std::fs;
use std::path::{Path, PathBuf};

use laioncele_core::Manifest;
use laioncele_inference::{Identity, KnownFiles, SdxlSection, Sums};

use super::{Check, Level};
use crate::failure::{Exit, Failure};

/// Whether weight files are read to tell what they are.
#[derive(Debug, Default)]
pub(crate) struct Digests {
    /// They are; else only what is remembered of an earlier look is told.
    pub read: bool,
    /// A table of the user's own files.
    pub own: KnownFiles,
}

impl Digests {
    /// With the table in the file, if there is one.
    ///
    /// # Errors
    /// A file that cannot be read, or is no table.
    pub(crate) fn new(read: bool, table: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = table else {
            let own = KnownFiles::default();
            return Ok(Self { read, own });
        };
        let wrong = |error: &dyn std::fmt::Display| {
            Failure::new(Exit::Usage, format!("{}: {error}", path.display()))
                .hint("the form is that of inference/src/known_files/known_files.tsv")
        };
        let text = fs::read_to_string(path).map_err(|error| wrong(&error))?;
        let own = text.parse::<KnownFiles>().map_err(|error| wrong(&error))?;
        Ok(Self { read: true, own })
    }
}

/// A line for each weight file of `[models.sdxl]` that is read or remembered.
pub(super) fn check(manifest: &Manifest, digests: &Digests) -> Vec<Check> {
    let Ok(section) = SdxlSection::from_manifest(manifest) else {
        return Vec::new();
    };
    let known = KnownFiles::shipped().and(digests.own.clone());
    let sums = Sums::of_user();
    let check = |(label, path): (String, PathBuf)| {
        let sha256 = match digests.read {
            true => sums.of(&path),
            false => Ok(sums.remembered(&path)?),
        };
        let identity = sha256.and_then(|sha256| known.identify(&path, sha256));
        Some(line(&label, &path, identity))
    };
    let files = section.weight_files().into_iter();
    files.filter_map(check).collect()
}

fn line(label: &str, path: &Path, identity: std::io::Result<Identity>) -> Check {
    let name = format!("{label} (digest)");
    let (level, text) = match identity {
        Err(error) => (Level::Error, error.to_string()),
        Ok(Identity {
            sha256,
            is,
            looks_like,
        }) => match (is, looks_like) {
            (Some(known), _) => (
                Level::Ok,
                format!("{}; licence: {}", known.text(), known.licence),
            ),
            (None, Some(other)) => {
                let text = format!(
                    "{}: looks like the file of {}, but is another: SHA-256 {sha256}, that has {}",
                    path.display(),
                    other.text(),
                    other.sha256
                );
                (Level::Warning, text)
            }
            (None, None) => (
                Level::Ok,
                format!("no file that is known; SHA-256 {sha256}"),
            ),
        },
    };
    let check = Check {
        path: Some(path.to_owned()),
        ..Check::of(level, &name, text)
    };
    check.way_out("if it was meant to be that file, download it again; if not, nothing is wrong: another name would tell them apart")
}
