//! What happened to a caption.

use laioncele_core::table::{FiledMention, Mention};
use laioncele_core::{CaptionId, TableId};

use super::{Fate, Node, advice, image};
use crate::view::RunView;

/// What it says, whom it names, under which names its mentions are filed; and what dropped it, where nothing of it is left.
pub(super) fn explain(view: &RunView, caption: CaptionId) -> (Node, Option<Fate>) {
    let mut root = Node::new(format!("caption {caption}"));
    let mut mentions = 0;
    for part in view.parts(TableId::Mentions) {
        let rows = view.rows::<Mention>(std::iter::once(part)).into_iter();
        for row in rows.filter(|row| row.caption_id == caption) {
            let text = format!("names `{}`: “{}” ({})", row.name, row.caption, row.url);
            root.add(Node::of("extract-names", text));
            mentions += 1;
        }
    }
    for part in view.parts(TableId::FiledMentions) {
        let rows = view.rows::<FiledMention>(std::iter::once(part)).into_iter();
        for row in rows.filter(|row| row.caption_id == caption) {
            let text = format!("filed under name {}, image {}", row.name_id, row.image_id);
            root.add(Node::of("file-mentions", text));
        }
    }
    let dropped = image::dropped(view, |_, id| id == caption.0);
    let is_gone = dropped.len() >= mentions.max(1);
    let mut fate = None;
    for row in dropped {
        let (reason, detail) = (row.reason.to_string(), row.detail.as_deref());
        let in_brackets = detail.map_or(String::new(), |d| format!(" ({d})"));
        let mut node = Node::of(&row.step, format!("dropped: {reason}{in_brackets}"));
        let otherwise = advice::of(&reason, &row.step, detail, view);
        otherwise.iter().for_each(|line| node.add(Node::new(line)));
        root.add(node);
        let dropped = Some((row.step, reason));
        fate.get_or_insert(Fate {
            dropped,
            otherwise,
            in_dataset: false,
        });
    }
    (root, fate.filter(|_| is_gone))
}
