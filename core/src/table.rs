//! The tables: one row type each, its declared Arrow schema, version and key.
//!
//! A row type is a plain struct; [`rows!`] derives its schema and both conversions from its fields' [`Cell`] types,
//! so that a schema exists in exactly one place. Lengths that depend on the models (8 × 2048 for SDXL's name
//! embedding, 8 × 128 for the mini's) are parameters: [`EmbeddingDims`].

mod cell;
mod digest;
mod rows;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Metadata, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

pub use cell::{
    Alias, Cell, FaceBox, FaceVector, FaceVectors, FeatureVector, Image, Landmarks, NameVector,
};
pub use digest::RowsDigest;
pub use rows::{
    Candidate, Dropped, EvaluationScore, Identity, KnownName, LaionCele, Match, Mention, Name,
    NameEmbedding, Photo, PhotoFace, PhotoFeature, Portrait, PortraitFace, PortraitPair, Sample,
    UniquePhoto,
};

use crate::drops::closed_words;
use crate::error::CoreError;

closed_words! {
    /// The tables and files that steps hand to each other.
    TableId {
        /// The source's captions (not ours: read as the manifest maps its columns).
        Captions = "captions",
        /// PERSON spans in captions.
        Mentions = "mentions",
        /// Canonical names with their aliases.
        Names = "names",
        /// (name, image) pairs.
        Candidates = "candidates",
        /// Names with their embedding.
        NameEmbeddings = "name_embeddings",
        /// Generated portraits.
        Portraits = "portraits",
        /// How far the first two portraits of a name agree.
        PortraitPairs = "portrait_pairs",
        /// The face of each portrait.
        PortraitFaces = "portrait_faces",
        /// Names that SDXL really knows.
        KnownNames = "known_names",
        /// Downloaded photos.
        Photos = "photos",
        /// Photos without their copies.
        UniquePhotos = "unique_photos",
        /// The best face of each photo against its name's portraits.
        PhotoFaces = "photo_faces",
        /// Photos that show their name's person.
        Matches = "matches",
        /// Names with enough matching photos: one row per kept photo.
        Identities = "identities",
        /// The dataset itself.
        LaionCele = "laioncele",
        /// CLIP image features of photos.
        PhotoFeatures = "photo_features",
        /// The trained encoder (files).
        Encoder = "encoder",
        /// Generated pictures of unseen people.
        Samples = "samples",
        /// Scores of generated pictures.
        Evaluation = "evaluation",
        /// Dropped rows of any step.
        Dropped = "dropped",
    }
}

/// Lengths of embeddings, which the models decide: `[embedding_dims]` of the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbeddingDims {
    /// Tokens of a name embedding (8 in the paper).
    pub name_tokens: usize,
    /// Channels of a name embedding: both text encoders' hidden sizes together (2048 for SDXL).
    pub name_channels: usize,
    /// Numbers of a face embedding (512 for the default recognizer).
    pub face: usize,
    /// Numbers of both CLIP image encoders' features together (2048 in SDXL's pairing).
    pub features: usize,
}

/// One row of a table: a plain struct that knows its schema. Implemented by `rows!`, nowhere by hand.
pub trait Row: Sized {
    /// The table that holds these rows.
    const TABLE: TableId;
    /// The schema's version; part of its metadata. Raise it when a field's meaning changes.
    const VERSION: u32;

    /// The columns, in order.
    fn fields(dims: &EmbeddingDims) -> Vec<Field>;

    /// The columns' arrays.
    ///
    /// # Errors
    /// A vector whose length is not the declared length.
    fn columns(rows: Vec<Self>, dims: &EmbeddingDims) -> Result<Vec<ArrayRef>, String>;

    /// Appends the rows of `batch`, whose schema is this table's.
    ///
    /// # Errors
    /// A column of another type.
    fn append(
        batch: &RecordBatch,
        dims: &EmbeddingDims,
        rows: &mut Vec<Self>,
    ) -> Result<(), String>;

    /// The declared schema with its metadata.
    fn schema(dims: &EmbeddingDims) -> SchemaRef {
        let metadata = [
            ("laioncele.table", Self::TABLE.to_string()),
            ("laioncele.version", Self::VERSION.to_string()),
            ("laioncele.name_tokens", dims.name_tokens.to_string()),
            ("laioncele.name_channels", dims.name_channels.to_string()),
        ];
        Arc::new(Schema::new_with_metadata(
            Self::fields(dims),
            Metadata::from(metadata),
        ))
    }

    /// `rows` as one batch.
    ///
    /// # Errors
    /// [`CoreError::Parquet`] where a vector has not the declared length.
    fn to_batch(rows: Vec<Self>, dims: &EmbeddingDims) -> Result<RecordBatch, CoreError> {
        let fail = |reason: String| CoreError::parquet(format!("table `{}`", Self::TABLE), reason);
        let columns = Self::columns(rows, dims).map_err(fail)?;
        RecordBatch::try_new(Self::schema(dims), columns).map_err(|e| fail(e.to_string()))
    }

    /// The rows of `batch`; `origin` names it in errors.
    ///
    /// # Errors
    /// [`CoreError::Schema`] where the batch is not this table's.
    fn from_batch(
        batch: &RecordBatch,
        dims: &EmbeddingDims,
        origin: &str,
    ) -> Result<Vec<Self>, CoreError> {
        let mut rows = Vec::with_capacity(batch.num_rows());
        Self::append(batch, dims, &mut rows)
            .map_err(|reason| CoreError::parquet(origin, reason))?;
        Ok(rows)
    }
}

/// Whether `found` holds the same columns as `expected` (names, types and nullability; metadata aside).
pub fn same_columns(expected: &Schema, found: &Schema) -> bool {
    let same = |(a, b): (&Arc<Field>, &Arc<Field>)| {
        a.name() == b.name() && same_type(a.data_type(), b.data_type())
    };
    expected.fields().len() == found.fields().len()
        && expected.fields().iter().zip(found.fields()).all(same)
}

/// Equality of types up to the names of list items, which writers choose freely.
fn same_type(a: &DataType, b: &DataType) -> bool {
    match (a, b) {
        (DataType::List(x), DataType::List(y)) => same_type(x.data_type(), y.data_type()),
        (DataType::FixedSizeList(x, n), DataType::FixedSizeList(y, m)) => {
            n == m && same_type(x.data_type(), y.data_type())
        }
        (DataType::Struct(x), DataType::Struct(y)) => {
            x.len() == y.len()
                && x.iter()
                    .zip(y)
                    .all(|(f, g)| f.name() == g.name() && same_type(f.data_type(), g.data_type()))
        }
        _ => a == b,
    }
}

/// A schema as one readable line: `name: Type, …`.
pub fn describe(schema: &Schema) -> String {
    let columns: Vec<_> = schema
        .fields()
        .iter()
        .map(|f| format!("{}: {}", f.name(), f.data_type()))
        .collect();
    columns.join(", ")
}
