//! Merging: which spellings are one name. First by fold key, then a rare spelling into a frequent
//! one nearby that it is likely a misspelling of: `docs/merging.md`.

mod blocks;
mod corpus;
mod filing;
mod forms;
mod index;
mod judge;
mod misspelling;
mod pairs;
mod shares;
mod table;
mod words;

use laioncele_core::table::Alias;

pub use table::{Merged, MergedBy, SpellingTable};

use forms::Forms;

/// A normalized spelling with its count.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    /// As [`crate::normalize::normalize`] writes it.
    pub spelling: String,
    /// Mentions with it.
    pub mentions: u64,
    /// Those of them whose case had to be made: their capitals say nothing.
    pub recased: u64,
}

/// A canonical name and the spellings that are filed under it.
#[derive(Clone, Debug, PartialEq)]
pub struct MergedName {
    /// The canonical spelling.
    pub name: String,
    /// All spellings, most frequent first; `merged_by` is a word of [`MergedBy`].
    pub aliases: Vec<Alias>,
    /// Mentions of all of them.
    pub mentions: u64,
}

/// Merges distinct spellings. A spelling goes to one that has at least `least_ratio` times its
/// mentions. The result depends on nothing else than the set of spellings. Of a table of 2³² spellings
/// or more, the last ones stay by themselves.
pub fn merge(spellings: &SpellingTable, least_ratio: f64) -> Merged {
    merge_in_parts(spellings, least_ratio, pairs::INDEX_ENTRIES)
}

/// [`merge`] for a handful of spellings; the names are sorted.
pub fn merge_counted(spellings: &[Counted], least_ratio: f64) -> Vec<MergedName> {
    let table: SpellingTable = spellings.iter().collect();
    merge(&table, least_ratio).names(&table)
}

/// Spellings that [`merge`] leaves by themselves though a name is nearly likely enough to be meant, or two are as likely: each
/// with the likeliest. Both are canonical spellings.
pub(crate) fn doubtful_pairs(spellings: &SpellingTable, least_ratio: f64) -> Vec<(u32, u32)> {
    let (forms, pairs, filed) = file(spellings, least_ratio, pairs::INDEX_ENTRIES);
    let best = |rank: u32| forms.members(rank)[0];
    let doubts = filing::doubtful(&forms, &pairs, &filed).into_iter();
    doubts
        .map(|(rare, name)| (best(rare), best(name)))
        .collect()
}

/// The forms of the spellings, the pairs of them that are near, and the form that each is filed under.
fn file(
    spellings: &SpellingTable,
    least_ratio: f64,
    entries: usize,
) -> (Forms, Vec<pairs::Pair>, Vec<u32>) {
    let ratio = least_ratio.max(1.0 + f64::EPSILON);
    let forms = Forms::of(spellings);
    let mut pairs = pairs::near_pairs(&forms, ratio, entries);
    corpus::weigh(&forms, &mut pairs);
    let filed = filing::file(&forms, &pairs);
    (forms, pairs, filed)
}

/// [`merge`] with an index of at most about `entries` entries at a time.
fn merge_in_parts(spellings: &SpellingTable, least_ratio: f64, entries: usize) -> Merged {
    let (forms, _, filed) = file(spellings, least_ratio, entries);
    let mut merged = Merged {
        filed: (0..spellings.len() as u32).collect(),
        why: vec![MergedBy::Canonical; spellings.len()],
    };
    for (rank, &name) in (0u32..).zip(&filed) {
        let canonical = forms.members(name)[0];
        for (k, &spelling) in forms.members(rank).iter().enumerate() {
            merged.filed[spelling as usize] = canonical;
            merged.why[spelling as usize] = match (name == rank, k) {
                (true, 0) => MergedBy::Canonical,
                (true, _) => MergedBy::Folded,
                (false, _) => MergedBy::EditDistance,
            };
        }
    }
    merged
}

#[cfg(test)]
mod tests;
