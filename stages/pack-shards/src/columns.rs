//! The columns of the published shards: those of the table, ids as the manifest wants them, and what
//! is asked for besides.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryArray, Int64Array, ListBuilder, RecordBatch, StringArray,
    StringBuilder, StructArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields, Schema, UInt64Type};
use laioncele_core::part_rows::{read_columns, read_selected};
use laioncele_core::store::Store;
use laioncele_core::table::{Cell, FaceVector, LaionCele, Landmarks, PhotoFace, Row};
use laioncele_core::{CoreError, EmbeddingDims, ImageId, NameId, Part, TableId};
use laioncele_image::{Limits, Orientation, decode};
use laioncele_inference::encode_png;
use rayon::prelude::*;

use crate::census::Census;
use crate::lineage::Lineage;
use crate::settings::{Extra, Ids, Settings};

/// Columns of ids and hashes.
const NUMBERS: [&str; 3] = ["name_id", "image_id", "average_hash"];

type Key = (NameId, ImageId);

/// What becomes of the table's columns.
pub(crate) struct Columns<'a> {
    store: &'a Store,
    dims: &'a EmbeddingDims,
    settings: &'a Settings,
    census: &'a Census,
    /// What the networks found in the photos; nothing where no such column is asked for.
    found: Found<'a>,
}

/// Where the rows of `photo_faces` are.
#[derive(Default)]
struct Found<'a> {
    parts: Vec<&'a Part>,
    places: HashMap<Key, (usize, usize)>,
}

impl<'a> Columns<'a> {
    /// Prepares the columns that `settings` asks for: some 50 bytes a photo are held where what was
    /// found in it is wanted.
    ///
    /// # Errors
    /// Damaged parts.
    pub(crate) fn new(
        store: &'a Store,
        dims: &'a EmbeddingDims,
        lineage: &'a Lineage,
        settings: &'a Settings,
        census: &'a Census,
    ) -> Result<Self, CoreError> {
        let mut found = Found::default();
        if settings.columns.iter().any(|c| *c != Extra::OtherNames) {
            found.parts = lineage.parts(TableId::PhotoFaces, None).collect();
            for (at, part) in found.parts.iter().enumerate() {
                let keys = keys(store, dims, part)?.into_iter().enumerate();
                let places = keys.map(|(row, key)| (key, (at, row)));
                found.places.extend(places);
            }
        }
        Ok(Self {
            store,
            dims,
            settings,
            census,
            found,
        })
    }

    /// The columns and the metadata of the published shards.
    pub(crate) fn schema(&self) -> Schema {
        schema(self.dims, self.settings)
    }

    /// Rows, published.
    ///
    /// # Errors
    /// A photo that no face was found in; a damaged part.
    pub(crate) fn dress(&self, rows: Vec<LaionCele>) -> Result<RecordBatch, CoreError> {
        let schema = Arc::new(self.schema());
        let faces = self.faces(&rows)?;
        let fail = |cause: String| CoreError::parquet("laioncele shard", cause);
        let extras = self.settings.columns.iter();
        let extras = extras.map(|extra| self.extra(*extra, &rows, &faces).map_err(fail));
        let extras = extras.collect::<Result<Vec<ArrayRef>, _>>()?;
        let table = LaionCele::to_batch(rows, self.dims)?;
        let old = schema.fields().iter().zip(table.columns());
        let old = old.map(|(field, column)| numbers(column, field.name(), self.settings.ids));
        let columns = old.chain(extras).collect();
        RecordBatch::try_new(schema, columns).map_err(|e| fail(e.to_string()))
    }

    /// What was found in the photos of `rows`, in their order; nothing where nobody asks.
    fn faces(&self, rows: &[LaionCele]) -> Result<Vec<PhotoFace>, CoreError> {
        if self.found.parts.is_empty() {
            return Ok(Vec::new());
        }
        let place = |row: &LaionCele| {
            let place = self.found.places.get(&(row.name_id, row.image_id));
            place.copied().ok_or_else(|| {
                let (name, image) = (row.name_id, row.image_id);
                let reason = format!("identity {name} has image {image}, but no face in it");
                CoreError::parquet(TableId::PhotoFaces.as_str(), reason)
            })
        };
        let places = rows.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        take(self.store, self.dims, &self.found.parts, &places)
    }

    fn extra(
        &self,
        extra: Extra,
        rows: &[LaionCele],
        faces: &[PhotoFace],
    ) -> Result<ArrayRef, String> {
        match extra {
            Extra::OtherNames => {
                let mut lists = ListBuilder::new(StringBuilder::new());
                for row in rows {
                    let names = self.census.other_names(row.name_id, row.image_id);
                    lists.append_value(names.into_iter().map(Some));
                }
                Ok(Arc::new(lists.finish()))
            }
            Extra::Faces => u32::write(faces.iter().map(|face| face.faces).collect(), self.dims),
            Extra::Landmarks => {
                let landmarks = faces.iter().map(|face| face.landmarks.clone());
                Landmarks::write(landmarks.collect(), self.dims)
            }
            Extra::FaceEmbedding => {
                let embeddings = faces.iter().map(|face| face.embedding.clone());
                FaceVector::write(embeddings.collect(), self.dims)
            }
            Extra::AlignedFace => aligned_faces(rows, faces),
        }
    }
}

/// The ids of a part's rows.
fn keys(store: &Store, dims: &EmbeddingDims, part: &Part) -> Result<Vec<Key>, CoreError> {
    const COLUMNS: [&str; 2] = ["name_id", "image_id"];
    let fail = |cause: String| CoreError::parquet(&part.path, cause);
    let mut keys = Vec::new();
    for batch in read_columns::<PhotoFace>(store, part, dims, &COLUMNS)? {
        let batch = batch?;
        let column = |name: &str| {
            let column = batch.column_by_name(name);
            column.ok_or_else(|| fail(format!("no column `{name}`")))
        };
        let names = NameId::read(column(COLUMNS[0])?, dims).map_err(fail)?;
        let images = ImageId::read(column(COLUMNS[1])?, dims).map_err(fail)?;
        keys.extend(names.into_iter().zip(images));
    }
    Ok(keys)
}

/// The rows at some places, each a part and a row of it, in their order.
///
/// # Errors
/// Damaged parts.
pub(crate) fn take<R: Row>(
    store: &Store,
    dims: &EmbeddingDims,
    parts: &[&Part],
    places: &[(usize, usize)],
) -> Result<Vec<R>, CoreError> {
    let mut by_part: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (part, row) in places {
        by_part.entry(*part).or_default().push(*row);
    }
    let mut taken: HashMap<(usize, usize), R> = HashMap::with_capacity(places.len());
    for (part, mut numbers) in by_part {
        numbers.sort_unstable();
        let rows = read_selected::<R>(store, parts[part], dims, &numbers)?;
        taken.extend(numbers.into_iter().map(|row| (part, row)).zip(rows));
    }
    let row = |place: &(usize, usize)| {
        let gone = || CoreError::parquet(&parts[place.0].path, format!("no row {}", place.1));
        taken.remove(place).ok_or_else(gone)
    };
    places.iter().map(row).collect()
}

/// The columns and the metadata of the published shards.
pub(crate) fn schema(dims: &EmbeddingDims, settings: &Settings) -> Schema {
    let table = LaionCele::schema(dims);
    let number = |field: &Field| match settings.ids {
        _ if !NUMBERS.contains(&field.name().as_str()) => field.clone(),
        Ids::Uint64 => field.clone(),
        Ids::Int64 => Field::new(field.name(), DataType::Int64, false),
        Ids::Text => Field::new(field.name(), DataType::Utf8, false),
    };
    let mut fields: Vec<Field> = table.fields().iter().map(|field| number(field)).collect();
    fields.extend(settings.columns.iter().map(|extra| extra.field(dims)));
    let mut metadata = table.metadata().clone();
    if !settings.is_linked() {
        // It is no part of the table any more.
        metadata.remove("laioncele.table");
        metadata.remove("laioncele.version");
    }
    Schema::new_with_metadata(fields, metadata)
}

impl Extra {
    /// The column's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OtherNames => "other_names",
            Self::Faces => "faces",
            Self::Landmarks => "landmarks",
            Self::FaceEmbedding => "face_embedding",
            Self::AlignedFace => "aligned_face",
        }
    }

    fn field(self, dims: &EmbeddingDims) -> Field {
        let data_type = match self {
            Self::OtherNames => DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))),
            Self::Faces => DataType::UInt32,
            Self::Landmarks => Landmarks::data_type(dims),
            Self::FaceEmbedding => FaceVector::data_type(dims),
            Self::AlignedFace => DataType::Struct(picture()),
        };
        Field::new(self.name(), data_type, self == Self::AlignedFace)
    }
}

fn picture() -> Fields {
    Fields::from(vec![
        Field::new("bytes", DataType::Binary, true),
        Field::new("path", DataType::Utf8, true),
    ])
}

/// A column of the table with its numbers as `form` says; another column as it is.
fn numbers(column: &ArrayRef, name: &str, form: Ids) -> ArrayRef {
    let Some(numbers) = column
        .as_primitive_opt::<UInt64Type>()
        .filter(|_| NUMBERS.contains(&name))
    else {
        return column.clone();
    };
    match form {
        Ids::Uint64 => column.clone(),
        Ids::Int64 => Arc::new(Int64Array::from_iter_values(
            numbers.values().iter().map(|number| number.cast_signed()),
        )),
        Ids::Text => Arc::new(StringArray::from_iter_values(
            numbers
                .values()
                .iter()
                .map(|number| format!("{number:016x}")),
        )),
    }
}

/// The matching faces, upright, as PNG files; null where the landmarks allow none.
fn aligned_faces(rows: &[LaionCele], faces: &[PhotoFace]) -> Result<ArrayRef, String> {
    let pairs: Vec<_> = rows.iter().zip(faces).collect();
    let pngs = pairs
        .par_iter()
        .map(|(row, face)| aligned_face(&row.image.bytes, face));
    let pngs: Vec<Option<Vec<u8>>> = pngs.collect::<Result<_, String>>()?;
    let path = |(face, png): (&PhotoFace, &Option<Vec<u8>>)| {
        png.as_ref().map(|_| format!("{}-face.png", face.image_id))
    };
    let paths: StringArray = faces.iter().zip(&pngs).map(path).collect();
    let nulls: NullBuffer = pngs.iter().map(Option::is_some).collect();
    let bytes: BinaryArray = pngs.into_iter().collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(bytes), Arc::new(paths)];
    let array = StructArray::try_new(picture(), columns, Some(nulls));
    Ok(Arc::new(array.map_err(|e| e.to_string())?))
}

fn aligned_face(photo: &[u8], face: &PhotoFace) -> Result<Option<Vec<u8>>, String> {
    let fail = |cause: String| format!("image {}: {cause}", face.image_id);
    let photo = decode(photo, &Limits::default(), Orientation::Upright);
    let photo = photo.map_err(|e| fail(e.to_string()))?;
    let (points, _) = face.landmarks.0.as_chunks::<2>();
    let points = <&[[f32; 2]; 5]>::try_from(points);
    let points = points.map_err(|_| fail("no five landmarks".to_owned()))?;
    let Some(aligned) = laioncele_face::aligned(&photo, points) else {
        return Ok(None);
    };
    encode_png(&aligned)
        .map(Some)
        .map_err(|e| fail(e.to_string()))
}
