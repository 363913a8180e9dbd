//! Downloads many urls at once: whose turn it is, what is under way, what is tried again, and what the bytes are.

mod engine;

pub use engine::{Attempt, Done, Engine, EngineSettings, Item};
