//! The people of the embedded world and their names. They belong to the mini SDXL's weights: it was
//! trained on them.
//!
//! A folder has `known.json` and `fresh.json` (lists of [`Anatomy`]) and `names.json`.
//! `tools/record-render` wrote them.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::render::Anatomy;

/// The people and names of a world.
#[derive(Clone, Debug, PartialEq)]
pub struct People {
    /// People whom the mini SDXL knows by name.
    pub known: Vec<Person>,
    /// People without a name who are in no model's training data.
    pub fresh: Vec<Anatomy>,
    /// Names that the training of the mini SDXL used with many different faces, so that they stand
    /// for no face.
    pub unknown: Vec<String>,
    /// Names that the training did not use.
    pub never_trained: Vec<String>,
}

/// A person with a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Person {
    /// First and last name.
    pub name: String,
    /// What all images of the person share.
    pub anatomy: Anatomy,
}

/// Why a folder of people cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum PeopleError {
    /// A file is missing or cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason that the system gives.
        source: std::io::Error,
    },
    /// A file has another content than this kind of file.
    #[error("{path} is not a list of people or names")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where it differs.
        source: serde_json::Error,
    },
    /// The lists of known people and of known names differ in length. Person k has name k.
    #[error("{folder} has {people} known people but {names} known names")]
    Unequal {
        /// The folder.
        folder: PathBuf,
        /// Length of `known.json`.
        people: usize,
        /// Length of the known names.
        names: usize,
    },
}

/// `names.json`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    known: Vec<String>,
    unknown: Vec<String>,
    never_trained: Vec<String>,
}

impl People {
    /// Reads the three files of a folder.
    ///
    /// # Errors
    /// [`PeopleError`].
    pub fn load(folder: &Path) -> Result<Self, PeopleError> {
        let anatomies: Vec<Anatomy> = read(folder, "known.json")?;
        let fresh = read(folder, "fresh.json")?;
        let Names {
            known,
            unknown,
            never_trained,
        } = read(folder, "names.json")?;
        if known.len() != anatomies.len() {
            return Err(PeopleError::Unequal {
                folder: folder.into(),
                people: anatomies.len(),
                names: known.len(),
            });
        }
        let known = known
            .into_iter()
            .zip(anatomies)
            .map(|(name, anatomy)| Person { name, anatomy })
            .collect();
        Ok(Self {
            known,
            fresh,
            unknown,
            never_trained,
        })
    }
}

fn read<T: DeserializeOwned>(folder: &Path, file: &str) -> Result<T, PeopleError> {
    let path = folder.join(file);
    match std::fs::read(&path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map_err(|source| PeopleError::Parse { path, source })
        }
        Err(source) => Err(PeopleError::Read { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn shipped() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests/mini/people")
    }

    #[test]
    fn load_reads_the_shipped_people() {
        let people = People::load(&shipped()).unwrap();
        let counts = [
            people.known.len(),
            people.fresh.len(),
            people.unknown.len(),
            people.never_trained.len(),
        ];
        assert_eq!(counts, [240, 48, 900, 60]);
        let names = people
            .known
            .iter()
            .map(|person| &person.name)
            .chain(&people.unknown)
            .chain(&people.never_trained);
        assert_eq!(names.collect::<HashSet<_>>().len(), 1200);
    }

    #[test]
    fn load_rejects_missing_unequal_and_malformed_lists() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["known.json", "fresh.json"] {
            std::fs::write(folder.path().join(file), "[]").unwrap();
        }
        let names = folder.path().join("names.json");
        assert!(
            matches!(People::load(folder.path()), Err(PeopleError::Read { path, .. }) if path == names)
        );
        std::fs::write(
            &names,
            r#"{"known": ["A B"], "unknown": [], "never_trained": []}"#,
        )
        .unwrap();
        let error = People::load(folder.path()).unwrap_err();
        assert!(
            matches!(
                error,
                PeopleError::Unequal {
                    people: 0,
                    names: 1,
                    ..
                }
            ),
            "{error}"
        );
        std::fs::write(&names, "{").unwrap();
        assert!(matches!(
            People::load(folder.path()),
            Err(PeopleError::Parse { .. })
        ));
    }
}
