//! Everything that happened to a name, a url, an image or a caption, as a tree from the captions to the shard: with scores and
//! thresholds, the step that decided, and what would have had to be different.

mod advice;
mod caption;
mod find;
mod image;
mod name;
mod tree;

use laioncele_core::{CaptionId, ImageId, NameId};
use serde::Serialize;

use crate::view::RunView;

pub use tree::Node;

/// What became of what was asked about.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// What was asked about.
    pub query: String,
    /// `name`, `image` or `caption`; `unknown` where the run has nothing of it.
    pub kind: &'static str,
    /// One sentence: in the dataset, or what kept it out.
    pub verdict: String,
    /// The step that decided, where one dropped it.
    pub deciding_step: Option<String>,
    /// What would have had to be different, such as `kept at verify_portraits.same_person ≤ 0.58`.
    pub otherwise: Vec<String>,
    /// What happened, step by step; an entry for each thing that was found.
    pub tree: Vec<Node>,
    /// Of what is unknown: the spellings nearest to it.
    pub nearest: Vec<String>,
}

/// How far something came.
#[derive(Clone, Debug, Default, PartialEq)]
struct Fate {
    /// The step that dropped it, and the reason.
    dropped: Option<(String, String)>,
    otherwise: Vec<String>,
    in_dataset: bool,
}

/// Explains `query`: a name or one of its spellings, a url, the SHA-256 of a photo, or an id: 16 hexadecimal digits as
/// reports have them, or the number that tables hold. With `caption` the query is a url, and what is explained is the caption
/// with this text that the source has beside it: captions that name nobody are kept nowhere, so that only the text leads to them.
pub fn explain(view: &RunView, query: &str, caption: Option<&str>) -> Explanation {
    let query = query.trim();
    let found = find::find(view, query, caption);
    let mut tree = Vec::new();
    let mut fates = Vec::new();
    for name in &found.names {
        let (node, fate) = name::explain(view, *name);
        tree.push(node);
        fates.push(fate);
    }
    for (name, image) in &found.images {
        let (node, fate) = image::explain(view, *name, *image);
        tree.push(node);
        fates.push(fate);
    }
    for caption in &found.captions {
        let (node, fate) = caption::explain(view, *caption);
        tree.push(node);
        fates.extend(fate);
    }
    for (node, reason) in found.rejected {
        tree.push(node);
        fates.push(Fate {
            dropped: Some(("merge-spellings".to_owned(), reason.clone())),
            otherwise: advice::of(&reason, "merge-spellings", None, view),
            in_dataset: false,
        });
    }
    let kind = match (&found.names[..], &found.images[..], &found.captions[..]) {
        ([_, ..], ..) => "name",
        (_, [_, ..], _) => "image",
        (.., [_, ..]) => "caption",
        _ if !tree.is_empty() => "name",
        _ => "unknown",
    };
    let best = fates.iter().find(|f| f.in_dataset).or(fates.first());
    Explanation {
        query: query.to_owned(),
        kind,
        verdict: verdict(kind, best),
        deciding_step: best.and_then(|f| Some(f.dropped.as_ref()?.0.clone())),
        otherwise: best.map(|f| f.otherwise.clone()).unwrap_or_default(),
        nearest: match kind {
            "unknown" => find::nearest(view, query),
            _ => Vec::new(),
        },
        tree,
    }
}

fn verdict(kind: &str, fate: Option<&Fate>) -> String {
    match fate {
        Some(fate) if fate.in_dataset => "In the dataset.".to_owned(),
        Some(Fate {
            dropped: Some((step, reason)),
            ..
        }) => format!("Not in the dataset: {step} dropped it ({reason})."),
        Some(_) => "Not in the dataset yet: the run has not come that far.".to_owned(),
        None if kind == "caption" => "A caption.".to_owned(),
        None => "The run has nothing of it.".to_owned(),
    }
}

impl Explanation {
    /// For people: the verdict, what would have had to be different, and the tree.
    pub fn render(&self) -> String {
        let mut text = format!("{}: {}", self.query, self.verdict);
        for line in &self.otherwise {
            text.push_str(&format!("\n  {line}"));
        }
        for node in &self.tree {
            text.push_str("\n\n");
            text.push_str(&node.render());
        }
        text
    }
}

/// What a query may stand for.
#[derive(Clone, Debug, Default)]
struct Found {
    names: Vec<NameId>,
    images: Vec<(NameId, ImageId)>,
    captions: Vec<CaptionId>,
    /// Spellings that are no name, and why.
    rejected: Vec<(Node, String)>,
}

impl Found {
    fn is_empty(&self) -> bool {
        self.names.is_empty()
            && self.images.is_empty()
            && self.captions.is_empty()
            && self.rejected.is_empty()
    }
}

#[cfg(test)]
mod tests;
