//! The header of a safetensors file, checked as a whole before any tensor is touched.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::foreign;

/// The longest header that is read; 2,500 tensors have 400 KB.
const LIMIT: u64 = 100_000_000;

/// The name of the header's own entry.
const METADATA: &str = "__metadata__";

/// The type that a tensor's numbers are stored in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredType {
    /// IEEE half precision.
    F16,
    /// The upper half of a float32.
    Bf16,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
    /// Four exponent bits, no infinities: the largest number is 448.
    F8E4m3,
    /// Five exponent bits.
    F8E5m2,
    /// An integer or boolean type, by its name.
    Integer(String),
    /// Anything else, by its name.
    Other(String),
}

impl StoredType {
    fn of(name: &str) -> Self {
        match name {
            "F16" => Self::F16,
            "BF16" => Self::Bf16,
            "F32" => Self::F32,
            "F64" => Self::F64,
            "F8_E4M3" => Self::F8E4m3,
            "F8_E5M2" => Self::F8E5m2,
            "BOOL" | "U8" | "I8" | "U16" | "I16" | "U32" | "I32" | "U64" | "I64" => {
                Self::Integer(name.into())
            }
            _ => Self::Other(name.into()),
        }
    }

    /// Bytes of a number; `None` where that is not known.
    fn bytes(&self) -> Option<usize> {
        match self {
            Self::F8E4m3 | Self::F8E5m2 => Some(1),
            Self::F16 | Self::Bf16 => Some(2),
            Self::F32 => Some(4),
            Self::F64 => Some(8),
            Self::Integer(name) => match name.as_str() {
                "BOOL" | "U8" | "I8" => Some(1),
                "U16" | "I16" => Some(2),
                "U32" | "I32" => Some(4),
                _ => Some(8),
            },
            Self::Other(_) => None,
        }
    }
}

/// What a header says of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTensor {
    /// Its dimensions; none for a single number.
    pub shape: Vec<usize>,
    /// Its type.
    pub dtype: StoredType,
}

/// A checked header.
#[derive(Debug)]
pub(crate) struct Header {
    pub tensors: BTreeMap<String, StoredTensor>,
    pub metadata: BTreeMap<String, String>,
}

/// A tensor's entry as it is written.
#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

impl Header {
    /// Reads the header of `path` and holds it against the file: every tensor lies inside, none on
    /// another, and the file ends with the last of them.
    ///
    /// # Errors
    /// [`Error::Safetensors`] with what is wrong; the error of a file that is plainly something
    /// else.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        if let Some(foreign) = foreign::what_is(path) {
            return Err(foreign);
        }
        let fail = |source| Error::Io {
            path: path.into(),
            source,
        };
        let wrong = |reason: String| Error::Safetensors {
            path: path.into(),
            reason,
        };
        let mut file = File::open(path).map_err(fail)?;
        let bytes = file.metadata().map_err(fail)?.len();
        if bytes < 8 {
            return Err(wrong(format!("it has {bytes} bytes, less than any")));
        }
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(fail)?;
        let length = u64::from_le_bytes(length);
        if length > LIMIT {
            return Err(wrong(
                "it does not begin with the length of a header".into(),
            ));
        }
        if 8 + length > bytes {
            let whole = 8 + length;
            return Err(wrong(format!(
                "it is cut short inside its header, {bytes} bytes of more than {whole}: download it again"
            )));
        }
        let mut text = Vec::with_capacity(length as usize);
        file.take(length).read_to_end(&mut text).map_err(fail)?;
        let (header, data) = Self::parse(&text).map_err(wrong)?;
        let whole = 8 + length + data;
        match bytes.cmp(&whole) {
            std::cmp::Ordering::Equal => Ok(header),
            std::cmp::Ordering::Less => Err(wrong(format!(
                "it is cut short, {bytes} bytes of {whole}: download it again"
            ))),
            std::cmp::Ordering::Greater => Err(wrong(format!(
                "it has {bytes} bytes, but its header accounts for {whole}"
            ))),
        }
    }

    /// The header of a text, and the bytes of all its tensors together.
    fn parse(text: &[u8]) -> std::result::Result<(Self, u64), String> {
        let raw: BTreeMap<String, Value> =
            serde_json::from_slice(text).map_err(|e| format!("its header is no JSON: {e}"))?;
        let (mut tensors, mut metadata) = (BTreeMap::new(), BTreeMap::new());
        let mut spans = Vec::with_capacity(raw.len());
        for (name, value) in raw {
            if name == METADATA {
                metadata = serde_json::from_value(value)
                    .map_err(|e| format!("its metadata are no texts: {e}"))?;
                continue;
            }
            let entry: Entry = serde_json::from_value(value)
                .map_err(|e| format!("what it says of {name} is not understood: {e}"))?;
            spans.push((entry.data_offsets, name.clone()));
            tensors.insert(name.clone(), entry.checked(&name)?);
        }
        spans.sort();
        let mut end = 0;
        for ([from, to], name) in spans {
            if from != end {
                return Err(format!("{name} begins at byte {from} instead of {end}"));
            }
            end = to;
        }
        Ok((Self { tensors, metadata }, end))
    }
}

impl Entry {
    /// Whether it is as long as its shape says.
    fn checked(self, name: &str) -> std::result::Result<StoredTensor, String> {
        let dtype = StoredType::of(&self.dtype);
        let [from, to] = self.data_offsets;
        let count = self.shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        let bytes = count.and_then(|count| match dtype.bytes() {
            Some(size) => count.checked_mul(size).map(|bytes| bytes as u64),
            None => Some(to.saturating_sub(from)),
        });
        if from > to || bytes != Some(to - from) {
            let shape = &self.shape;
            return Err(format!(
                "{name} has bytes {from} to {to}, which do not fit {} {shape:?}",
                self.dtype
            ));
        }
        Ok(StoredTensor {
            shape: self.shape,
            dtype,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let parsed = Header::parse(text.as_bytes());
        parsed.map_or_else(|reason| reason, |_| "accepted".into())
    }

    #[test]
    fn tensors_lie_one_after_the_other_and_are_as_long_as_their_shapes() {
        let good = r#"{"__metadata__":{"a":"b"},"x":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]},"e":{"dtype":"F32","shape":[0],"data_offsets":[12,12]}}"#;
        let (header, bytes) = Header::parse(good.as_bytes()).expect("a header");
        assert_eq!((header.tensors.len(), bytes), (2, 12));
        assert_eq!(header.metadata["a"], "b");
        assert_eq!(header.tensors["x"].dtype, StoredType::F16);
        let cases = [
            ("[]", "no JSON"),
            ("{\"x\":3}", "not understood"),
            ("{\"__metadata__\":{\"a\":1}}", "metadata"),
            (
                r#"{"x":{"dtype":"F16","shape":[2,3],"data_offsets":[0,11]}}"#,
                "do not fit",
            ),
            (
                r#"{"x":{"dtype":"F16","shape":[2],"data_offsets":[4,0]}}"#,
                "do not fit",
            ),
            (
                r#"{"x":{"dtype":"F16","shape":[2],"data_offsets":[2,6]}}"#,
                "begins at byte 2",
            ),
            (
                r#"{"x":{"dtype":"F16","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#,
                "do not fit",
            ),
            (
                r#"{"x":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"y":{"dtype":"F16","shape":[2],"data_offsets":[2,6]}}"#,
                "begins at byte 2",
            ),
        ];
        for (text, words) in cases {
            let found = refused(text);
            assert!(found.contains(words), "{found}");
        }
    }
}
