//! Drawing anybody: photos or texts to names, names and prompts to pictures (Algorithm 1 of the paper). What the stage,
//! `laioncele generate` and `laioncele interpolate` share.

mod error;
mod names;
mod source;
mod studio;

pub use error::{DrawError, Result};
pub use names::NameStatistics;
pub use source::Source;
pub use studio::{Name, Picture, Studio};
