//! The whole workspace, held to ARCHITECTURE.md.

mod containers;
mod layers;
mod modules;
mod reference;

use std::path::{Path, PathBuf};

/// The repository's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the repository")
}
