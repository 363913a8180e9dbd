//! `laioncele names export`: the name that the trained encoder predicts from photos, as a file.

use std::path::{Path, PathBuf};

use clap::Args;
use laioncele_core::TableId;
use laioncele_core::file_digests::FileDigests;
use laioncele_inference::SdxlSection;
use laioncele_inference::generation::PersonName;
use laioncele_sdxl::{DeviceChoice, NameFile, NameTensor};

use super::about_image::ModelFact;
use super::encoder_args::{EncoderArgs, OpenedEncoder};
use super::generation::{GenerationArgs, failure, model_failure};
use super::kept_name;
use super::model_args::ModelArgs;
use super::person::{Person, Photos};
use super::source::{Source, encoder_equations, guided, parts_of, session};
use crate::args::RunPaths;
use crate::failure::{Exit, Failure};
use crate::output;

const EXAMPLES: &str = "\
Examples:
  laioncele names export anna-1.jpg anna-2.jpg --to anna.safetensors
  laioncele names export anna.jpg --encoder laioncele-encoder --clip clip-l clip-bigg --to anna.safetensors
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
    #[command(flatten)]
    encoder: EncoderArgs,
}

impl Export {
    /// Predicts, writes and prints the file's name.
    ///
    /// # Errors
    /// Missing models or encoder, photos without a face or of several people, a file that is there or cannot be written.
    pub(super) fn execute(self) -> Result<(), Failure> {
        if self.to.exists() && !self.force {
            let text = format!("{} is there already", self.to.display());
            return Err(Failure::new(Exit::Usage, text).hint("--force replaces it"));
        }
        let encoder = self.encoder.open(self.paths.manifest.as_deref(), None)?;
        let (name, about) = match encoder {
            Some(encoder) => self.by_folder(&encoder)?,
            None => self.by_run()?,
        };
        let file = NameFile {
            name,
            finished: true,
            about,
        };
        file.write(&self.to).map_err(|e| model_failure(&e))?;
        output::data(&self.to.display().to_string())
    }

    /// With a published folder: neither a run nor an SDXL is needed.
    fn by_folder(
        &self,
        encoder: &OpenedEncoder,
    ) -> Result<(NameTensor, Vec<(String, String)>), Failure> {
        let photos = self.photos()?.ok_or_else(|| {
            let text = "--encoder predicts names from photos; a name that is a text needs a run";
            Failure::new(Exit::Usage, text)
        })?;
        let path = self.place();
        if let Some(check) = encoder
            .face_check()
            .filter(|_| !self.generation.allow_several)
        {
            check.check(&photos, &path)?;
        }
        let predictor = encoder.predictor(DeviceChoice::default())?;
        let name = predictor.name_from_photos(&photos.images);
        let name = name.map_err(|e| failure(e, &format!("{}: ", path.display())))?;
        let (delta, eta) = encoder_equations(Some(encoder));
        let (delta, eta) = self.generation.equations(delta, eta);
        let name = guided(predictor.statistics(), &name, delta, eta)?;
        Ok((name, kept_name::about(&[encoder.fact()?])))
    }

    fn by_run(&self) -> Result<(NameTensor, Vec<(String, String)>), Failure> {
        let source = Source {
            generation: &self.generation,
            paths: &self.paths,
            model: &ModelArgs::default(),
            encoder: &EncoderArgs::default(),
        };
        let persons: Vec<&Person> = self.persons.iter().collect();
        let opened = source.open(&persons)?;
        let name = match (persons.as_slice(), self.photos()?) {
            ([one], _) => opened.name_of(one, None)?,
            (_, Some(photos)) => opened.name_of_photos(&photos, &self.place())?,
            (_, None) => {
                let text = "several persons can only be photos of one";
                return Err(Failure::new(Exit::Usage, text));
            }
        };
        Ok((opened.prepended(&name)?, self.about(&name)?))
    }

    /// All photos together; nothing where one of the persons is no photo.
    fn photos(&self) -> Result<Option<Photos>, Failure> {
        let mut all = Photos {
            files: Vec::new(),
            images: Vec::new(),
        };
        for person in &self.persons {
            let Person::Photos(path) = person else {
                return Ok(None);
            };
            let photos = Photos::of(path, None)?;
            all.files.extend(photos.files);
            all.images.extend(photos.images);
        }
        Ok(Some(all))
    }

    /// What messages call the photos.
    fn place(&self) -> PathBuf {
        match self.persons.as_slice() {
            [Person::Photos(path)] => path.clone(),
            _ => Path::new("the photos").to_owned(),
        }
    }

    /// The digests of what predicted the name and of the text encoders whose name it is.
    fn about(&self, name: &PersonName) -> Result<Vec<(String, String)>, Failure> {
        let session = session(&self.paths)?;
        let mut models = Vec::new();
        if name.predicted {
            let records = session.current_records()?;
            let parts = parts_of(&records, TableId::Encoder);
            let digests: Vec<_> = parts.iter().map(|part| part.digest).collect();
            models.push(ModelFact::encoder(&digests));
        }
        let section = SdxlSection::from_manifest(&session.manifest)?;
        let digests = FileDigests::open(None);
        models.extend(ModelFact::of_files(&section.text_model_files(), &digests)?);
        Ok(kept_name::about(&models))
    }
}
