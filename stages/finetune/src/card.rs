//! `card.json`: what a training came to, and from what.

use std::collections::{BTreeMap, BTreeSet};

use laioncele_finetune::Trainer;
use serde::Serialize;
use serde_json::Value;

use crate::curve::Curve;
use crate::error::Result;
use crate::examples::Examples;
use crate::identity::Identity;
use crate::prepare::Skipped;
use crate::settings::{Settings, What};

/// What a training came to, as `card.json` holds it.
#[derive(Clone, Debug, Serialize)]
pub struct Card {
    /// `lora` or `unet`.
    pub what: What,
    /// Which training it is.
    pub key: String,
    /// Digests of everything that it was made from.
    pub made_from: BTreeMap<String, String>,
    /// All settings.
    pub settings: Value,
    /// Edge of the photos in pixels.
    pub resolution: usize,
    /// People that were trained on.
    pub people: usize,
    /// Photos that were trained on.
    pub photos: usize,
    /// Photos that were skipped, by reason.
    pub skipped: BTreeMap<Skipped, usize>,
    /// Captions that named the person.
    pub captions_with_name: usize,
    /// Numbers that were trained.
    pub parameters: usize,
    /// Steps taken.
    pub steps: u64,
    /// Mean loss of the first steps, at most 200.
    pub first_loss: f64,
    /// Mean loss of the last steps, at most 200.
    pub last_loss: f64,
    /// The same by quarter of the timesteps, those with little noise first.
    pub last_loss_by_timestep: [Option<f64>; 4],
    /// The share of steps whose gradients were scaled down.
    pub clipped_steps: f64,
    /// Seconds of this start, preparing photos included; a training that was interrupted took longer.
    pub seconds: f64,
    /// This program.
    pub laioncele: &'static str,
    /// What was written, relative to the card.
    pub files: Vec<String>,
}

impl Card {
    /// Of a training that has come to its end; time and files are not known yet.
    ///
    /// # Errors
    /// None that is known: all of it is plain JSON.
    pub(crate) fn of(
        (what, settings): (What, &Settings),
        identity: &Identity,
        resolution: usize,
        examples: &Examples,
        trainer: &Trainer,
        curve: &Curve,
    ) -> Result<Self> {
        let all = || (0..examples.len()).map(move |index| examples.described(index));
        let people: BTreeSet<&str> = all().map(|d| d.person.as_str()).collect();
        let mut skipped = BTreeMap::new();
        for (_, reason) in examples.skipped() {
            *skipped.entry(*reason).or_default() += 1;
        }
        let numbers = trainer
            .network()
            .parameters()
            .iter()
            .map(|p| p.dims().iter().product::<usize>());
        Ok(Self {
            what,
            key: identity.key()?,
            made_from: identity.made_from.clone(),
            settings: serde_json::to_value(settings)?,
            resolution,
            people: people.len(),
            photos: examples.len(),
            skipped,
            captions_with_name: all().filter(|d| d.named).count(),
            parameters: numbers.sum(),
            steps: trainer.optimizer().steps(),
            first_loss: curve.first(),
            last_loss: curve.last(),
            last_loss_by_timestep: curve.last_quarters(),
            clipped_steps: curve.clipped(),
            seconds: 0.0,
            laioncele: env!("CARGO_PKG_VERSION"),
            files: Vec::new(),
        })
    }
}
