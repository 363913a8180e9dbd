//! The stage through its public interface.

#![allow(missing_docs, clippy::expect_used)]

mod asked;
mod stored;
mod web;
