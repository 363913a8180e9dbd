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

/// Encodes the portraits of the identities: what is in memory is a part's file, and the images that wait until they are enough to be
/// looked at together.
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
    let mut look = LateLook {
        crop,
        boxes: &boxes,
        look: None,
    };
    for part in parts {
        let mut pictures = Vec::new();
        for block in task.read_blocks::<Portrait>(&part, PICTURES_AT_ONCE)? {
            let block = block?.into_iter();
            for portrait in block.filter(|p| people.contains(&p.name_id)) {
                found += 1;
                pictures.extend(look.taken(task, portrait));
            }
            while pictures.len() >= PICTURES_AT_ONCE {
                let full: Vec<Photo> = pictures.drain(..PICTURES_AT_ONCE).collect();
                look.at(task, &full, &mut rows)?;
            }
        }
        look.at(task, &pictures, &mut rows)?;
    }
    rows.sort_by_key(|row| (row.name_id, row.image_id));
    task.balance(Unit::Portrait, found, rows.len() as u64);
    task.write(rows)
}

/// The encoders, which are loaded when there is something to look at.
struct LateLook<'a> {
    crop: Crop,
    boxes: &'a FaceBoxes,
    look: Option<Look>,
}

impl LateLook<'_> {
    /// The picture of a portrait; one without the face that is asked for is dropped.
    fn taken(&self, task: &mut Task, portrait: Portrait) -> Option<Photo> {
        let (name_id, picture) = (portrait.name_id, picture(portrait));
        let face = self.boxes.contains_key(&(name_id, picture.image_id));
        if self.crop == Crop::Whole || face {
            return Some(picture);
        }
        let (id, reason) = (picture.image_id.0, DropReason::NoFace);
        task.drop_row(Unit::Portrait, id, Some(name_id), reason, None);
        None
    }

    /// Adds the features of `pictures` to `rows`.
    fn at(
        &mut self,
        task: &mut Task,
        pictures: &[Photo],
        rows: &mut Vec<PhotoFeature>,
    ) -> Result<(), StageError> {
        if pictures.is_empty() {
            return Ok(());
        }
        let look = match self.look.take() {
            Some(look) => look,
            None => Look::new(task, self.crop, Unit::Portrait)?,
        };
        let found = look.at(task, pictures, self.boxes)?;
        rows.extend(found.into_iter().flatten());
        self.look = Some(look);
        let total = task.rows_in(TableId::Portraits);
        task.progress(rows.len() as u64, total, Unit::Portrait)
    }
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
