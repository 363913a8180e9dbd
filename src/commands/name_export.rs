//! `laioncele names export`: the name that the trained encoder predicts from photos, as a file.

use std::path::PathBuf;

use clap::Args;
use laioncele_core::TableId;
use laioncele_core::file_digests::FileDigests;
use laioncele_inference::SdxlSection;
use laioncele_sdxl::NameFile;

use super::generation::{GenerationArgs, Person, failure, model_failure, name_of, photos};
use crate::args::RunPaths;
use crate::failure::{Exit, Failure};
use crate::output;

const EXAMPLES: &str = "\
Examples:
  laioncele names export anna-1.jpg anna-2.jpg --to anna.safetensors
  laioncele generate --model fine-tune.safetensors --name-file anna.safetensors

The file holds name_embedding [8, 2048] in float32, after Equations 4 and 5 for a name out of photos; its header says so, and
names the digests of the trained encoder and of the text encoders whose names it predicts.";

/// `laioncele names export`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Export {
    /// Photos of one person, folders of them, or one name as `name:` and the name
    #[arg(value_name = "PHOTO", required = true)]
    persons: Vec<Person>,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    generation: GenerationArgs,
    #[command(flatten)]
    paths: RunPaths,
}

impl Export {
    /// Predicts, writes and prints the file's name.
    ///
    /// # Errors
    /// Missing models or encoder, photos without a face, a file that is there or cannot be written.
    pub(super) fn execute(self) -> Result<(), Failure> {
        if self.to.exists() && !self.force {
            let text = format!("{} is there already", self.to.display());
            return Err(Failure::new(Exit::Usage, text).hint("--force replaces it"));
        }
        let pipeline = self.generation.pipeline(&self.paths)?;
        let name = match self.persons.as_slice() {
            [one] => name_of(&pipeline, one)?,
            several => {
                let mut all = Vec::new();
                for person in several {
                    let Person::Photos(path) = person else {
                        let text = "several persons can only be photos of one";
                        return Err(Failure::new(Exit::Usage, text));
                    };
                    all.extend(photos(path)?);
                }
                pipeline
                    .name_from_photos(&all)
                    .map_err(|e| failure(e, ""))?
            }
        };
        let file = NameFile {
            name: pipeline.prepended(&name).map_err(|e| failure(e, ""))?,
            finished: true,
            about: self.about(name.predicted)?,
        };
        file.write(&self.to).map_err(|e| model_failure(&e))?;
        output::data(&self.to.display().to_string())
    }

    /// The digests of what predicted the name and of the text encoders whose name it is.
    fn about(&self, predicted: bool) -> Result<Vec<(String, String)>, Failure> {
        let session = GenerationArgs::session(&self.paths)?;
        let mut about = Vec::new();
        if predicted {
            let records = session.current_records()?;
            let parts = records
                .iter()
                .flat_map(|record| record.outputs_of(TableId::Encoder));
            let digests: Vec<String> = parts.map(|part| part.digest.to_string()).collect();
            about.push(("laioncele.encoder".to_owned(), digests.join(" ")));
        }
        let digests = FileDigests::open(None);
        let files = SdxlSection::from_manifest(&session.manifest)?.text_model_files();
        let mut texts = Vec::new();
        for file in files
            .iter()
            .filter(|file| file.label.contains("text_encoder"))
        {
            texts.push(digests.of_model(file)?.to_string());
        }
        about.push(("laioncele.text_encoders".to_owned(), texts.join(" ")));
        Ok(about)
    }
}
