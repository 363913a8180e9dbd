//! What is decided on: identities with their photos, the most doubtful first, and what was decided so far.

use std::collections::BTreeMap;

use laioncele_core::decisions::{Decision, Decisions, HexId, Ruling, Rulings};
use laioncele_core::store::Store;
use laioncele_core::table::{KnownName, Match, MergedName, Photo, Portrait};
use laioncele_core::{CoreError, ImageId, NameId, Row, TableId};
use laioncele_report::{RunView, bucket_of};
use serde::Serialize;

/// An identity as the page has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Entry {
    id: HexId,
    name: String,
    lowest: f32,
    /// The least similar first.
    photos: Vec<PhotoEntry>,
    /// Whether it was kept (true) or struck out (false), and by which line.
    ruling: Option<(bool, usize)>,
    /// The name that it is filed under from the next run on, and the line that says so.
    merged: Option<(HexId, usize)>,
    /// Names that were filed under it by an earlier run, and the lines that say so.
    has: Vec<(String, usize)>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct PhotoEntry {
    id: HexId,
    similarity: f32,
    /// The line that struck it out.
    struck: Option<usize>,
}

/// The identities of a run and the decisions on them.
pub struct Board {
    view: RunView,
    names: BTreeMap<NameId, (String, Vec<(f32, ImageId)>)>,
    /// Spellings that a review brought to a name.
    spellings: BTreeMap<NameId, Vec<String>>,
    decisions: Decisions,
    who: String,
}

impl Board {
    /// All names with matching photos of the run, also those that were struck out or have too few; `who` decides.
    ///
    /// # Errors
    /// Decisions that cannot be read.
    pub fn new(view: RunView, who: String) -> Result<Self, CoreError> {
        let mut names: BTreeMap<NameId, (String, Vec<(f32, ImageId)>)> = BTreeMap::new();
        for part in view.parts(TableId::KnownNames) {
            let rows = view.rows::<KnownName>(std::iter::once(part)).into_iter();
            names.extend(rows.map(|row| (row.name_id, (row.name, Vec::new()))));
        }
        for part in view.parts(TableId::Matches) {
            for row in view.rows::<Match>(std::iter::once(part)) {
                if let Some((_, photos)) = names.get_mut(&row.name_id) {
                    photos.push((row.similarity, row.image_id));
                }
            }
        }
        names.retain(|_, (_, photos)| !photos.is_empty());
        for (_, photos) in names.values_mut() {
            photos.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        }
        let spellings = reviewed_spellings(&view);
        let decisions = Decisions::load(&view.store)?;
        Ok(Self {
            view,
            names,
            spellings,
            decisions,
            who,
        })
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is nothing to decide on.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The lowest similarity first.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let rulings = self.decisions.rulings();
        let entry = |(id, (name, photos)): (&NameId, &(String, Vec<(f32, ImageId)>))| Entry {
            id: HexId(id.0),
            name: name.clone(),
            lowest: photos.first().map_or(0.0, |photo| photo.0),
            photos: (photos.iter())
                .map(|(similarity, image)| PhotoEntry {
                    id: HexId(image.0),
                    similarity: *similarity,
                    struck: rulings.of_photo(*id, *image),
                })
                .collect(),
            ruling: rulings.of_identity(*id),
            merged: (rulings.of_merge(*id)).map(|(into, line)| (HexId(into.0), line)),
            has: self.merged_before(&rulings, *id),
        };
        let mut entries: Vec<Entry> = self.names.iter().map(entry).collect();
        entries.sort_by(|a, b| {
            a.lowest
                .total_cmp(&b.lowest)
                .then_with(|| a.name.cmp(&b.name))
        });
        entries
    }

    /// Writes a decision down; its line.
    ///
    /// # Errors
    /// What is decided on is not of the run; a full disk.
    pub(crate) fn decide(&mut self, ruling: Ruling, when: String) -> Result<usize, String> {
        let has = |name: HexId| self.names.get(&NameId(name.0));
        let known = match &ruling {
            Ruling::Keep { name } | Ruling::StrikeIdentity { name } => has(*name).is_some(),
            Ruling::StrikePhoto { name, image } => {
                has(*name).is_some_and(|(_, photos)| photos.iter().any(|(_, id)| id.0 == image.0))
            }
            Ruling::Merge { name, into } => {
                has(*name).is_some() && has(*into).is_some() && name != into
            }
            Ruling::Undo { line } => *line < self.decisions.0.len(),
        };
        if !known {
            return Err("the run has no such identity, photo or line".to_owned());
        }
        if let Ruling::Merge { name, into } = &ruling
            && self.is_circle(NameId(name.0), NameId(into.0))
        {
            return Err("the other one is merged into this one already".to_owned());
        }
        let who = self.who.clone();
        let decision = Decision { who, when, ruling };
        let store: &Store = &self.view.store;
        let appended = self.decisions.append(store, decision);
        appended.map_err(|error| laioncele_core::error::chain(&error))
    }

    /// Whether `into` is filed under `name` already, through others perhaps.
    fn is_circle(&self, name: NameId, into: NameId) -> bool {
        let rulings = self.decisions.rulings();
        let next = |at: &NameId| rulings.of_merge(*at).map(|(to, _)| to);
        std::iter::successors(Some(into), next).any(|met| met == name)
    }

    /// The names that are spellings of `name` already because people merged them, each with the line that undoes it.
    fn merged_before(&self, rulings: &Rulings, name: NameId) -> Vec<(String, usize)> {
        let spellings = self.spellings.get(&name).into_iter().flatten();
        let line = |spelling: &String| {
            let (_, line) = rulings.of_merge(NameId::of(spelling))?;
            Some((spelling.clone(), line))
        };
        spellings.filter_map(line).collect()
    }

    /// The file of a photo, or of a portrait where `portrait` says so.
    pub(crate) fn picture(&self, name: u64, second: u64, portrait: bool) -> Option<Vec<u8>> {
        match portrait {
            true => self
                .find::<Portrait>(name, "index", second)
                .filter(|row| !row.is_pruned())
                .map(|row| row.image.bytes),
            false => self
                .find::<Photo>(name, "image_id", second)
                .map(|row| row.image.bytes),
        }
    }

    fn find<R: Row>(&self, name: u64, column: &str, second: u64) -> Option<R> {
        let bucket = bucket_of(&self.view.manifest, NameId(name));
        let mut parts = self.view.parts_in(R::TABLE, &bucket);
        parts.find_map(|part| {
            let wanted = |n: u64, s: u64| n == name && s == second;
            self.view.select::<R>(part, Some(column), wanted).pop()
        })
    }
}

/// The spellings that earlier reviews brought to each name.
fn reviewed_spellings(view: &RunView) -> BTreeMap<NameId, Vec<String>> {
    let mut spellings = BTreeMap::new();
    for part in view.parts(TableId::MergedNames) {
        for row in view.rows::<MergedName>(std::iter::once(part)) {
            let reviewed = row.aliases.into_iter().filter(|a| a.merged_by == "review");
            let reviewed: Vec<String> = reviewed.map(|alias| alias.spelling).collect();
            if !reviewed.is_empty() {
                spellings.insert(row.name_id, reviewed);
            }
        }
    }
    spellings
}
