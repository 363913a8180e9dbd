//! Metrics of names: which mentions extract-names finds, which spellings merge-names merges, which
//! names pass as known.

use std::collections::{HashMap, HashSet};

use laioncele_core::table::{Mention, Name};
use laioncele_core::{CaptionId, NameId};

use super::metric::{Metric, Target, count};
use super::tables::RunTables;
use crate::spelling::Spelling;
use crate::truth::{TrueMention, TrueName, Truth};

pub(super) fn metrics(truth: &Truth, tables: &RunTables, metrics: &mut Vec<Metric>) {
    metrics.push(filtered_rows_dropped(truth, tables));
    let mentions = tables.mentions.as_deref();
    let found = mentions.map(|mentions| found(truth, mentions));
    for spelling in Spelling::ALL {
        metrics.push(mentions_found(truth, found.as_deref(), spelling));
    }
    metrics.push(spelling_variants_filed(truth, tables, found.as_deref()));
    metrics.push(wrong_merges(truth, tables));
    for (name, known, target) in [
        ("known_names_kept", true, Target::AtLeast(0.9)),
        ("unknown_names_kept", false, Target::AtMost(0.1)),
    ] {
        metrics.push(names_kept(truth, tables, name, known, target));
    }
}

/// Of the rows that the source's filters must drop, those that they dropped for the right reason.
fn filtered_rows_dropped(truth: &Truth, tables: &RunTables) -> Metric {
    let (name, target) = ("filtered_rows_dropped", Some(Target::AtLeast(1.0)));
    let (Some(reasons), true) = (&tables.drop_reasons, tables.mentions.is_some()) else {
        return Metric::missing(name, target);
    };
    let dropped: HashSet<_> = (reasons.iter())
        .filter(|((step, ..), _)| step == "extract-names")
        .map(|((_, id, _), reason)| (*id, *reason))
        .collect();
    let right = count(&truth.filtered, |filtered| {
        dropped.contains(&(filtered.caption.0, filtered.reason))
    });
    Metric::share(name, right, target)
}

/// For each true mention, whether extract-names found exactly this text, a possessive 's aside.
fn found(truth: &Truth, mentions: &[Mention]) -> Vec<bool> {
    let mut texts: HashMap<CaptionId, Vec<&str>> = HashMap::new();
    for mention in mentions {
        let text = without_possessive(&mention.name);
        texts.entry(mention.caption_id).or_default().push(text);
    }
    let is_found = |mention: &TrueMention| {
        let texts = texts.get(&mention.caption);
        texts.is_some_and(|texts| texts.contains(&mention.text.as_str()))
    };
    truth.mentions.iter().map(is_found).collect()
}

fn without_possessive(text: &str) -> &str {
    let mut endings = ["'s", "’s"].iter();
    let stripped = endings.find_map(|ending| text.strip_suffix(ending));
    stripped.unwrap_or(text)
}

/// Of the names written in a spelling, those that extract-names found.
fn mentions_found(truth: &Truth, found: Option<&[bool]>, spelling: Spelling) -> Metric {
    let name = format!("mentions_found_{}", spelling.as_str());
    let Some(found) = found else {
        return Metric::missing(&name, None);
    };
    let mentions = truth.mentions.iter().zip(found);
    let of_spelling = mentions.filter(|(mention, _)| mention.spelling == spelling);
    Metric::share(&name, count(of_spelling, |(_, found)| **found), None)
}

/// Of the spelling variants that extract-names found, those that merge-names put under the right
/// name.
fn spelling_variants_filed(truth: &Truth, tables: &RunTables, found: Option<&[bool]>) -> Metric {
    let (name, target) = ("spelling_variants_filed", Some(Target::AtLeast(0.95)));
    let (Some(found), Some(candidates)) = (found, &tables.candidates) else {
        return Metric::missing(name, target);
    };
    let mentions = truth.mentions.iter().zip(found);
    let variants = mentions.filter(|(mention, found)| {
        **found && mention.spelling.is_variant() && !truth.names[mention.name].excluded
    });
    let filed = count(variants, |(mention, _)| {
        let name = NameId::of(&truth.names[mention.name].name);
        candidates.contains(&(name, mention.image))
    });
    Metric::share(name, filed, target)
}

/// Images under a name that no caption of theirs has, and aliases that are another person's name.
fn wrong_merges(truth: &Truth, tables: &RunTables) -> Metric {
    let (name, target) = ("wrong_merges", Some(Target::AtMost(0.0)));
    let (Some(names), Some(candidates)) = (&tables.names, &tables.candidates) else {
        return Metric::missing(name, target);
    };
    let positions: HashMap<_, _> = (truth.names.iter().enumerate())
        .map(|(at, name)| (NameId::of(&name.name), at))
        .collect();
    let written: HashSet<_> = truth.mentions.iter().map(|m| (m.name, m.image)).collect();
    let images: HashSet<_> = truth.mentions.iter().map(|m| m.image).collect();
    let wrong_images = candidates.iter().filter(|(name, image)| {
        let at = positions.get(name);
        images.contains(image) && at.is_some_and(|at| !written.contains(&(*at, *image)))
    });
    let wrong = wrong_images.count() + wrong_aliases(truth, names);
    Metric::number(name, wrong as u64, candidates.len() as u64, target)
}

/// Aliases that are the canonical name of another person.
fn wrong_aliases(truth: &Truth, names: &[Name]) -> usize {
    let canonical: HashSet<_> = truth.names.iter().map(|n| n.name.to_lowercase()).collect();
    let aliases = names
        .iter()
        .flat_map(|name| name.aliases.iter().map(move |a| (&name.name, &a.spelling)));
    aliases
        .filter(|(name, alias)| {
            let (name, alias) = (name.to_lowercase(), alias.to_lowercase());
            name != alias && canonical.contains(&alias)
        })
        .count()
}

/// Of the known or unknown names that merge-names kept, those that verify-portraits kept too.
fn names_kept(
    truth: &Truth,
    tables: &RunTables,
    name: &str,
    known: bool,
    target: Target,
) -> Metric {
    let (Some(names), Some(kept)) = (&tables.names, &tables.known_names) else {
        return Metric::missing(name, Some(target));
    };
    let merged: HashSet<_> = names.iter().map(|name| name.name_id).collect();
    let id = |name: &TrueName| NameId::of(&name.name);
    let names = truth.names.iter();
    let of_kind = names.filter(|name| name.known == known && merged.contains(&id(name)));
    let kept = count(of_kind, |name| kept.contains(&id(name)));
    Metric::share(name, kept, Some(target))
}
