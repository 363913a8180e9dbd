//! The floor between stages and models. A stage holds data logic, a model crate holds tensors. What lies between them is
//! here:
//!
//! | | |
//! |---|---|
//! | [`sections`] | the `[models.*]` sections of the manifest, and the labels under which their files enter task keys |
//! | [`ModelLoader`] | loading and caching, and the check of models against the manifest's embedding dims |
//! | [`ModelError`] | what a stage reports when a model fails |
//! | [`thread_pool`], [`encode_png`] | a task's threads; the bytes of generated images |
//! | [`generation`] | Algorithm 1: photos or texts to names, names and prompts to images |
//! | [`methods`] | LaionCele and the methods that the paper compares itself with, behind one trait |
//! | [`agreement`] | whether a name's portraits show one person |
//! | [`choice`] | who may be a reference: whom the base model cannot draw by name |
//! | [`people()`] | how many people photos show |
//! | [`Sheet`] | contact sheets with labels |
//! | [`encoder_folder`] | the trained encoder as a folder that stands alone |
//! | [`single_files()`] | what single weight files were recognized as |
//! | [`KnownFiles`] | weight files that are told by their SHA-256 |
//! | [`licence()`] | what a model's folder says of its licence |
//! | [`person_word`] | the word for a person in prompts: people's, or the gender network's guess |
//! | [`lists`] | CSV that people write |
//! | [`references`], [`training_crop`] | settings of one stage that another one depends on |
//!
//! This crate knows `core` and the model crates. It knows no stage.

pub mod agreement;
pub mod choice;
mod crop;
pub mod encoder_folder;
mod error;
pub mod generation;
mod known_files;
mod licence;
pub mod lists;
mod loader;
pub mod methods;
mod people;
pub mod person_word;
mod png;
pub mod references;
pub mod sections;
mod sheet;
mod single_files;
pub mod testing;
mod threads;

pub use crop::training_crop;
pub use error::ModelError;
pub use known_files::{Identity, KnownFile, KnownFiles, KnownFilesError, Sums, known_weights};
pub use licence::licence;
pub use loader::ModelLoader;
pub use people::people;
pub use png::{encode_png, encode_png_with_texts, png_texts};
pub use sections::{
    FaceSection, ImageEncoderSection, IpAdapterSection, LoraKeys, PhotoMakerSection,
    SchedulerChoice, SdxlSection, Unconditional,
};
pub use sheet::{Sheet, SheetLabels};
pub use single_files::{SingleFile, recognized, single_files};
pub use threads::{pool_of, thread_pool};
