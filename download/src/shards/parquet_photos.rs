//! Photos as a Parquet table, with their bytes. Row groups are small, so that little is held in memory.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryBuilder, Float32Builder, Int32Builder, RecordBatch, StringBuilder,
};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::error::ShardError;
use super::photos::{Photo, Photos};
use super::status::SUCCESS;
use super::whole::{Unfinished, appear, unfinished};

/// Bytes of photos that are encoded together.
const BATCH_BYTES: usize = 4 << 20;
/// Bytes of a row group, about.
const GROUP_BYTES: usize = 32 << 20;
const IMAGE: &str = "image";

const TEXTS: [&str; 8] = [
    "key",
    "url",
    "caption",
    "status",
    "error_message",
    "sha256",
    "extension",
    "nsfw",
];
const SIZES: [&str; 4] = ["width", "height", "original_width", "original_height"];
const SCORES: [&str; 3] = ["similarity", "punsafe", "pwatermark"];

pub(crate) struct ParquetPhotos {
    path: PathBuf,
    writer: ArrowWriter<File>,
    schema: Arc<Schema>,
    batch: Batch,
    _unfinished: Unfinished,
}

/// Rows that are not encoded yet.
#[derive(Default)]
struct Batch {
    bytes: usize,
    texts: [StringBuilder; 8],
    sizes: [Int32Builder; 4],
    scores: [Float32Builder; 3],
    images: BinaryBuilder,
}

fn schema() -> Schema {
    let column = |kind: DataType| move |name: &&str| Field::new(*name, kind.clone(), true);
    let mut fields: Vec<Field> = TEXTS.iter().map(column(DataType::Utf8)).collect();
    fields.extend(SIZES.iter().map(column(DataType::Int32)));
    fields.extend(SCORES.iter().map(column(DataType::Float32)));
    fields.push(Field::new(IMAGE, DataType::Binary, true));
    Schema::new(fields)
}

/// Photos are compressed as they are. A page is looked at after so many values only, which must be few of theirs.
fn properties() -> WriterProperties {
    let image = ColumnPath::from(IMAGE);
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_write_batch_size(8)
        .set_column_compression(image.clone(), Compression::UNCOMPRESSED)
        .set_column_dictionary_enabled(image.clone(), false)
        .set_column_statistics_enabled(image, EnabledStatistics::None)
        .build()
}

impl ParquetPhotos {
    pub(crate) fn begin(path: &Path) -> Result<Self, ShardError> {
        let unfinished = unfinished(path);
        let file = File::create(&unfinished).map_err(ShardError::io(&unfinished))?;
        let schema = Arc::new(schema());
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties()));
        Ok(Self {
            path: path.to_owned(),
            writer: writer.map_err(ShardError::table(path))?,
            schema,
            batch: Batch::default(),
            _unfinished: Unfinished(unfinished),
        })
    }

    fn encode(&mut self) -> Result<(), ShardError> {
        let columns = std::mem::take(&mut self.batch).columns();
        let batch = RecordBatch::try_new(self.schema.clone(), columns);
        let batch = batch.map_err(ShardError::table(&self.path))?;
        let written = self.writer.write(&batch).and_then(|()| {
            if self.writer.in_progress_size() >= GROUP_BYTES {
                self.writer.flush()?;
            }
            Ok(())
        });
        written.map_err(ShardError::table(&self.path))
    }
}

impl Batch {
    fn push(&mut self, photo: &Photo) {
        let (row, status) = (photo.row, photo.status);
        let texts = [
            Some(photo.key),
            row.url.as_deref(),
            row.caption.as_deref(),
            Some(SUCCESS),
            None,
            status.sha256.as_deref(),
            Some(photo.extension()),
            row.nsfw.as_deref(),
        ];
        for (builder, text) in self.texts.iter_mut().zip(texts) {
            builder.append_option(text);
        }
        let sizes = [
            status.width,
            status.height,
            status.original_width,
            status.original_height,
        ];
        for (builder, size) in self.sizes.iter_mut().zip(sizes) {
            builder.append_option(size.and_then(|size| i32::try_from(size).ok()));
        }
        for (builder, (_, score)) in self.scores.iter_mut().zip(row.scores()) {
            builder.append_option(score);
        }
        self.images.append_value(photo.bytes);
        let caption = row.caption.as_ref().map_or(0, String::len);
        self.bytes += photo.bytes.len() + caption;
    }

    fn columns(mut self) -> Vec<ArrayRef> {
        let mut columns: Vec<ArrayRef> = Vec::new();
        columns.extend(
            self.texts
                .iter_mut()
                .map(|b| Arc::new(b.finish()) as ArrayRef),
        );
        columns.extend(
            self.sizes
                .iter_mut()
                .map(|b| Arc::new(b.finish()) as ArrayRef),
        );
        columns.extend(
            self.scores
                .iter_mut()
                .map(|b| Arc::new(b.finish()) as ArrayRef),
        );
        columns.push(Arc::new(self.images.finish()));
        columns
    }
}

impl Photos for ParquetPhotos {
    fn push(&mut self, photo: &Photo) -> Result<(), ShardError> {
        self.batch.push(photo);
        if self.batch.bytes >= BATCH_BYTES {
            self.encode()?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), ShardError> {
        self.encode()?;
        let file = self
            .writer
            .into_inner()
            .map_err(ShardError::table(&self.path))?;
        file.sync_data().map_err(ShardError::io(&self.path))?;
        appear(&self.path)
    }
}

/// The photos of a table that [`ParquetPhotos`] wrote, one after the other.
pub(crate) struct ParquetIndex {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
    next: Option<(String, Vec<u8>)>,
}

impl ParquetIndex {
    pub(crate) fn open(path: &Path) -> Result<Self, ShardError> {
        let file = File::open(path).map_err(ShardError::io(path))?;
        let table = ShardError::table;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(table(path))?;
        let columns = ["key", IMAGE];
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns);
        let reader = builder.with_projection(mask).with_batch_size(1).build();
        Ok(Self {
            path: path.to_owned(),
            reader: reader.map_err(table(path))?,
            next: None,
        })
    }

    /// The photo called `key`, which comes behind those that were asked for before.
    pub(crate) fn photo(&mut self, key: &str) -> Result<Option<Vec<u8>>, ShardError> {
        loop {
            if self.next.is_none() {
                self.next = self.read()?;
            }
            match &self.next {
                Some((found, _)) if found.as_str() < key => self.next = None,
                Some((found, _)) if found == key => {
                    return Ok(self.next.take().map(|(_, bytes)| bytes));
                }
                _ => return Ok(None),
            }
        }
    }

    fn read(&mut self) -> Result<Option<(String, Vec<u8>)>, ShardError> {
        let Some(batch) = self
            .reader
            .next()
            .transpose()
            .map_err(ShardError::table(&self.path))?
        else {
            return Ok(None);
        };
        let key = batch
            .column_by_name("key")
            .and_then(|c| c.as_string_opt::<i32>());
        let image = batch
            .column_by_name(IMAGE)
            .and_then(|c| c.as_binary_opt::<i32>());
        let (Some(key), Some(image)) = (key, image) else {
            return Err(ShardError::Damaged {
                path: self.path.clone(),
                reason: "its columns are others".to_owned(),
            });
        };
        let row =
            (batch.num_rows() > 0).then(|| (key.value(0).to_owned(), image.value(0).to_vec()));
        Ok(row)
    }
}
