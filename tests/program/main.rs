//! The program through its binary: help and errors, whole runs, interrupted runs, and the data
//! recounted.

mod bad_input;
mod broken;
mod calibrate;
mod commands_page;
mod doctor;
mod download;
mod extract_names;
mod faces;
mod gpu;
mod help;
mod models;
mod names;
mod ner;
mod other_seeds;
mod paper_manifest;
mod photo_server;
mod recount;
mod resume;
mod retry;
mod sandbox;
mod shards;
mod sources;
mod tables;
mod test_run;
mod world_metrics;
