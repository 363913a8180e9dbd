//! The methods of the paper's Table 1 behind one trait: LaionCele, and those that it is compared with, on the same SDXL
//! with the same noise. What generate-samples and `laioncele generate --method` share. docs/baselines.md says how each
//! works.

mod baselines;
mod config;
mod method;
mod name;
mod seen;
mod studio;
mod words;

pub use config::{BaselineMethod, MethodConfig, PresetSettings};
pub use method::{ConditionedPrompt, Likeness, Method, Reference};
pub use name::{BASE_MODEL, MethodName, Preset};
pub use studio::{Studio, StudioRequest};
pub use words::{PERSON_WORDS, with_name, with_trigger, with_word};
