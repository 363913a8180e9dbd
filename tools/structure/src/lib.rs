//! The shape of the repository, read from its own files: [`layers`] says which crate may depend on which, [`modules`]
//! finds modules of one crate that know each other in a circle, [`mod@reference`] writes the manifest's page from its types.
//!
//! Its tests hold the whole workspace to ARCHITECTURE.md. It depends on no crate of ours, so they run in seconds.

pub mod layers;
pub mod modules;
pub mod reference;
