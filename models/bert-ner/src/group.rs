//! From a label for each token to entities, as transformers' aggregation strategy "simple" does it.

use std::ops::Range;

use crate::Entity;

/// A class of the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    /// As config.json has it.
    pub(crate) word: String,
    /// Whether it always begins an entity.
    pub(crate) begins: bool,
    /// What the next token must share to go on with the entity.
    pub(crate) tag: String,
    /// What the entity is called.
    pub(crate) group: String,
}

impl Label {
    pub(crate) fn new(word: &str) -> Self {
        let begin = word.strip_prefix("B-");
        let tag = begin.or(word.strip_prefix("I-")).unwrap_or(word);
        // Not always the tag: S-PER goes on only with S-PER, and is called PER.
        let group = word.split_once('-').map_or(word, |(_, rest)| rest);
        Self {
            word: word.to_owned(),
            begins: begin.is_some(),
            tag: tag.to_owned(),
            group: group.to_owned(),
        }
    }
}

/// A token, bytes `start..end` of the text, and its label.
pub(crate) struct LabelledToken<'a> {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) label: &'a Label,
}

/// The entities that the tokens make up. Words do not matter, nor what lies between tokens.
pub(crate) fn entities<'a>(tokens: impl Iterator<Item = LabelledToken<'a>>) -> Vec<Entity<'a>> {
    let mut found: Vec<Entity> = Vec::new();
    let mut tag = None;
    for token in tokens {
        let label = token.label;
        match found.last_mut() {
            Some(last) if tag == Some(&label.tag) && !label.begins => last.end = token.end,
            _ => found.push(Entity {
                start: token.start,
                end: token.end,
                group: &label.group,
            }),
        }
        tag = Some(&label.tag);
    }
    found.retain(|entity| entity.group != "O");
    found
}

/// The spans with those that overlap made one. The pieces of a character that falls apart when it
/// is normalized (a Hangul syllable) all span the whole of it, so that two entities may share it.
pub(crate) fn disjoint(spans: impl Iterator<Item = Range<usize>>) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for span in spans {
        match found.last_mut() {
            Some(last) if span.start < last.end => last.end = last.end.max(span.end),
            _ => found.push(span),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entities of tokens that are one byte long, with a byte between them.
    fn grouped(words: &[&str]) -> Vec<(usize, usize, String)> {
        let labels: Vec<Label> = words.iter().map(|word| Label::new(word)).collect();
        let tokens = labels.iter().enumerate().map(|(i, label)| LabelledToken {
            start: 2 * i,
            end: 2 * i + 1,
            label,
        });
        let owned = |e: Entity| (e.start, e.end, e.group.to_owned());
        entities(tokens).into_iter().map(owned).collect()
    }

    // Expected values: TokenClassificationPipeline.group_entities of transformers 5.24.
    #[test]
    fn prefixes_decide_where_an_entity_ends() {
        let per = |start, end| (start, end, "PER".to_owned());
        assert_eq!(
            grouped(&["B-PER", "I-PER", "O", "I-PER"]),
            [per(0, 3), per(6, 7)]
        );
        assert_eq!(
            grouped(&["B-PER", "B-PER", "I-PER"]),
            [per(0, 1), per(2, 5)]
        );
        assert_eq!(grouped(&["PER", "I-PER", "PER"]), [per(0, 5)]);
        assert_eq!(
            grouped(&["S-PER", "S-PER", "I-PER"]),
            [per(0, 3), per(4, 5)]
        );
        assert!(grouped(&["O", "B-O", "O"]).is_empty());
    }

    #[test]
    fn overlapping_spans_become_one() {
        let spans = [0..3, 2..4, 4..6, 8..9].into_iter();
        assert_eq!(disjoint(spans), [0..4, 4..6, 8..9]);
    }
}
