//! The photos that are trained on: LaionCele's published shards, or a folder with a sub-folder of
//! photos for each person.

use std::path::{Path, PathBuf};

use laioncele_core::file_digests::FileDigests;
use laioncele_core::{Digest, EmbeddingDims, KeyHasher};
use laioncele_inference::references::visible_entries;

use crate::error::{FinetuneError, Result};
pub use crate::photo::Photo;
use crate::shards;

/// The caption of a photo that has none.
pub const PLAIN_CAPTION: &str = "a photo of a person";

/// How the photos lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// LaionCele's published shards, those of `train`.
    Shards,
    /// A sub-folder for each person, captions in `.txt` files beside the photos.
    Folders,
}

/// A data set, its files listed.
#[derive(Clone, Debug)]
pub struct DataSet {
    root: PathBuf,
    layout: Layout,
    /// Sorted; photos or shards.
    files: Vec<PathBuf>,
}

impl DataSet {
    /// Lists a data set: a folder with Parquet files, or with sub-folders of photos. Shards of the
    /// splits `validation` and `test` are no part of it.
    ///
    /// # Errors
    /// A folder that is missing, cannot be read or has neither.
    pub fn open(root: &Path) -> Result<Self> {
        let entries = visible_entries(root)?;
        let has =
            |path: &PathBuf, extension: &str| path.extension().is_some_and(|e| e == extension);
        let shards: Vec<PathBuf> = entries
            .iter()
            .filter(|path| has(path, "parquet") && path.is_file() && !shards::held_back(path))
            .cloned()
            .collect();
        if !shards.is_empty() {
            return Ok(Self {
                root: root.into(),
                layout: Layout::Shards,
                files: shards,
            });
        }
        let mut files = Vec::new();
        for folder in entries.iter().filter(|path| path.is_dir()) {
            let photos = visible_entries(folder)?.into_iter();
            files.extend(photos.filter(|path| path.is_file() && !has(path, "txt")));
        }
        if files.is_empty() {
            let reason = "it has neither Parquet files of LaionCele nor sub-folders of photos";
            return Err(FinetuneError::NoDataSet {
                dataset: root.into(),
                reason: reason.into(),
            });
        }
        Ok(Self {
            root: root.into(),
            layout: Layout::Folders,
            files,
        })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The digest of all its photos and captions, and of their names.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn digest(&self, digests: &FileDigests) -> Result<Digest> {
        let mut hasher = KeyHasher::new("fine-tuning-data-set");
        for file in &self.files {
            let name = file.strip_prefix(&self.root).unwrap_or(file);
            hasher = hasher.digest(&name.to_string_lossy(), digests.of(file)?);
            let caption = file.with_extension("txt");
            if self.layout == Layout::Folders && caption.is_file() {
                hasher = hasher.digest("caption", digests.of(&caption)?);
            }
        }
        Ok(hasher.finish())
    }

    /// Calls `each` for the photos in their order, some of a shard or one of a folder at a time.
    ///
    /// # Errors
    /// A file that cannot be read; what `each` returns.
    pub fn each(
        &self,
        dims: &EmbeddingDims,
        mut each: impl FnMut(Vec<Photo>) -> Result<()>,
    ) -> Result<()> {
        for file in &self.files {
            match self.layout {
                Layout::Shards => shards::each(file, dims, &mut each)?,
                Layout::Folders => each(vec![self.photo(file)?])?,
            }
        }
        Ok(())
    }

    fn photo(&self, file: &Path) -> Result<Photo> {
        let person = file.parent().and_then(Path::file_name).unwrap_or_default();
        let caption = file.with_extension("txt");
        let caption = match caption.is_file() {
            true => {
                let bytes = std::fs::read(&caption).map_err(FinetuneError::io(&caption))?;
                Some(String::from_utf8_lossy(&bytes).trim().to_owned())
            }
            false => None,
        };
        let key = file.strip_prefix(&self.root).unwrap_or(file);
        Ok(Photo {
            key: key.to_string_lossy().into_owned(),
            person: person.to_string_lossy().into_owned(),
            caption: caption.filter(|text| !text.is_empty()),
            bytes: std::fs::read(file).map_err(FinetuneError::io(file))?,
            face_box: None,
        })
    }
}

/// `caption` with "a person" in place of every mention of `name`, whatever its case; `None` if the
/// name is not in it.
pub fn without_name(caption: &str, name: &str) -> Option<String> {
    let (lower, wanted) = (caption.to_lowercase(), name.trim().to_lowercase());
    // Lowercasing that changes lengths would move the places.
    if wanted.is_empty() || lower.len() != caption.len() {
        return None;
    }
    let part_of_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let (mut text, mut end) = (String::new(), 0);
    for (start, found) in lower.match_indices(&wanted) {
        let after = start + found.len();
        let cut = part_of_word(lower[..start].chars().next_back())
            || part_of_word(lower[after..].chars().next());
        if cut || !(caption.is_char_boundary(start) && caption.is_char_boundary(after)) {
            continue;
        }
        text.push_str(&caption[end..start]);
        text.push_str("a person");
        end = after;
    }
    if end == 0 {
        return None;
    }
    text.push_str(&caption[end..]);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_give_way_to_a_person() {
        let without = |caption| without_name(caption, "Mira Castellan");
        assert_eq!(
            without("Mira Castellan at the beach").as_deref(),
            Some("a person at the beach")
        );
        assert_eq!(
            without("photo of mira castellan's hat, MIRA CASTELLAN").as_deref(),
            Some("photo of a person's hat, a person")
        );
        assert_eq!(without("Mira Castellano at the beach"), None);
        assert_eq!(without("somebody else"), None);
        assert_eq!(without_name("anything", ""), None);
        assert_eq!(without_name("İ Mira Castellan", "Mira Castellan"), None);
    }

    #[test]
    fn a_folder_has_a_sub_folder_for_each_person() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        for (name, text) in [
            ("ada/1.png", "x"),
            ("ada/1.txt", " a woman in a hat \n"),
            ("bea/2.jpg", "y"),
            ("bea/.hidden", "z"),
            ("loose.png", "w"),
        ] {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            std::fs::write(path, text).expect("written");
        }
        let dataset = DataSet::open(root).expect("a data set");
        let dims = EmbeddingDims {
            name_tokens: 8,
            name_channels: 4,
            face: 4,
            features: 3,
        };
        let mut photos = Vec::new();
        let each = |some: Vec<Photo>| {
            photos.extend(some);
            Ok(())
        };
        dataset.each(&dims, each).expect("photos");
        let found: Vec<_> = photos
            .iter()
            .map(|p| (p.key.as_str(), p.person.as_str(), p.caption.as_deref()))
            .collect();
        assert_eq!(
            found,
            [
                ("ada/1.png", "ada", Some("a woman in a hat")),
                ("bea/2.jpg", "bea", None)
            ]
        );
        let digest =
            |dataset: &DataSet| dataset.digest(&FileDigests::open(None)).expect("a digest");
        let before = digest(&dataset);
        std::fs::write(root.join("ada/1.txt"), "a woman").expect("written");
        assert_ne!(digest(&dataset), before);
    }

    #[test]
    fn splits_that_judge_are_no_part_of_it() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["train-00000", "validation-00000", "test-00000"] {
            let path = folder.path().join(format!("{name}-of-00001.parquet"));
            std::fs::write(path, "x").expect("written");
        }
        let dataset = DataSet::open(folder.path()).expect("a data set");
        let names = dataset.files.iter().map(|path| path.file_name());
        let names: Vec<_> = names.map(Option::unwrap_or_default).collect();
        assert_eq!(names, ["train-00000-of-00001.parquet"]);
    }

    #[test]
    fn a_folder_without_photos_is_no_data_set() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = DataSet::open(folder.path()).expect_err("empty");
        assert!(matches!(error, FinetuneError::NoDataSet { .. }), "{error}");
    }
}
