//! The prompts: the paper's forty by default.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The paper's Table 3. Its left and right upper columns are headed there by one word, "scene construction"; by their
/// content the first is the group that the paper's text calls action control.
const PAPER: [(&str, [&str; 10]); 4] = [
    (
        "action",
        [
            "a person is sitting in a chair",
            "a person is riding a horse",
            "a person is drinking coffee",
            "a person with a puppy",
            "a person is skiing",
            "a person is holding flowers",
            "a person is holding a camera",
            "a person is lying on the lawn",
            "a person leaned on the railing to look at the scenery",
            "a person is holding an oil-paper umbrella",
        ],
    ),
    (
        "emotion",
        [
            "a person is sad",
            "a person is angry",
            "a person is surprised",
            "a person is contemptuous",
            "a person is dazed",
            "a person is excited",
            "a person is suspicious",
            "a person is scared",
            "a person is calm",
            "a person is happy",
        ],
    ),
    (
        "scene",
        [
            "a person in the jungle",
            "a person in the snow",
            "a person on the beach",
            "a person on a cobblestone street",
            "a person on top of pink fabric",
            "a person on top of a wooden floor",
            "a person with a city in the background",
            "a person with a mountain in the background",
            "a person with a blue house in the background",
            "a person on top of a purple rug in a forest",
        ],
    ),
    (
        "style",
        [
            "a painting of a person in the style of Banksy",
            "a painting of a person in the style of Vincent Van Gogh",
            "a colorful graffiti painting of a person",
            "a watercolor painting of a person",
            "a Greek marble sculpture of a person",
            "a street art mural of a person",
            "a black and white photograph of a person",
            "a pointillism painting of a person",
            "a Japanese woodblock print of a person",
            "a street art stencil of a person",
        ],
    ),
];

/// A prompt that the paper misprints, and as it is printed: CLIP reads the letters.
const MISPRINT: (&str, &str) = ("a person is surprised", "a person is superised");

/// The group of prompts that are given as a plain list.
const UNGROUPED: &str = "prompts";

/// A set of prompts that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PromptSet {
    /// The paper's forty as they are printed, with the misprint "superised".
    Paper,
}

/// The setting `prompts`: a list, lists by group, or the name of a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Prompts {
    /// A set by its name.
    Named(PromptSet),
    /// Prompts of one group.
    List(Vec<String>),
    /// Prompts by group.
    Groups(BTreeMap<String, Vec<String>>),
}

impl Default for Prompts {
    fn default() -> Self {
        let group = |(name, prompts): &(&str, [&str; 10])| {
            let prompts = prompts.iter().map(ToString::to_string).collect();
            ((*name).to_owned(), prompts)
        };
        Self::Groups(PAPER.iter().map(group).collect())
    }
}

impl Prompts {
    /// (group, prompt), groups by name, prompts as given.
    pub fn all(&self) -> Vec<(&str, &str)> {
        match self {
            Self::Named(PromptSet::Paper) => {
                let printed = |prompt| match prompt {
                    prompt if prompt == MISPRINT.0 => MISPRINT.1,
                    prompt => prompt,
                };
                let of = |(group, prompts): &(&'static str, [&'static str; 10])| {
                    prompts.map(|prompt| (*group, printed(prompt)))
                };
                PAPER.iter().flat_map(of).collect()
            }
            Self::List(prompts) => prompts.iter().map(|p| (UNGROUPED, p.as_str())).collect(),
            Self::Groups(groups) => {
                let flat = |(group, prompts)| -> Vec<(&str, &str)> {
                    let (group, prompts): (&String, &Vec<String>) = (group, prompts);
                    prompts
                        .iter()
                        .map(|p| (group.as_str(), p.as_str()))
                        .collect()
                };
                groups.iter().flat_map(flat).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use laioncele_inference::methods::with_word;

    use super::*;

    #[test]
    fn the_paper_has_forty_prompts_in_four_groups() {
        let prompts = Prompts::default();
        let all = prompts.all();
        assert_eq!(all.len(), 40);
        let groups: std::collections::BTreeSet<_> = all.iter().map(|(group, _)| *group).collect();
        assert_eq!(
            Vec::from_iter(groups),
            ["action", "emotion", "scene", "style"]
        );
        assert!(all.iter().all(|(_, p)| with_word(p, "man") != *p));
    }

    #[test]
    fn the_papers_own_set_has_its_misprint() {
        #[derive(Deserialize)]
        struct Section {
            prompts: Prompts,
        }
        let section: Section = toml_of("prompts = \"paper\"");
        let (printed, corrected) = (section.prompts, Prompts::default());
        let pairs: Vec<_> = printed.all().into_iter().zip(corrected.all()).collect();
        let differ: Vec<_> = pairs.into_iter().filter(|(a, b)| a != b).collect();
        assert_eq!(differ, [(("emotion", MISPRINT.1), ("emotion", MISPRINT.0))]);
    }

    fn toml_of<T: serde::de::DeserializeOwned>(text: &str) -> T {
        let value = text.split_once(" = ").expect("a key and a value");
        let json = format!("{{{:?}: {}}}", value.0, value.1);
        serde_json::from_str(&json).expect("a section")
    }

    #[test]
    fn prompts_may_be_a_list() {
        let prompts: Prompts = serde_json::from_str(r#"["b", "a"]"#).expect("a list");
        assert_eq!(prompts.all(), [("prompts", "b"), ("prompts", "a")]);
    }
}
