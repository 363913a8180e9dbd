//! `images = "portraits"` of photo-features: the generated portraits of the dataset's people, for the
//! paper's E_gen (Figure 6).

use std::collections::HashSet;

use laioncele_core::table::{Identity, Photo, PhotoFeature, Portrait, PortraitFace};
use laioncele_core::{
    DropReason, ImageId, KeyHasher, NameId, Part, Reads, StageError, TableId, Task, Unit,
};
use laioncele_encoder::Crop;

use crate::looking::{FaceBoxes, Look, PICTURES_AT_ONCE};

/// What is read.
pub(crate) const READS: [Reads; 3] = [
    Reads::own(TableId::Identities),
    Reads::own(TableId::Portraits),
    Reads::own(TableId::PortraitFaces),
];

/// The id under which a portrait stands in `photo_features`.
fn portrait_id(name_id: NameId, index: u32) -> ImageId {
    let hasher = KeyHasher::new("portrait-id").number("name", name_id.0);
    ImageId(hasher.number("index", index.into()).finish().low_u64())
}

/// Encodes the portraits of the identities part by part, so that one part's images are in memory.
///
/// # Errors
/// Damaged parts, a failure of the encoders.
pub(crate) fn run(task: &mut Task, crop: Crop) -> Result<(), StageError> {
    let people: HashSet<NameId> = (task.read::<Identity>()?.into_iter())
        .map(|row| row.name_id)
        .collect();
    let boxes = face_boxes(task, &people)?;
    let parts: Vec<Part> = task.inputs(TableId::Portraits).cloned().collect();
    let (mut rows, mut found) = (Vec::<PhotoFeature>::new(), 0);
    let mut look = None;
    let total = task.rows_in(TableId::Portraits);
    for part in parts {
        let portraits: Vec<Portrait> = task.read_part(&part)?;
        let mut pictures = Vec::new();
        for portrait in portraits
            .into_iter()
            .filter(|p| people.contains(&p.name_id))
        {
            found += 1;
            let (name_id, picture) = (portrait.name_id, picture(portrait));
            let face = boxes.contains_key(&(name_id, picture.image_id));
            match crop == Crop::Whole || face {
                true => pictures.push(picture),
                false => task.drop_row(
                    Unit::Portrait,
                    picture.image_id.0,
                    Some(name_id),
                    DropReason::NoFace,
                    None,
                ),
            }
        }
        for pictures in pictures.chunks(PICTURES_AT_ONCE) {
            if look.is_none() {
                look = Some(Look::new(task, crop, Unit::Portrait)?);
            }
            if let Some(look) = &look {
                rows.extend(look.at(task, pictures, &boxes)?.into_iter().flatten());
            }
            task.progress(rows.len() as u64, total, Unit::Portrait)?;
        }
    }
    rows.sort_by_key(|row| (row.name_id, row.image_id));
    task.balance(Unit::Portrait, found, rows.len() as u64);
    task.write(rows)
}

/// A portrait as the picture that it is.
fn picture(portrait: Portrait) -> Photo {
    let Portrait {
        name_id,
        index,
        image,
        ..
    } = portrait;
    Photo {
        name_id,
        image_id: portrait_id(name_id, index),
        url: format!("portrait {index} of name {name_id}"),
        caption: String::new(),
        image,
        sha256: String::new(),
        width: 0,
        height: 0,
    }
}

/// Where the faces of these people's portraits are, of those that show one.
fn face_boxes(task: &Task, people: &HashSet<NameId>) -> Result<FaceBoxes, StageError> {
    let mut boxes = FaceBoxes::new();
    for row in task.read::<PortraitFace>()? {
        if row.faces == 0 || !people.contains(&row.name_id) {
            continue;
        }
        let four = <[f32; 4]>::try_from(row.face_box.0);
        let four = four.map_err(|_| StageError::data("a box of other than four numbers"))?;
        boxes.insert((row.name_id, portrait_id(row.name_id, row.index)), four);
    }
    Ok(boxes)
}
