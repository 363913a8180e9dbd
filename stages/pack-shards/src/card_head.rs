//! The card's YAML, by which the Hugging Face hub and `datasets` know the dataset, and what it says of
//! its columns.

use std::fmt::Write;

use arrow::datatypes::{DataType, Schema};

use crate::index::Shard;
use crate::parquet_file::{PICTURES, dtype};
use crate::settings::{Extra, Ids, Settings};

/// The file that says whose the works are, where the manifest names no other.
pub(crate) const LICENCE_FILE: &str = "LICENSE.md";

/// What [`LICENCE_FILE`] says.
pub(crate) const LICENCE_TEXT: &str = "\
# Whose this is

The photos and captions of this dataset are works of other people, taken from the web as it was. No licence of theirs is
given here, and whoever packed this folder cannot give one: `url` says where each photo came from, and its owner's terms
hold. The photos show real people, who have rights of their own: what the law of your country says on images of faces and
on personal data decides what you may do with them.

Names, embeddings, hashes, boxes and scores were computed by the models that the card lists, each under the licence that
stands there. Several of those licences allow research only.

A person who does not want to be in this dataset is left out of the next version: the card counts who asked so far.
";

/// Appends a line; writing to a String does not fail.
macro_rules! line {
    ($text:expr, $($form:tt)*) => {{ let _ = writeln!($text, $($form)*); }};
}

/// The block between the `---` lines, with them.
pub(crate) fn yaml(settings: &Settings, schema: &Schema, shards: &[Shard]) -> String {
    let mut text = "---\npretty_name: LaionCele\n".to_owned();
    line!(text, "license: {}", settings.licence);
    if settings.licence == "other" {
        line!(text, "license_name: {}", settings.licence_name);
        line!(text, "license_link: {}", settings.licence_link);
    }
    let rows: u64 = shards.iter().map(|shard| shard.rows).sum();
    let bytes: u64 = shards.iter().map(|shard| shard.bytes).sum();
    text.push_str("language:\n- en\ntask_categories:\n- text-to-image\n");
    line!(text, "size_categories:\n- {}", size_category(rows));
    text.push_str("tags:\n- faces\n- identity\n- name-embeddings\n- sdxl\n- laioncele\n");
    text.push_str("configs:\n- config_name: default\n  data_files:\n");
    for (split, _) in splits(shards) {
        line!(text, "  - split: {split}\n    path: {split}-*.parquet");
    }
    text.push_str("dataset_info:\n  features:\n");
    for field in schema.fields() {
        line!(text, "  - name: {}", field.name());
        match field.data_type() {
            _ if PICTURES.contains(&field.name().as_str()) => line!(text, "    dtype: image"),
            DataType::FixedSizeList(item, length) => {
                line!(
                    text,
                    "    list: {}\n    length: {length}",
                    dtype(item.data_type())
                );
            }
            DataType::List(item) => line!(text, "    list: {}", dtype(item.data_type())),
            other => line!(text, "    dtype: {}", dtype(other)),
        }
    }
    text.push_str("  splits:\n");
    for (split, shards) in splits(shards) {
        let rows: u64 = shards.iter().map(|shard| shard.rows).sum();
        let bytes: u64 = shards.iter().map(|shard| shard.bytes).sum();
        line!(
            text,
            "  - name: {split}\n    num_bytes: {bytes}\n    num_examples: {rows}"
        );
    }
    line!(
        text,
        "  download_size: {bytes}\n  dataset_size: {bytes}\n---"
    );
    text
}

/// The shards of each split; `train` also where there are none.
pub(crate) fn splits(shards: &[Shard]) -> Vec<(&str, &[Shard])> {
    if shards.is_empty() {
        return vec![("train", shards)];
    }
    let of_split = shards.chunk_by(|a, b| a.split() == b.split());
    of_split.map(|shards| (shards[0].split(), shards)).collect()
}

/// The hub's word for a number of examples.
fn size_category(rows: u64) -> String {
    const STEPS: [(u64, &str); 10] = [
        (1_000, "1K"),
        (10_000, "10K"),
        (100_000, "100K"),
        (1_000_000, "1M"),
        (10_000_000, "10M"),
        (100_000_000, "100M"),
        (1_000_000_000, "1B"),
        (10_000_000_000, "10B"),
        (100_000_000_000, "100B"),
        (1_000_000_000_000, "1T"),
    ];
    match STEPS.iter().position(|(most, _)| rows < *most) {
        Some(0) => "n<1K".to_owned(),
        Some(at) => format!("{}<n<{}", STEPS[at - 1].1, STEPS[at].1),
        None => "n>1T".to_owned(),
    }
}

/// The table of columns.
pub(crate) fn columns(settings: &Settings) -> String {
    let id = match settings.ids {
        Ids::Uint64 => "uint64",
        Ids::Int64 => "int64",
        Ids::Text => "string",
    };
    let form = match settings.ids {
        Ids::Uint64 => "",
        Ids::Int64 => ", its 64 bits with a sign",
        Ids::Text => ", 16 hexadecimal digits",
    };
    let mut text = "\n## Columns\n\n| column | type | what |\n|---|---|---|\n".to_owned();
    let rows = [
        ("`name_id`", id, format!("hash of the canonical name{form}")),
        ("`name`", "string", "the canonical name".to_owned()),
        (
            "`name_embedding`",
            "float16 [tokens × channels], row by row",
            "tokens 1 to 8 of the name through both SDXL text encoders, penultimate states"
                .to_owned(),
        ),
        (
            "`image`",
            "image",
            "the photo's file as it was downloaded; a TIFF or AVIF as a PNG of its pixels"
                .to_owned(),
        ),
        (
            "`caption`",
            "string",
            "a caption that names the person".to_owned(),
        ),
        ("`url`", "string", "where the photo came from".to_owned()),
        ("`image_id`", id, format!("hash of the url{form}")),
        ("`sha256`", "string", "of the bytes in `image`".to_owned()),
        (
            "`average_hash`",
            id,
            format!("64 bits, row by row, the first pixel in the highest{form}"),
        ),
        (
            "`similarity`",
            "float32",
            "mean cosine of the face to the name's four generated portraits".to_owned(),
        ),
        (
            "`face_box`",
            "float32 [4]",
            "left, top, right, bottom in pixels, upright".to_owned(),
        ),
        ("`width`, `height`", "uint32", "pixels".to_owned()),
    ];
    for (name, kind, what) in rows {
        line!(text, "| {name} | {kind} | {what} |");
    }
    for extra in &settings.columns {
        let (kind, what) = extra.words();
        line!(text, "| `{}` | {kind} | {what} |", extra.name());
    }
    text
}

impl Extra {
    /// Its type and its meaning.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::OtherNames => (
                "list of string",
                "the other names that this photo stands under: it shows several people",
            ),
            Self::Faces => ("uint32", "faces that the detector found in the photo"),
            Self::Landmarks => (
                "float32 [10]",
                "x, y in pixels, upright: the eye on the image's left, the other eye, the nose's tip, the mouth's corner on the image's left, the other corner",
            ),
            Self::FaceEmbedding => (
                "float32 [width]",
                "the matching face by the recognizer, of unit length",
            ),
            Self::AlignedFace => (
                "image",
                "the matching face, upright, 112 × 112, as ArcFace has it; null where its landmarks allow none",
            ),
        }
    }
}

/// How to load and to publish the folder.
pub(crate) fn usage(settings: &Settings) -> String {
    let mut text = "
`name_mean.safetensors` holds the mean name embedding of the people here (`mean`, Equation 4) and the mean length (`length`).

```python
from datasets import load_dataset
dataset = load_dataset(\"FOLDER\", split=\"train\")                        # or streaming=True

import polars
table = polars.read_parquet(\"FOLDER/train-*.parquet\")
```
"
    .to_owned();
    if settings.ids == Ids::Uint64 {
        text.push_str("\nIds are uint64: torch's tensors know no such type and show those above 2⁶³ as negative numbers.\n");
    }
    if settings.webdataset {
        text.push_str("\nEach Parquet shard is here once more as a tar file for the `webdataset` library: of each photo its file, `json` and `npy`.\n");
    }
    text.push_str("
## Publishing it

`hf upload-large-folder OWNER/NAME FOLDER --repo-type=dataset` (of `huggingface_hub`) uploads this folder as it is; an
interrupted upload goes on. `croissant.json` is its description for other catalogues. Read `LICENSE.md` first.
");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_categories_are_the_hubs() {
        let cases = [
            (0, "n<1K"),
            (999, "n<1K"),
            (1000, "1K<n<10K"),
            (810_000, "100K<n<1M"),
            (5_000_000_000, "1B<n<10B"),
            (u64::MAX, "n>1T"),
        ];
        for (rows, word) in cases {
            assert_eq!(size_category(rows), word);
        }
    }
}
