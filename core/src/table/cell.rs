//! The types that a column may have, each with its Arrow form and both conversions.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, FixedSizeListArray, Float16Array,
    Float32Array, Float64Array, ListArray, StringArray, UInt32Array, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{
    DataType, Field, Float16Type, Float32Type, Float64Type, UInt32Type, UInt64Type,
};
use half::f16;

use super::dims::EmbeddingDims;
use crate::drops::{DropReason, Unit};
use crate::ids::{CaptionId, ImageId, NameId};

/// A value that can stand in a column.
pub trait Cell: Sized {
    /// Whether the column may hold nulls.
    const NULLABLE: bool = false;
    /// The Arrow type.
    fn data_type(dims: &EmbeddingDims) -> DataType;
    /// All values as one array.
    ///
    /// # Errors
    /// A vector whose length is not the declared width.
    fn write(values: Vec<Self>, dims: &EmbeddingDims) -> Result<ArrayRef, String>;
    /// The values of an array.
    ///
    /// # Errors
    /// An array of another type; a null where the column may hold none.
    fn read(array: &ArrayRef, dims: &EmbeddingDims) -> Result<Vec<Self>, String>;
}

pub(super) fn typed<'a, T>(found: Option<&'a T>, array: &ArrayRef) -> Result<&'a T, String> {
    found.ok_or_else(|| format!("unexpected column type {}", array.data_type()))
}

/// Refuses nulls: for columns and parts of columns that are required.
pub(super) fn no_nulls(array: &dyn Array) -> Result<(), String> {
    match array.null_count() {
        0 => Ok(()),
        nulls => Err(format!("{nulls} nulls where a value is required")),
    }
}

macro_rules! number_cell {
    ($rust:ty, $arrow:ty, $array:ident, $variant:ident) => {
        impl Cell for $rust {
            fn data_type(_: &EmbeddingDims) -> DataType {
                DataType::$variant
            }
            fn write(values: Vec<Self>, _: &EmbeddingDims) -> Result<ArrayRef, String> {
                Ok(Arc::new($array::from(values)))
            }
            fn read(array: &ArrayRef, _: &EmbeddingDims) -> Result<Vec<Self>, String> {
                no_nulls(array)?;
                Ok(typed(array.as_primitive_opt::<$arrow>(), array)?
                    .values()
                    .to_vec())
            }
        }
        impl Cell for Option<$rust> {
            const NULLABLE: bool = true;
            fn data_type(_: &EmbeddingDims) -> DataType {
                DataType::$variant
            }
            fn write(values: Vec<Self>, _: &EmbeddingDims) -> Result<ArrayRef, String> {
                Ok(Arc::new($array::from(values)))
            }
            fn read(array: &ArrayRef, _: &EmbeddingDims) -> Result<Vec<Self>, String> {
                Ok(typed(array.as_primitive_opt::<$arrow>(), array)?
                    .iter()
                    .collect())
            }
        }
    };
}

number_cell!(u32, UInt32Type, UInt32Array, UInt32);
number_cell!(u64, UInt64Type, UInt64Array, UInt64);
number_cell!(f32, Float32Type, Float32Array, Float32);
number_cell!(f64, Float64Type, Float64Array, Float64);

macro_rules! id_cell {
    ($id:ident) => {
        impl Cell for $id {
            fn data_type(_: &EmbeddingDims) -> DataType {
                DataType::UInt64
            }
            fn write(values: Vec<Self>, dims: &EmbeddingDims) -> Result<ArrayRef, String> {
                u64::write(values.into_iter().map(|v| v.0).collect(), dims)
            }
            fn read(array: &ArrayRef, dims: &EmbeddingDims) -> Result<Vec<Self>, String> {
                Ok(u64::read(array, dims)?.into_iter().map(Self).collect())
            }
        }
    };
}

impl Cell for Option<NameId> {
    const NULLABLE: bool = true;
    fn data_type(_: &EmbeddingDims) -> DataType {
        DataType::UInt64
    }
    fn write(values: Vec<Self>, dims: &EmbeddingDims) -> Result<ArrayRef, String> {
        Option::<u64>::write(values.into_iter().map(|v| v.map(|id| id.0)).collect(), dims)
    }
    fn read(array: &ArrayRef, dims: &EmbeddingDims) -> Result<Vec<Self>, String> {
        let ids = Option::<u64>::read(array, dims)?.into_iter();
        Ok(ids.map(|v| v.map(NameId)).collect())
    }
}

/// A closed list of words, stored as text.
macro_rules! word_cell {
    ($word:ident) => {
        impl Cell for $word {
            fn data_type(_: &EmbeddingDims) -> DataType {
                DataType::Utf8
            }
            fn write(values: Vec<Self>, _: &EmbeddingDims) -> Result<ArrayRef, String> {
                let words = values.into_iter().map(Self::as_str);
                Ok(Arc::new(StringArray::from_iter_values(words)))
            }
            fn read(array: &ArrayRef, _: &EmbeddingDims) -> Result<Vec<Self>, String> {
                no_nulls(array)?;
                let word = |text: Option<&str>| {
                    let text = text.unwrap_or_default();
                    text.parse().map_err(|_| format!("unknown word `{text}`"))
                };
                let texts = typed(array.as_string_opt::<i32>(), array)?;
                texts.iter().map(word).collect()
            }
        }
    };
}

word_cell!(Unit);
word_cell!(DropReason);

impl Cell for Option<DropReason> {
    const NULLABLE: bool = true;
    fn data_type(_: &EmbeddingDims) -> DataType {
        DataType::Utf8
    }
    fn write(values: Vec<Self>, _: &EmbeddingDims) -> Result<ArrayRef, String> {
        let words = values.into_iter().map(|v| v.map(DropReason::as_str));
        Ok(Arc::new(words.collect::<StringArray>()))
    }
    fn read(array: &ArrayRef, _: &EmbeddingDims) -> Result<Vec<Self>, String> {
        let word = |text: &str| text.parse().map_err(|_| format!("unknown word `{text}`"));
        let texts = typed(array.as_string_opt::<i32>(), array)?;
        texts.iter().map(|v| v.map(word).transpose()).collect()
    }
}

id_cell!(CaptionId);
id_cell!(NameId);
id_cell!(ImageId);

impl Cell for bool {
    fn data_type(_: &EmbeddingDims) -> DataType {
        DataType::Boolean
    }
    fn write(values: Vec<Self>, _: &EmbeddingDims) -> Result<ArrayRef, String> {
        Ok(Arc::new(BooleanArray::from(values)))
    }
    fn read(array: &ArrayRef, _: &EmbeddingDims) -> Result<Vec<Self>, String> {
        no_nulls(array)?;
        Ok(typed(array.as_boolean_opt(), array)?
            .values()
            .iter()
            .collect())
    }
}

impl Cell for String {
    fn data_type(_: &EmbeddingDims) -> DataType {
        DataType::Utf8
    }
    fn write(values: Vec<Self>, _: &EmbeddingDims) -> Result<ArrayRef, String> {
        Ok(Arc::new(StringArray::from(values)))
    }
    fn read(array: &ArrayRef, _: &EmbeddingDims) -> Result<Vec<Self>, String> {
        no_nulls(array)?;
        Ok(typed(array.as_string_opt::<i32>(), array)?
            .iter()
            .map(|v| v.unwrap_or_default().to_owned())
            .collect())
    }
}

impl Cell for Option<String> {
    const NULLABLE: bool = true;
    fn data_type(_: &EmbeddingDims) -> DataType {
        DataType::Utf8
    }
    fn write(values: Vec<Self>, _: &EmbeddingDims) -> Result<ArrayRef, String> {
        Ok(Arc::new(StringArray::from(values)))
    }
    fn read(array: &ArrayRef, _: &EmbeddingDims) -> Result<Vec<Self>, String> {
        Ok(typed(array.as_string_opt::<i32>(), array)?
            .iter()
            .map(|v| v.map(str::to_owned))
            .collect())
    }
}

impl Cell for Vec<u8> {
    fn data_type(_: &EmbeddingDims) -> DataType {
        DataType::Binary
    }
    fn write(values: Vec<Self>, _: &EmbeddingDims) -> Result<ArrayRef, String> {
        Ok(Arc::new(BinaryArray::from_iter_values(values)))
    }
    fn read(array: &ArrayRef, _: &EmbeddingDims) -> Result<Vec<Self>, String> {
        no_nulls(array)?;
        Ok(typed(array.as_binary_opt::<i32>(), array)?
            .iter()
            .map(|v| v.unwrap_or_default().to_vec())
            .collect())
    }
}

macro_rules! vector_cell {
    ($(#[$doc:meta])* $name:ident, $item:ty, $arrow:ty, $array:ident, $variant:ident, $width:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name(pub Vec<$item>);

        impl Cell for $name {
            fn data_type(dims: &EmbeddingDims) -> DataType {
                let width: fn(&EmbeddingDims) -> usize = $width;
                let item = Arc::new(Field::new("item", DataType::$variant, false));
                DataType::FixedSizeList(item, i32::try_from(width(dims)).unwrap_or(i32::MAX))
            }
            fn write(values: Vec<Self>, dims: &EmbeddingDims) -> Result<ArrayRef, String> {
                let width: fn(&EmbeddingDims) -> usize = $width;
                let (width, rows) = (width(dims), values.len());
                if let Some(odd) = values.iter().find(|v| v.0.len() != width) {
                    return Err(format!("{} of width {}, expected {width}", stringify!($name), odd.0.len()));
                }
                let flat: Vec<$item> = values.into_iter().flat_map(|v| v.0).collect();
                let item = Arc::new(Field::new("item", DataType::$variant, false));
                let size = i32::try_from(width).map_err(|e| e.to_string())?;
                let list = FixedSizeListArray::try_new_with_length(item, size, Arc::new($array::from(flat)), None, rows);
                Ok(Arc::new(list.map_err(|e| e.to_string())?))
            }
            fn read(array: &ArrayRef, dims: &EmbeddingDims) -> Result<Vec<Self>, String> {
                let width: fn(&EmbeddingDims) -> usize = $width;
                no_nulls(array)?;
                let list = typed(array.as_fixed_size_list_opt(), array)?;
                no_nulls(list.values())?;
                if usize::try_from(list.value_length()) != Ok(width(dims)) {
                    return Err(format!("{} of width {}, expected {}", stringify!($name), list.value_length(), width(dims)));
                }
                let item = |values: ArrayRef| Ok(Self(typed(values.as_primitive_opt::<$arrow>(), &values)?.values().to_vec()));
                (0..list.len()).map(|i| item(list.value(i))).collect()
            }
        }
    };
}

vector_cell! {
    /// A name embedding, row-major [tokens × channels], f16.
    NameVector, f16, Float16Type, Float16Array, Float16, |w| w.name_tokens * w.name_channels
}
vector_cell! {
    /// A sum of name embeddings, row-major [tokens × channels], f64.
    NameSums, f64, Float64Type, Float64Array, Float64, |w| w.name_tokens * w.name_channels
}
vector_cell! {
    /// A face embedding of unit length, f32.
    FaceVector, f32, Float32Type, Float32Array, Float32, |w| w.face
}
vector_cell! {
    /// Both CLIP image encoders' projected features, L then G, f32, not normalized.
    FeatureVector, f32, Float32Type, Float32Array, Float32, |w| w.features
}
vector_cell! {
    /// left, top, right, bottom in pixels of the stored image, f32.
    FaceBox, f32, Float32Type, Float32Array, Float32, |_| 4
}
vector_cell! {
    /// Five points x, y in pixels: eye on the image's left, other eye, nose tip, mouth corner on the left, other one; f32.
    Landmarks, f32, Float32Type, Float32Array, Float32, |_| 10
}

/// The face embeddings of a name's portraits, in portrait order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaceVectors(pub Vec<FaceVector>);

impl Cell for FaceVectors {
    fn data_type(dims: &EmbeddingDims) -> DataType {
        DataType::List(Arc::new(Field::new(
            "item",
            FaceVector::data_type(dims),
            false,
        )))
    }
    fn write(values: Vec<Self>, dims: &EmbeddingDims) -> Result<ArrayRef, String> {
        let offsets = OffsetBuffer::from_lengths(values.iter().map(|v| v.0.len()));
        let items = FaceVector::write(values.into_iter().flat_map(|v| v.0).collect(), dims)?;
        let field = Arc::new(Field::new("item", FaceVector::data_type(dims), false));
        Ok(Arc::new(
            ListArray::try_new(field, offsets, items, None).map_err(|e| e.to_string())?,
        ))
    }
    fn read(array: &ArrayRef, dims: &EmbeddingDims) -> Result<Vec<Self>, String> {
        no_nulls(array)?;
        let lists = typed(array.as_list_opt::<i32>(), array)?;
        lists
            .iter()
            .map(|list| {
                list.map_or(Ok(Self::default()), |items| {
                    FaceVector::read(&items, dims).map(Self)
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{RecordBatch, StructArray};
    use arrow::datatypes::Schema;

    use super::*;
    use crate::table::Image;
    use crate::table::dims::TEST_DIMS as DIMS;
    use crate::table::row::Row;
    use crate::table::rows::UniquePhoto;

    /// A batch of unique photos, all columns declared nullable, one copy count given.
    fn batch(copies: Option<u32>) -> RecordBatch {
        let fields = UniquePhoto::fields(&DIMS).into_iter();
        let fields: Vec<_> = fields.map(|f| f.with_nullable(true)).collect();
        let id = || Arc::new(UInt64Array::from(vec![1])) as ArrayRef;
        let copies: ArrayRef = Arc::new(UInt32Array::from(vec![copies]));
        RecordBatch::try_new(
            Arc::new(Schema::new(fields)),
            vec![id(), id(), id(), copies],
        )
        .expect("a batch")
    }

    #[test]
    fn a_null_in_a_required_column_is_refused() {
        let read = |batch| UniquePhoto::from_batch(&batch, &DIMS, "part");
        assert_eq!(read(batch(Some(2))).expect("no nulls")[0].copies, 2);
        let error = crate::error::chain(&read(batch(None)).expect_err("a null"));
        assert!(error.contains("column `copies`: 1 nulls"), "{error}");
    }

    #[test]
    fn a_null_inside_a_required_value_is_refused() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
        let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![Some(&b"x"[..])]));
        let fields = ["bytes", "path"].into_iter().zip([&bytes, &texts]);
        let fields: Vec<_> = fields
            .map(|(name, a)| {
                (
                    Arc::new(Field::new(name, a.data_type().clone(), true)),
                    a.clone(),
                )
            })
            .collect();
        let images: ArrayRef = Arc::new(StructArray::from(fields));
        assert!(Image::read(&images, &DIMS).is_err());
    }
}
