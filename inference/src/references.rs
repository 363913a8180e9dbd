//! The reference photos: people that no network was trained on. generate-samples shows them, evaluate compares with
//! them, and both find them here. A file `references.csv` among them may say what people are called in prompts; people write
//! it, and nobody else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use image::RgbImage;
use laioncele_core::error::Cause;
use laioncele_core::nearest::nearest;
use laioncele_core::{CoreError, DropReason, Manifest, ModelFiles};
use laioncele_image::{DecodeError, Limits, Orientation, decode};
use serde::Deserialize;

use crate::lists::{ListRow, named_fields};
use crate::person_word::PersonWord;

/// The largest file that is read as a photo.
const MAX_BYTES: u64 = 256 << 20;

/// The list of what people are called, in the folder of their photos: columns `person` and `word`, others are not read.
pub const WORDS_FILE: &str = "references.csv";

/// Somebody with reference photos.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The sub-folder's name, or the file's without its extension.
    pub name: String,
    /// Their photos, sorted by path.
    pub photos: Vec<PathBuf>,
    /// What they are called in prompts, where [`WORDS_FILE`] says it.
    pub word: Option<PersonWord>,
}

/// Why a person has no usable photo, as a dropped row says it.
pub type Refusal = (DropReason, String);

/// The keys of `[generate_samples]` that are read here; the stage checks the others.
#[derive(Default, Deserialize)]
struct Keys {
    references: Option<PathBuf>,
}

/// `references` of `[generate_samples]`, resolved; `None` where it is not given.
///
/// # Errors
/// [`CoreError::Manifest`]: a wrong type; a url of which nothing can be fetched.
pub fn folder(manifest: &Manifest) -> Result<Option<PathBuf>, CoreError> {
    let Keys { references } = manifest.section("generate_samples")?;
    manifest.resolve_given(references.as_deref())
}

/// The error of a stage that needs `references` where the manifest has none.
pub fn missing(manifest: &Manifest) -> CoreError {
    let text = "[generate_samples] references is missing: a folder with reference photos of people";
    manifest.error(text.to_owned())
}

/// The people of a folder, sorted by name: one photo each, or a sub-folder of photos each. Names that begin with a dot
/// are passed over. Their words are those of [`WORDS_FILE`].
///
/// # Errors
/// A folder that is missing or cannot be read, a list of words with something wrong in it.
pub fn people(folder: &Path) -> Result<Vec<Person>, CoreError> {
    let mut people: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    let list = folder.join(WORDS_FILE);
    for path in visible_entries(folder)? {
        if path == list {
            continue;
        }
        if path.is_dir() {
            let photos = visible_entries(&path)?.into_iter();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let photos = photos.filter(|path| path.is_file());
            people.entry(name.into_owned()).or_default().extend(photos);
        } else {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            people.entry(name.into_owned()).or_default().push(path);
        }
    }
    let names: BTreeSet<&str> = people.keys().map(String::as_str).collect();
    let words = words(&list, &names)?;
    let person = |(name, photos)| Person {
        word: words.get(&name).copied(),
        name,
        photos,
    };
    Ok(people.into_iter().map(person).collect())
}

/// The words of [`WORDS_FILE`]; none without the file. Who has no word there gets a guess.
fn words(list: &Path, people: &BTreeSet<&str>) -> Result<BTreeMap<String, PersonWord>, CoreError> {
    if !list.is_file() {
        return Ok(BTreeMap::new());
    }
    let wrong = |reason: String| CoreError::List {
        path: list.to_owned(),
        reason,
    };
    let bytes = std::fs::read(list).map_err(|error| CoreError::from_io(list, error))?;
    let text = String::from_utf8(bytes).map_err(|error| wrong(format!("not UTF-8: {error}")))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let rows = named_fields(text, &["person", "word"]).map_err(wrong)?;
    let mut words: BTreeMap<String, PersonWord> = BTreeMap::new();
    for row in rows {
        let (person, word) = (field(&row, "person"), field(&row, "word"));
        if word.is_empty() {
            continue;
        }
        let at_line = |reason| wrong(format!("line {}: {reason}", row.line));
        let word = word_of(person, word, people).map_err(at_line)?;
        if words.insert(person.to_owned(), word).is_some() {
            return Err(at_line(format!("a second word for `{person}`")));
        }
    }
    Ok(words)
}

fn field<'a>(row: &'a ListRow, name: &str) -> &'a str {
    row.fields.get(name).map_or("", |value| value.trim())
}

/// The word of a line for somebody among `people`, or what is wrong.
fn word_of(person: &str, word: &str, people: &BTreeSet<&str>) -> Result<PersonWord, String> {
    if !people.contains(person) {
        let names: Vec<String> = people.iter().map(ToString::to_string).collect();
        let near = nearest(person, &names).map(|name| format!(": did you mean `{name}`?"));
        return Err(format!(
            "there is no photo of `{person}`{}",
            near.unwrap_or_default()
        ));
    }
    word.parse()
}

/// The photos of a folder's people, and the list of their words, as task keys want them.
///
/// # Errors
/// As [`people`].
pub fn files_read(folder: &Path) -> Result<Vec<PathBuf>, Cause> {
    let photos = people(folder)?.into_iter().flat_map(|person| person.photos);
    let list = folder.join(WORDS_FILE);
    let list = list.is_file().then_some(list);
    Ok(photos.chain(list).collect())
}

/// The folder of reference photos, as a step's key names it.
pub fn model_files(folder: PathBuf) -> ModelFiles {
    ModelFiles::folder("references", folder, files_read)
}

/// The entries of a folder whose names do not begin with a dot, sorted.
///
/// # Errors
/// A folder that is missing or cannot be read.
pub fn visible_entries(folder: &Path) -> Result<Vec<PathBuf>, CoreError> {
    let fail = |error| CoreError::from_io(folder, error);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

impl Person {
    /// The photos' pixels, upright.
    ///
    /// # Errors
    /// The first photo that is no image, broken or too large; a person without photos.
    pub fn images(&self) -> Result<Vec<RgbImage>, Refusal> {
        if self.photos.is_empty() {
            return Err((DropReason::NotAnImage, "no photo".to_owned()));
        }
        self.photos.iter().map(|path| read_photo(path)).collect()
    }

    /// The pixels of those photos that decode, upright; of the others it is said why not.
    pub fn usable_photos(&self) -> Vec<RgbImage> {
        let usable = |path: &PathBuf| match read_photo(path) {
            Ok(image) => Some(image),
            Err((reason, detail)) => {
                tracing::warn!(%reason, detail, "reference photo skipped");
                None
            }
        };
        self.photos.iter().filter_map(usable).collect()
    }
}

/// The pixels of a photo's file, upright.
///
/// # Errors
/// Why there are none, and the file's name.
fn read_photo(path: &Path) -> Result<RgbImage, Refusal> {
    let name = || path.file_name().unwrap_or_default().to_string_lossy();
    let refuse = |reason, cause: &dyn std::fmt::Display| (reason, format!("{}: {cause}", name()));
    let broken = |error: std::io::Error| refuse(DropReason::Corrupt, &error);
    let size = std::fs::metadata(path).map_err(broken)?.len();
    if size > MAX_BYTES {
        let cause = format!("{size} bytes, more than {MAX_BYTES}");
        return Err(refuse(DropReason::TooLarge, &cause));
    }
    let bytes = std::fs::read(path).map_err(broken)?;
    decode(&bytes, &Limits::default(), Orientation::Upright).map_err(|error| {
        let reason = match error {
            DecodeError::NotAnImage => DropReason::NotAnImage,
            DecodeError::TooLarge { .. } => DropReason::TooLarge,
            DecodeError::Corrupt(_) => DropReason::Corrupt,
        };
        refuse(reason, &error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_files_or_folders() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        std::fs::create_dir(root.join("bea")).expect("a folder");
        std::fs::create_dir(root.join("cyd")).expect("a folder");
        for name in ["bea/2.png", "bea/1.jpg", "ada.jpeg", ".hidden"] {
            std::fs::write(root.join(name), b"x").expect("a file");
        }
        let people = people(root).expect("people");
        let names: Vec<_> = people
            .iter()
            .map(|p| (p.name.as_str(), p.photos.len()))
            .collect();
        assert_eq!(names, [("ada", 1), ("bea", 2), ("cyd", 0)]);
        assert_eq!(people[1].photos[0], root.join("bea/1.jpg"));
        let refusal = people[0].images().expect_err("no image");
        assert_eq!(refusal.0, DropReason::NotAnImage);
        assert!(refusal.1.starts_with("ada.jpeg"));
        assert_eq!(
            people[2].images().expect_err("no photo").0,
            DropReason::NotAnImage
        );
    }

    /// A folder with photos of Ada and Bea, and a list.
    fn with_list(text: &[u8]) -> (tempfile::TempDir, Result<Vec<Person>, CoreError>) {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["ada.png", "bea.png"] {
            std::fs::write(folder.path().join(name), b"x").expect("a file");
        }
        std::fs::write(folder.path().join(WORDS_FILE), text).expect("a file");
        let people = people(folder.path());
        (folder, people)
    }

    #[test]
    fn a_list_says_what_people_are_called_and_is_no_person() {
        let text =
            "\u{feff}verdict,Word,person\r\nchosen, Woman ,ada\r\nchosen,,bea\r\nrejected,,cyd\r\n";
        let (folder, people) = with_list(text.as_bytes());
        let words: Vec<_> = (people.expect("people").into_iter())
            .map(|person| (person.name, person.word))
            .collect();
        let expected = [("ada", Some(PersonWord::Woman)), ("bea", None)];
        assert_eq!(words, expected.map(|(name, word)| (name.to_owned(), word)));
        let files = files_read(folder.path()).expect("files");
        let names: Vec<_> = files.iter().filter_map(|path| path.file_name()).collect();
        assert_eq!(names, ["ada.png", "bea.png", WORDS_FILE], "in task keys");
    }

    #[test]
    fn what_is_wrong_with_a_list_is_named_with_file_and_line() {
        for (text, expected) in [
            (
                "person,word\nada,girl\n",
                "line 2: the word `girl` is none of man, woman, person",
            ),
            (
                "person,word\n\nbae,man\n",
                "line 3: there is no photo of `bae`: did you mean `bea`?",
            ),
            (
                "person,word\nada,man\nada,man\n",
                "line 3: a second word for `ada`",
            ),
            (
                "person,gender\nada,man\n",
                "line 1: there is no column `word`",
            ),
            ("\0\u{1}garbage", "line 1: there is no column `person`"),
            (
                "person,word\nada\n",
                "line 2: 1 fields where the header has 2",
            ),
            ("person,word\n\"ada,man\n", "line 2: a quote"),
            ("", "empty"),
        ] {
            let error = with_list(text.as_bytes()).1.expect_err(text).to_string();
            assert!(
                error.contains(expected) && error.contains(WORDS_FILE),
                "{error}"
            );
        }
        let error = with_list(b"person,word\nada,\xff\n")
            .1
            .expect_err("no text");
        assert!(error.to_string().contains("not UTF-8"), "{error}");
    }

    #[test]
    fn the_folder_is_read_of_the_manifest() {
        let folder_of = |text: &str| folder(&crate::sections::testing::manifest(text));
        assert_eq!(folder_of("").expect("no section"), None);
        let given = folder_of("[generate_samples]\nreferences = \"people\"\nsteps = 4\n");
        assert_eq!(given.expect("a folder"), Some(PathBuf::from("/run/people")));
    }
}
