//! The join: identities with their photos, hashes and name embeddings.

use std::collections::{BTreeMap, HashMap, HashSet};

use laioncele_core::table::{Identity, LaionCele, NameEmbedding, NameVector, Photo, UniquePhoto};
use laioncele_core::{ImageId, NameId, StageError, TableId, Task, Unit};

type Key = (NameId, ImageId);

/// The bucket's examples, by name and image id.
pub(crate) fn join(
    task: &Task,
    names: &BTreeMap<NameId, NameVector>,
) -> Result<Vec<LaionCele>, StageError> {
    let identities: Vec<Identity> = task.read()?;
    let mut left: BTreeMap<Key, Identity> = BTreeMap::new();
    for row in identities {
        left.insert((row.name_id, row.image_id), row);
    }
    let total = left.len() as u64;
    let hashes: HashMap<Key, u64> = task
        .read::<UniquePhoto>()?
        .iter()
        .map(|photo| ((photo.name_id, photo.image_id), photo.average_hash))
        .collect();
    let mut rows = Vec::with_capacity(left.len());
    let parts: Vec<_> = task.inputs(TableId::Photos).cloned().collect();
    for part in &parts {
        for photo in task.read_part::<Photo>(part)? {
            let key = (photo.name_id, photo.image_id);
            let Some(identity) = left.remove(&key) else {
                continue;
            };
            let name = names
                .get(&key.0)
                .ok_or_else(|| lost("name embedding", key))?;
            let hash = hashes.get(&key).ok_or_else(|| lost("average hash", key))?;
            rows.push(example(identity, photo, name.clone(), *hash));
            task.progress(rows.len() as u64, total, Unit::Image)?;
        }
    }
    if let Some(key) = left.into_keys().next() {
        return Err(lost("photo", key));
    }
    rows.sort_by_key(|row| (row.name_id, row.image_id));
    Ok(rows)
}

/// The name embeddings of the bucket's identities.
pub(crate) fn names(task: &Task) -> Result<BTreeMap<NameId, NameVector>, StageError> {
    let wanted: HashSet<NameId> = task.read::<Identity>()?.iter().map(|i| i.name_id).collect();
    let mut names = BTreeMap::new();
    for part in task.inputs(TableId::NameEmbeddings) {
        let rows = task.read_part::<NameEmbedding>(part)?.into_iter();
        let kept = rows.filter(|row| wanted.contains(&row.name_id));
        names.extend(kept.map(|row| (row.name_id, row.embedding)));
    }
    Ok(names)
}

/// Synchronization is broken: a table below was changed by another hand.
fn lost(what: &str, (name_id, image_id): Key) -> StageError {
    StageError::data(format!(
        "identity {name_id} has image {image_id}, but there is no {what} for it"
    ))
}

fn example(
    identity: Identity,
    photo: Photo,
    name_embedding: NameVector,
    average_hash: u64,
) -> LaionCele {
    LaionCele {
        name_id: identity.name_id,
        name: identity.name,
        name_embedding,
        image: photo.image,
        caption: photo.caption,
        url: photo.url,
        image_id: identity.image_id,
        sha256: photo.sha256,
        average_hash,
        similarity: identity.similarity,
        face_box: identity.face_box,
        width: photo.width,
        height: photo.height,
    }
}
