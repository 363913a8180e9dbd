//! Images of a method that LaionCele is compared with: what their files say, and how they are drawn.

use std::path::Path;

use image::RgbImage;
use laioncele_core::ModelFiles;
use laioncele_core::file_digests::FileDigests;
use laioncele_inference::SdxlSection;
use laioncele_inference::methods::{
    BaselineMethod, Likeness, MethodConfig, Reference, Studio, StudioRequest,
};
use laioncele_sdxl::{ConditionedRequest, ImageRequest, SamplingSettings, Trace};
use serde_json::{Value, json};

use super::about_image::{AboutImage, ModelFact};
use super::drawing::Drawing;
use super::from_model::Start;
use super::generation::failure;
use super::images::{ImageArgs, Planned, Written};
use crate::failure::Failure;

/// A person's photos and name, as far as the method asks for them.
pub(super) struct Shown {
    pub(super) name: String,
    pub(super) photos: Vec<RgbImage>,
}

/// What all images of a call share.
///
/// # Errors
/// Files that cannot be read.
pub(super) fn shared(
    method: &str,
    (studio, config): (&Studio, &MethodConfig),
    (sampling, section): (&SamplingSettings, &SdxlSection),
    person: Value,
) -> Result<AboutImage, Failure> {
    let digests = FileDigests::open(None);
    let mut models = ModelFact::of_sdxl(section, &digests)?;
    let (files, more) = own_settings(&config.method);
    models.extend(ModelFact::of_files(&files, &digests)?);
    let mut about = AboutImage::shared(method, studio.sdxl(), sampling, models)?;
    about.note_negative(&config.negative);
    about.more = more;
    about.person = person;
    Ok(about)
}

/// The method's own files and settings.
fn own_settings(method: &BaselineMethod) -> (Vec<ModelFiles>, Value) {
    match method {
        BaselineMethod::SdxlName => (Vec::new(), Value::Null),
        BaselineMethod::IpAdapter(section, scale) => {
            let more = json!({
                "scale": scale, "photo": format!("{:?}", section.photo).to_lowercase(),
                "square": format!("{:?}", section.square).to_lowercase(),
            });
            (section.model_files(), more)
        }
        BaselineMethod::PhotoMaker(section, start) => {
            let more = json!({
                "start_merge_step": start, "trigger": section.trigger,
                "photo": format!("{:?}", section.photo).to_lowercase(),
            });
            (section.model_files(), more)
        }
    }
}

/// The person, as the method keeps it.
///
/// # Errors
/// Photos that the method cannot use.
pub(super) fn likeness<'a>(
    studio: &'a Studio,
    shown: &Shown,
) -> Result<Box<dyn Likeness + 'a>, Failure> {
    let reference = Reference {
        name: &shown.name,
        photos: &shown.photos,
    };
    studio.likeness(&reference).map_err(|e| failure(e, ""))
}

/// Draws and writes images by seed.
///
/// # Errors
/// Images that are there and show something else, a model's error, a folder that cannot be written.
pub(super) fn draw_seeds(
    studio: &mut Studio,
    shown: &Shown,
    planned: &[Planned],
    gallery: &ImageArgs,
    quiet: bool,
) -> Result<Vec<Written>, Failure> {
    gallery.check(planned)?;
    let drawing = Drawing::begin(planned.len(), studio.sampling.steps, quiet);
    studio.sampling.steps_done = Some(drawing.steps.clone());
    let likeness = likeness(studio, shown)?;
    let requests = planned.iter().map(|image| StudioRequest {
        prompt: &image.about.prompt,
        seed: image.about.seed.unwrap_or_default(),
    });
    let requests: Vec<StudioRequest<'_>> = requests.collect();
    let mut written: Vec<Option<Written>> = planned.iter().map(|_| None).collect();
    studio.generate_each(&*likeness, &requests, |at, image| {
        drawing.image_done();
        written[at] = Some(gallery.write(&planned[at], &image?)?);
        Ok::<(), Failure>(())
    })?;
    Ok(written.into_iter().flatten().collect())
}

/// One prompt's images, with a trace of them where one is asked for, handed to `each` as they come.
///
/// # Errors
/// A model's error; what `each` returns.
pub(super) fn draw(
    studio: &Studio,
    likeness: &dyn Likeness,
    (prompt, starts): (&str, &[Start]),
    sampling: &SamplingSettings,
    trace: Option<&Path>,
    mut each: impl FnMut(usize, RgbImage) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let conditioned = likeness.conditions(prompt).map_err(|e| failure(e, ""))?;
    let request = |start: &Start| ConditionedRequest {
        request: ImageRequest {
            prompt: &conditioned.prompt,
            name: None,
            negative: studio.negative(),
            noise: start.noise.clone(),
        },
        conditions: &conditioned.conditions,
    };
    let requests: Vec<_> = starts.iter().map(request).collect();
    let sdxl = studio.sdxl();
    let Some(file) = trace else {
        return sdxl
            .generate_conditioned_each(&requests, sampling, 0, |at, image| each(at, image?));
    };
    let mut record = Trace::default();
    likeness
        .record(prompt, &mut record)
        .map_err(|e| failure(e, ""))?;
    let images = sdxl.generate_conditioned(&requests, sampling, Some(&mut record))?;
    record.write(file)?;
    let mut images = images.into_iter().enumerate();
    images.try_for_each(|(at, image)| each(at, image))
}
