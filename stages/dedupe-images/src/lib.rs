//! Stage 7, dedupe-images: one copy of each image, and none that stands for many.
//!
//! Three steps. `fingerprint-photos` decodes the photos of a bucket and keeps what copies are recognized by; it knows no
//! threshold. `count-placeholders` looks at the fingerprints of all buckets for pictures that stand for many images.
//! `dedupe-images` drops those, and of the photos of one name that look the same all but the largest.

mod count;
mod decide;
mod groups;
mod hash;
mod key_counts;
mod print;
mod settings;

use laioncele_core::Step;

pub use hash::{average_hash, average_hash_of_means};
pub use settings::{Hashing, Settings, Turned};

/// The steps of this stage.
pub fn steps() -> Vec<Box<dyn Step>> {
    vec![
        Box::new(print::FingerprintPhotos),
        Box::new(count::CountPlaceholders),
        Box::new(decide::DedupeImages),
    ]
}

#[cfg(test)]
mod tests;
