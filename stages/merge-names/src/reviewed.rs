//! Names that people merged in a review.

use std::collections::HashMap;

use laioncele_core::NameId;
use laioncele_core::decisions::Rulings;

use crate::merge::{Merged, MergedBy, SpellingTable};

/// Files the names that `rulings` merge under others, with all their spellings. A name that the captions do not have any more, or that is
/// merged anyway, stays where it is.
pub(crate) fn join(rulings: &Rulings, table: &SpellingTable, merged: &mut Merged) {
    let pairs: Vec<(NameId, NameId)> = rulings.merges().collect();
    if pairs.is_empty() {
        return;
    }
    let mut names: HashMap<NameId, Option<u32>> = HashMap::new();
    for (name, into) in &pairs {
        names.insert(*name, None);
        names.insert(*into, None);
    }
    for at in 0..merged.filed.len() {
        if let Some(found) = names.get_mut(&NameId::of(table.spelling(at))) {
            *found = Some(at as u32);
        }
    }
    let number = |name: &NameId| names.get(name).copied().flatten();
    let mut moved: HashMap<u32, u32> = HashMap::new();
    for (name, into) in &pairs {
        let (Some(from), Some(to)) = (number(name), number(into)) else {
            continue;
        };
        // What the spellings themselves merged may make a circle of what people merged.
        let to = end(&moved, merged.filed[to as usize]);
        if merged.filed[from as usize] == from && to != from {
            moved.insert(from, to);
        }
    }
    for (at, filed) in (0u32..).zip(&mut merged.filed) {
        if moved.contains_key(&at) {
            merged.why[at as usize] = MergedBy::Review;
        }
        *filed = end(&moved, *filed);
    }
}

/// Where a name ends at that may be moved; nothing in `moved` is a circle.
fn end(moved: &HashMap<u32, u32>, mut name: u32) -> u32 {
    while let Some(next) = moved.get(&name) {
        name = *next;
    }
    name
}

#[cfg(test)]
mod tests {
    use laioncele_core::decisions::{Decision, Decisions, HexId, Ruling};

    use super::*;
    use crate::merge::{Counted, merge};

    #[test]
    fn all_spellings_of_a_merged_name_move_and_a_name_that_is_gone_moves_nothing() {
        let counted = |(spelling, mentions): (&str, u64)| Counted {
            spelling: spelling.to_owned(),
            mentions,
            recased: 0,
        };
        let spellings = [
            ("Mira Castellan", 50),
            ("Mirabel Castle", 40),
            ("MIRABEL CASTLE", 1),
            ("Oren Whitlock", 30),
        ];
        let table: SpellingTable = spellings.map(counted).iter().collect();
        let mut merged = merge(&table, 10.0);
        let id = |text: &str| HexId(NameId::of(text).0);
        let line = |name: &str, into: &str| Decision {
            who: "ada".to_owned(),
            when: String::new(),
            ruling: Ruling::Merge {
                name: id(name),
                into: id(into),
            },
        };
        let lines = vec![
            line("Mirabel Castle", "Mira Castellan"),
            line("Nobody Here", "Oren Whitlock"),
            line("Oren Whitlock", "Nobody Else"),
        ];
        let before = merged.names(&table).len();
        join(&Decisions(lines).rulings(), &table, &mut merged);
        let names = merged.names(&table);
        assert_eq!(names.len(), before - 1);
        let mira = names.iter().find(|name| name.name == "Mira Castellan");
        let mira = mira.expect("the name");
        assert_eq!((mira.mentions, mira.aliases.len()), (91, 3));
        let moved = mira.aliases.iter().find(|a| a.spelling == "Mirabel Castle");
        assert_eq!(moved.expect("the alias").merged_by, "review");
        assert!(names.iter().any(|name| name.name == "Oren Whitlock"));
    }
}
