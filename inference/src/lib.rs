//! The floor between stages and models. A stage holds data logic, a model crate holds tensors; what lies between them is
//! here: the `[models.*]` sections of the manifest with the labels that enter task keys ([`sections`]), loading and
//! caching ([`ModelLoader`]), the check of models against the manifest's embedding dims, the mapping of model errors to
//! [`laioncele_core::StageError`] ([`ModelError`]), a task's threads ([`thread_pool`]) and the bytes of generated images
//! ([`encode_png`]).
//!
//! This crate knows `core` and the model crates. It knows no stage.

mod error;
mod loader;
mod png;
pub mod sections;
mod threads;

pub use error::ModelError;
pub use loader::ModelLoader;
pub use png::encode_png;
pub use sections::{FaceSection, ImageEncoderSection, SchedulerChoice, SdxlSection};
pub use threads::{pool_of, thread_pool};
