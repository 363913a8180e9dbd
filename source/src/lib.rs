//! Reading LAION-like sources, whatever layout they come in.
//!
//! A source is one or more files, folders and glob patterns; each file found is a shard
//! ([`shards()`]). A file is opened in its format, its columns are told from their names
//! ([`SourceFile`]), and its rows come batch by batch. Where the source holds the images
//! themselves, as what img2dataset wrote does, each row says where, and [`SourceImages`] gives the
//! bytes.
//!
//! A line or sample that cannot be read is a row with a reason ([`SourceRow::malformed`]), never
//! the end of the file; a file that cannot be read is a [`SourceError`] that names it.

mod batch;
mod check;
mod delimited;
mod detect;
mod error;
mod file;
mod folder;
mod images;
mod json;
mod layout;
mod lines;
mod parquet_file;
mod role;
mod sample;
mod shards;
mod tar_file;
mod text_file;

pub use batch::{SourceBatch, SourceRow};
pub use check::{SourceSummary, check_source};
pub use error::{ImageError, SourceError};
pub use file::{Batches, SourceFile};
pub use images::SourceImages;
pub use layout::Need;
pub use role::Role;
pub use shards::{SourceShard, shards, url_files};

#[cfg(test)]
mod tests;
