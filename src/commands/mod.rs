//! The commands, one file each; thin: they open a session, call what does the work, and print.

pub mod plan;
pub mod run;
pub mod status;
pub mod verify;
pub mod worker;
