//! What the answers change: rejected mentions that are names, and names that are one.

use std::collections::{HashMap, HashSet};

use laioncele_core::table::Opinion;

use super::question::Answer;
use crate::merge::{Merged, MergedBy, SpellingTable};

/// The questions that were answered with yes.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    persons: HashSet<String>,
    /// Spelling and the name that it belongs to, in the order of the questions.
    same: Vec<(String, String)>,
}

impl Answers {
    /// From rows of `opinions`.
    pub(crate) fn new(rows: Vec<Opinion>) -> Self {
        let mut answers = Self::default();
        let yes = |row: &Opinion| row.answer.as_deref() == Some(Answer::Yes.as_str());
        for row in rows.into_iter().filter(yes) {
            match row.name {
                Some(name) => answers.same.push((row.text, name)),
                None => {
                    answers.persons.insert(row.text);
                }
            }
        }
        answers
    }

    /// Whether any text is known to be a person's name.
    pub(crate) fn know_persons(&self) -> bool {
        !self.persons.is_empty()
    }

    /// Whether `text` is a person's name.
    pub(crate) fn is_person(&self, text: &str) -> bool {
        self.persons.contains(text)
    }

    /// Files each spelling that belongs to another name there, with all that is filed under it. One that was merged
    /// meanwhile stays where it is.
    pub(crate) fn join(&self, table: &SpellingTable, merged: &mut Merged) {
        let mut numbers: HashMap<&str, Option<u32>> = HashMap::new();
        for (spelling, name) in &self.same {
            numbers.insert(spelling, None);
            numbers.insert(name, None);
        }
        if numbers.is_empty() {
            return;
        }
        for at in 0..merged.filed.len() {
            if let Some(number) = numbers.get_mut(table.spelling(at)) {
                *number = Some(at as u32);
            }
        }
        let number = |text: &String| numbers.get(text.as_str()).copied().flatten();
        let mut moved: HashMap<u32, u32> = HashMap::new();
        for (spelling, name) in &self.same {
            let (Some(from), Some(to)) = (number(spelling), number(name)) else {
                continue;
            };
            let root = root(&moved, merged.filed[to as usize]);
            if merged.filed[from as usize] == from && root != from && !moved.contains_key(&from) {
                moved.insert(from, root);
            }
        }
        for (at, filed) in (0u32..).zip(&mut merged.filed) {
            if moved.contains_key(&at) {
                merged.why[at as usize] = MergedBy::SecondOpinion;
            }
            *filed = root(&moved, *filed);
        }
    }
}

fn root(moved: &HashMap<u32, u32>, mut name: u32) -> u32 {
    while let Some(next) = moved.get(&name) {
        name = *next;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::{Counted, merge_counted};

    fn opinion(text: &str, name: Option<&str>, answer: Option<&str>) -> Opinion {
        Opinion {
            text: text.to_owned(),
            name: name.map(str::to_owned),
            mentions: 1,
            answer: answer.map(str::to_owned),
        }
    }

    #[test]
    fn only_yes_changes_anything() {
        let answers = Answers::new(vec![
            opinion("A B", None, Some("yes")),
            opinion("C D", None, Some("no")),
            opinion("E F", None, Some("unsure")),
            opinion("G H", None, None),
        ]);
        assert!(answers.know_persons() && answers.is_person("A B"));
        assert!(
            !["C D", "E F", "G H"]
                .iter()
                .any(|text| answers.is_person(text))
        );
    }

    #[test]
    fn names_are_joined_along_chains_and_never_in_circles() {
        let texts = ["Zoltan Quark", "Maria Vexley", "Otto Blimm", "Ines Fadder"];
        let counted = |(k, text): (usize, &&str)| Counted {
            spelling: (*text).to_owned(),
            mentions: 10 + k as u64,
            recased: 0,
        };
        let counted: Vec<Counted> = texts.iter().enumerate().map(counted).collect();
        assert_eq!(merge_counted(&counted, 10.0).len(), 4, "nothing is near");
        let table: SpellingTable = counted.iter().collect();
        let mut merged = crate::merge::merge(&table, 10.0);
        let same = |a, b| opinion(a, Some(b), Some("yes"));
        let answers = Answers::new(vec![
            same(texts[0], texts[1]),
            same(texts[1], texts[2]),
            same(texts[2], texts[0]),
            same("Nobody Known", texts[3]),
        ]);
        answers.join(&table, &mut merged);
        let names = merged.names(&table);
        let of = |k: usize| {
            let has =
                |n: &&crate::merge::MergedName| n.aliases.iter().any(|a| a.spelling == texts[k]);
            names.iter().find(has).expect("a name")
        };
        assert_eq!(names.len(), 2);
        assert_eq!(
            (of(0).name.as_str(), of(1).name.as_str()),
            (texts[2], texts[2])
        );
        assert_eq!(of(3).name, texts[3]);
        let by = |alias: &laioncele_core::table::Alias| alias.merged_by == "second_opinion";
        assert_eq!(of(0).aliases.iter().filter(|a| by(a)).count(), 2);
    }
}
