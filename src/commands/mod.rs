//! The commands, one file each; thin: they open a session, call what does the work, and print.

pub(crate) mod ahash;
pub(crate) mod calibrate;
pub(crate) mod doctor;
pub(crate) mod download;
pub(crate) mod encode_image;
pub(crate) mod evaluate;
pub(crate) mod faces;
mod from_model;
pub(crate) mod gc;
pub(crate) mod generate;
mod generation;
pub(crate) mod interpolate;
mod lines;
pub(crate) mod lock;
pub(crate) mod mini;
mod name_export;
pub(crate) mod names;
pub(crate) mod ner;
pub(crate) mod plan;
pub(crate) mod retry;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod verify;
pub(crate) mod worker;
