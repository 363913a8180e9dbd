//! The embedded world: invented people, their captions and photos, and the truth about them.
//!
//! [`build()`] writes the world of a seed, [`WebServer`] serves its web, [`score()`] holds what a run made of it against
//! the truth. Only the program depends on this crate: no stage and no model knows that the world is invented.

mod build;
mod chance;
mod error;
mod manner;
mod options;
pub mod people;
mod picture;
mod plan;
pub mod render;
mod score;
mod server;
mod source;
mod spelling;
mod templates;
mod truth;
mod web;

pub use build::{Summary, build};
pub use error::WorldError;
pub use manner::Manner;
pub use options::{BuildOptions, Size};
pub use picture::{Picture, PictureError};
pub use score::{Figure, Scores, Target, score};
pub use server::WebServer;
pub use spelling::Spelling;
pub use truth::{Filing, Filtered, Shows, TRUTH_FORMAT, TrueName, Truth, Written};
pub use web::{HOST_SUFFIX, Page, Web};
