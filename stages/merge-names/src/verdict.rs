//! What this stage makes of a mention alone, and of a list of spellings: for the command line.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::Settings;
use crate::merge::{SpellingTable, merge};
use crate::normalize::{Normalizer, Rejection, Spelling};

/// What becomes of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The name; none where the text is rejected.
    pub name: Option<String>,
    /// `canonical`, `folded` or `edit_distance` for a name, else the reason of the rejection:
    /// `not_a_name`, `several_people` or `mononym`.
    pub why: &'static str,
}

impl Verdict {
    const MONONYM: Self = Self {
        name: None,
        why: "mononym",
    };

    fn rejected(rejection: Rejection) -> Self {
        let why = match rejection {
            Rejection::NotAName => "not_a_name",
            Rejection::SeveralPeople => "several_people",
        };
        Self { name: None, why }
    }
}

/// The name in one mention; one name word is none, for nothing says how common it is.
pub fn read_mention(normalizer: &Normalizer, mention: &str) -> Verdict {
    match one_person(normalizer, mention) {
        Ok(spelling) if spelling.mononym => Verdict::MONONYM,
        Ok(spelling) => Verdict {
            name: Some(spelling.name),
            why: "canonical",
        },
        Err(rejection) => Verdict::rejected(rejection),
    }
}

fn one_person(normalizer: &Normalizer, mention: &str) -> Result<Spelling, Rejection> {
    let mut people = normalizer.normalize(mention)?;
    match (people.pop(), people.is_empty()) {
        (Some(spelling), true) => Ok(spelling),
        (Some(_), false) => Err(Rejection::SeveralPeople),
        (None, _) => Err(Rejection::NotAName),
    }
}

/// Normalizes and merges texts with their counts; one verdict for each, in their order. The names
/// of `settings.exclude` are not looked at.
pub fn file_spellings(counted: &[(&str, u64)], settings: &Settings) -> Vec<Verdict> {
    let normalizer = Normalizer::default();
    let found: Vec<Result<Spelling, Rejection>> = counted
        .par_iter()
        .map(|(text, _)| one_person(&normalizer, text))
        .collect();
    let mut table = SpellingTable::with_capacity(counted.len(), 0);
    let (mut rows, mut mononyms) = (HashMap::new(), Vec::new());
    for (found, (_, mentions)) in found.iter().zip(counted) {
        let Ok(spelling) = found else { continue };
        let recased = if spelling.recased { *mentions } else { 0 };
        match rows.get(spelling.name.as_str()) {
            Some(row) => table.add(*row, *mentions, recased),
            None => {
                rows.insert(spelling.name.as_str(), table.len());
                table.push(&spelling.name, *mentions, recased);
                mononyms.push(spelling.mononym);
            }
        }
    }
    let merged = merge(&table, settings.common_ratio);
    let mut mentions = vec![0u64; table.len()];
    for (row, name) in merged.filed.iter().enumerate() {
        let sum = &mut mentions[*name as usize];
        *sum = sum.saturating_add(table.mentions(row));
    }
    let verdict = |found: &Result<Spelling, Rejection>| {
        let spelling = match found {
            Ok(spelling) => spelling,
            Err(rejection) => return Verdict::rejected(*rejection),
        };
        let row = rows[spelling.name.as_str()];
        let name = merged.filed[row] as usize;
        if mononyms[name] && mentions[name] < settings.mononym_min_mentions {
            return Verdict::MONONYM;
        }
        Verdict {
            name: Some(table.spelling(name).to_owned()),
            why: merged.why[row].as_str(),
        }
    };
    found.iter().map(verdict).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mention_is_read_by_itself() {
        let normalizer = Normalizer::default();
        for (mention, name, why) in [
            ("EMMA WATSON Photoshoot", Some("Emma Watson"), "canonical"),
            ("Beyoncé", None, "mononym"),
            ("Brad Pitt and Angelina Jolie", None, "several_people"),
            ("Kitchen Table", None, "not_a_name"),
        ] {
            let verdict = read_mention(&normalizer, mention);
            assert_eq!((verdict.name.as_deref(), verdict.why), (name, why));
        }
    }

    #[test]
    fn spellings_are_filed_in_their_order() {
        let counted = [
            ("Keira Knightly", 30),
            ("Keira Knightley", 5000),
            ("keira knightley", 40),
            ("Zendaya", 10),
            ("Beyoncé", 90_000),
            ("Beyonce", 900),
            ("kitchen table", 10_000),
            ("Keira Knightley", 1),
        ];
        let verdicts = file_spellings(&counted, &Settings::default());
        let found: Vec<_> = verdicts
            .iter()
            .map(|v| (v.name.as_deref(), v.why))
            .collect();
        assert_eq!(
            found,
            [
                (Some("Keira Knightley"), "edit_distance"),
                (Some("Keira Knightley"), "canonical"),
                (Some("Keira Knightley"), "canonical"),
                (None, "mononym"),
                (Some("Beyoncé"), "canonical"),
                (Some("Beyoncé"), "folded"),
                (None, "not_a_name"),
                (Some("Keira Knightley"), "canonical"),
            ]
        );
        assert_eq!(file_spellings(&[], &Settings::default()), []);
    }
}
