//! Downloads many urls at once: whose turn it is, what is under way, what is tried again, and what the bytes are.

mod allocator;
mod backoff;
mod breaker;
mod cpu;
mod delivery;
mod engine;
mod files;
mod hosts;
mod item;
mod journal;
mod load;
mod outcome;
mod photo;
mod pixels;
mod queue;
mod settings;
mod shards;
mod slots;
mod traffic;

pub use engine::{Engine, LOOK_AHEAD};
pub use item::{Attempt, Done, Item};
pub use journal::{FLUSH_EVERY, Journal, JournalError, Place};
pub use outcome::{End, Outcome, Tried};
pub use photo::{Checked, Original, PhotoRules, Shrink, check, check_hash, shrink};
pub use settings::EngineSettings;
pub use shards::{
    Row, SUCCESS, ShardError, ShardFolder, ShardFormat, ShardRows, ShardSettings, ShardStats,
    Tally, Totals, download_shards,
};
