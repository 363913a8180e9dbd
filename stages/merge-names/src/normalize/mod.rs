//! Normalization: which person's name a mention holds, and how it is written. The text alone
//! decides.
//!
//! [`normalize`] repairs the characters, cuts the mention into clauses (credits, captions after a
//! dash), finds the name words in a clause (titles and roles before, things after), and gives them
//! name case. It is idempotent and depends on nothing but the text.

mod bare;
mod case;
mod clauses;
mod knowledge;
mod lexicon;
mod normalizer;
mod plain;
mod repair;
mod score;
mod shape;
mod spelling;
mod vocabulary;
mod word;
mod words;
mod writing;

pub(crate) use bare::bare;
use std::borrow::Cow;
use std::sync::LazyLock;

use knowledge::Knowledge;
pub use normalizer::{Evidence, Normalizer, SeveralPeople};
pub use spelling::{Rejection, Spelling};

/// Mentions longer than this many bytes hold no name: the longest label is far below.
const LONGEST_MENTION: usize = 400;

/// Passes after which a text that still changes is none.
const MOST_PASSES: usize = 4;

/// The name in `mention`, by the lists alone.
///
/// # Errors
/// A [`Rejection`] where it holds none, or several.
pub fn normalize(mention: &str) -> Result<Spelling, Rejection> {
    static LISTS: LazyLock<Knowledge> = LazyLock::new(Knowledge::default);
    normalize_by(mention, &LISTS)
}

fn normalize_by(mention: &str, knowledge: &Knowledge) -> Result<Spelling, Rejection> {
    if mention.len() > LONGEST_MENTION {
        return Err(Rejection::NotAName);
    }
    if let Some(read) = plain::read(mention, knowledge) {
        return read;
    }
    read_until_stable(mention, knowledge)
}

/// Reads the mention, then the name that was found, until nothing changes.
fn read_until_stable(mention: &str, knowledge: &Knowledge) -> Result<Spelling, Rejection> {
    let mut spelling = one_pass(mention, knowledge)?;
    for _ in 0..MOST_PASSES {
        if spelling.name == mention || plain::is_name(&spelling.name, knowledge) {
            return Ok(spelling);
        }
        let again = one_pass(&spelling.name, knowledge)?;
        if again.name == spelling.name {
            return Ok(spelling);
        }
        spelling = Spelling {
            recased: spelling.recased || again.recased,
            ..again
        };
    }
    Err(Rejection::NotAName)
}

fn one_pass(text: &str, knowledge: &Knowledge) -> Result<Spelling, Rejection> {
    let repaired = repair::repair(text);
    if repaired.contains(char::REPLACEMENT_CHARACTER) {
        return Err(Rejection::NotAName);
    }
    let spelling = clauses::read_mention(&repaired, knowledge)?;
    let name = match repair::tidy(&spelling.name) {
        Cow::Borrowed(_) => spelling.name,
        Cow::Owned(tidied) => tidied,
    };
    if name.is_empty() {
        Err(Rejection::NotAName)
    } else {
        Ok(Spelling { name, ..spelling })
    }
}

#[cfg(test)]
mod tests;
