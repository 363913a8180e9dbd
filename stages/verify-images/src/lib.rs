//! Stage 8, verify-images: is it really this person? Every face of a photo against its name's four portraits.
//!
//! Two steps: `score-photos` runs the face networks and knows no threshold; `verify-images` decides on the stored
//! similarities, so that another `same_person_photo` runs no network.

mod homonyms;
mod matching;
mod score;
mod settings;
mod verify;

use laioncele_core::Step;

pub use settings::Settings;

/// The steps of this stage.
pub fn steps() -> Vec<Box<dyn Step>> {
    vec![Box::new(score::ScorePhotos), Box::new(verify::VerifyImages)]
}

#[cfg(test)]
mod tests;
