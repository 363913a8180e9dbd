//! The program through its binary: help and errors, whole runs, interrupted runs, and the data recounted.

mod bad_input;
mod help;
mod sandbox;
