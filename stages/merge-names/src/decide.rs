//! What becomes of every spelling that was found as a mention: the name it is filed under, or why
//! it is none.

use std::collections::{HashMap, HashSet};

use laioncele_core::StageError;
use rayon::prelude::*;

use crate::fold::fold_key;
use crate::frames;
use crate::merge::{MergedName, merge_counted};
use crate::name_status::NameStatus;
use crate::normalize::{Spelling, normalize};
use crate::settings::Settings;

/// The decisions on all spellings.
pub(crate) struct Decisions {
    names: Vec<(MergedName, NameStatus)>,
    /// As written, with the index of its name in `names`; none where it is no name.
    spellings: Vec<(String, Option<usize>)>,
}

impl Decisions {
    /// Decides on `counted` mentions: distinct texts as written, with their counts.
    ///
    /// # Errors
    /// A failure of the counting.
    pub(crate) fn take(
        counted: Vec<(String, u64)>,
        settings: &Settings,
    ) -> Result<Self, StageError> {
        let normalized: Vec<Option<Spelling>> = counted
            .par_iter()
            .map(|(written, _)| normalize(written).ok())
            .collect();
        let found = normalized
            .iter()
            .zip(&counted)
            .filter_map(|(s, (_, mentions))| Some((s.as_ref()?, *mentions)));
        let merged = merge_counted(&frames::count_normalized(found)?, settings.common_ratio);
        let mononyms: HashSet<&str> = normalized
            .iter()
            .flatten()
            .filter(|s| s.mononym)
            .map(|s| s.name.as_str())
            .collect();
        let excluded: HashSet<String> = settings
            .exclude
            .iter()
            .flat_map(|name| exclusion_keys(name))
            .collect();
        let names: Vec<_> = merged
            .into_par_iter()
            .map(|name| {
                let status = status(&name, &mononyms, &excluded, settings);
                (name, status)
            })
            .collect();
        let index: HashMap<&str, usize> = names
            .iter()
            .enumerate()
            .flat_map(|(at, (name, _))| name.aliases.iter().map(move |a| (a.spelling.as_str(), at)))
            .collect();
        let index_of =
            |s: &Option<Spelling>| s.as_ref().and_then(|s| index.get(s.name.as_str()).copied());
        let indices: Vec<_> = normalized.iter().map(index_of).collect();
        let spellings = counted
            .into_iter()
            .map(|(written, _)| written)
            .zip(indices)
            .collect();
        Ok(Self { names, spellings })
    }

    /// The names with their status, sorted by name.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&MergedName, NameStatus)> {
        self.names.iter().map(|(name, status)| (name, *status))
    }

    /// Every spelling as written, with the name it is filed under and its status.
    pub(crate) fn spellings(
        &self,
    ) -> impl Iterator<Item = (&str, Option<&MergedName>, NameStatus)> {
        self.spellings
            .iter()
            .map(|(written, index)| match index.map(|at| &self.names[at]) {
                Some((name, status)) => (written.as_str(), Some(name), *status),
                None => (written.as_str(), None, NameStatus::NotAName),
            })
    }
}

/// The fold keys that exclude a name: of the entry as it stands, and as a mention of it would be
/// normalized.
fn exclusion_keys(entry: &str) -> Vec<String> {
    let normalized = normalize(entry).ok().map(|s| fold_key(&s.name));
    [Some(fold_key(entry)), normalized]
        .into_iter()
        .flatten()
        .collect()
}

fn status(
    name: &MergedName,
    mononyms: &HashSet<&str>,
    excluded: &HashSet<String>,
    settings: &Settings,
) -> NameStatus {
    if name
        .aliases
        .iter()
        .any(|a| excluded.contains(&fold_key(&a.spelling)))
    {
        NameStatus::Excluded
    } else if mononyms.contains(name.name.as_str()) && name.mentions < settings.mononym_min_mentions
    {
        NameStatus::Mononym
    } else {
        NameStatus::Accepted
    }
}
