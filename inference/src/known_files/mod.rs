//! Weight files whose SHA-256 is public: by it SDXL's own files are told from others of the same name.

mod sums;

use std::io;
use std::path::Path;
use std::str::FromStr;

use laioncele_core::Manifest;
use thiserror::Error;

use crate::SdxlSection;
pub use sums::Sums;

/// The table that the program comes with.
const SHIPPED: &str = include_str!("known_files.tsv");
/// Names that many models' files have: they tell nothing of whose they are.
const GENERIC: [&str; 3] = ["model", "diffusion_pytorch_model", "pytorch_lora_weights"];

/// A file whose SHA-256 is public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownFile {
    /// 64 hexadecimal digits, lower case.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// What it belongs to: `SDXL base 1.0`.
    pub model: String,
    /// Its repository at huggingface.co: `stabilityai/stable-diffusion-xl-base-1.0`.
    pub repository: String,
    /// Its path there: `unet/diffusion_pytorch_model.safetensors`.
    pub file: String,
    /// The licence that its page names.
    pub licence: String,
}

impl KnownFile {
    /// `SDXL base 1.0: stabilityai/stable-diffusion-xl-base-1.0, vae/…`
    pub fn text(&self) -> String {
        let Self {
            model,
            repository,
            file,
            ..
        } = self;
        format!("{model}: {repository}, {file}")
    }

    /// Whether the file at `path`, of `bytes`, looks like this one: it lies under the same name, and in a folder named for the
    /// repository, or has a name that is nobody else's, or the same size.
    fn looks_like(&self, path: &Path, bytes: u64) -> bool {
        if !path.ends_with(&self.file) {
            return false;
        }
        let name = Path::new(&self.file).file_name().unwrap_or_default();
        let stem = name.to_string_lossy();
        let stem = stem.split_once('.').map_or(&*stem, |(stem, _)| stem);
        let repository = self.repository.rsplit('/').next().unwrap_or_default();
        let mut folders = path.parent().into_iter().flat_map(Path::components);
        bytes == self.bytes
            || !GENERIC.contains(&stem)
            || folders.any(|folder| folder.as_os_str().to_string_lossy().contains(repository))
    }
}

/// A table of such files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownFiles(Vec<KnownFile>);

/// A line that is none of the table.
#[derive(Debug, Error)]
#[error("line {line}: {problem}")]
pub struct KnownFilesError {
    /// From 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// What a file's SHA-256 says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// 64 hexadecimal digits.
    pub sha256: String,
    /// The known file that it is.
    pub is: Option<KnownFile>,
    /// The known file that it looks like and is not.
    pub looks_like: Option<KnownFile>,
}

impl KnownFiles {
    /// What the program comes with: SDXL base 1.0 and files that are used with it.
    pub fn shipped() -> Self {
        // A test reads it.
        SHIPPED.parse().unwrap_or_default()
    }

    /// With the files of another table besides.
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// What the file at `path` is, whose SHA-256 that is.
    ///
    /// # Errors
    /// A file that is not there.
    pub fn identify(&self, path: &Path, sha256: String) -> io::Result<Identity> {
        let bytes = path.metadata()?.len();
        let is = self.0.iter().find(|known| known.sha256 == sha256).cloned();
        let looks_like = self
            .0
            .iter()
            .find(|known| is.is_none() && known.looks_like(path, bytes))
            .cloned();
        Ok(Identity {
            sha256,
            is,
            looks_like,
        })
    }

    /// The known file that `path` is. It is only read where its size is that of a known one.
    fn recognize(&self, path: &Path, sums: &Sums) -> Option<KnownFile> {
        let bytes = path.metadata().ok()?.len();
        if !self.0.iter().any(|known| known.bytes == bytes) {
            return None;
        }
        let sha256 = sums.of(path).ok()?;
        self.identify(path, sha256).ok()?.is
    }
}

impl FromStr for KnownFiles {
    type Err = KnownFilesError;

    /// Lines of fields parted by tabs: SHA-256, bytes, model, repository, file, licence; further fields, empty lines and those
    /// that begin with `#` are passed over.
    fn from_str(text: &str) -> Result<Self, KnownFilesError> {
        let lines = text.lines().enumerate();
        let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let read = |(at, line): (usize, &str)| {
            known_file(line).map_err(|problem| KnownFilesError {
                line: at + 1,
                problem,
            })
        };
        lines.map(read).collect::<Result<_, _>>().map(Self)
    }
}

fn known_file(line: &str) -> Result<KnownFile, &'static str> {
    let fields: Vec<&str> = line.split('\t').map(str::trim).collect();
    let [sha256, bytes, model, repository, file, licence, ..] = fields[..] else {
        return Err(
            "six fields, parted by tabs, are wanted: SHA-256, bytes, model, repository, file, licence",
        );
    };
    let sha256 = sha256.to_ascii_lowercase();
    if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("the first field is no SHA-256, 64 hexadecimal digits");
    }
    let text = str::to_owned;
    Ok(KnownFile {
        sha256,
        bytes: bytes
            .parse()
            .map_err(|_| "the second field is no number of bytes")?,
        model: text(model),
        repository: text(repository),
        file: text(file),
        licence: text(licence),
    })
}

/// What cards say of the weight files of `[models.sdxl]` that are known ones; nothing where none is. Files whose size is that of a known one
/// are read once.
pub fn known_weights(manifest: &Manifest) -> String {
    listed(manifest, &KnownFiles::shipped(), &Sums::of_user())
}

fn listed(manifest: &Manifest, known: &KnownFiles, sums: &Sums) -> String {
    let Ok(section) = SdxlSection::from_manifest(manifest) else {
        return String::new();
    };
    let line = |(label, path): &(String, std::path::PathBuf)| {
        let found = known.recognize(path, sums)?;
        let (text, sha256) = (found.text(), &found.sha256);
        Some(format!("- `{label}`: {text} (SHA-256 `{sha256}`)\n"))
    };
    let lines: String = section.weight_files().iter().filter_map(line).collect();
    match lines.is_empty() {
        true => lines,
        false => format!("\nBy their SHA-256 these are files that others publish:\n\n{lines}"),
    }
}

#[cfg(test)]
mod tests;
