//! Stage 5, verify-portraits: keeps the names that SDXL really knows, those whose four portraits show one person.
//!
//! Two steps: `score-portraits` runs the face networks and knows no threshold; `verify-portraits` decides on the stored
//! faces, so that another `same_person` runs no network.

mod score;
mod verify;

use laioncele_core::Step;

pub use laioncele_inference::agreement::AgreementSettings as Settings;

/// The steps of this stage.
pub fn steps() -> Vec<Box<dyn Step>> {
    vec![
        Box::new(score::ScorePortraits),
        Box::new(verify::VerifyPortraits),
    ]
}

#[cfg(test)]
mod tests;
