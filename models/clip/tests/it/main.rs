//! The CLIP crate against its fixtures, in one program.

mod bad_input;
mod common;
mod text;
mod vision;
