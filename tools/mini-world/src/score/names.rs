//! Figures about names: the recognizer's recall, spellings, what the model knows.

use std::collections::{HashMap, HashSet};

use laioncele_core::table::{Mention, Name};
use laioncele_core::{CaptionId, NameId};

use super::found::Found;
use super::{Figure, Target, count};
use crate::spelling::Spelling;
use crate::truth::{TrueName, Truth, Written};

pub(super) fn figures(truth: &Truth, found: &Found, figures: &mut Vec<Figure>) {
    filtered_rows(truth, found, figures);
    let emitted = found
        .mentions
        .as_ref()
        .map(|mentions| emitted(truth, mentions));
    for spelling in Spelling::ALL {
        let name = format!("mentions_found_{}", spelling.as_str());
        figures.push(match &emitted {
            Some(emitted) => {
                let written = truth.mentions.iter().zip(emitted);
                let of_kind = written.filter(|(w, _)| w.spelling == spelling);
                Figure::share(&name, count(of_kind, |(_, emitted)| **emitted), None)
            }
            None => Figure::missing(&name, None),
        });
    }
    spellings(truth, found, emitted.as_deref(), figures);
    wrong_merges(truth, found, figures);
    for (name, known, target) in [
        ("known_names_kept", true, Target::AtLeast(0.9)),
        ("unknown_names_kept", false, Target::AtMost(0.1)),
    ] {
        figures.push(kept(truth, found, name, known, target));
    }
}

/// Rows that the source's filters had to drop, and did for the right reason.
fn filtered_rows(truth: &Truth, found: &Found, figures: &mut Vec<Figure>) {
    let (name, target) = ("filtered_rows_dropped", Some(Target::AtLeast(1.0)));
    let (Some(dropped), true) = (&found.dropped, found.mentions.is_some()) else {
        figures.push(Figure::missing(name, target));
        return;
    };
    let dropped: HashSet<_> = (dropped.iter())
        .filter(|((step, ..), _)| step == "extract-names")
        .map(|((_, id, _), reason)| (*id, reason.as_str()))
        .collect();
    let holds = count(&truth.filtered, |f| {
        dropped.contains(&(f.caption.0, f.reason.as_str()))
    });
    figures.push(Figure::share(name, holds, target));
}

/// For each name written in a caption, whether extract-names has it: all of it and no more, but for a possessive 's.
fn emitted(truth: &Truth, mentions: &[Mention]) -> Vec<bool> {
    let mut texts: HashMap<CaptionId, Vec<&str>> = HashMap::new();
    for mention in mentions {
        texts
            .entry(mention.caption_id)
            .or_default()
            .push(without_possessive(&mention.name));
    }
    let holds = |w: &Written| {
        texts
            .get(&w.caption)
            .is_some_and(|texts| texts.contains(&w.text.as_str()))
    };
    truth.mentions.iter().map(holds).collect()
}

fn without_possessive(text: &str) -> &str {
    ["'s", "’s"]
        .iter()
        .find_map(|s| text.strip_suffix(s))
        .unwrap_or(text)
}

/// Spelling variants that extract-names emitted and merge-names filed under the right name.
fn spellings(truth: &Truth, found: &Found, emitted: Option<&[bool]>, figures: &mut Vec<Figure>) {
    let (name, target) = ("spelling_variants_filed", Some(Target::AtLeast(0.95)));
    let (Some(emitted), Some(candidates)) = (emitted, &found.candidates) else {
        figures.push(Figure::missing(name, target));
        return;
    };
    let variants = truth.mentions.iter().zip(emitted).filter(|(w, emitted)| {
        **emitted && w.spelling.is_variant() && !truth.names[w.name].excluded
    });
    let filed = count(variants, |(w, _)| {
        candidates.contains(&(NameId::of(&truth.names[w.name].name), w.image))
    });
    figures.push(Figure::share(name, filed, target));
}

/// Images filed under a name that no caption of theirs has, and aliases that are somebody else's name.
fn wrong_merges(truth: &Truth, found: &Found, figures: &mut Vec<Figure>) {
    let (name, target) = ("wrong_merges", Some(Target::AtMost(0.0)));
    let (Some(names), Some(candidates)) = (&found.names, &found.candidates) else {
        figures.push(Figure::missing(name, target));
        return;
    };
    let position: HashMap<_, _> = (truth.names.iter().enumerate())
        .map(|(at, n)| (NameId::of(&n.name), at))
        .collect();
    let written: HashSet<_> = truth.mentions.iter().map(|w| (w.name, w.image)).collect();
    let images: HashSet<_> = truth.mentions.iter().map(|w| w.image).collect();
    let wrong_images = candidates.iter().filter(|(name, image)| {
        let at = position.get(name);
        images.contains(image) && at.is_some_and(|at| !written.contains(&(*at, *image)))
    });
    let wrong = wrong_images.count() + wrong_aliases(truth, names);
    figures.push(Figure::number(
        name,
        wrong as u64,
        candidates.len() as u64,
        target,
    ));
}

/// Aliases that are the canonical name of somebody else.
fn wrong_aliases(truth: &Truth, names: &[Name]) -> usize {
    let canonical: HashSet<_> = truth.names.iter().map(|n| n.name.to_lowercase()).collect();
    let aliases = names
        .iter()
        .flat_map(|n| n.aliases.iter().map(move |a| (&n.name, &a.spelling)));
    aliases
        .filter(|(name, alias)| {
            let (name, alias) = (name.to_lowercase(), alias.to_lowercase());
            name != alias && canonical.contains(&alias)
        })
        .count()
}

/// Of the names that merge-names let pass, those that verify-portraits kept.
fn kept(truth: &Truth, found: &Found, name: &str, known: bool, target: Target) -> Figure {
    let (Some(names), Some(kept)) = (&found.names, &found.known_names) else {
        return Figure::missing(name, Some(target));
    };
    let tried: HashSet<_> = names.iter().map(|n| n.name_id).collect();
    let id = |n: &TrueName| NameId::of(&n.name);
    let of_kind = truth
        .names
        .iter()
        .filter(|n| n.known == known && tried.contains(&id(n)));
    Figure::share(
        name,
        count(of_kind, |n| kept.contains(&id(n))),
        Some(target),
    )
}
