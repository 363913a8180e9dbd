//! Normalization and merging through the public interface.

#![allow(missing_docs, clippy::expect_used)]

mod labels;
