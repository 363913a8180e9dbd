//! The embedded world: invented people, their captions and photos, and the truth about them.
//!
//! [`build()`] writes the world of a seed. [`WebServer`] serves its web. [`score()`] compares the
//! tables of a run with the truth. Only the program depends on this crate: no stage and no model
//! knows that the world is invented.
//!
//! | modules | what they own |
//! |---|---|
//! | [`people`] | who exists: anatomies and names, as the mini SDXL was trained on them |
//! | [`render`] | how a person looks: the renderer of portraits, photos and landscapes |
//! | `recipe`, `behaviour`, `web` | the web: images, behaviour of pages, `web.json` |
//! | `captions`, `templates`, `spelling` | the captions: rows, sentences, spellings of names |
//! | `truth` | what a perfect run finds, `truth.json` |
//! | `options`, `random` | size and seed: how much of everything, and reproducible random choices |
//! | `world` | a whole world in memory, made of all of the above |
//! | `build` | that world written to a folder, with its manifest |
//! | `server` | its web as an HTTP server, with every misbehaviour |
//! | `score` | the metrics of a run on it, with their targets |

mod behaviour;
mod build;
mod captions;
mod error;
mod options;
pub mod people;
mod random;
mod recipe;
pub mod render;
mod score;
mod server;
mod spelling;
mod templates;
mod truth;
mod web;
mod world;

pub use behaviour::PageBehaviour;
pub use build::{Summary, build};
pub use error::WorldError;
pub use options::{BuildOptions, Size};
pub use recipe::{ImageRecipe, RecipeError};
pub use score::{Metric, Scores, Target, score};
pub use server::WebServer;
pub use spelling::Spelling;
pub use truth::{
    FilteredCaption, PhotoContent, TRUTH_FORMAT, TrueMention, TrueName, TruePhoto, Truth,
};
pub use web::{HOST_SUFFIX, Page, Web};
