//! Who and what was taken down: `forgotten.json`, tombstones that keep them out of the run for ever.
//!
//! The file holds hashes only, salted with random bytes of the run, so that it does not say whom it keeps out: of names and their
//! spellings, of urls, of the bytes of photos. `laioncele forget` writes it before it takes anything away, and only adds to it; a
//! crash leaves rows that the next `forget` takes away. extract-names and download-images read it, `verify` holds every file of
//! the run against it. It is in no task's key: what a task's record names is what its task gives under the tombstones of now,
//! for `forget` takes the rows out of all results that are there.

mod batch;
mod part;
mod scan;
mod text;

use std::collections::{BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, KeyHasher};
use crate::error::CoreError;
use crate::ids::{ImageId, NameId};
use crate::store::Store;
use crate::url::as_meant;

pub use batch::{Kept, keep, says};
pub use part::{Removed, Rewritten, without};
pub use scan::finds;
pub use text::words;

/// Where the tombstones are, in the run's folder.
pub const FORGOTTEN: &str = "forgotten.json";

/// The newest form of the file that this program reads, and the one it writes.
const FORMAT: u32 = 1;

/// The tombstones of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgotten {
    file: File,
    stones: HashSet<(Kind, Digest)>,
}

/// What a tombstone is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Spelling,
    Url,
    Sha256,
    Name,
    Image,
}

/// `forgotten.json`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct File {
    format: u32,
    /// Random, of this run.
    salt: String,
    /// Words of the longest spelling.
    longest: usize,
    /// People, urls and photos that were asked for, as they were counted when they were.
    people: u64,
    images: u64,
    /// Hashes, by kind.
    stones: BTreeSet<(Kind, Digest)>,
    /// Digests of encoders' weights that were trained with rows which were taken away later.
    encoders: BTreeSet<Digest>,
}

impl Forgotten {
    /// Tombstones without any; `salt` is random.
    pub fn new(salt: &[u8; 16]) -> Self {
        let salt = salt.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            file: File {
                format: FORMAT,
                salt,
                longest: 0,
                people: 0,
                images: 0,
                stones: BTreeSet::new(),
                encoders: BTreeSet::new(),
            },
            stones: HashSet::new(),
        }
    }

    /// The run's tombstones; none where nobody was taken down.
    ///
    /// # Errors
    /// Store errors; a file that cannot be understood, or of a newer program: nothing may run then, since it would bring
    /// back who was taken down.
    pub fn load(store: &Store) -> Result<Option<Self>, CoreError> {
        let bytes = match store.get(FORGOTTEN) {
            Ok(bytes) => bytes,
            Err(CoreError::Missing { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let fail = |e: serde_json::Error| CoreError::record(FORGOTTEN, e);
        let Format { format } = serde_json::from_slice(&bytes).map_err(fail)?;
        if format > FORMAT {
            return Err(CoreError::Newer {
                path: FORGOTTEN.to_owned(),
                what: "the tombstones".to_owned(),
                found: format,
                known: FORMAT,
            });
        }
        let file: File = serde_json::from_slice(&bytes).map_err(fail)?;
        let stones = file.stones.iter().copied().collect();
        Ok(Some(Self { file, stones }))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// Store errors.
    pub fn save(&self, store: &Store) -> Result<(), CoreError> {
        let text = serde_json::to_vec_pretty(&self.file);
        let text = text.map_err(|e| CoreError::record(FORGOTTEN, e))?;
        store.put(FORGOTTEN, text)
    }

    fn hash(&self, kind: Kind, what: &str) -> Digest {
        KeyHasher::new("forgotten")
            .text("salt", &self.file.salt)
            .number("kind", kind as u64)
            .text("what", what)
            .finish()
    }

    fn has(&self, kind: Kind, what: &str) -> bool {
        self.stones.contains(&(kind, self.hash(kind, what)))
    }

    /// Whether it was new.
    fn add(&mut self, kind: Kind, what: &str) -> bool {
        let stone = (kind, self.hash(kind, what));
        self.stones.insert(stone);
        self.file.stones.insert(stone)
    }

    /// Keeps out whatever text has this spelling, in whatever case. One without a letter or digit is none.
    pub fn add_spelling(&mut self, spelling: &str) -> bool {
        let words = words(spelling);
        if words.is_empty() {
            return false;
        }
        self.file.longest = self.file.longest.max(words.len());
        self.add(Kind::Spelling, &words.join(" "))
    }

    /// Keeps out a name, by its id.
    pub fn add_name(&mut self, name: NameId) -> bool {
        self.add(Kind::Name, &name.to_string())
    }

    /// Keeps out a url, however it is written, and the image behind it.
    pub fn add_url(&mut self, url: &str) -> bool {
        self.add(Kind::Image, &ImageId::of(url).to_string());
        self.add(Kind::Url, &as_meant(url))
    }

    /// Keeps out an image, by its id.
    pub fn add_image(&mut self, image: ImageId) -> bool {
        self.add(Kind::Image, &image.to_string())
    }

    /// Keeps out a photo by the SHA-256 of its bytes, in lower-case hexadecimal.
    pub fn add_sha256(&mut self, sha256: &str) -> bool {
        self.add(Kind::Sha256, sha256)
    }

    /// Counts people and images that were asked to be taken down.
    pub fn count(&mut self, people: u64, images: u64) {
        self.file.people += people;
        self.file.images += images;
    }

    /// People who were taken down.
    pub fn people(&self) -> u64 {
        self.file.people
    }

    /// Single images that were taken down.
    pub fn images(&self) -> u64 {
        self.file.images
    }

    /// Names the weights of an encoder as trained with rows that were taken away.
    pub fn add_encoder(&mut self, weights: Digest) {
        self.file.encoders.insert(weights);
    }

    /// Whether the encoder of these weights was trained with rows that were taken away.
    pub fn was_trained_before(&self, weights: Digest) -> bool {
        self.file.encoders.contains(&weights)
    }

    /// Whether `name` was taken down.
    pub fn has_name(&self, name: NameId) -> bool {
        self.has(Kind::Name, &name.to_string())
    }

    /// Whether `image` was taken down.
    pub fn has_image(&self, image: ImageId) -> bool {
        self.has(Kind::Image, &image.to_string())
    }

    /// Whether `url` was taken down, or names who was.
    pub fn has_url(&self, url: &str) -> bool {
        self.has(Kind::Url, &as_meant(url))
    }

    /// Whether the photo of these bytes was taken down.
    pub fn has_sha256(&self, sha256: &str) -> bool {
        self.has(Kind::Sha256, sha256)
    }

    /// Whether a text has a spelling of somebody who was taken down, as whole words next to each other, in whatever case.
    pub fn is_named_in(&self, text: &str) -> bool {
        if self.file.longest == 0 {
            return false;
        }
        let words = words(text);
        (0..words.len()).any(|start| {
            let most = self.file.longest.min(words.len() - start);
            (1..=most).any(|n| self.has(Kind::Spelling, &words[start..start + n].join(" ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stones() -> Forgotten {
        let mut stones = Forgotten::new(&[7; 16]);
        assert!(stones.add_spelling("Mira  Castellan"));
        assert!(!stones.add_spelling("mira castellan") && !stones.add_spelling("--"));
        stones.add_name(NameId::of("Mira Castellan"));
        stones.add_url("http://a.example/?a&b");
        stones.add_sha256("abc");
        stones
    }

    #[test]
    fn who_was_taken_down_is_found_in_any_text() {
        let stones = stones();
        for text in [
            "Mira Castellan",
            "photo: MIRA CASTELLAN's dog",
            "(mira-castellan) at the gala",
        ] {
            assert!(stones.is_named_in(text), "{text}");
        }
        for text in [
            "",
            "Mira",
            "Mira von Castellan",
            "Amira Castellan",
            "Mira Castellane",
        ] {
            assert!(!stones.is_named_in(text), "{text}");
        }
        assert!(stones.has_name(NameId::of("Mira Castellan")));
        assert!(stones.has_url("http://a.example/?a&amp;b"));
        assert!(stones.has_image(ImageId::of("http://a.example/?a&b")));
        assert!(stones.has_sha256("abc") && !stones.has_sha256("abd"));
    }

    #[test]
    fn the_file_says_nobodys_name_and_is_read_back() -> Result<(), CoreError> {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::local(folder.path())?;
        assert_eq!(Forgotten::load(&store)?, None);
        let mut stones = stones();
        stones.count(1, 2);
        stones.save(&store)?;
        assert_eq!(Forgotten::load(&store)?.as_ref(), Some(&stones));
        let text = String::from_utf8_lossy(&store.get(FORGOTTEN)?).to_lowercase();
        for word in ["mira", "castellan", "example"] {
            assert!(!text.contains(word), "{word}");
        }
        let id = NameId::of("Mira Castellan").to_string();
        assert!(
            !text.contains(&id),
            "an id that anybody can compute is no secret"
        );
        store.put(FORGOTTEN, b"{\"format\": 9}".to_vec())?;
        assert!(matches!(
            Forgotten::load(&store),
            Err(CoreError::Newer { .. })
        ));
        store.put(FORGOTTEN, b"broken".to_vec())?;
        assert!(Forgotten::load(&store).is_err());
        Ok(())
    }

    #[test]
    fn another_salt_gives_other_hashes() {
        let of = |salt: u8| {
            let mut stones = Forgotten::new(&[salt; 16]);
            stones.add_sha256("abc");
            stones.file.stones
        };
        assert_ne!(of(1), of(2));
    }
}
