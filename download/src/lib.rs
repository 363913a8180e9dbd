//! Downloads many urls at once: whose turn it is, what is under way, what is tried again, and what the bytes are.

mod engine;
mod journal;
mod outcome;
mod photo;
mod shards;

pub use engine::{Attempt, Done, Engine, EngineSettings, Item};
pub use journal::{FLUSH_EVERY, Journal, JournalError, Place};
pub use outcome::{End, Outcome, Tried};
pub use photo::{Checked, Original, PhotoRules, check, check_hash};
pub use shards::{
    Row, SUCCESS, ShardError, ShardFolder, ShardFormat, ShardRows, ShardSettings, ShardStats,
    Tally, Totals, download_shards,
};
