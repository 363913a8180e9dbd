//! Merging: which spellings are one name. First by fold key, then a rare spelling into a frequent
//! one nearby.

mod index;
mod same_person;
mod table;

use std::cmp::Reverse;

use laioncele_core::table::Alias;
use rayon::prelude::*;

pub use table::{Merged, MergedBy, SpellingTable};

use crate::fold::fold_key;
use index::{DeletionIndex, allowed_edits};
use same_person::WordUse;

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
    /// All spellings, most frequent first; `merged_by` is `canonical`, `folded` or `edit_distance`.
    pub aliases: Vec<Alias>,
    /// Mentions of all of them.
    pub mentions: u64,
}

/// Spellings with one fold key.
struct Form {
    key: String,
    /// The best spelling.
    best: String,
    /// All of them, the best first, then by count.
    spellings: Vec<u32>,
    mentions: u64,
}

impl Form {
    fn best(&self) -> &str {
        &self.best
    }
}

/// Merges distinct spellings. A spelling goes to one that has at least `common_ratio` times its
/// mentions. The result depends on nothing else than the set of spellings.
pub fn merge(spellings: &SpellingTable, common_ratio: f64) -> Merged {
    let forms = fold(spellings);
    let targets = nearby(&forms, common_ratio);
    let mut merged = Merged {
        filed: vec![0; spellings.len()],
        why: vec![MergedBy::Canonical; spellings.len()],
    };
    for (i, form) in forms.iter().enumerate() {
        let canonical = forms[targets[i]].spellings[0];
        for (k, &spelling) in form.spellings.iter().enumerate() {
            merged.filed[spelling as usize] = canonical;
            merged.why[spelling as usize] = match (targets[i] == i, k) {
                (true, 0) => MergedBy::Canonical,
                (true, _) => MergedBy::Folded,
                (false, _) => MergedBy::EditDistance,
            };
        }
    }
    merged
}

/// [`merge`] for a handful of spellings; the names are sorted.
pub fn merge_counted(spellings: &[Counted], common_ratio: f64) -> Vec<MergedName> {
    let table: SpellingTable = spellings.iter().collect();
    merge(&table, common_ratio).names(&table)
}

/// Groups spellings by fold key; most frequent form first.
fn fold(spellings: &SpellingTable) -> Vec<Form> {
    // The spelling that most people wrote themselves is the best one; then the most frequent, then
    // the first.
    let preference = |at: u32| {
        let at = at as usize;
        let counts = (spellings.written(at), spellings.mentions(at));
        (Reverse(counts), spellings.spelling(at))
    };
    let mut keyed: Vec<(String, u32)> = (0..spellings.len())
        .into_par_iter()
        .filter_map(|at| Some((fold_key(spellings.spelling(at)), u32::try_from(at).ok()?)))
        .collect();
    keyed.par_sort_unstable_by(|(a, s), (b, t)| (a, preference(*s)).cmp(&(b, preference(*t))));
    let mut forms: Vec<Form> = Vec::new();
    for (key, spelling) in keyed {
        let mentions = spellings.mentions(spelling as usize);
        match forms.last_mut().filter(|f| f.key == key) {
            Some(form) => {
                form.mentions += mentions;
                form.spellings.push(spelling);
            }
            None => forms.push(Form {
                key,
                best: spellings.spelling(spelling as usize).to_owned(),
                mentions,
                spellings: vec![spelling],
            }),
        }
    }
    forms.par_sort_unstable_by(|a, b| {
        (Reverse(a.mentions), &a.key).cmp(&(Reverse(b.mentions), &b.key))
    });
    forms
}

/// For each form the one that it is filed under, itself or a more frequent one. `forms` is sorted
/// by count, so a target always stands before its sources, and only forms that stay themselves
/// become targets.
fn nearby(forms: &[Form], common_ratio: f64) -> Vec<usize> {
    let ratio = common_ratio.max(1.0);
    let fits =
        |source: &Form, target: &Form| target.mentions as f64 >= ratio * source.mentions as f64;
    let rarest = forms.last().map_or(0, |f| f.mentions);
    let common: Vec<_> = forms
        .iter()
        .enumerate()
        .take_while(|(_, f)| f.mentions as f64 >= ratio * rarest as f64)
        .filter_map(|(i, f)| Some((u32::try_from(i).ok()?, f.key.as_str())))
        .collect();
    let index = DeletionIndex::new(&common);
    let usage = WordUse::of(forms.iter().map(|f| (f.best(), f.mentions)));
    let near: Vec<Vec<(usize, usize)>> = forms
        .par_iter()
        .enumerate()
        .map(|(i, form)| {
            let candidates = index.near(&form.key).into_iter().map(|t| t as usize);
            candidates
                .take_while(|&t| t < i && fits(form, &forms[t]))
                .filter_map(|t| Some((edits(form, &forms[t])?, t)))
                .filter(|&(_, t)| {
                    usage.may_be_same(form.best(), (forms[t].best(), forms[t].mentions))
                })
                .collect()
        })
        .collect();
    let mut filed: Vec<usize> = (0..forms.len()).collect();
    for (i, candidates) in near.iter().enumerate() {
        let mut roots: Vec<_> = candidates
            .iter()
            .copied()
            .filter(|&(_, t)| filed[t] == t)
            .collect();
        roots.sort_unstable();
        if let Some(target) = choose(&roots, forms) {
            filed[i] = target;
        }
    }
    filed
}

/// The distance between two forms where it is allowed.
fn edits(source: &Form, target: &Form) -> Option<usize> {
    let allowed = allowed_edits(source.key.chars().count(), target.key.chars().count());
    let distance = strsim::damerau_levenshtein(&source.key, &target.key);
    (distance <= allowed).then_some(distance)
}

/// Of several names at one distance none is chosen, unless one is far more common: a wrong merge
/// costs more than a missed one.
fn choose(roots: &[(usize, usize)], forms: &[Form]) -> Option<usize> {
    let &(distance, first) = roots.first()?;
    let rival = roots[1..]
        .iter()
        .take_while(|(d, _)| *d == distance)
        .map(|&(_, t)| forms[t].mentions)
        .max();
    let clear = rival.is_none_or(|mentions| forms[first].mentions >= 10 * mentions);
    clear.then_some(first)
}
