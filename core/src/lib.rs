//! The contracts of laioncele: steps, tables and their schemas, the ledger, the store, the manifest.
//!
//! No model and no command line lives here. Arrows only point down to this crate: a stage knows its own tables
//! through [`table`], its task through [`task::Task`], and nothing of its neighbours; the program plans over
//! [`step::Step`]s and [`ledger::Ledger`] records without knowing what any stage does.

pub mod bucket;
pub mod cache;
pub mod decisions;
pub mod digest;
pub mod disk;
mod dropped;
pub mod drops;
pub mod error;
pub mod fail_point;
pub mod file_digests;
pub mod file_memory;
pub mod footer;
pub mod forgotten;
pub mod ids;
pub mod input;
pub mod kept_files;
pub mod key;
pub mod ledger;
pub mod manifest;
pub mod model_cache;
pub mod names;
pub mod nearest;
pub mod numbers;
mod parallel;
pub mod part;
pub mod part_list;
pub mod part_reader;
pub mod part_rows;
pub mod part_writer;
pub mod partition;
pub mod protocol;
pub mod reachability;
pub mod resources;
pub mod scratch;
pub mod shared;
pub mod spec;
pub mod step;
pub mod store;
pub mod table;
pub mod task;
pub mod testing;
pub mod url;

pub use cache::Cache;
pub use digest::{ByteHasher, Digest, KeyHasher};
pub use drops::{DropReason, Unit};
pub use error::{CoreError, StageError};
pub use ids::{CaptionId, ImageId, NameId};
pub use manifest::Manifest;
pub use names::StageName;
pub use part::Part;
pub use part_list::{ListRef, PartList};
pub use part_reader::PartReader;
pub use part_writer::PartWriter;
pub use partition::Partition;
pub use shared::Shared;
pub use step::{FilesRead, ModelFiles, Partitioning, Reads, Scope, Step, StepSpec};
pub use table::{EmbeddingDims, Row, TableId};
pub use task::Task;
