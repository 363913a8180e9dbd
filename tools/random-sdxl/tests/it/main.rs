//! Folders of random weights, loaded and run, in one program.

mod configurations;
mod folder;
