//! What of a model is in a bucket: an object, or the objects below a folder, by the names that their copies get.

use std::path::{Path, PathBuf};

use object_store::ObjectMeta;

use super::refused;
use crate::bucket::Bucket;
use crate::error::CoreError;

/// Files of so many bytes are fetched whatever they are.
const SMALL: u64 = 32 << 20;
/// Endings of weights that nothing here reads: of PyTorch's pickles and of other frameworks, as they lie beside the readable ones.
const FOREIGN: [&str; 10] = [
    "bin",
    "ckpt",
    "pt",
    "pth",
    "h5",
    "msgpack",
    "onnx_data",
    "pb",
    "tflite",
    "gguf",
];

/// What is at a url.
pub(super) enum Found {
    /// An object.
    Object(ObjectMeta),
    /// Objects by their paths below a folder.
    Folder(Vec<(PathBuf, ObjectMeta)>),
}

/// What is at `path` of `bucket`, which is `url`.
///
/// # Errors
/// Nothing; names that no file may have.
pub(super) fn look(bucket: &Bucket, path: &str, url: &str) -> Result<Found, CoreError> {
    // An object of no bytes is how some programs mark a folder.
    let object = match path {
        "" => None,
        path => bucket.about(path)?.filter(|about| about.size > 0),
    };
    if let Some(about) = object {
        return Ok(Found::Object(about));
    }
    let mut files = Vec::new();
    for about in bucket.list(path)? {
        let location = about.location.as_ref();
        let below = location.strip_prefix(path).unwrap_or(location);
        files.push((file_name(url, below.trim_start_matches('/'))?, about));
    }
    let files = without_marks(files);
    if files.is_empty() {
        return Err(refused(
            url,
            "there is no object and no folder of this name",
        ));
    }
    Ok(Found::Folder(read_at_all(files, url)))
}

/// `name` as the relative path of a file, which leads nowhere else.
///
/// # Errors
/// A name that no file may have, or that leads out of its folder.
pub(super) fn file_name(url: &str, name: &str) -> Result<PathBuf, CoreError> {
    let is_plain = |part: &str| {
        !["", ".", ".."].contains(&part) && !part.contains(|c: char| c == '\\' || c.is_control())
    };
    match name.split('/').all(is_plain) {
        true => Ok(name.into()),
        false => {
            let text =
                format!("an object there has a name that no file of a model may have: {name:?}");
            Err(refused(url, &text))
        }
    }
}

/// Without the objects of no bytes that mark folders of others.
fn without_marks(files: Vec<(PathBuf, ObjectMeta)>) -> Vec<(PathBuf, ObjectMeta)> {
    let names: Vec<PathBuf> = files.iter().map(|(name, _)| name.clone()).collect();
    let is_folder = |folder: &Path| {
        let mut inside = names.iter().filter(|name| name.starts_with(folder));
        inside.any(|name| name != folder)
    };
    let files = files.into_iter();
    files
        .filter(|(name, about)| about.size > 0 || !is_folder(name))
        .collect()
}

/// Without large files that nothing here reads: the half of a published model's bytes, and more.
fn read_at_all(files: Vec<(PathBuf, ObjectMeta)>, url: &str) -> Vec<(PathBuf, ObjectMeta)> {
    let names: Vec<PathBuf> = files.iter().map(|(name, _)| name.clone()).collect();
    let (read, left): (Vec<_>, Vec<_>) =
        (files.into_iter()).partition(|(name, about)| about.size <= SMALL || is_read(name, &names));
    if !left.is_empty() {
        let bytes: u64 = left.iter().map(|(_, about)| about.size).sum();
        let count = left.len();
        tracing::info!(
            "{url}: {count} large files in formats or places that are not read stay there ({bytes} bytes)"
        );
    }
    read
}

/// Whether the large file `name` may be read, among `names`: not in another framework's format, not in half precision beside the same in
/// full, not a whole model in one file in the folder of the same model.
fn is_read(name: &Path, names: &[PathBuf]) -> bool {
    let ending = name.extension().and_then(|ending| ending.to_str());
    let ending = ending.unwrap_or_default().to_lowercase();
    let beside = |file: &str| names.contains(&name.with_file_name(file));
    let text = name.file_name().unwrap_or_default().to_string_lossy();
    let full = text.replace(".fp16.", ".");
    let in_full = text != full && beside(&full);
    let one_file = ending == "safetensors" && beside("model_index.json");
    !FOREIGN.contains(&ending.as_str()) && !in_full && !one_file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(name: &str, size: u64) -> (PathBuf, ObjectMeta) {
        let about = ObjectMeta {
            location: name.into(),
            last_modified: std::time::SystemTime::UNIX_EPOCH.into(),
            size,
            e_tag: None,
            version: None,
        };
        (name.into(), about)
    }

    fn names(files: &[(PathBuf, ObjectMeta)]) -> Vec<&str> {
        let names = files.iter().filter_map(|(name, _)| name.to_str());
        names.collect()
    }

    #[test]
    fn names_stay_in_their_folder() {
        for name in ["a", "unet/config.json", "a..b/..c", "ünet/x y", "-rf"] {
            assert_eq!(file_name("u", name).expect(name), Path::new(name));
        }
        for name in [
            "",
            "..",
            "../x",
            "a/../../x",
            "a/./b",
            "/etc/x",
            "a//b",
            "a/",
            "..\\x",
            "a\0b",
            "a\nb",
        ] {
            let error = file_name("s3://b/m", name).expect_err(name).to_string();
            assert!(
                error.contains("s3://b/m") && error.contains("no file"),
                "{error}"
            );
        }
    }

    #[test]
    fn marks_of_folders_are_no_files() {
        let files = [
            about("unet", 0),
            about("unet/w", 1),
            about("empty", 0),
            about("unet2", 0),
        ];
        let kept = without_marks(files.into());
        assert_eq!(names(&kept), ["unet/w", "empty", "unet2"]);
    }

    #[test]
    fn large_files_that_nothing_reads_stay_where_they_are() {
        const LARGE: u64 = SMALL + 1;
        let files = [
            about("model_index.json", 1),
            about("sd_xl_base_1.0.safetensors", LARGE),
            about("unet/diffusion_pytorch_model.safetensors", LARGE),
            about("unet/diffusion_pytorch_model.fp16.safetensors", LARGE),
            about("unet/diffusion_pytorch_model.bin", LARGE),
            about("vae/diffusion_pytorch_model.fp16.safetensors", LARGE),
            about("unet/model.onnx", LARGE),
            about("unet/model.onnx_data", LARGE),
            about("vocab/lookups.bin", SMALL),
            about("ner/model", LARGE),
        ];
        let read = read_at_all(files.into(), "s3://b/m");
        let expected = [
            "model_index.json",
            "unet/diffusion_pytorch_model.safetensors",
            "vae/diffusion_pytorch_model.fp16.safetensors",
            "unet/model.onnx",
            "vocab/lookups.bin",
            "ner/model",
        ];
        assert_eq!(names(&read), expected);
        // Single files in a folder of their own are what one reads.
        let loras = vec![about("a.safetensors", LARGE), about("b.safetensors", LARGE)];
        assert_eq!(read_at_all(loras, "s3://b/l").len(), 2);
    }
}
