//! The commands, one file each; thin: they open a session, call what does the work, and print.

pub mod calibrate;
pub mod doctor;
pub mod encode_image;
pub mod evaluate;
pub mod faces;
mod from_model;
pub mod generate;
mod generation;
pub mod interpolate;
pub mod mini;
pub mod ner;
pub mod plan;
pub mod run;
pub mod status;
pub mod verify;
pub mod worker;
