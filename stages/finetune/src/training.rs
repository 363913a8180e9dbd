//! A whole training: photos prepared, steps taken, checkpoints kept, results written.
//!
//! ```text
//! INTO/
//!   training.json        which training this folder is of: models, data set, settings
//!   examples/            the prepared photos
//!   checkpoints/         step-N.safetensors, the last two
//!   losses.csv, card.json
//!   pytorch_lora_weights.safetensors, lora-webui.safetensors, unet/
//! ```
//!
//! Everything is this module's. A crash leaves whole files or ones that end in `.partial`; the next
//! start goes on from the last checkpoint.

use std::path::{Path, PathBuf};
use std::time::Instant;

use laioncele_core::fail_point;
use laioncele_core::{Digest, KeyHasher, Manifest};
use laioncele_finetune::checkpoint::{self, Checkpoint};
use laioncele_finetune::save::{self, LoraLayout, Stored};
use laioncele_finetune::{
    Error as TrainError, Network, NetworkOptions, Objective, Row, Trainer, TrainerOptions,
};
use laioncele_inference::SdxlSection;
use laioncele_sdxl::{Parts, SdxlFiles, in_parallel};
use serde::{Deserialize, Serialize};

use crate::card::Card;
use crate::curve::Curve;
use crate::dataset::{DataSet, Photo};
use crate::draws::Draws;
use crate::error::{FinetuneError, Result};
use crate::examples::{Examples, Widths, Writer};
use crate::identity::{Identity, VERSION};
use crate::people;
use crate::prepare::{Models, Skipped};
use crate::settings::{Settings, What};

/// Photos whose pixels are in memory at once.
const PHOTOS_AT_ONCE: usize = 32;

/// Checkpoints that are kept.
const KEPT: usize = 2;

/// A training that is asked for.
#[derive(Clone, Debug)]
pub struct Training {
    /// What is trained.
    pub what: What,
    /// How.
    pub settings: Settings,
    /// The photos' folder.
    pub dataset: PathBuf,
    /// The name encoder's folder.
    pub encoder: PathBuf,
    /// Where results go.
    pub into: PathBuf,
    /// Whether a LoRA is also written for ComfyUI and A1111.
    pub webui: bool,
    /// How a whole U-Net is stored.
    pub stored: Stored,
    /// The mean cosine of their faces from which on two people are the same.
    pub same_person: f64,
}

/// How far a training is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Progress {
    /// Photos prepared.
    Photos(usize),
    /// It goes on from a checkpoint of this step.
    Resumed(u64),
    /// A step taken, of all, with its loss.
    Step(u64, u64, f64),
}

/// What a checkpoint notes beside the tensors.
#[derive(Serialize, Deserialize)]
struct Notes {
    curve: Curve,
}

impl Training {
    /// Trains to the end, from the last checkpoint if there is one.
    ///
    /// # Errors
    /// Models, photos or a disk that cannot be used; another training's folder or checkpoint; a
    /// training that diverges.
    pub fn run(&self, manifest: &Manifest, progress: &mut dyn FnMut(Progress)) -> Result<Card> {
        let start = Instant::now();
        if let Some(problem) = self.settings.problem() {
            return Err(FinetuneError::Setting(problem));
        }
        let dataset = DataSet::open(&self.dataset)?;
        let files = SdxlSection::from_manifest(manifest)?.files;
        let parts = Parts::open(&files)?;
        let models = Models::load(manifest, &parts, &self.encoder, &self.settings)?;
        let how = (self.what, &self.settings);
        let identity = Identity::of(how, &self.encoder, manifest, &dataset, models.resolution())?;
        identity.claim(&self.into)?;
        let network = self.network(&files, &parts)?;
        let examples = self.prepare(manifest, &dataset, &models, &network, &identity, progress)?;
        self.refuse_evaluation_people(&examples, &models)?;
        let (trainer, curve) =
            self.train(&parts, network, &examples, &models, &identity, progress)?;
        let resolution = models.resolution();
        let mut card = Card::of(how, &identity, resolution, &examples, &trainer, &curve)?;
        card.files = self.write(&parts, &trainer, &curve)?;
        card.seconds = start.elapsed().as_secs_f64();
        save::write_text(
            &self.into.join("card.json"),
            &(serde_json::to_string_pretty(&card)? + "\n"),
        )?;
        Ok(card)
    }

    fn network(&self, files: &SdxlFiles, parts: &Parts) -> Result<Network> {
        let options = NetworkOptions {
            device: files.device.open()?,
            dtype: self.settings.precision.dtype(),
            trained: self.settings.trained(self.what),
            seed: self.settings.seed(),
        };
        Ok(Network::of_parts(parts, &options)?)
    }

    /// All photos, prepared; those of an earlier start are taken over.
    fn prepare(
        &self,
        manifest: &Manifest,
        dataset: &DataSet,
        models: &Models,
        network: &Network,
        identity: &Identity,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Examples> {
        let null = models.null_text()?;
        let edge = models.resolution() / models.vae().factor();
        let widths = Widths {
            latents: network.config().in_channels * edge * edge,
            views: 1 + usize::from(self.settings.flip),
            context: null.embeds.len(),
            pooled: null.pooled.len(),
            face: models.faces().width(),
        };
        let key = self.example_key(identity, models.resolution())?;
        let mut writer = Writer::open(&self.into.join("examples"), &key.to_string(), widths)?;
        let mut left = writer.done();
        dataset.each(&manifest.embedding_dims, |photos| {
            let known = left.min(photos.len());
            left -= known;
            for photos in photos[known..].chunks(PHOTOS_AT_ONCE) {
                self.prepare_some(photos, models, &mut writer)?;
                progress(Progress::Photos(writer.done()));
            }
            Ok(())
        })?;
        let examples = writer.finish();
        match examples.is_empty() {
            false => Ok(examples),
            true => Err(no_photo(&self.dataset, &examples)),
        }
    }

    fn prepare_some(&self, photos: &[Photo], models: &Models, writer: &mut Writer) -> Result<()> {
        let mut prepared: Vec<_> = photos.iter().map(|_| None).collect();
        let one = |photo: &Photo| models.prepare(photo, &self.settings);
        in_parallel(0, photos, one, |index, found| {
            prepared[index] = Some(found?);
            Ok::<(), FinetuneError>(())
        })?;
        for (photo, found) in photos.iter().zip(prepared.into_iter().flatten()) {
            match found {
                Ok((described, numbers)) => writer.add(described, &numbers)?,
                Err(reason) => writer.skip(&photo.key, reason)?,
            }
        }
        Ok(())
    }

    /// What prepared photos depend on.
    fn example_key(&self, identity: &Identity, resolution: usize) -> Result<Digest> {
        let settings = self.settings.example_key(resolution);
        let mut hasher = KeyHasher::new("fine-tuning-examples")
            .number("version", u64::from(VERSION))
            .text("settings", &serde_json::to_string(&settings)?)
            .text("crop", &identity.settings["encoder_crop"].to_string());
        for (label, digest) in &identity.made_from {
            if !label.starts_with("models.sdxl.unet") && label != "models.sdxl.scheduler" {
                hasher = hasher.text(label, digest);
            }
        }
        Ok(hasher.finish())
    }

    fn refuse_evaluation_people(&self, examples: &Examples, models: &Models) -> Result<()> {
        let Some(folder) = &self.settings.evaluation_people else {
            return Ok(());
        };
        let found = people::in_both(folder, examples, models.faces(), self.same_person)?;
        match found.is_empty() {
            true => Ok(()),
            false => Err(FinetuneError::EvaluationPeople {
                people: folder.clone(),
                dataset: self.dataset.clone(),
                found,
            }),
        }
    }

    /// Takes all steps that the last checkpoint has not.
    fn train(
        &self,
        parts: &Parts,
        network: Network,
        examples: &Examples,
        models: &Models,
        identity: &Identity,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Trainer, Curve)> {
        let objective = Objective::of(parts.scheduler()?, self.settings.min_snr)?;
        let timesteps = objective.timesteps();
        let on_cpu = network.options().device.is_cpu();
        let options = TrainerOptions {
            micro_batch: self.settings.micro_batch.unwrap_or(match on_cpu {
                true => self.settings.batch.div_ceil(4),
                false => 1,
            }),
            recompute: self.settings.gradient_checkpointing,
        };
        let mut trainer = Trainer::new(network, objective, self.settings.optimizer(), options)?;
        let key = identity.key()?;
        let mut curve = self.resume(&mut trainer, &key)?;
        let done = trainer.optimizer().steps();
        if done > 0 {
            progress(Progress::Resumed(done));
        }
        let null = models.null_text()?;
        let edge = models.resolution() / models.vae().factor();
        let mut draws = Draws::new(
            examples,
            &self.settings,
            models.vae(),
            &null,
            timesteps,
            edge,
        );
        for step in done..self.settings.steps {
            reach("step")?;
            let photos = draws.photos(step);
            let rows = photos
                .iter()
                .map(|(index, epoch)| draws.row(*index, *epoch));
            let rows: Vec<Row> = rows.collect::<Result<_>>()?;
            let report = trainer
                .step(&rows, [edge, edge])
                .map_err(|error| match error {
                    TrainError::NotFinite { .. } => {
                        self.diverged(error.to_string(), &photos, examples)
                    }
                    error => error.into(),
                })?;
            let drawn: Vec<usize> = rows.iter().map(|row| row.timestep).collect();
            curve.add(&report, &drawn, timesteps);
            if let Some(reason) = curve.diverged() {
                return Err(self.diverged(reason, &photos, examples));
            }
            let taken = step + 1;
            progress(Progress::Step(taken, self.settings.steps, report.loss));
            if taken.is_multiple_of(self.settings.checkpoint_every) || taken == self.settings.steps
            {
                self.keep(&trainer, &key, &curve)?;
            }
        }
        Ok((trainer, curve))
    }

    fn diverged(
        &self,
        reason: String,
        photos: &[(usize, u64)],
        examples: &Examples,
    ) -> FinetuneError {
        let keys = photos
            .iter()
            .map(|(index, _)| examples.described(*index).key.clone());
        FinetuneError::Diverged {
            reason,
            photos: keys.collect(),
            checkpoint: self.checkpoints().last().map_or(0, |(step, _)| *step),
        }
    }

    /// The checkpoints of the folder by their steps, the last one last.
    fn checkpoints(&self) -> Vec<(u64, PathBuf)> {
        let entries = std::fs::read_dir(self.into.join("checkpoints"));
        let paths = entries
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        let step = |path: PathBuf| {
            let name = path.file_name()?.to_str()?;
            let digits = name.strip_prefix("step-")?.strip_suffix(".safetensors")?;
            Some((digits.parse().ok()?, path.clone()))
        };
        let mut found: Vec<(u64, PathBuf)> = paths.filter_map(step).collect();
        found.sort();
        found
    }

    /// Goes on from the last checkpoint that is sound and not beyond the steps that are wanted.
    fn resume(&self, trainer: &mut Trainer, key: &str) -> Result<Curve> {
        for (step, path) in self.checkpoints().into_iter().rev() {
            if step > self.settings.steps {
                continue;
            }
            let read = match Checkpoint::read(&path, trainer) {
                Ok(read) => read,
                Err(error) => {
                    tracing::warn!("{error}: the checkpoint before it is taken");
                    continue;
                }
            };
            if read.key() != key {
                return Err(FinetuneError::OtherCheckpoint { path });
            }
            let notes = serde_json::from_str::<Notes>(read.notes());
            let Some(notes) = notes
                .ok()
                .filter(|notes| notes.curve.len() as u64 == read.steps())
            else {
                tracing::warn!(
                    "{}: its notes are damaged: the one before it is taken",
                    path.display()
                );
                continue;
            };
            read.restore(trainer)?;
            // A kill after the last one was written has left one too many.
            self.drop_old()?;
            return Ok(notes.curve);
        }
        Ok(Curve::default())
    }

    /// Writes a checkpoint and the losses so far; of earlier checkpoints one is kept.
    fn keep(&self, trainer: &Trainer, key: &str, curve: &Curve) -> Result<()> {
        reach("checkpoint")?;
        let notes = Notes {
            curve: curve.clone(),
        };
        let step = trainer.optimizer().steps();
        let folder = self.into.join("checkpoints");
        let path = folder.join(format!("step-{step:08}.safetensors"));
        checkpoint::write(&path, trainer, key, &serde_json::to_string(&notes)?)?;
        reach("checkpoint-written")?;
        self.drop_old()?;
        let rates = *trainer.optimizer().settings();
        let csv = curve.csv(|step| rates.rate(step));
        Ok(save::write_text(&self.into.join("losses.csv"), &csv)?)
    }

    /// Deletes all checkpoints but the newest.
    fn drop_old(&self) -> Result<()> {
        let found = self.checkpoints();
        let old = found.len().saturating_sub(KEPT);
        for (_, path) in &found[..old] {
            std::fs::remove_file(path).map_err(FinetuneError::io(path))?;
        }
        Ok(())
    }

    /// Writes what was trained; the files' names.
    fn write(&self, parts: &Parts, trainer: &Trainer, curve: &Curve) -> Result<Vec<String>> {
        let network = trainer.network();
        let mut files = Vec::new();
        match self.what {
            What::Lora => {
                let mut layouts = vec![(save::LORA_FILE, LoraLayout::Diffusers)];
                if self.webui {
                    layouts.push(("lora-webui.safetensors", LoraLayout::Webui));
                }
                for (name, layout) in layouts {
                    save::write_lora(&self.into.join(name), network, layout)?;
                    files.push(self.into.join(name));
                }
            }
            What::Unet => {
                let (folder, config) = (self.into.join("unet"), parts.unet_config_text()?);
                let most = save::SHARD_BYTES;
                files = save::write_unet(&folder, network, &config, self.stored, most)?;
            }
        }
        let rates = *trainer.optimizer().settings();
        let losses = self.into.join("losses.csv");
        save::write_text(&losses, &curve.csv(|step| rates.rate(step)))?;
        files.push(losses);
        let relative = |path: &PathBuf| {
            let path = path.strip_prefix(&self.into).unwrap_or(path);
            path.to_string_lossy().into_owned()
        };
        Ok(files.iter().map(relative).collect())
    }
}

/// A place where tests make the program fail.
fn reach(place: &str) -> Result<()> {
    fail_point::reach(|| format!("{place}.finetune"))
        .map_err(FinetuneError::io(Path::new("the training")))
}

fn no_photo(dataset: &Path, examples: &Examples) -> FinetuneError {
    let of = |wanted: Skipped| {
        let skipped = examples.skipped().iter();
        skipped.filter(|(_, reason)| *reason == wanted).count() as u64
    };
    FinetuneError::NoPhoto {
        dataset: dataset.into(),
        photos: examples.skipped().len() as u64,
        without_face: of(Skipped::NoFace),
        unreadable: of(Skipped::NotAnImage),
    }
}
