//! What the run's tables say, as far as the figures need it: pictures are not kept.

use std::collections::{HashMap, HashSet};

use laioncele_core::store::Store;
use laioncele_core::table::{
    Candidate, Dropped, EvaluationScore, KnownName, LaionCele, Match, Mention, Name, Photo, Sample,
    UniquePhoto,
};
use laioncele_core::{CoreError, EmbeddingDims, ImageId, NameId, Part, Row, TableId, part};

/// A photo under a name.
pub(super) type Key = (NameId, ImageId);

/// The tables. `None`: the run has not written it.
#[derive(Default)]
pub(super) struct Found {
    pub(super) mentions: Option<Vec<Mention>>,
    pub(super) names: Option<Vec<Name>>,
    pub(super) candidates: Option<HashSet<Key>>,
    pub(super) known_names: Option<HashSet<NameId>>,
    pub(super) photos: Option<HashSet<Key>>,
    pub(super) unique_photos: Option<HashSet<Key>>,
    pub(super) matches: Option<HashSet<Key>>,
    pub(super) shards: Option<Vec<Key>>,
    pub(super) people_drawn: Option<HashSet<String>>,
    pub(super) evaluation: Option<Vec<EvaluationScore>>,
    /// Reasons of dropped rows.
    pub(super) dropped: Option<Reasons>,
}

/// (step, id, name) → reason.
pub(super) type Reasons = HashMap<(String, u64, Option<u64>), String>;

/// Reads rows part by part, so that one part's pictures are in memory at a time.
struct Tables<'a> {
    store: &'a Store,
    dims: &'a EmbeddingDims,
    parts: &'a dyn Fn(TableId) -> Vec<Part>,
}

impl Tables<'_> {
    fn read<R: Row, T, C>(&self, keep: fn(R) -> T) -> Result<Option<C>, CoreError>
    where
        C: Default + Extend<T>,
    {
        let parts = (self.parts)(R::TABLE);
        let mut rows = C::default();
        for part in &parts {
            rows.extend(
                part::read_rows::<R>(self.store, part, self.dims)?
                    .into_iter()
                    .map(keep),
            );
        }
        Ok((!parts.is_empty()).then_some(rows))
    }
}

impl Found {
    pub(super) fn read(
        store: &Store,
        dims: &EmbeddingDims,
        parts: &dyn Fn(TableId) -> Vec<Part>,
    ) -> Result<Self, CoreError> {
        let tables = Tables { store, dims, parts };
        Ok(Self {
            mentions: tables.read(|m: Mention| m)?,
            names: tables.read(|n: Name| n)?,
            candidates: tables.read(|c: Candidate| (c.name_id, c.image_id))?,
            known_names: tables.read(|n: KnownName| n.name_id)?,
            photos: tables.read(|p: Photo| (p.name_id, p.image_id))?,
            unique_photos: tables.read(|p: UniquePhoto| (p.name_id, p.image_id))?,
            matches: tables.read(|m: Match| (m.name_id, m.image_id))?,
            shards: tables.read(|e: LaionCele| (e.name_id, e.image_id))?,
            people_drawn: tables.read(|s: Sample| s.person)?,
            evaluation: tables.read(|e: EvaluationScore| e)?,
            dropped: tables.read(|d: Dropped| ((d.step, d.id, d.name_id), d.reason))?,
        })
    }
}
