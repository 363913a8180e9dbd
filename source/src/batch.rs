//! Rows of a source, some thousand at a time, in the same form whatever the file's format.

use arrow::array::{Array, BinaryArray, BinaryBuilder, Float64Array, StringArray};
use arrow::array::{Float64Builder, StringBuilder};

use crate::role::{ROLES, Role};

/// Rows of a batch at most.
pub(crate) const BATCH_ROWS: usize = 8192;
/// Bytes of a batch by the file's own count, so that long captions make short batches.
pub(crate) const BATCH_BYTES: usize = 16 << 20;

/// Some rows of a file; columns that the file does not have are absent.
#[derive(Debug, Default)]
pub struct SourceBatch {
    pub(crate) rows: usize,
    pub(crate) url: Option<BinaryArray>,
    pub(crate) caption: Option<BinaryArray>,
    pub(crate) nsfw: Option<BinaryArray>,
    pub(crate) status: Option<BinaryArray>,
    pub(crate) hash: Option<StringArray>,
    pub(crate) width: Option<Float64Array>,
    pub(crate) height: Option<Float64Array>,
    pub(crate) punsafe: Option<Float64Array>,
    pub(crate) pwatermark: Option<Float64Array>,
    pub(crate) similarity: Option<Float64Array>,
    pub(crate) image_at: Option<StringArray>,
    pub(crate) malformed: Option<StringArray>,
}

/// A row as the file has it. Numbers that are null or not finite are absent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SourceRow<'a> {
    /// Why nothing else of the row is known: the line or sample cannot be read.
    pub malformed: Option<&'a str>,
    /// The image's url, maybe not UTF-8.
    pub url: Option<&'a [u8]>,
    /// The text beside it, maybe not UTF-8.
    pub caption: Option<&'a [u8]>,
    /// A hash of the image: hexadecimal digits (32 of an MD5, 64 of a SHA-256), or what says
    /// nothing about its bytes.
    pub hash: Option<&'a str>,
    /// Width of the image in pixels.
    pub width: Option<f64>,
    /// Height of the image in pixels.
    pub height: Option<f64>,
    /// Probability in [0, 1] that the image is not safe for work.
    pub punsafe: Option<f32>,
    /// Probability in [0, 1] that the image has a watermark.
    pub pwatermark: Option<f32>,
    /// Cosine similarity in [-1, 1] of image and caption.
    pub similarity: Option<f32>,
    /// LAION-400M's label.
    pub nsfw: Option<&'a [u8]>,
    /// Whether img2dataset has the image: `success`, or how it failed.
    pub status: Option<&'a [u8]>,
    /// Where the source holds the image's bytes, for [`crate::SourceImages`].
    pub image_at: Option<&'a str>,
}

impl SourceBatch {
    /// Its rows, in order.
    pub fn rows(&self) -> Vec<SourceRow<'_>> {
        (0..self.rows).map(|i| self.row(i)).collect()
    }

    fn row(&self, i: usize) -> SourceRow<'_> {
        SourceRow {
            malformed: text(self.malformed.as_ref(), i),
            url: bytes(self.url.as_ref(), i),
            caption: bytes(self.caption.as_ref(), i),
            hash: text(self.hash.as_ref(), i),
            width: number(self.width.as_ref(), i),
            height: number(self.height.as_ref(), i),
            punsafe: score(self.punsafe.as_ref(), i),
            pwatermark: score(self.pwatermark.as_ref(), i),
            similarity: score(self.similarity.as_ref(), i),
            nsfw: bytes(self.nsfw.as_ref(), i),
            status: bytes(self.status.as_ref(), i),
            image_at: text(self.image_at.as_ref(), i),
        }
    }
}

fn bytes(values: Option<&BinaryArray>, i: usize) -> Option<&[u8]> {
    let values = values.filter(|v| v.is_valid(i))?;
    Some(values.value(i))
}

fn text(values: Option<&StringArray>, i: usize) -> Option<&str> {
    let values = values.filter(|v| v.is_valid(i))?;
    Some(values.value(i))
}

fn number(values: Option<&Float64Array>, i: usize) -> Option<f64> {
    let values = values.filter(|v| v.is_valid(i))?;
    Some(values.value(i)).filter(|v| v.is_finite())
}

/// Scores are single precision in the sources.
fn score(values: Option<&Float64Array>, i: usize) -> Option<f32> {
    number(values, i)
        .map(|v| v as f32)
        .filter(|v| v.is_finite())
}

/// The hash in the bytes of a column that is not declared as text: an MD5 or SHA-256 in hexadecimal
/// digits, unless they are such digits or a number already. That an MD5's 16 bytes are all of these
/// happens once in 10^16.
pub(crate) fn hash_text(bytes: &[u8]) -> String {
    let is_written = match bytes {
        [b'-', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        bytes => bytes.iter().all(u8::is_ascii_hexdigit),
    };
    if matches!(bytes.len(), 16 | 32) && !is_written {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    } else {
        String::from_utf8_lossy(bytes).into_owned()
    }
}

/// A row's values as text, by [`Role`].
pub(crate) type Values = [Option<Vec<u8>>; ROLES];

/// A row of a file of text: its values, or why it cannot be read.
pub(crate) struct TextRow {
    pub(crate) values: Result<Values, String>,
    /// Where the source holds the image's bytes.
    pub(crate) image_at: Option<String>,
}

/// Collects rows of text as a batch.
#[derive(Default)]
pub(crate) struct BatchBuilder {
    rows: usize,
    bytes: usize,
    texts: [BinaryBuilder; 4],
    hash: StringBuilder,
    numbers: [Float64Builder; 5],
    image_at: StringBuilder,
    malformed: StringBuilder,
}

const TEXTS: [Role; 4] = [Role::Url, Role::Caption, Role::Nsfw, Role::Status];
const NUMBERS: [Role; 5] = [
    Role::Width,
    Role::Height,
    Role::Punsafe,
    Role::Pwatermark,
    Role::Similarity,
];

impl BatchBuilder {
    /// Whether the batch has as many rows or bytes as one may have.
    pub(crate) fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    pub(crate) fn push(&mut self, row: TextRow) {
        self.rows += 1;
        let (values, malformed) = match row.values {
            Ok(values) => (values, None),
            Err(why) => (Values::default(), Some(why)),
        };
        self.bytes += values.iter().flatten().map(Vec::len).sum::<usize>();
        let of = |role: Role| values[role as usize].as_deref();
        for (builder, role) in self.texts.iter_mut().zip(TEXTS) {
            builder.append_option(of(role));
        }
        for (builder, role) in self.numbers.iter_mut().zip(NUMBERS) {
            let text = of(role).and_then(|bytes| std::str::from_utf8(bytes).ok());
            builder.append_option(text.and_then(|text| text.trim().parse().ok()));
        }
        let hash = of(Role::Hash).filter(|h| !h.is_empty());
        self.hash.append_option(hash.map(String::from_utf8_lossy));
        self.image_at.append_option(row.image_at);
        self.malformed.append_option(malformed);
    }

    /// The batch of what was pushed.
    pub(crate) fn finish(mut self) -> SourceBatch {
        let [url, caption, nsfw, status] = self.texts.each_mut().map(|b| Some(b.finish()));
        let [width, height, punsafe, pwatermark, similarity] =
            self.numbers.each_mut().map(|b| Some(b.finish()));
        SourceBatch {
            rows: self.rows,
            url,
            caption,
            nsfw,
            status,
            hash: Some(self.hash.finish()),
            width,
            height,
            punsafe,
            pwatermark,
            similarity,
            image_at: Some(self.image_at.finish()),
            malformed: Some(self.malformed.finish()),
        }
    }
}
