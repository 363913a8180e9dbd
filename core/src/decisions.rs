//! What people decided when they reviewed a run: `decisions.jsonl`, a table of JSON lines that is only added to.
//!
//! `laioncele review` appends a line for each decision, with who and when; a later line on the same name or photo counts instead of
//! an earlier one, and an undoing line takes one back. Nobody deletes lines. A crash may leave half a line at the end, which is no
//! line. filter-counts applies what was struck out, merge-spellings what was merged; a digest of that is in their tasks' keys, so that a
//! decision is applied by the next run and one that was undone leaves the results that were there before.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, KeyHasher};
use crate::error::CoreError;
use crate::forgotten::Forgotten;
use crate::ids::{ImageId, NameId};
use crate::store::Store;

/// Where the decisions are, in the run's folder.
pub const DECISIONS: &str = "decisions.jsonl";

/// What the keys of filter-counts call them.
pub const LABEL: &str = "review.decisions";
/// What the keys of merge-spellings call the names that are filed under others.
pub const MERGES: &str = "review.merges";

/// A line: who decided what, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Who.
    pub who: String,
    /// When, RFC 3339.
    pub when: String,
    /// What.
    #[serde(flatten)]
    pub ruling: Ruling,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ruling", rename_all = "snake_case")]
pub enum Ruling {
    /// The identity is as it should be.
    Keep {
        /// Its name, 16 hexadecimal digits.
        name: HexId,
    },
    /// The identity does not belong into the dataset.
    StrikeIdentity {
        /// Its name.
        name: HexId,
    },
    /// The photo does not show the person.
    StrikePhoto {
        /// The name that it is filed under.
        name: HexId,
        /// The photo.
        image: HexId,
    },
    /// The name is another spelling of the person of another name: both become one name, the second.
    Merge {
        /// The name that goes.
        name: HexId,
        /// The name that its spellings are filed under.
        into: HexId,
    },
    /// The line of this number, from 0, does not count.
    Undo {
        /// The line.
        line: usize,
    },
}

/// An id as 16 hexadecimal digits: JavaScript's numbers are too short for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct HexId(pub u64);

impl From<HexId> for String {
    fn from(id: HexId) -> Self {
        format!("{:016x}", id.0)
    }
}

impl TryFrom<String> for HexId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_id = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let id = is_id.then(|| u64::from_str_radix(&text, 16).ok()).flatten();
        id.map(Self)
            .ok_or_else(|| "an id has 16 hexadecimal digits".to_owned())
    }
}

/// All lines of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decisions(pub Vec<Decision>);

/// The decisions that count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rulings {
    /// Names: whether they are kept (else struck out), and by which line.
    names: BTreeMap<u64, (bool, usize)>,
    /// Photos that are struck out, and by which line.
    photos: BTreeMap<(u64, u64), usize>,
    /// Names that are filed under others, and by which line. No chain of them is a circle.
    merges: BTreeMap<u64, (u64, usize)>,
}

impl Decisions {
    /// Reads them; none where nobody decided anything.
    ///
    /// # Errors
    /// Store errors; a whole line that is none.
    pub fn load(store: &Store) -> Result<Self, CoreError> {
        let bytes = match store.get(DECISIONS) {
            Ok(bytes) => bytes,
            Err(CoreError::Missing { .. }) => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        // What has no end yet is no line.
        let whole = bytes
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        let lines = bytes[..whole].split(|b| *b == b'\n');
        let lines = lines.filter(|line| !line.is_empty());
        let read =
            |line: &[u8]| serde_json::from_slice(line).map_err(|e| CoreError::record(DECISIONS, e));
        lines.map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Appends a line and puts it on the disk; its number. Only for who sees to it that nobody else appends at the same time.
    ///
    /// # Errors
    /// A full or read-only disk.
    pub fn append(&mut self, store: &Store, decision: Decision) -> Result<usize, CoreError> {
        let path = store.local_path(DECISIONS);
        let io = |e| CoreError::from_io(&path, e);
        let mut text =
            serde_json::to_string(&decision).map_err(|e| CoreError::record(DECISIONS, e))?;
        text.push('\n');
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let mut file = file.map_err(io)?;
        // Half a line of a crash is ended first.
        let torn = store.get(DECISIONS)?.last().is_some_and(|b| *b != b'\n');
        if torn {
            let length = store.get(DECISIONS)?;
            let whole = length
                .iter()
                .rposition(|b| *b == b'\n')
                .map_or(0, |at| at + 1);
            file.set_len(whole as u64).map_err(io)?;
        }
        file.write_all(text.as_bytes()).map_err(io)?;
        file.sync_all().map_err(io)?;
        self.0.push(decision);
        Ok(self.0.len() - 1)
    }

    /// Makes lines on names and images that were taken down say nothing, so that the numbers of the others stay. Whether there were
    /// any; then the file was written anew.
    ///
    /// # Errors
    /// Store errors.
    pub fn forget(&mut self, store: &Store, stones: &Forgotten) -> Result<bool, CoreError> {
        let mut any = false;
        for (line, decision) in self.0.iter_mut().enumerate() {
            let is_out = match decision.ruling {
                Ruling::Keep { name } | Ruling::StrikeIdentity { name } => {
                    stones.has_name(NameId(name.0))
                }
                Ruling::StrikePhoto { name, image } => {
                    stones.has_name(NameId(name.0)) || stones.has_image(ImageId(image.0))
                }
                Ruling::Merge { name, into } => {
                    stones.has_name(NameId(name.0)) || stones.has_name(NameId(into.0))
                }
                Ruling::Undo { .. } => false,
            };
            if is_out {
                decision.ruling = Ruling::Undo { line };
                any = true;
            }
        }
        if any {
            let line = |decision: &Decision| serde_json::to_string(decision).map(|l| l + "\n");
            let text: Result<String, _> = self.0.iter().map(line).collect();
            store.put(
                DECISIONS,
                text.map_err(|e| CoreError::record(DECISIONS, e))?,
            )?;
        }
        Ok(any)
    }

    /// What counts of them.
    pub fn rulings(&self) -> Rulings {
        let undone: Vec<usize> = (self.0.iter())
            .filter_map(|decision| match decision.ruling {
                Ruling::Undo { line } => Some(line),
                _ => None,
            })
            .collect();
        let mut rulings = Rulings::default();
        for (line, decision) in self.0.iter().enumerate() {
            if undone.contains(&line) {
                continue;
            }
            match decision.ruling {
                Ruling::Keep { name } => {
                    rulings.names.insert(name.0, (true, line));
                }
                Ruling::StrikeIdentity { name } => {
                    rulings.names.insert(name.0, (false, line));
                }
                Ruling::StrikePhoto { name, image } => {
                    rulings.photos.insert((name.0, image.0), line);
                }
                Ruling::Merge { name, into } => rulings.merge(name.0, into.0, line),
                Ruling::Undo { .. } => {}
            }
        }
        rulings
    }
}

impl Rulings {
    /// Files `name` under `into`; the last word on a name counts. A circle is none: nothing is done then.
    fn merge(&mut self, name: u64, into: u64, line: usize) {
        if !self.chain(into).any(|met| met == name) {
            self.merges.insert(name, (into, line));
        }
    }

    /// `name`, the name that it is filed under, and so on to the end.
    fn chain(&self, name: u64) -> impl Iterator<Item = u64> {
        let next = |name: &u64| self.merges.get(name).map(|(into, _)| *into);
        std::iter::successors(Some(name), next)
    }

    /// Names that are filed under others, each with the one that it ends at, by the first one's id.
    pub fn merges(&self) -> impl Iterator<Item = (NameId, NameId)> {
        let names = self.merges.keys();
        names.filter_map(|name| Some((NameId(*name), NameId(self.chain(*name).last()?))))
    }

    /// The name that a name is filed under, and the line that says so.
    pub fn of_merge(&self, name: NameId) -> Option<(NameId, usize)> {
        let (into, line) = self.merges.get(&name.0)?;
        Some((NameId(*into), *line))
    }

    /// A digest of [`Rulings::merges`]: none without any.
    pub fn merges_digest(&self) -> Option<Digest> {
        if self.merges.is_empty() {
            return None;
        }
        let mut hasher = KeyHasher::new("merges").number("names", self.merges.len() as u64);
        for (name, into) in self.merges() {
            hasher = hasher.number("name", name.0).number("into", into.0);
        }
        Some(hasher.finish())
    }

    /// Whether a name is struck out.
    pub fn strikes_identity(&self, name: NameId) -> bool {
        self.names.get(&name.0).is_some_and(|(kept, _)| !kept)
    }

    /// Whether a photo of a name is struck out.
    pub fn strikes_photo(&self, name: NameId, image: ImageId) -> bool {
        self.photos.contains_key(&(name.0, image.0))
    }

    /// The line that says something of a name: whether it is kept, and the line's number.
    pub fn of_identity(&self, name: NameId) -> Option<(bool, usize)> {
        self.names.get(&name.0).copied()
    }

    /// The line that strikes out a photo.
    pub fn of_photo(&self, name: NameId, image: ImageId) -> Option<usize> {
        self.photos.get(&(name.0, image.0)).copied()
    }

    /// A digest of what is struck out: none where nothing is struck out. Who decided, when and in which order is not in it.
    pub fn digest(&self) -> Option<Digest> {
        let struck: Vec<u64> = (self.names.iter())
            .filter(|(_, (kept, _))| !kept)
            .map(|(name, _)| *name)
            .collect();
        if struck.is_empty() && self.photos.is_empty() {
            return None;
        }
        let mut hasher = KeyHasher::new("decisions").number("names", struck.len() as u64);
        for name in struck {
            hasher = hasher.number("name", name);
        }
        for (name, image) in self.photos.keys() {
            hasher = hasher.number("of", *name).number("photo", *image);
        }
        Some(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(ruling: Ruling) -> Decision {
        Decision {
            who: "ada".to_owned(),
            when: "2026-01-01T00:00:00Z".to_owned(),
            ruling,
        }
    }

    #[test]
    fn the_last_word_counts_and_can_be_taken_back() -> Result<(), CoreError> {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::local(folder.path())?;
        let mut decisions = Decisions::load(&store)?;
        assert_eq!(decisions.rulings().digest(), None);
        let (name, image) = (HexId(7), HexId(u64::MAX));
        decisions.append(&store, decision(Ruling::StrikeIdentity { name }))?;
        let struck = decisions.rulings().digest();
        assert!(decisions.rulings().strikes_identity(NameId(7)) && struck.is_some());
        decisions.append(&store, decision(Ruling::Keep { name }))?;
        assert!(!decisions.rulings().strikes_identity(NameId(7)));
        let line = decisions.append(&store, decision(Ruling::StrikePhoto { name, image }))?;
        assert!(
            decisions
                .rulings()
                .strikes_photo(NameId(7), ImageId(u64::MAX))
        );
        decisions.append(&store, decision(Ruling::Undo { line }))?;
        assert_eq!(decisions.rulings().digest(), None);
        decisions.append(&store, decision(Ruling::Undo { line: 1 }))?;
        assert_eq!(decisions.rulings().digest(), struck);
        assert_eq!(Decisions::load(&store)?, decisions);
        Ok(())
    }

    #[test]
    fn merges_are_followed_to_their_end_and_are_no_circle() {
        let merge = |name, into| {
            decision(Ruling::Merge {
                name: HexId(name),
                into: HexId(into),
            })
        };
        let undo = |line| decision(Ruling::Undo { line });
        let of = |lines: Vec<Decision>| Decisions(lines).rulings();
        let pairs = |rulings: &Rulings| -> Vec<(u64, u64)> {
            rulings.merges().map(|(a, b)| (a.0, b.0)).collect()
        };
        let chain = of(vec![merge(1, 2), merge(2, 3), merge(3, 1), merge(4, 4)]);
        assert_eq!(pairs(&chain), [(1, 3), (2, 3)]);
        assert_eq!(chain.of_merge(NameId(1)), Some((NameId(2), 0)));
        assert!(chain.digest().is_none() && chain.merges_digest().is_some());
        let other = of(vec![merge(2, 3), merge(1, 3)]);
        assert_eq!(chain.merges_digest(), other.merges_digest());
        let turned = of(vec![merge(1, 2), merge(5, 1), merge(1, 5)]);
        assert_eq!(pairs(&turned), [(1, 2), (5, 2)]);
        let undone = of(vec![merge(1, 2), merge(1, 3), undo(1)]);
        assert_eq!(pairs(&undone), [(1, 2)]);
        assert_eq!(of(vec![merge(1, 2), undo(0)]).merges_digest(), None);
    }

    #[test]
    fn lines_on_who_was_taken_down_say_nothing() -> Result<(), CoreError> {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::local(folder.path())?;
        let mut decisions = Decisions::default();
        for name in [1, 2] {
            let name = HexId(name);
            decisions.append(&store, decision(Ruling::StrikeIdentity { name }))?;
        }
        let mut stones = Forgotten::new(&[0; 16]);
        stones.add_name(NameId(1));
        assert!(decisions.forget(&store, &stones)? && !decisions.forget(&store, &stones)?);
        let rulings = Decisions::load(&store)?.rulings();
        assert_eq!(rulings.of_identity(NameId(2)), Some((false, 1)));
        assert_eq!(rulings.of_identity(NameId(1)), None);
        Ok(())
    }

    #[test]
    fn half_a_line_is_none_and_a_wrong_line_is_an_error() -> Result<(), CoreError> {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::local(folder.path())?;
        let mut decisions = Decisions::default();
        let keep = || decision(Ruling::Keep { name: HexId(1) });
        decisions.append(&store, keep())?;
        let whole = store.get(DECISIONS)?;
        store.put(DECISIONS, [&whole[..], b"{\"who\": \"a"].concat())?;
        assert_eq!(Decisions::load(&store)?.0.len(), 1);
        let mut decisions = Decisions::load(&store)?;
        decisions.append(&store, keep())?;
        assert_eq!(Decisions::load(&store)?.0.len(), 2);
        store.put(DECISIONS, b"{\"who\": 1}\n".to_vec())?;
        assert!(Decisions::load(&store).is_err());
        Ok(())
    }

    #[test]
    fn ids_are_texts() {
        let text = serde_json::to_string(&HexId(255)).expect("JSON");
        assert_eq!(text, "\"00000000000000ff\"");
        for wrong in ["\"ff\"", "\"00000000000000fg\"", "255"] {
            assert!(serde_json::from_str::<HexId>(wrong).is_err(), "{wrong}");
        }
    }
}
