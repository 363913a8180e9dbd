//! LaionCele's published shards in whatever form `[pack_shards]` gave them: other ids, more columns,
//! cut anew. What a training takes of a row is found by the columns' names; few rows are in memory.

use std::fs::File;
use std::path::Path;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type, UInt64Type};
use laioncele_core::EmbeddingDims;
use laioncele_core::table::{Cell, FaceBox, Image};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::error::{FinetuneError, Result};
use crate::photo::Photo;

/// Photos in memory at once.
const ROWS: usize = 32;

/// The columns that are read.
const COLUMNS: [&str; 6] = [
    "name_id", "image_id", "name", "caption", "image", "face_box",
];

/// Splits that are not trained on, as published shards are named.
const HELD_BACK: [&str; 2] = ["validation-", "test-"];

/// Whether a shard is one of a split that is kept for judging what was trained.
pub(crate) fn held_back(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    HELD_BACK.iter().any(|split| name.starts_with(split))
}

/// Calls `each` for the photos of one shard, some at a time.
///
/// # Errors
/// [`FinetuneError::Shard`]: a file that is no shard of LaionCele, or damaged; what `each` returns.
pub(crate) fn each(
    file: &Path,
    dims: &EmbeddingDims,
    mut each: impl FnMut(Vec<Photo>) -> Result<()>,
) -> Result<()> {
    let opened = File::open(file).map_err(FinetuneError::io(file))?;
    let odd = |reason: String| FinetuneError::Shard {
        path: file.into(),
        reason,
    };
    for batch in reader(opened).map_err(odd)? {
        let batch = batch.map_err(|error| odd(error.to_string()))?;
        each(photos(&batch, dims).map_err(odd)?)?;
    }
    Ok(())
}

/// The shard's rows, of the columns that are wanted.
fn reader(file: File) -> std::result::Result<ParquetRecordBatchReader, String> {
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| error.to_string())?;
    let fields = builder.schema().fields();
    let places = COLUMNS.map(|name| fields.find(name).map(|(place, _)| place));
    let absent = COLUMNS.iter().zip(places).filter(|(_, at)| at.is_none());
    let absent: Vec<&str> = absent.map(|(name, _)| *name).collect();
    if !absent.is_empty() {
        return Err(format!("it has no column {}", absent.join(", ")));
    }
    let mask = ProjectionMask::roots(builder.parquet_schema(), places.into_iter().flatten());
    let reader = builder.with_projection(mask).with_batch_size(ROWS).build();
    reader.map_err(|error| error.to_string())
}

fn photos(batch: &RecordBatch, dims: &EmbeddingDims) -> std::result::Result<Vec<Photo>, String> {
    let names = ids(batch, "name_id")?.into_iter();
    let keys = names.zip(ids(batch, "image_id")?);
    let people = values::<String>(batch, "name", dims)?.into_iter();
    let captions = values::<String>(batch, "caption", dims)?.into_iter();
    let images = values::<Image>(batch, "image", dims)?.into_iter();
    let faces = values::<FaceBox>(batch, "face_box", dims)?.into_iter();
    let rows = keys.zip(people).zip(captions).zip(images.zip(faces));
    let photos = rows.map(|((((name, image), person), caption), (file, face))| Photo {
        key: format!("{name}/{image}"),
        person,
        caption: Some(caption).filter(|text| !text.trim().is_empty()),
        bytes: file.bytes,
        face_box: face.0.try_into().ok(),
    });
    Ok(photos.collect())
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> std::result::Result<&'a ArrayRef, String> {
    let column = batch.column_by_name(name);
    column.ok_or_else(|| format!("it has no column {name}"))
}

fn values<C: Cell>(
    batch: &RecordBatch,
    name: &str,
    dims: &EmbeddingDims,
) -> std::result::Result<Vec<C>, String> {
    C::read(column(batch, name)?, dims).map_err(|reason| format!("column {name}: {reason}"))
}

/// A column of ids as hexadecimal digits, which are the same in every form.
fn ids(batch: &RecordBatch, name: &str) -> std::result::Result<Vec<String>, String> {
    let array = column(batch, name)?;
    let nulls = array.null_count();
    if nulls > 0 {
        return Err(format!("column {name}: {nulls} nulls"));
    }
    let hex = |id: u64| format!("{id:016x}");
    Ok(match array.data_type() {
        DataType::UInt64 => {
            let ids = array.as_primitive::<UInt64Type>().values().iter();
            ids.map(|id| hex(*id)).collect()
        }
        DataType::Int64 => {
            let ids = array.as_primitive::<Int64Type>().values().iter();
            ids.map(|id| hex(id.cast_unsigned())).collect()
        }
        DataType::Utf8 => {
            let ids = array.as_string::<i32>().iter();
            ids.map(|id| id.unwrap_or_default().to_owned()).collect()
        }
        other => return Err(format!("column {name} is of type {other}")),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray, UInt64Array};
    use arrow::datatypes::{Field, Schema};
    use parquet::arrow::ArrowWriter;

    use super::*;

    const DIMS: EmbeddingDims = EmbeddingDims {
        name_tokens: 8,
        name_channels: 4,
        face: 4,
        features: 3,
    };

    /// A shard of 40 photos whose ids are `ids`, its columns in another order and one more.
    fn shard(folder: &Path, ids: &ArrayRef, without: &str) -> std::path::PathBuf {
        let count = ids.len();
        let texts =
            |prefix: &str| -> Vec<String> { (0..count).map(|i| format!("{prefix} {i}")).collect() };
        let mut captions = texts("Ada Brook, photo");
        captions[1] = "  ".into();
        let image = |i: usize| Image {
            bytes: vec![i as u8; 3],
            path: format!("{i}.png"),
        };
        let column = |name: &'static str, array| (name, array);
        let all = [
            column("faces", u32::write(vec![1; count], &DIMS)),
            column(
                "face_box",
                FaceBox::write(
                    (0..count).map(|i| FaceBox(vec![i as f32; 4])).collect(),
                    &DIMS,
                ),
            ),
            column("caption", String::write(captions, &DIMS)),
            column(
                "image",
                Image::write((0..count).map(image).collect(), &DIMS),
            ),
            column("name", String::write(texts("Ada"), &DIMS)),
            column("image_id", Ok(ids.clone())),
            column("name_id", Ok(ids.clone())),
        ];
        let columns = all.into_iter().filter(|(name, _)| *name != without);
        let columns: Vec<(&str, ArrayRef)> = columns
            .map(|(name, array)| (name, array.expect("a column")))
            .collect();
        let fields = columns.iter();
        let fields: Vec<Field> = fields
            .map(|(name, array)| Field::new(*name, array.data_type().clone(), false))
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let arrays = columns.into_iter().map(|(_, array)| array).collect();
        let batch = RecordBatch::try_new(schema.clone(), arrays).expect("a batch");
        let path = folder.join("train-00000-of-00001.parquet");
        let file = File::create(&path).expect("a file");
        let mut writer = ArrowWriter::try_new(file, schema, None).expect("a writer");
        writer.write(&batch).expect("written");
        writer.close().expect("closed");
        path
    }

    fn read(path: &Path) -> Result<Vec<Photo>> {
        let mut all = Vec::new();
        each(path, &DIMS, |photos| {
            assert!(photos.len() <= ROWS);
            all.extend(photos);
            Ok(())
        })?;
        Ok(all)
    }

    #[test]
    fn all_forms_of_ids_are_the_same_photos() {
        let numbers: Vec<u64> = (0..40).map(|i| u64::MAX / 7 * 5 + i).collect();
        let signed = numbers.iter().map(|id| id.cast_signed());
        let texts = numbers.iter().map(|id| format!("{id:016x}"));
        let forms: [ArrayRef; 3] = [
            Arc::new(UInt64Array::from(numbers.clone())),
            Arc::new(Int64Array::from_iter_values(signed)),
            Arc::new(StringArray::from_iter_values(texts)),
        ];
        let photos = forms.map(|ids| {
            let folder = tempfile::tempdir().expect("a folder");
            read(&shard(folder.path(), &ids, "")).expect("photos")
        });
        assert!(photos[0] == photos[1] && photos[0] == photos[2]);
        let third = &photos[0][2];
        let id = format!("{:016x}", numbers[2]);
        assert_eq!(third.key, format!("{id}/{id}"));
        assert_eq!(third.person, "Ada 2");
        assert_eq!(third.caption.as_deref(), Some("Ada Brook, photo 2"));
        assert_eq!(
            (third.face_box, &third.bytes[..]),
            (Some([2.0; 4]), &[2, 2, 2][..])
        );
        assert_eq!(
            (photos[0][1].caption.as_deref(), photos[0].len()),
            (None, 40)
        );
    }

    #[test]
    fn what_is_no_shard_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let ids: ArrayRef = Arc::new(UInt64Array::from(vec![1, 2]));
        let path = shard(folder.path(), &ids, "caption");
        let text = read(&path).expect_err("no captions").to_string();
        assert!(
            text.ends_with("no shard of LaionCele: it has no column caption"),
            "{text}"
        );
        std::fs::write(&path, "PAR1 and no more").expect("written");
        let error = read(&path).expect_err("damaged");
        assert!(matches!(error, FinetuneError::Shard { .. }), "{error}");
    }

    #[test]
    fn other_splits_are_held_back() {
        let held = [
            "validation-00000-of-00001.parquet",
            "x/test-00000-of-00002.parquet",
        ];
        assert!(held.iter().all(|name| held_back(Path::new(name))));
        let taken = ["train-00000-of-00001.parquet", "testament.parquet"];
        assert!(!taken.iter().any(|name| held_back(Path::new(name))));
    }
}
