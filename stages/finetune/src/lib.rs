//! Fine-tuning SDXL's U-Net on a data set of people (Eq. 6, Fig. 8 and Table 2 of the paper): each
//! photo's face gives a name, which goes into the photo's caption; the U-Net learns to predict the
//! photo's noise with it. For `laioncele finetune`.
//!
//! [`Training`] is the whole of it, [`Settings`] the manifest's section. The steps themselves are
//! `laioncele-finetune`'s.

mod card;
mod curve;
pub mod dataset;
mod draws;
mod error;
mod examples;
mod identity;
mod people;
mod photo;
mod prepare;
mod settings;
mod shards;
mod training;

pub use card::Card;
pub use error::{FinetuneError, Result};
pub use laioncele_finetune::save::Stored;
pub use prepare::Skipped;
pub use settings::{CaptionRule, CropRule, LatentRule, Optimizer, Settings, What};
pub use training::{Progress, Training};
