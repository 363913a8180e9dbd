//! What happened to an image of a name.

use laioncele_core::table::{Candidate, Dropped, LaionCele, Match, Photo, PhotoFace, UniquePhoto};
use laioncele_core::{ImageId, NameId, Partition, Row, TableId};

use super::{Fate, Node, advice};
use crate::view::{RunView, bucket_of};

/// The dropped rows for which `wanted` holds, of the name that they were filed under (0 for none) and their own id.
pub(super) fn dropped(view: &RunView, mut wanted: impl FnMut(u64, u64) -> bool) -> Vec<Dropped> {
    let mut rows = Vec::new();
    for part in view.parts(TableId::Dropped) {
        rows.extend(view.select::<Dropped>(part, Some("id"), &mut wanted));
    }
    rows
}

/// The dropped rows of a name's bucket.
pub(super) fn dropped_of(view: &RunView, name: NameId) -> Vec<Dropped> {
    let mut rows = Vec::new();
    for part in view.parts(TableId::Dropped) {
        if matches!(&part.partition, Partition::Shard(_) | Partition::Chunk(_)) {
            continue;
        }
        let wanted = |of: u64, id: u64| of == name.0 || id == name.0;
        rows.extend(view.select::<Dropped>(part, Some("id"), wanted));
    }
    rows
}

/// The rows of a name's image in a table.
fn rows<R: Row>(view: &RunView, name: NameId, image: ImageId) -> Vec<R> {
    let bucket = bucket_of(&view.manifest, name);
    let mut rows = Vec::new();
    for part in view.parts_in(R::TABLE, &bucket) {
        let wanted = |n: u64, i: u64| n == name.0 && i == image.0;
        rows.extend(view.select::<R>(part, Some("image_id"), wanted));
    }
    rows
}

/// What happened to it.
pub(super) fn explain(view: &RunView, name: NameId, image: ImageId) -> (Node, Fate) {
    let dropped = dropped(view, |of, id| of == name.0 && id == image.0);
    explain_with(view, name, image, &dropped)
}

fn explain_with(view: &RunView, name: NameId, image: ImageId, dropped: &[Dropped]) -> (Node, Fate) {
    let candidate = rows::<Candidate>(view, name, image).into_iter().next();
    let url = candidate.as_ref().map_or("", |c| c.url.as_str());
    let mut root = Node::new(format!("image {image} under name {name}: {url}"));
    let mut fate = Fate::default();
    if let Some(candidate) = &candidate {
        let text = format!("filed under the name for “{}”", candidate.caption);
        root.add(Node::of("count-images", text));
    }
    for photo in rows::<Photo>(view, name, image) {
        let (width, height, bytes) = (photo.width, photo.height, photo.image.bytes.len());
        let text = format!(
            "a photo of {width} × {height} pixels, {bytes} bytes, SHA-256 {}",
            photo.sha256
        );
        root.add(Node::of("download-images", text));
    }
    for unique in rows::<UniquePhoto>(view, name, image) {
        let copies = unique.copies;
        let hash = unique.average_hash;
        let text = format!("nobody's copy; {copies} copies of it were dropped; hash {hash:016x}");
        root.add(Node::of("dedupe-images", text));
    }
    let faces = rows::<PhotoFace>(view, name, image);
    for face in &faces {
        root.add(Node::of("score-photos", scored(face)));
    }
    for found in rows::<Match>(view, name, image) {
        let text = format!(
            "shows the person: {:.3} ≥ {}",
            found.similarity,
            advice::setting(view, "verify-images", "verify_images.same_person_photo")
        );
        root.add(Node::of("verify-images", text));
    }
    for row in dropped.iter().filter(|row| row.id == image.0) {
        let (reason, detail) = (row.reason.to_string(), row.detail.as_deref());
        let in_brackets = detail.map_or(String::new(), |d| format!(" ({d})"));
        let mut node = Node::of(&row.step, format!("dropped: {reason}{in_brackets}"));
        let exact = exact(&reason, &faces);
        let otherwise = advice::of(&reason, &row.step, exact.as_deref().or(detail), view);
        otherwise.iter().for_each(|line| node.add(Node::new(line)));
        root.add(node);
        fate.dropped = Some((row.step.clone(), reason));
        fate.otherwise = otherwise;
    }
    if !rows::<LaionCele>(view, name, image).is_empty() {
        root.add(Node::of("pack-shards", "in the dataset"));
        fate = Fate {
            in_dataset: true,
            ..Fate::default()
        };
    }
    (root, fate)
}

/// What a threshold was compared with, with all of its digits: details are rounded.
fn exact(reason: &str, faces: &[PhotoFace]) -> Option<String> {
    let face = faces.first()?;
    match reason {
        "other_person" => face.similarity.map(|similarity| similarity.to_string()),
        "face_too_small" => Some((face.face_box.0[2] - face.face_box.0[0]).to_string()),
        _ => None,
    }
}

fn scored(face: &PhotoFace) -> String {
    match (face.similarity, face.second) {
        (Some(best), Some(second)) => format!(
            "{} faces; the best is {best:.3} like the portraits, the next {second:.3}",
            face.faces
        ),
        (Some(best), None) => format!("one face, {best:.3} like the portraits"),
        (None, _) => "no face".to_owned(),
    }
}

/// A line for each image of a name: its url and where it ended.
pub(super) fn lines(view: &RunView, name: NameId, dropped: &[Dropped]) -> Vec<Node> {
    let bucket = bucket_of(&view.manifest, name);
    let mut candidates = Vec::new();
    for part in view.parts_in(TableId::Candidates, &bucket) {
        candidates.extend(view.select::<Candidate>(part, None, |n, _| n == name.0));
    }
    let mut faces = std::collections::HashMap::new();
    for part in view.parts_in(TableId::PhotoFaces, &bucket) {
        let rows = view.select::<PhotoFace>(part, None, |n, _| n == name.0);
        faces.extend(rows.into_iter().map(|row| (row.image_id, row.similarity)));
    }
    let mut kept = std::collections::HashSet::new();
    for part in view.parts_in(TableId::Identities, &bucket) {
        let rows = view.select::<laioncele_core::table::Identity>(part, None, |n, _| n == name.0);
        kept.extend(rows.into_iter().map(|row| row.image_id));
    }
    let line = |candidate: &Candidate| {
        let id = candidate.image_id;
        let end = dropped.iter().find(|row| row.id == id.0);
        let end = match end {
            Some(row) => format!("{} dropped it: {}", row.step, row.reason),
            None if kept.contains(&id) => "kept".to_owned(),
            None => "not decided yet".to_owned(),
        };
        let similarity = faces.get(&id).copied().flatten();
        let similarity = similarity.map_or(String::new(), |s| format!(", {s:.3}"));
        Node::new(format!("{id} {}: {end}{similarity}", candidate.url))
    };
    candidates.iter().map(line).collect()
}
