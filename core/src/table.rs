//! The tables: one row type each, its declared Arrow schema, version and key.
//!
//! A row type is a plain struct; `rows!` derives its schema and both conversions from its fields' [`Cell`] types,
//! so that a schema exists in exactly one place. Lengths that depend on the models (8 × 2048 for SDXL's name
//! embedding, 8 × 128 for the mini's) are parameters: [`EmbeddingDims`].

mod cell;
mod digest;
pub(crate) mod dims;
mod id;
mod nested;
mod row;
mod rows;
mod schema;

pub use cell::{
    Cell, FaceBox, FaceVector, FaceVectors, FeatureVector, Landmarks, NameSums, NameVector,
};
pub use digest::RowsDigest;
pub use dims::EmbeddingDims;
pub use id::TableId;
pub use nested::{Alias, Image};
pub use row::Row;
pub use rows::{
    Attempt, Candidate, ChosenPerson, Dropped, EvaluationScore, FiledMention, Identity, KnownName,
    LaionCele, Match, Mention, MergedName, Name, NameEmbedding, NamePeople, NameSum, NamedFace,
    NamedImage, Opinion, Photo, PhotoFace, PhotoFeature, PhotoPrint, Placeholder, Portrait,
    PortraitFace, PortraitPair, Reachability, ReferenceVerdict, Sample, SpellingCount, UniquePhoto,
    Verdict, WordCount,
};
pub use schema::{describe, same_columns};
