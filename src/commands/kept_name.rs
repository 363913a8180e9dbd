//! `--save-name FILE`: the name that was prepended, kept as a file for `name-file:` and `--name-file`.

use std::path::{Path, PathBuf};

use clap::Args;
use laioncele_sdxl::{NameFile, NameTensor};

use super::about_image::ModelFact;
use super::images::ImageArgs;
use crate::failure::{Exit, Failure};

/// Whether the name is kept.
#[derive(Args, Clone, Debug)]
pub(super) struct KeptName {
    /// Keep the name embedding in this safetensors file, to draw the person again by
    /// `name-file:FILE`; of several shares one file each, with the share behind its name
    #[arg(long, value_name = "FILE")]
    save_name: Option<PathBuf>,
}

impl KeptName {
    /// Refuses, before anything is drawn, to replace what is there.
    ///
    /// # Errors
    /// A file that is there and may not be replaced.
    pub(super) fn check(&self, shares: &[f32], images: &ImageArgs) -> Result<(), Failure> {
        let Some(file) = &self.save_name else {
            return Ok(());
        };
        if shares.is_empty() {
            let text = "--save-name keeps a name: there is none without a person";
            return Err(Failure::new(Exit::Usage, text));
        }
        let mut there = shares.iter().map(|share| path(file, *share, shares));
        match there.find(|file| file.exists() && !images.overwrites()) {
            None => Ok(()),
            Some(file) => {
                let text = format!("{} is there already", file.display());
                Err(Failure::new(Exit::Usage, text).hint("--overwrite replaces it"))
            }
        }
    }

    /// Whether a file was asked for.
    pub(super) fn is_asked_for(&self) -> bool {
        self.save_name.is_some()
    }

    /// Writes the name of `share`, one of `shares`, with the digests of what made it.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(super) fn write(
        &self,
        name: NameTensor,
        models: &[ModelFact],
        (share, shares): (f32, &[f32]),
    ) -> Result<(), Failure> {
        let Some(file) = &self.save_name else {
            return Ok(());
        };
        let kept = NameFile {
            name,
            finished: true,
            about: about(models),
        };
        Ok(kept.write(&path(file, share, shares))?)
    }
}

/// What a name file says of its origin: the digests of the trained encoder and of the text encoders.
pub(super) fn about(models: &[ModelFact]) -> Vec<(String, String)> {
    let digests = |is: &dyn Fn(&str) -> bool| {
        let found = models.iter().filter(|model| is(&model.part));
        let found: Vec<&str> = found.map(|model| model.blake3.as_str()).collect();
        found.join(" ")
    };
    let encoder = digests(&|part| part == "encoder");
    let texts = digests(&|part| part.contains("text_encoder") || part == "sdxl.file");
    let pairs = [
        ("laioncele.encoder", encoder),
        ("laioncele.text_encoders", texts),
    ];
    let pairs = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    pairs.map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The file itself for the only share, else with the share before its ending.
fn path(file: &Path, share: f32, shares: &[f32]) -> PathBuf {
    if shares.len() < 2 {
        return file.to_owned();
    }
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let ending = file.extension().unwrap_or_default().to_string_lossy();
    let dot = if ending.is_empty() { "" } else { "." };
    file.with_file_name(format!("{stem}-{share}{dot}{ending}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_shares_have_files_of_their_own() {
        let file = Path::new("a/mix.safetensors");
        assert_eq!(path(file, 0.5, &[0.5]), file);
        let several = path(file, 0.25, &[0.0, 0.25]);
        assert_eq!(several, Path::new("a/mix-0.25.safetensors"));
        assert_eq!(path(Path::new("mix"), 1.0, &[0.0, 1.0]), Path::new("mix-1"));
    }
}
