//! The single weight files that `[models.sdxl]` names, and what each was recognized as.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use laioncele_core::Manifest;
use laioncele_core::error::chain;
use laioncele_sdxl::{Recognition, SdxlFiles};
use sha2::{Digest, Sha256};

use crate::SdxlSection;
use crate::sections::label;

/// A weight file.
#[derive(Clone, Debug)]
pub struct SingleFile {
    /// `models.sdxl.file`, `models.sdxl.lora`, …
    pub label: String,
    /// Where it lies.
    pub path: PathBuf,
    /// What it is, or why that cannot be told.
    pub found: Result<Recognition, String>,
}

/// The files of a model that are no folders, in the order of the section's keys; a path where nothing is counts as a file
/// unless it is the model's folder itself.
pub fn single_files(files: &SdxlFiles) -> Vec<SingleFile> {
    let parts = [
        ("file", &files.file),
        ("unet", &files.unet),
        ("vae", &files.vae),
    ];
    let parts = parts
        .into_iter()
        .filter_map(|(role, path)| Some((role, path.as_deref()?)));
    let loras = files.loras.iter().map(|lora| ("lora", lora.file.as_path()));
    let inversions = files.inversions.iter();
    let inversions = inversions.map(|inversion| ("embedding", inversion.file.as_path()));
    let all = parts.chain(loras).chain(inversions);
    all.filter(|(_, path)| !path.is_dir())
        .map(|(role, path)| SingleFile {
            label: label("sdxl", role),
            found: recognize(path),
            path: path.to_owned(),
        })
        .collect()
}

fn recognize(path: &Path) -> Result<Recognition, String> {
    if !path.exists() {
        return Err(format!("{}: there is no such file", path.display()));
    }
    Recognition::of(path).map_err(|error| chain(&error))
}

impl SingleFile {
    /// Its SHA-256 in hexadecimal: the digest by which the places that publish such files name them.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn sha256(&self) -> std::io::Result<String> {
        let mut file = File::open(&self.path)?;
        let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
        }
        let digest = hasher.finalize();
        Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// What Markdown cards say of the manifest's single files; nothing where there are none.
pub fn recognized(manifest: &Manifest) -> String {
    let Ok(section) = SdxlSection::from_manifest(manifest) else {
        return String::new();
    };
    let line = |file: SingleFile| {
        let name = file.path.file_name().unwrap_or_default().to_string_lossy();
        let found = file.found.as_ref().ok()?;
        let digest = file.sha256().ok()?;
        Some(format!(
            "- `{}`, {name}: {} (`{}`), SHA-256 {digest}\n",
            file.label, found.what, found.rule
        ))
    };
    let files = single_files(&section.files).into_iter();
    let lines: String = files.filter_map(line).collect();
    if lines.is_empty() {
        lines
    } else {
        format!("\nSingle files were recognized by the names of their tensors:\n\n{lines}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sections::testing::manifest;

    #[test]
    fn files_are_recognized_and_missing_ones_told() {
        let variants =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/sdxl/tests/fixtures/variants");
        let variants = variants.display();
        let manifest = manifest(&format!(
            "[models.sdxl]\nfolder = \"base\"\nunet = \"nowhere.safetensors\"\n\
             [[models.sdxl.lora]]\nfile = \"{variants}/lora/kohya.safetensors\"\n\
             [[models.sdxl.embedding]]\nfile = \"{variants}/textual-inversion/mira.safetensors\"\n"
        ));
        let section = SdxlSection::from_manifest(&manifest).expect("a section");
        let files = single_files(&section.files);
        let labels: Vec<&str> = files.iter().map(|file| file.label.as_str()).collect();
        assert_eq!(
            labels,
            [
                "models.sdxl.unet",
                "models.sdxl.lora",
                "models.sdxl.embedding"
            ]
        );
        let missing = files[0].found.as_ref().expect_err("missing");
        assert!(
            missing.contains("nowhere.safetensors: there is no such file"),
            "{missing}"
        );
        let text = recognized(&manifest);
        let lines: Vec<&str> = text.lines().filter(|l| l.starts_with("- ")).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].contains("kohya.safetensors: a LoRA"), "{lines:?}");
        assert!(lines[1].contains("a textual inversion"), "{lines:?}");
        // As the fixtures' own manifest has it, which Python's hashlib wrote.
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../models/sdxl/tests/fixtures/variants/manifest.json");
        let known = std::fs::read_to_string(path).expect("the fixtures' manifest");
        let known: serde_json::Value = serde_json::from_str(&known).expect("JSON");
        let known = known["sha256"]["lora/kohya.safetensors"].as_str();
        let known = known.expect("a digest");
        assert!(lines[0].ends_with(&format!("SHA-256 {known}")), "{lines:?}");
    }
}
