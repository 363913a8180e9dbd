//! Spellings that were filed under another one, and why.

use laioncele_core::table::{Alias, Identity, Name};
use laioncele_core::{NameId, TableId};
use serde::Serialize;
use std::collections::HashSet;

use crate::view::RunView;

/// Names with other spellings that the page lists at most.
const MOST: usize = 500;
/// Spellings of one name that the page lists at most.
const MOST_SPELLINGS: usize = 20;

/// A name with more than one spelling.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct MergedName {
    /// The canonical spelling.
    pub name: String,
    /// Mentions of all spellings.
    pub mentions: u64,
    /// Whether it became an identity.
    pub identity: bool,
    /// The others: spelling, mentions, why.
    pub spellings: Vec<(String, u64, String)>,
    /// Spellings that are not listed.
    pub more: usize,
}

/// The names with other spellings, most mentions first, and how many there are of them in all.
pub(crate) fn read(view: &RunView) -> (Vec<MergedName>, usize) {
    let identities = view.parts(TableId::Identities);
    let identities: HashSet<NameId> = (view.rows::<Identity>(identities).iter())
        .map(|row| row.name_id)
        .collect();
    let mut names: Vec<MergedName> = Vec::new();
    for part in view.parts(TableId::Names) {
        let rows = view.rows::<Name>(std::iter::once(part)).into_iter();
        let several = rows.filter(|name| name.aliases.len() > 1);
        names.extend(several.map(|name| merged(name, &identities)));
    }
    let all = names.len();
    names.sort_by(|a, b| (b.mentions, &a.name).cmp(&(a.mentions, &b.name)));
    names.truncate(MOST);
    (names, all)
}

fn merged(name: Name, identities: &HashSet<NameId>) -> MergedName {
    let others = (name.aliases.into_iter()).filter(|alias| alias.spelling != name.name);
    let others: Vec<Alias> = others.collect();
    let more = others.len().saturating_sub(MOST_SPELLINGS);
    let shown = others.into_iter().take(MOST_SPELLINGS);
    MergedName {
        identity: identities.contains(&name.name_id),
        mentions: name.mentions,
        spellings: shown
            .map(|a| (a.spelling, a.mentions, why(&a.merged_by).to_owned()))
            .collect(),
        name: name.name,
        more,
    }
}

/// Why a spelling was filed under a name, in words.
pub(crate) fn why(merged_by: &str) -> &str {
    match merged_by {
        "canonical" => "the name's own spelling",
        "folded" => "the same letters",
        "edit_distance" => "a rare spelling nearby",
        "second_opinion" => "a language model says so",
        "review" => "merged in a review",
        other => other,
    }
}
