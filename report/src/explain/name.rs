//! What happened to a name.

use std::collections::{BTreeMap, BTreeSet};

use laioncele_core::table::{
    Dropped, Identity, KnownName, LaionCele, MergedName, Name, NameEmbedding, NamePeople,
    PhotoFeature, PortraitFace, PortraitPair,
};
use laioncele_core::{NameId, Row, TableId, Unit};

use super::{Fate, Node, advice, find, image};
use crate::merges::why;
use crate::numbers::counted;
use crate::view::{RunView, bucket_of};

/// Captions, spellings and images that are told at most.
const MOST_CAPTIONS: usize = 3;
const MOST_SPELLINGS: usize = 12;
const MOST_IMAGES: usize = 30;

fn rows<R: Row>(view: &RunView, name: NameId) -> Vec<R> {
    let bucket = bucket_of(&view.manifest, name);
    let mut rows = Vec::new();
    for part in view.parts_in(R::TABLE, &bucket) {
        rows.extend(view.select::<R>(part, None, |id, _| id == name.0));
    }
    rows
}

/// What happened to it.
pub(super) fn explain(view: &RunView, name: NameId) -> (Node, Fate) {
    let mut merged = Vec::new();
    for part in view.parts(TableId::MergedNames) {
        merged.extend(view.select::<MergedName>(part, None, |id, _| id == name.0));
    }
    let text = merged.first().map_or(String::new(), |row| row.name.clone());
    let mut root = Node::new(format!("name `{text}` ({name})"));
    let dropped = image::dropped_of(view, name);
    let mut fate = Fate::default();
    captions(view, name, &mut root);
    spellings(&merged, &mut root);
    for row in rows::<Name>(view, name) {
        let (images, mentions) = (
            counted(row.images, "image"),
            counted(row.mentions, "mention"),
        );
        let text = format!("{images} of {mentions}");
        root.add(Node::of("count-images", text));
    }
    for row in rows::<NameEmbedding>(view, name) {
        let text = counted(row.token_count.into(), "token");
        root.add(Node::of("encode-names", text));
    }
    portraits(view, name, &mut root);
    images(view, name, &dropped, &mut root);
    drops(view, name, &dropped, &mut root, &mut fate);
    dataset(view, name, &mut root, &mut fate);
    (root, fate)
}

fn captions(view: &RunView, name: NameId, root: &mut Node) {
    let filed = find::filed(view, name);
    if filed.is_empty() {
        return;
    }
    let mut node = Node::of(
        "extract-names",
        format!("{} in captions", counted(filed.len() as u64, "mention")),
    );
    let caption = |row: &laioncele_core::table::FiledMention| {
        Node::new(format!(
            "“{}” {} ({})",
            row.caption, row.caption_id, row.url
        ))
    };
    node.add_some(filed.iter().map(caption).collect(), MOST_CAPTIONS);
    root.add(node);
}

fn spellings(merged: &[MergedName], root: &mut Node) {
    for row in merged {
        let count = row.aliases.len();
        let text = match count {
            1 => "one spelling".to_owned(),
            _ => format!("{count} spellings filed under one name"),
        };
        let mut node = Node::of("merge-spellings", text);
        let spelling = |alias: &laioncele_core::table::Alias| {
            let why = why(&alias.merged_by);
            let mentions = counted(alias.mentions, "mention");
            Node::new(format!("`{}`: {mentions}, {why}", alias.spelling))
        };
        node.add_some(row.aliases.iter().map(spelling).collect(), MOST_SPELLINGS);
        root.add(node);
    }
}

fn portraits(view: &RunView, name: NameId, root: &mut Node) {
    for row in rows::<PortraitPair>(view, name) {
        let pair = row.similarity.map_or_else(
            || "one of the first two shows no single face".to_owned(),
            |s| format!("the first two are {s:.3} alike"),
        );
        let text = format!("{} portraits; {pair}", row.drawn);
        root.add(Node::of("generate-portraits", text));
    }
    let mut faces = rows::<PortraitFace>(view, name);
    faces.sort_by_key(|face| face.index);
    if faces.is_empty() {
        return;
    }
    let counts: Vec<_> = faces.iter().map(|face| face.faces.to_string()).collect();
    let text = format!("faces in the portraits: {}", counts.join(", "));
    root.add(Node::of("score-portraits", text));
    let threshold = advice::setting(view, "verify-portraits", "verify_portraits.same_person");
    let known = rows::<KnownName>(view, name);
    let text = match (known.first(), lowest(&faces)) {
        (Some(known), _) => format!(
            "one person: lowest similarity {:.3} ≥ {threshold}, mean {:.3}",
            known.min_similarity, known.mean_similarity
        ),
        (None, Some(lowest)) => format!("lowest similarity of two portraits {lowest:.3}"),
        (None, None) => return,
    };
    root.add(Node::of("verify-portraits", text));
}

/// The lowest similarity of two portraits with a face.
fn lowest(faces: &[PortraitFace]) -> Option<f32> {
    let faces: Vec<&PortraitFace> = faces.iter().filter(|face| face.faces > 0).collect();
    let cosine = |a: &PortraitFace, b: &PortraitFace| -> f32 {
        let (a, b) = (&a.embedding.0, &b.embedding.0);
        a.iter().zip(b).map(|(x, y)| x * y).sum()
    };
    let pairs = (faces.iter().enumerate())
        .flat_map(|(k, a)| faces[k + 1..].iter().map(move |b| cosine(a, b)));
    pairs.reduce(f32::min)
}

fn images(view: &RunView, name: NameId, dropped: &[Dropped], root: &mut Node) {
    let lines = image::lines(view, name, dropped);
    if lines.is_empty() {
        return;
    }
    let mut ends: BTreeMap<(String, String), u64> = BTreeMap::new();
    for row in dropped.iter().filter(|row| row.unit == Unit::Image) {
        let end = (row.step.clone(), row.reason.to_string());
        *ends.entry(end).or_default() += 1;
    }
    let ends: Vec<_> = (ends.iter())
        .map(|((step, reason), n)| format!("{n} {reason} ({step})"))
        .collect();
    let ends = match ends.is_empty() {
        true => String::new(),
        false => format!("; dropped: {}", ends.join(", ")),
    };
    let mut node = Node::new(format!("{} images{ends}", lines.len()));
    node.add_some(lines, MOST_IMAGES);
    root.add(node);
    for row in rows::<NamePeople>(view, name) {
        let homonym = match row.homonym {
            0 => "",
            _ => ": the name stands for two people",
        };
        let (first, second) = (row.first, row.second);
        let text = format!("{first} photos show the person, {second} one other person{homonym}");
        root.add(Node::of("verify-images", text));
    }
}

/// Why the name itself was dropped.
fn drops(view: &RunView, name: NameId, dropped: &[Dropped], root: &mut Node, fate: &mut Fate) {
    let own = |row: &&Dropped| row.unit != Unit::Image && row.unit != Unit::Mention;
    let mut seen = BTreeSet::new();
    for row in dropped.iter().filter(own) {
        let (reason, detail) = (row.reason.to_string(), row.detail.as_deref());
        let exact = exact(view, name, &row.step);
        let otherwise = advice::of(&reason, &row.step, exact.as_deref().or(detail), view);
        if !seen.insert((row.step.clone(), reason.clone())) {
            continue;
        }
        let in_brackets = detail.map_or(String::new(), |d| format!(" ({d})"));
        let mut node = Node::of(&row.step, format!("dropped: {reason}{in_brackets}"));
        otherwise.iter().for_each(|line| node.add(Node::new(line)));
        root.add(node);
        fate.dropped = Some((row.step.clone(), reason));
        fate.otherwise = otherwise;
    }
}

/// What a threshold of `step` was compared with, where the detail of a dropped row does not say it exactly.
fn exact(view: &RunView, name: NameId, step: &str) -> Option<String> {
    match step {
        "verify-portraits" => Some(lowest(&rows::<PortraitFace>(view, name))?.to_string()),
        "count-images" => {
            let filed = find::filed(view, name);
            let images: BTreeSet<_> = filed.iter().map(|row| row.image_id).collect();
            Some(images.len().to_string())
        }
        _ => None,
    }
}

fn dataset(view: &RunView, name: NameId, root: &mut Node, fate: &mut Fate) {
    let kept = rows::<Identity>(view, name).len();
    if kept > 0 {
        root.add(Node::of(
            "filter-counts",
            format!("an identity with {kept} photos"),
        ));
    }
    let bucket = bucket_of(&view.manifest, name);
    for part in view.parts_in(TableId::LaionCele, &bucket) {
        let rows = view.select::<LaionCele>(part, None, |id, _| id == name.0);
        if !rows.is_empty() {
            let text = format!("{} photos in {}", rows.len(), part.path);
            root.add(Node::of("pack-shards", text));
            *fate = Fate {
                in_dataset: true,
                ..Fate::default()
            };
        }
    }
    let features = rows::<PhotoFeature>(view, name).len();
    if features > 0 {
        let text = format!("{features} of its photos are in the training");
        root.add(Node::of("photo-features", text));
    }
}
