//! What the tables of a run say, as far as the metrics need it. Image bytes are not kept.

use std::collections::{HashMap, HashSet};

use laioncele_core::store::Store;
use laioncele_core::table::{
    Candidate, Dropped, EvaluationScore, KnownName, LaionCele, Match, Mention, Name, Photo, Sample,
    UniquePhoto,
};
use laioncele_core::{
    CoreError, DropReason, EmbeddingDims, ImageId, NameId, Part, Row, TableId, part,
};

/// A photo under a name.
pub(super) type PhotoKey = (NameId, ImageId);

/// The tables. `None` if the run has not written the table.
#[derive(Default)]
pub(super) struct RunTables {
    pub(super) mentions: Option<Vec<Mention>>,
    pub(super) names: Option<Vec<Name>>,
    pub(super) candidates: Option<HashSet<PhotoKey>>,
    pub(super) known_names: Option<HashSet<NameId>>,
    pub(super) photos: Option<HashSet<PhotoKey>>,
    pub(super) unique_photos: Option<HashSet<PhotoKey>>,
    pub(super) matches: Option<HashSet<PhotoKey>>,
    pub(super) shards: Option<Vec<PhotoKey>>,
    /// The people of LaionCele's samples. Samples of the base model and of other methods have an empty text.
    pub(super) sample_people: Option<HashSet<String>>,
    pub(super) evaluation: Option<Vec<EvaluationScore>>,
    pub(super) drop_reasons: Option<DropReasons>,
}

/// Who a sample of LaionCele shows; nobody for samples of other methods.
fn person_of_laioncele(sample: Sample) -> String {
    match sample.method.as_str() {
        "laioncele" => sample.person,
        _ => String::new(),
    }
}

/// (step, id, name) → drop reason.
pub(super) type DropReasons = HashMap<(String, u64, Option<NameId>), DropReason>;

/// Reads rows part by part, so that the image bytes of only one part are in memory.
struct Reader<'a> {
    store: &'a Store,
    dims: &'a EmbeddingDims,
    parts: &'a dyn Fn(TableId) -> Vec<Part>,
}

impl Reader<'_> {
    fn read<R: Row, T, C>(&self, keep: fn(R) -> T) -> Result<Option<C>, CoreError>
    where
        C: Default + Extend<T>,
    {
        let parts = (self.parts)(R::TABLE);
        let mut kept = C::default();
        for part in &parts {
            let rows = part::read_rows::<R>(self.store, part, self.dims)?;
            kept.extend(rows.into_iter().map(keep));
        }
        Ok((!parts.is_empty()).then_some(kept))
    }
}

impl RunTables {
    pub(super) fn read(
        store: &Store,
        dims: &EmbeddingDims,
        parts: &dyn Fn(TableId) -> Vec<Part>,
    ) -> Result<Self, CoreError> {
        let tables = Reader { store, dims, parts };
        Ok(Self {
            mentions: tables.read(|m: Mention| m)?,
            names: tables.read(|n: Name| n)?,
            candidates: tables.read(|c: Candidate| (c.name_id, c.image_id))?,
            known_names: tables.read(|n: KnownName| n.name_id)?,
            photos: tables.read(|p: Photo| (p.name_id, p.image_id))?,
            unique_photos: tables.read(|p: UniquePhoto| (p.name_id, p.image_id))?,
            matches: tables.read(|m: Match| (m.name_id, m.image_id))?,
            shards: tables.read(|e: LaionCele| (e.name_id, e.image_id))?,
            sample_people: tables.read(person_of_laioncele)?,
            evaluation: tables.read(|e: EvaluationScore| e)?,
            drop_reasons: tables.read(|d: Dropped| ((d.step, d.id, d.name_id), d.reason))?,
        })
    }
}
