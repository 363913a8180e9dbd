//! What draws: a run, or an SDXL with the encoder of a published folder; opened, with what people want to know of both.

use std::path::Path;

use image::RgbImage;
use laioncele_core::file_digests::FileDigests;
use laioncele_core::ledger::Record;
use laioncele_core::{Digest, Part, StageName, TableId};
use laioncele_encoder::Crop;
use laioncele_generate_samples::StageConfig;
use laioncele_inference::generation::{
    Eta, GenerationConfig, GenerationPipeline, NameStatistics, PersonName, RunTables,
    SampleRequest, fictional,
};
use laioncele_inference::{ImageEncoderSection, ModelLoader, SdxlSection};
use laioncele_sdxl::{Inversion, NameTensor, SdxlFiles};

use super::about_image::{AboutImage, ModelFact};
use super::drawing::Drawing;
use super::encoder_args::{EncoderArgs, OpenedEncoder, dims_of};
use super::face_check::{FaceCheck, tell_unknown};
use super::generation::{GenerationArgs, failure};
use super::images::{ImageArgs, Planned, Written};
use super::model_args::ModelArgs;
use super::person::{Person, Photos, name_without_photos};
use crate::args::RunPaths;
use crate::failure::{Exit, Failure};
use crate::session::{Access, Session};

/// The arguments that say what draws.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) generation: &'a GenerationArgs,
    pub(super) paths: &'a RunPaths,
    pub(super) model: &'a ModelArgs,
    pub(super) encoder: &'a EncoderArgs,
}

/// Where it comes from.
enum Origin {
    Run(Box<RunOrigin>),
    /// An SDXL, with a published encoder or without one.
    Model(Option<Box<OpenedEncoder>>),
}

struct RunOrigin {
    session: Session,
    records: Vec<Record>,
}

/// An opened source.
pub(super) struct Opened {
    pub(super) pipeline: GenerationPipeline,
    origin: Origin,
    /// What all images share, but for δ, η and the encoder.
    about: AboutImage,
    allow_several: bool,
}

/// An image to be drawn.
pub(super) struct Wish<'a> {
    pub(super) name: Option<&'a PersonName>,
    pub(super) planned: Planned,
}

/// The run at `paths`.
///
/// # Errors
/// No run there.
pub(super) fn session(paths: &RunPaths) -> Result<Session, Failure> {
    Session::open(paths, StageName::Evaluate, Access::Existing)
}

/// The current parts of a table.
pub(super) fn parts_of(records: &[Record], table: TableId) -> Vec<Part> {
    let parts = records.iter().flat_map(|r| r.outputs_of(table));
    parts.cloned().collect()
}

/// The pipeline of the run at `paths`, its SDXL changed by `change`.
///
/// # Errors
/// No run, missing or wrong models.
pub(super) fn open_pipeline(
    paths: &RunPaths,
    change: impl FnOnce(&mut SdxlFiles),
) -> Result<GenerationPipeline, Failure> {
    let session = session(paths)?;
    let records = session.current_records()?;
    let config = run_config(&session, change)?.1;
    pipeline_of(&session, &records, &config)
}

fn run_config(
    session: &Session,
    change: impl FnOnce(&mut SdxlFiles),
) -> Result<(SdxlSection, GenerationConfig), Failure> {
    let stage = StageConfig::from_manifest(&session.manifest)?;
    let mut config = stage.generation();
    change(&mut config.sdxl);
    let section = SdxlSection {
        files: config.sdxl.clone(),
        unconditional: stage.sdxl.unconditional,
    };
    Ok((section, config))
}

fn pipeline_of(
    session: &Session,
    records: &[Record],
    config: &GenerationConfig,
) -> Result<GenerationPipeline, Failure> {
    let parts = |table| parts_of(records, table);
    let tables = RunTables::Run {
        store: session.store()?,
        dims: &session.manifest.embedding_dims,
        parts: &parts,
    };
    GenerationPipeline::open(config, &tables).map_err(|e| failure(e, ""))
}

impl Source<'_> {
    /// Opens it for `persons`.
    ///
    /// # Errors
    /// No run, arguments that do not go together, missing or wrong models.
    pub(super) fn open(&self, persons: &[&Person]) -> Result<Opened, Failure> {
        let mut inversions: Vec<Inversion> = Vec::new();
        for person in persons {
            let inversion = person.inversion()?;
            inversions.extend(inversion.filter(|found| !inversions.contains(found)));
        }
        let mut opened = match self.model.is_given() {
            true => self.open_model(persons, inversions)?,
            false if self.encoder.is_given() => {
                let text = "--encoder needs an SDXL to draw with: --model PATH";
                return Err(Failure::new(Exit::Usage, text));
            }
            false => self.open_run(inversions)?,
        };
        opened.pipeline.naming = self.generation.naming;
        opened.about.naming = self.generation.naming.to_string();
        Ok(opened)
    }

    fn open_run(&self, inversions: Vec<Inversion>) -> Result<Opened, Failure> {
        let session = session(self.paths)?;
        let records = session.current_records()?;
        let (section, mut config) = run_config(&session, |files| {
            self.generation.change_model(files);
            files.inversions.extend(inversions);
        })?;
        self.generation.set(&mut config.sampling)?;
        (config.delta, config.eta) = self.generation.equations(config.delta, config.eta);
        let pipeline = pipeline_of(&session, &records, &config)?;
        let models = ModelFact::of_sdxl(&section, &session.digests)?;
        session.digests.save();
        let mut about =
            AboutImage::shared("laioncele", pipeline.sdxl(), &pipeline.sampling, models)?;
        about.note_negative(&config.negative);
        Ok(Opened {
            origin: Origin::Run(Box::new(RunOrigin { session, records })),
            allow_several: self.generation.allow_several,
            pipeline,
            about,
        })
    }

    fn open_model(
        &self,
        persons: &[&Person],
        inversions: Vec<Inversion>,
    ) -> Result<Opened, Failure> {
        let manifest = self.paths.manifest.as_deref();
        let encoder = self.encoder.open(manifest, self.model.place()?)?;
        let mut files = self.model.files(self.generation)?;
        files.inversions.extend(inversions);
        let channels = files.check_together()?.name;
        if let Some(encoder) = &encoder {
            encoder.check_width(channels)?;
        }
        let (delta, eta) = encoder_equations(encoder.as_ref());
        let (delta, eta) = self.generation.equations(delta, eta);
        let mut sampling = self.model.sampling(None);
        self.generation.set(&mut sampling)?;
        let config = GenerationConfig {
            sdxl: files,
            negative: self.model.negative(),
            // The predictor is opened by itself.
            image_encoders: no_image_encoders(),
            face: None,
            crop: Crop::Whole,
            sampling,
            delta,
            eta,
        };
        let shows_photos = persons.iter().any(|p| matches!(p, Person::Photos(_)));
        let predictor = match &encoder {
            Some(encoder) if shows_photos => Some(encoder.predictor(self.model.device())?),
            None if shows_photos => return Err(no_encoder()),
            _ => None,
        };
        let dims = dims_of(channels);
        let loader = ModelLoader::without_task(&dims);
        let pipeline = GenerationPipeline::without_encoder(&config, loader)?;
        let section = ModelArgs::section(&config.sdxl);
        let models = ModelFact::of_sdxl(&section, &FileDigests::open(None))?;
        let mut about =
            AboutImage::shared("laioncele", pipeline.sdxl(), &pipeline.sampling, models)?;
        about.note_negative(&config.negative);
        Ok(Opened {
            pipeline: pipeline.with_predictor(predictor),
            origin: Origin::Model(encoder.map(Box::new)),
            about,
            allow_several: self.generation.allow_several,
        })
    }
}

/// δ and η of an encoder's folder; the paper's without one.
pub(super) fn encoder_equations(encoder: Option<&OpenedEncoder>) -> (f32, Eta) {
    match encoder {
        Some(encoder) => (encoder.folder.inference.delta, encoder.folder.eta),
        None => (5.0, Eta::Length(80.0)),
    }
}

/// What photos without an encoder get to hear.
pub(super) fn no_encoder() -> Failure {
    let text = "photos need the trained encoder: --encoder FOLDER beside --model, or a run";
    Failure::new(Exit::Usage, text).hint(
        "`laioncele encoder export FOLDER` copies a run's; names need none: `name:` and the name",
    )
}

fn no_image_encoders() -> ImageEncoderSection {
    ImageEncoderSection {
        first: Default::default(),
        second: Default::default(),
        precision: Default::default(),
        device: Default::default(),
    }
}

impl Opened {
    /// The name of a person, from at most `photos` photos; says a word if nobody knows whether the model knows the name.
    ///
    /// # Errors
    /// Photos that cannot be read, show no face or several people; a run without an encoder.
    pub(super) fn name_of(
        &self,
        person: &Person,
        photos: Option<usize>,
    ) -> Result<PersonName, Failure> {
        if let Some(name) = name_without_photos(&self.pipeline, person)? {
            if let Person::Text(text) = person {
                self.tell_unknown(text)?;
            }
            return Ok(name);
        }
        let Person::Photos(path) = person else {
            return Err(Failure::new(Exit::Defect, "a person of no kind"));
        };
        let photos = Photos::of(path, photos)?;
        self.check_faces(&photos, path)?;
        self.of_images(&photos.images, path)
    }

    /// The name of all photos of `paths` together.
    ///
    /// # Errors
    /// As [`Opened::name_of`].
    pub(super) fn name_of_photos(
        &self,
        photos: &Photos,
        path: &Path,
    ) -> Result<PersonName, Failure> {
        self.check_faces(photos, path)?;
        self.of_images(&photos.images, path)
    }

    fn of_images(&self, images: &[RgbImage], path: &Path) -> Result<PersonName, Failure> {
        let name = self.pipeline.name_from_photos(images);
        name.map_err(|e| failure(e, &format!("{}: ", path.display())))
    }

    fn check_faces(&self, photos: &Photos, path: &Path) -> Result<(), Failure> {
        if self.allow_several {
            return Ok(());
        }
        let check = match &self.origin {
            Origin::Run(run) => FaceCheck::of_manifest(&run.session.manifest),
            Origin::Model(encoder) => encoder.as_deref().and_then(OpenedEncoder::face_check),
        };
        check.map_or(Ok(()), |check| check.check(photos, path))
    }

    fn tell_unknown(&self, name: &str) -> Result<(), Failure> {
        let Origin::Run(run) = &self.origin else {
            tracing::warn!("whether the model knows `{name}` cannot be told without a run");
            return Ok(());
        };
        let dims = &run.session.manifest.embedding_dims;
        Ok(tell_unknown(
            name,
            run.session.store()?,
            &run.records,
            dims,
        )?)
    }

    /// The name of somebody whom there never was; the same seed gives the same one.
    ///
    /// # Errors
    /// Names whose spread is not known.
    pub(super) fn fictional(&self, seed: u64) -> Result<PersonName, Failure> {
        let embedding = match &self.origin {
            Origin::Model(Some(encoder)) => encoder.fictional(seed)?,
            Origin::Model(None) => return Err(no_spread()),
            Origin::Run(run) => {
                let parts = |table| parts_of(&run.records, table);
                let tables = RunTables::Run {
                    store: run.session.store()?,
                    dims: &run.session.manifest.embedding_dims,
                    parts: &parts,
                };
                fictional(&tables, seed).map_err(|e| failure(e, ""))?
            }
        };
        Ok(PersonName {
            embedding,
            predicted: false,
        })
    }

    /// What an image says of itself that shows `name`; the encoder, δ and η where it was predicted.
    ///
    /// # Errors
    /// An encoder that cannot be read.
    pub(super) fn about(&self, name: &PersonName) -> Result<AboutImage, Failure> {
        let mut about = self.about.clone();
        if name.predicted {
            about = about.guided(self.pipeline.delta, self.pipeline.eta);
            about.models.extend(self.encoder_fact()?);
        }
        Ok(about)
    }

    /// The trained encoder, if there is one.
    ///
    /// # Errors
    /// Weights that cannot be read.
    pub(super) fn encoder_fact(&self) -> Result<Option<ModelFact>, Failure> {
        match &self.origin {
            Origin::Model(encoder) => encoder.as_deref().map(OpenedEncoder::fact).transpose(),
            Origin::Run(run) => {
                let parts = parts_of(&run.records, TableId::Encoder);
                let digests: Vec<Digest> = parts.iter().map(|part| part.digest).collect();
                Ok((!digests.is_empty()).then(|| ModelFact::encoder(&digests)))
            }
        }
    }

    /// The embedding that is prepended, for a name that was predicted or not.
    ///
    /// # Errors
    /// A predicted name without an encoder that knows the mean name.
    pub(super) fn prepended(&self, name: &PersonName) -> Result<NameTensor, Failure> {
        match &self.origin {
            // A name out of a file needs no image encoders.
            Origin::Model(Some(encoder)) if name.predicted => {
                let (delta, eta) = (self.pipeline.delta, self.pipeline.eta);
                guided(encoder.folder.statistics(), name, delta, eta)
            }
            _ => Ok(self.pipeline.prepended(name)?),
        }
    }

    /// Draws and writes all images.
    ///
    /// # Errors
    /// Images that are there and show something else, a model's error, a folder that cannot be written.
    pub(super) fn draw(
        &mut self,
        wishes: &[Wish<'_>],
        images: &ImageArgs,
        quiet: bool,
    ) -> Result<Vec<Written>, Failure> {
        images.check(wishes.iter().map(|wish| &wish.planned))?;
        let mut written: Vec<Option<Written>> = wishes.iter().map(|_| None).collect();
        let drawing = Drawing::begin(wishes.len(), self.pipeline.sampling.steps, quiet);
        self.draw_each(wishes, &drawing, |at, image| {
            written[at] = Some(images.write(&wishes[at].planned, &image)?);
            Ok(())
        })?;
        Ok(written.into_iter().flatten().collect())
    }

    /// Draws, handing each image with its number to `each` as it comes.
    ///
    /// # Errors
    /// A model's error; what `each` returns.
    pub(super) fn draw_each(
        &mut self,
        wishes: &[Wish<'_>],
        drawing: &Drawing,
        mut each: impl FnMut(usize, RgbImage) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.pipeline.sampling.steps_done = Some(drawing.steps.clone());
        let finished = |wish: &Wish<'_>| wish.name.map(|name| self.finished(name)).transpose();
        let finished: Vec<Option<PersonName>> =
            wishes.iter().map(finished).collect::<Result<_, _>>()?;
        let requests = wishes
            .iter()
            .zip(&finished)
            .map(|(wish, name)| SampleRequest {
                name: name.as_ref(),
                prompt: &wish.planned.about.prompt,
                seed: wish.planned.about.seed.unwrap_or_default(),
            });
        let requests: Vec<SampleRequest<'_>> = requests.collect();
        self.pipeline.generate_each(&requests, |at, image| {
            let image = image?;
            drawing.image_done();
            each(at, image)
        })
    }

    fn finished(&self, name: &PersonName) -> Result<PersonName, Failure> {
        Ok(PersonName {
            embedding: self.prepended(name)?,
            predicted: false,
        })
    }
}

/// Equations 4 and 5, without a pipeline.
///
/// # Errors
/// A name of another width.
pub(super) fn guided(
    statistics: &NameStatistics,
    name: &PersonName,
    delta: f32,
    eta: Eta,
) -> Result<NameTensor, Failure> {
    match name.predicted {
        true => Ok(statistics.guided(&name.embedding, delta, eta)?),
        false => Ok(name.embedding.clone()),
    }
}

/// What somebody fictional without a run and without an encoder's folder gets to hear.
pub(super) fn no_spread() -> Failure {
    let text =
        "--fictional needs to know how names are spread: a run, or --encoder FOLDER beside --model";
    Failure::new(Exit::Usage, text)
}
