//! Stage 2, merge-names: mentions become canonical names, and every image is filed under its name.
//!
//! The one shuffle of the system, in four steps, and one more for who wants it. `count_spellings` counts
//! the distinct spellings of each shard; `ask_second_opinion` asks a language model about what is
//! doubtful, if the manifest names one; `merge_spellings` decides once, over distinct spellings only, and answers each shard
//! for its own; `file_mentions` files the mentions of a group of shards, sorted by bucket;
//! `count_images` reads its bucket of all groups. No step compares the spellings of all mentions, and
//! none writes more than one part per task, or per shard and table.

mod ask_second_opinion;
mod codes;
mod columns;
mod count_images;
mod count_spellings;
pub mod evidence;
mod file_mentions;
pub mod fold;
mod interner;
pub mod merge;
mod merge_spellings;
pub mod normalize;
mod normalized;
mod reviewed;
mod rows;
pub mod second_opinion;
mod settings;
mod streams;
pub mod verdict;
mod words;

use laioncele_core::Step;

pub use ask_second_opinion::check_second_opinion;
pub use settings::Settings;

/// The steps of this stage.
pub fn steps() -> Vec<Box<dyn Step>> {
    vec![
        Box::new(count_spellings::CountSpellings),
        Box::new(ask_second_opinion::AskSecondOpinion),
        Box::new(merge_spellings::MergeSpellings),
        Box::new(file_mentions::FileMentions),
        Box::new(count_images::CountImages),
    ]
}

#[cfg(test)]
mod tests;
