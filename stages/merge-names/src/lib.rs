//! Stage 2, merge-names: mentions become canonical names, and every image is filed under its name.

pub mod fold;
pub mod merge;
pub mod normalize;
