//! The loaded networks that look at images.

use std::path::PathBuf;

use image::RgbImage;
use laioncele_clip::{ImageEncoder, TextEncoder};
use laioncele_face::{FaceNets, FaceOptions};
use rayon::prelude::*;

use crate::error::Result;
use crate::inception::{Inception, InceptionView};
use crate::settings::StageConfig;
use crate::towers::TextTower;

/// CLIP's two towers, Inception and the face networks.
pub struct Networks {
    image: ImageEncoder,
    text: Option<TextEncoder>,
    faces: FaceNets,
    inception: Option<Inception>,
    on_cpu: bool,
}

impl Networks {
    /// Loads what the config names.
    ///
    /// # Errors
    /// Missing or wrong models, a GPU that is not there.
    pub fn load(config: &StageConfig) -> Result<Self> {
        let files = &config.image_encoders;
        let options = files.load_options()?;
        let text = match &config.text {
            TextTower::Own(folder) => Some((folder, folder)),
            TextTower::Sdxl { tokenizer, model } => Some((tokenizer, model)),
            TextTower::Missing(_) => None,
        };
        let load = |(tokenizer, model): (&PathBuf, &PathBuf)| {
            TextEncoder::load(tokenizer, model, true, &options)
        };
        Ok(Self {
            image: ImageEncoder::load(config.image_folder(), &options)?,
            text: text.map(load).transpose()?,
            faces: FaceNets::load(&config.face, &FaceOptions::default())?,
            inception: match &config.settings.inception {
                Some(settings) => Some(Inception::load(settings, config.face.device)?),
                None => None,
            },
            on_cpu: options.device.is_cpu(),
        })
    }

    /// Whether texts can be compared with images.
    pub fn has_text(&self) -> bool {
        self.text.is_some()
    }

    /// The embedding of the most prominent face, of unit length.
    ///
    /// # Errors
    /// A network's error.
    pub fn face(&self, image: &RgbImage) -> Result<Option<Vec<f32>>> {
        // Only one of them is embedded, however many faces a crowd has.
        match self.faces.detect(image)?.first() {
            Some(face) => Ok(Some(self.faces.embed_detection(image, face)?)),
            None => Ok(None),
        }
    }

    /// What Inception sees, where there is such a network.
    ///
    /// # Errors
    /// The network's error.
    pub fn inception_view(&self, image: &RgbImage) -> Result<Option<InceptionView>> {
        let view = self.inception.as_ref().map(|net| net.view(image));
        Ok(view.transpose()?)
    }

    /// CLIP's embeddings of images, not of unit length.
    ///
    /// # Errors
    /// A network's error.
    pub fn image_embeddings(&self, images: &[&RgbImage]) -> Result<Vec<Vec<f32>>> {
        self.each(images, |image| self.image.image_embeds(image))
    }

    /// CLIP's embeddings of texts, not of unit length; none without a text tower.
    ///
    /// # Errors
    /// A network's error.
    pub fn text_embeddings(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        match &self.text {
            Some(tower) => self.each(texts, |text| tower.text_embeds(text)),
            None => Ok(Vec::new()),
        }
    }

    /// A GPU has one owner thread; on the processor each thread takes a job.
    fn each<Job: Sync + Copy + Send>(
        &self,
        jobs: &[Job],
        work: impl Fn(Job) -> laioncele_nn::Result<Vec<f32>> + Sync + Send,
    ) -> Result<Vec<Vec<f32>>> {
        let done: laioncele_nn::Result<_> = if self.on_cpu {
            jobs.par_iter().map(|job| work(*job)).collect()
        } else {
            jobs.iter().map(|job| work(*job)).collect()
        };
        Ok(done?)
    }
}
