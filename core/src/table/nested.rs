//! Columns whose values have fields of their own: an image, a name's spellings.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, ListArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields};

use super::cell::{Cell, no_nulls, typed};
use super::dims::EmbeddingDims;

/// An image as the Hugging Face `datasets` image feature reads it: the encoded file's bytes and a name for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// The encoded file (JPEG, PNG, …), untouched.
    pub bytes: Vec<u8>,
    /// A file name with the format's extension.
    pub path: String,
}

impl Image {
    fn fields() -> Fields {
        Fields::from(vec![
            Field::new("bytes", DataType::Binary, false),
            Field::new("path", DataType::Utf8, false),
        ])
    }
}

impl Cell for Image {
    fn data_type(_: &EmbeddingDims) -> DataType {
        DataType::Struct(Self::fields())
    }
    fn write(values: Vec<Self>, dims: &EmbeddingDims) -> Result<ArrayRef, String> {
        let (bytes, paths): (Vec<_>, Vec<_>) =
            values.into_iter().map(|i| (i.bytes, i.path)).unzip();
        let columns = vec![Vec::<u8>::write(bytes, dims)?, String::write(paths, dims)?];
        Ok(Arc::new(
            StructArray::try_new(Self::fields(), columns, None).map_err(|e| e.to_string())?,
        ))
    }
    fn read(array: &ArrayRef, dims: &EmbeddingDims) -> Result<Vec<Self>, String> {
        no_nulls(array)?;
        let parts = typed(array.as_struct_opt(), array)?;
        let column = |name| {
            parts
                .column_by_name(name)
                .ok_or_else(|| format!("image struct without `{name}`"))
        };
        let (bytes, paths) = (
            Vec::<u8>::read(column("bytes")?, dims)?,
            String::read(column("path")?, dims)?,
        );
        Ok(bytes
            .into_iter()
            .zip(paths)
            .map(|(bytes, path)| Self { bytes, path })
            .collect())
    }
}

/// One spelling of a name and how many mentions have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// As normalized, not as written.
    pub spelling: String,
    /// Mentions with this spelling.
    pub mentions: u64,
    /// Why it was filed under the canonical name (`canonical`, `folded`, `edit_distance`).
    pub merged_by: String,
}

impl Cell for Vec<Alias> {
    fn data_type(_: &EmbeddingDims) -> DataType {
        DataType::List(Arc::new(Field::new(
            "item",
            DataType::Struct(alias_fields()),
            false,
        )))
    }
    fn write(values: Vec<Self>, dims: &EmbeddingDims) -> Result<ArrayRef, String> {
        let offsets = OffsetBuffer::from_lengths(values.iter().map(Vec::len));
        let (mut spellings, mut counts, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
        for alias in values.into_iter().flatten() {
            spellings.push(alias.spelling);
            counts.push(alias.mentions);
            reasons.push(alias.merged_by);
        }
        let columns = vec![
            String::write(spellings, dims)?,
            u64::write(counts, dims)?,
            String::write(reasons, dims)?,
        ];
        let items =
            StructArray::try_new(alias_fields(), columns, None).map_err(|e| e.to_string())?;
        let field = Arc::new(Field::new("item", DataType::Struct(alias_fields()), false));
        Ok(Arc::new(
            ListArray::try_new(field, offsets, Arc::new(items), None).map_err(|e| e.to_string())?,
        ))
    }
    fn read(array: &ArrayRef, dims: &EmbeddingDims) -> Result<Vec<Self>, String> {
        no_nulls(array)?;
        let lists = typed(array.as_list_opt::<i32>(), array)?;
        lists
            .iter()
            .map(|list| list.map_or(Ok(Vec::new()), |items| read_aliases(&items, dims)))
            .collect()
    }
}

fn alias_fields() -> Fields {
    Fields::from(vec![
        Field::new("spelling", DataType::Utf8, false),
        Field::new("mentions", DataType::UInt64, false),
        Field::new("merged_by", DataType::Utf8, false),
    ])
}

fn read_aliases(items: &ArrayRef, dims: &EmbeddingDims) -> Result<Vec<Alias>, String> {
    no_nulls(items)?;
    let parts = typed(items.as_struct_opt(), items)?;
    let spellings = String::read(parts.column(0), dims)?;
    let counts = u64::read(parts.column(1), dims)?;
    let reasons = String::read(parts.column(2), dims)?;
    let rows = spellings.into_iter().zip(counts).zip(reasons);
    Ok(rows
        .map(|((spelling, mentions), merged_by)| Alias {
            spelling,
            mentions,
            merged_by,
        })
        .collect())
}
