//! A tree of sentences.

use serde::Serialize;

/// A sentence with what belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Node {
    /// The step that it is about, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The sentence.
    pub text: String,
    /// What belongs to it, in the order of the data.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Node>,
}

impl Node {
    /// A sentence about no step.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// A sentence about a step.
    pub(super) fn of(step: &str, text: impl Into<String>) -> Self {
        Self {
            step: Some(step.to_owned()),
            ..Self::new(text)
        }
    }

    /// Adds what belongs to it.
    pub(super) fn add(&mut self, child: Self) {
        self.children.push(child);
    }

    /// Adds at most `most` of `children`, and says how many more there are.
    pub(super) fn add_some(&mut self, children: Vec<Self>, most: usize) {
        let more = children.len().saturating_sub(most);
        self.children.extend(children.into_iter().take(most));
        if more > 0 {
            self.add(Self::new(format!("and {more} more")));
        }
    }

    /// The tree with lines between its sentences.
    pub fn render(&self) -> String {
        let mut text = self.line();
        self.render_below("", &mut text);
        text
    }

    fn line(&self) -> String {
        match &self.step {
            Some(step) => format!("{step}: {}", self.text),
            None => self.text.clone(),
        }
    }

    fn render_below(&self, indent: &str, text: &mut String) {
        for (k, child) in self.children.iter().enumerate() {
            let last = k + 1 == self.children.len();
            let (branch, below) = match last {
                true => ("└─ ", "   "),
                false => ("├─ ", "│  "),
            };
            text.push_str(&format!("\n{indent}{branch}{}", child.line()));
            child.render_below(&format!("{indent}{below}"), text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_lead_to_what_belongs_together() {
        let mut first = Node::of("a", "one");
        first.add(Node::new("two"));
        let mut root = Node::new("root");
        root.add(first);
        root.add_some((0..3).map(|k| Node::new(k.to_string())).collect(), 1);
        let expected = "root\n├─ a: one\n│  └─ two\n├─ 0\n└─ and 2 more";
        assert_eq!(root.render(), expected);
    }
}
