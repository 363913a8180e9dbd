//! `laioncele init`: a folder with a manifest to begin with.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use laioncele_core::{CoreError, Manifest};
use laioncele_mini_world::{BuildOptions, Size, build};

use crate::failure::{Exit, Failure};
use crate::output;
use crate::shipped::shipped;
use crate::words::headed_table;

const EXAMPLES: &str = "\
Examples:
  laioncele init try                              a tiny embedded world, to run at once
  laioncele init --preset laion-2b-en big         the paper's run; says what to download from where

The folder gets laioncele.toml, with comments; docs/manifest.md has all settings.";

/// The paper's run, as `manifests/` has it.
const LAION: &str = include_str!("../../manifests/laion2b-en.toml");
/// The manifest's name in a new folder.
const MANIFEST: &str = "laioncele.toml";

/// What the paper's run needs besides: what, where the manifest looks, from where, licence, size. SDXL's size is that of its 3,468,837,867
/// numbers; the captions' is extrapolated from 20 GB for 112 of LAION-2B's files with a million rows each; those of CLIP are not exact.
const DOWNLOADS: [[&str; 5]; 5] = [
    [
        "what",
        "where the manifest looks",
        "from",
        "licence",
        "size",
    ],
    [
        "captions of LAION-2B-en, Parquet files",
        "laion2b-en/",
        "huggingface.co/datasets/laion/relaion2B-en-research-safe (LAION gives access on request)",
        "CC-BY-4.0 for the metadata",
        "roughly 300 to 400 GB",
    ],
    [
        "SDXL base 1.0",
        "models/stable-diffusion-xl-base-1.0",
        "huggingface.co/stabilityai/stable-diffusion-xl-base-1.0",
        "CreativeML Open RAIL++-M",
        "13.9 GB in float32, 6.9 GB in float16",
    ],
    [
        "CLIP ViT-L/14",
        "models/clip-vit-large-patch14",
        "huggingface.co/openai/clip-vit-large-patch14",
        "MIT for OpenAI's code; see its model card",
        "about 1.7 GB",
    ],
    [
        "OpenCLIP ViT-bigG/14",
        "models/clip-vit-bigg-14-laion2b-39b-b160k",
        "huggingface.co/laion/CLIP-ViT-bigG-14-laion2B-39B-b160k",
        "MIT",
        "about 10 GB",
    ],
];

/// `laioncele init`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Init {
    /// The folder; it is made where it is missing
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// What to begin with
    #[arg(long, value_enum, default_value = "mini")]
    preset: Preset,
}

/// What to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Preset {
    /// A tiny embedded world with its models: nothing is downloaded
    Mini,
    /// The paper's run on LAION-2B-en with the real SDXL
    #[value(name = "laion-2b-en")]
    Laion,
}

impl Init {
    /// Writes the manifest and says what is next.
    ///
    /// # Errors
    /// A folder that has a manifest already, or cannot be written.
    pub(crate) fn execute(self) -> Result<(), Failure> {
        let file = self.folder.join(MANIFEST);
        if file.exists() {
            let text = format!("{} is there already", file.display());
            return Err(Failure::new(Exit::Usage, text).hint("name another folder, or delete it"));
        }
        let io = |e| Failure::from(CoreError::from_io(&self.folder, e));
        fs::create_dir_all(&self.folder).map_err(io)?;
        match self.preset {
            Preset::Mini => self.mini(&file),
            Preset::Laion => self.laion(&file),
        }
    }

    fn mini(&self, file: &Path) -> Result<(), Failure> {
        let options = BuildOptions {
            seed: 1,
            size: Size::Tiny,
            weights: shipped(Path::new("manifests/mini")),
        };
        let built = build(&options, &self.folder)?;
        let io = |e| Failure::from(CoreError::from_io(file, e));
        fs::rename(&built.manifest, file).map_err(io)?;
        output::data(&format!("{}\n{}", file.display(), self.next(file)))
    }

    fn laion(&self, file: &Path) -> Result<(), Failure> {
        let text = with_models(LAION, &shipped(Path::new("manifests/mini")));
        // What is written must be a manifest.
        Manifest::parse(file, &text)?;
        let io = |e| Failure::from(CoreError::from_io(file, e));
        fs::write(file, text).map_err(io)?;
        let rows: Vec<Vec<String>> = DOWNLOADS
            .iter()
            .map(|row| row.map(str::to_owned).to_vec())
            .collect();
        output::data(&format!(
            "{}\n\nDownload, below {}:\n{}\n\n\
             Sizes with \"about\" are not exact, and licences can change: the pages that are named have the last word.\n\
             Put a photo of each person whom generate-samples shows into references/. The shipped face networks' licences\n\
             are in {}; a model that may only serve research would keep the\n\
             dataset from commercial use: `laioncele report` warns of such.\n\n{}",
            file.display(),
            self.folder.display(),
            headed_table(&rows, &[]),
            shipped(Path::new("manifests/mini/face/README.md")).display(),
            self.next(file)
        ))
    }

    fn next(&self, file: &Path) -> String {
        let (manifest, output) = (file.display(), self.folder.join("output"));
        let output = output.display();
        format!(
            "laioncele doctor --manifest {manifest}\nlaioncele run --manifest {manifest} --output {output}"
        )
    }
}

/// The manifest's text with the shipped models where they are on this machine.
fn with_models(text: &str, models: &Path) -> String {
    let models = models.canonicalize().unwrap_or_else(|_| models.to_owned());
    let models = models
        .display()
        .to_string()
        .replace('\\', "\\\\")
        .replace('"', "\\\"");
    let lines = text
        .lines()
        .map(|line| line.replace("\"mini/", &format!("\"{models}/")));
    lines.map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_manifest_is_one_wherever_the_models_are() {
        let text = with_models(LAION, Path::new("/some \"where\""));
        assert!(text.contains("\"/some \\\"where\\\"/face/"), "{text}");
        let manifest = Manifest::parse(Path::new("/x/laioncele.toml"), &text);
        assert_eq!(manifest.expect("a manifest").run.buckets, 4096);
    }
}
