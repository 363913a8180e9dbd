//! The engine against the recordings of transformers, in one program.

mod transformers;
