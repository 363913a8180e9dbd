//! The join: identities with their photos, hashes and name embeddings, without any photo in memory
//! but those of the row group that is asked for.

use std::collections::{BTreeMap, HashMap};

use laioncele_core::table::{
    Identity, Image, LaionCele, NameEmbedding, NameVector, Photo, PhotoPrint, UniquePhoto,
};
use laioncele_core::{ImageId, NameId, Part, StageError, TableId, Task};
use laioncele_image::{Limits, Orientation, decode};
use laioncele_inference::encode_png;
use sha2::{Digest, Sha256};

type Key = (NameId, ImageId);

/// A photo of the dataset, still in the part that download-images wrote.
pub(crate) struct Example {
    identity: Identity,
    average_hash: u64,
    /// Size of the photo's file.
    pub(crate) bytes: u64,
    /// Its part, as an index of [`Join::parts`], and its row there.
    place: (usize, usize),
}

impl Example {
    pub(crate) fn name_id(&self) -> NameId {
        self.identity.name_id
    }
}

/// The bucket's examples, by name and image id, and where their photos are.
pub(crate) struct Join {
    parts: Vec<Part>,
    names: BTreeMap<NameId, NameVector>,
    pub(crate) examples: Vec<Example>,
}

impl Join {
    /// Reads all that is small.
    ///
    /// # Errors
    /// Damaged parts; an identity that one of the tables does not know.
    pub(crate) fn read(task: &Task) -> Result<Self, StageError> {
        let identities: Vec<Identity> = task.read()?;
        let identities: BTreeMap<Key, Identity> =
            identities.into_iter().map(|i| (key(&i), i)).collect();
        let names = names(task, &identities)?;
        let parts: Vec<Part> = task.inputs(TableId::Photos).cloned().collect();
        let places = places(task, &parts, &identities)?;
        let hashes: HashMap<Key, u64> = task
            .read::<UniquePhoto>()?
            .iter()
            .map(|photo| ((photo.name_id, photo.image_id), photo.average_hash))
            .collect();
        let sizes: HashMap<Key, u64> = task
            .read::<PhotoPrint>()?
            .iter()
            .map(|print| ((print.name_id, print.image_id), print.bytes))
            .collect();
        let example = |(key, identity): (Key, Identity)| {
            if !names.contains_key(&key.0) {
                return Err(lost("name embedding", key));
            }
            let average_hash = hashes.get(&key).ok_or_else(|| lost("average hash", key))?;
            Ok(Example {
                identity,
                average_hash: *average_hash,
                bytes: *sizes.get(&key).ok_or_else(|| lost("print", key))?,
                place: *places.get(&key).ok_or_else(|| lost("photo", key))?,
            })
        };
        let examples = identities.into_iter().map(example);
        let examples = examples.collect::<Result<_, _>>()?;
        Ok(Self {
            parts,
            names,
            examples,
        })
    }

    /// The embeddings of the bucket's people.
    pub(crate) fn names(&self) -> impl Iterator<Item = &NameVector> {
        self.names.values()
    }

    /// The rows of some examples, in their order, with their photos.
    ///
    /// # Errors
    /// Damaged parts.
    pub(crate) fn rows(
        &self,
        task: &Task,
        examples: &[Example],
    ) -> Result<Vec<LaionCele>, StageError> {
        let mut by_part: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for example in examples {
            let (part, row) = example.place;
            by_part.entry(part).or_default().push(row);
        }
        let mut photos: HashMap<Key, Photo> = HashMap::with_capacity(examples.len());
        for (part, mut numbers) in by_part {
            numbers.sort_unstable();
            for photo in task.read_selected::<Photo>(&self.parts[part], &numbers)? {
                photos.insert((photo.name_id, photo.image_id), photo);
            }
        }
        let row = |example: &Example| {
            let key = key(&example.identity);
            let photo = photos.remove(&key).ok_or_else(|| lost("photo", key))?;
            let name = self.names.get(&key.0);
            let name = name.ok_or_else(|| lost("name embedding", key))?;
            Ok(laioncele(example, photo, name.clone()))
        };
        examples.iter().map(row).collect()
    }
}

fn key(identity: &Identity) -> Key {
    (identity.name_id, identity.image_id)
}

fn names(
    task: &Task,
    identities: &BTreeMap<Key, Identity>,
) -> Result<BTreeMap<NameId, NameVector>, StageError> {
    let mut names = BTreeMap::new();
    let wanted = |name: NameId| {
        let mut of_name = identities.range((name, ImageId(0))..=(name, ImageId(u64::MAX)));
        of_name.next().is_some()
    };
    for part in task.inputs(TableId::NameEmbeddings) {
        let rows = task.read_part::<NameEmbedding>(part)?.into_iter();
        let kept = rows.filter(|row| wanted(row.name_id));
        names.extend(kept.map(|row| (row.name_id, row.embedding)));
    }
    Ok(names)
}

/// Where the photos of the identities are, by the parts' columns of ids.
fn places(
    task: &Task,
    parts: &[Part],
    identities: &BTreeMap<Key, Identity>,
) -> Result<HashMap<Key, (usize, usize)>, StageError> {
    const COLUMNS: [&str; 2] = ["name_id", "image_id"];
    let mut places = HashMap::with_capacity(identities.len());
    for (at, part) in parts.iter().enumerate() {
        let mut row = 0;
        for batch in task.read_columns::<Photo>(part, &COLUMNS)? {
            let batch = batch?;
            let names = task.column::<NameId>(&batch, COLUMNS[0])?;
            let images = task.column::<ImageId>(&batch, COLUMNS[1])?;
            for key in names.into_iter().zip(images) {
                if identities.contains_key(&key) {
                    places.insert(key, (at, row));
                }
                row += 1;
            }
        }
    }
    Ok(places)
}

/// Synchronization is broken: a table below was changed by another hand.
fn lost(what: &str, (name_id, image_id): Key) -> StageError {
    StageError::data(format!(
        "identity {name_id} has image {image_id}, but there is no {what} for it"
    ))
}

fn laioncele(example: &Example, photo: Photo, name_embedding: NameVector) -> LaionCele {
    let identity = example.identity.clone();
    let photo = portable(photo);
    LaionCele {
        name_id: identity.name_id,
        name: identity.name,
        name_embedding,
        image: photo.image,
        caption: photo.caption,
        url: photo.url,
        image_id: identity.image_id,
        sha256: photo.sha256,
        average_hash: example.average_hash,
        similarity: identity.similarity,
        face_box: identity.face_box,
        width: photo.width,
        height: photo.height,
    }
}

/// Formats that many readers of datasets do not know, by their endings.
const RARE: [&str; 2] = [".tif", ".avif"];

/// The photo in a format that every reader of datasets knows: as it is, or as a PNG of its pixels,
/// upright, with what is said of the file changed to match.
fn portable(photo: Photo) -> Photo {
    let Some(stem) = RARE
        .iter()
        .find_map(|ending| photo.image.path.strip_suffix(ending))
    else {
        return photo;
    };
    let Ok(pixels) = decode(&photo.image.bytes, &Limits::default(), Orientation::Upright) else {
        return photo;
    };
    let Ok(bytes) = encode_png(&pixels) else {
        return photo;
    };
    let path = format!("{stem}.png");
    let sha256 = Sha256::digest(&bytes);
    Photo {
        image: Image { bytes, path },
        sha256: sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
        width: pixels.width(),
        height: pixels.height(),
        ..photo
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{ImageFormat, Rgb, RgbImage};

    use super::*;

    #[test]
    fn a_tiff_becomes_a_png_of_the_same_pixels() {
        let pixels = RgbImage::from_fn(9, 7, |x, y| Rgb([x as u8 * 20, y as u8 * 30, 7]));
        let file = |format| {
            let mut bytes = Cursor::new(Vec::new());
            pixels.write_to(&mut bytes, format).expect("written");
            bytes.into_inner()
        };
        let photo = |bytes: Vec<u8>, path: &str| Photo {
            name_id: NameId(1),
            image_id: ImageId(2),
            url: String::new(),
            caption: String::new(),
            image: Image {
                bytes,
                path: path.to_owned(),
            },
            sha256: "of the file".to_owned(),
            width: 9,
            height: 7,
        };
        let found = portable(photo(file(ImageFormat::Tiff), "2.tif"));
        assert_eq!(found.image.path, "2.png");
        let digest = Sha256::digest(&found.image.bytes);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found.sha256, hex);
        let back = image::load_from_memory(&found.image.bytes).expect("a PNG");
        assert_eq!(back.to_rgb8(), pixels);
        for same in [
            photo(file(ImageFormat::Bmp), "2.bmp"),
            photo(vec![1, 2], "2.tif"),
        ] {
            assert_eq!(portable(same.clone()), same);
        }
    }
}
