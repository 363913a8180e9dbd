//! What of a run's folder nothing needs.

use std::collections::HashSet;
use std::sync::Arc;

use laioncele_core::bucket::UPLOADS;
use laioncele_core::ledger::{DAMAGED, Record};
use laioncele_core::scratch::SCRATCH;
use laioncele_core::store::Store;
use laioncele_core::{Digest, ListRef};
use serde::Serialize;

use super::portraits::{self, Pruning};
use crate::failure::Failure;
use crate::plan::StepPlan;
use crate::published::{EARLIER, Results};
use crate::run_folder::MANIFESTS;
use crate::session::Session;

/// Where unfinished tasks keep what they have done so far.
const CHECKPOINTS: &str = "cache/checkpoints";

/// What can be deleted.
#[derive(Debug, Default)]
pub(super) struct Garbage {
    /// All of it, by kind and path.
    pub objects: Vec<Object>,
    /// The records among it.
    pub records: Vec<Arc<Record>>,
    /// The images among it, which are parts of files.
    pub prunings: Vec<Pruning>,
}

/// A file that can be deleted, or images in it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Object {
    /// What it is.
    pub kind: Kind,
    /// Its path in the run's folder.
    pub path: String,
    /// Its size; of images in it about theirs. A part that is published keeps its bytes under that name.
    pub bytes: u64,
}

/// What a file is that can be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// A part that no record names.
    Part,
    /// A list of parts that no record names.
    List,
    /// What a killed run left behind.
    Leftover,
    /// An upload in pieces to a bucket that was cut off: its note, whose pieces are deleted with it.
    Upload,
    /// What lay in the ledger and was no record.
    Damaged,
    /// The record of a result that the present manifest does not use.
    Record,
    /// A part of such a result.
    SupersededPart,
    /// Images of portraits that `keep_portraits` does not keep, in a part that stays.
    Portraits,
    /// What was published from another manifest.
    Published,
    /// A recorded manifest that nothing names.
    Manifest,
}

impl Kind {
    pub(super) const ALL: [Self; 10] = [
        Self::Part,
        Self::List,
        Self::Leftover,
        Self::Upload,
        Self::Damaged,
        Self::Record,
        Self::SupersededPart,
        Self::Portraits,
        Self::Published,
        Self::Manifest,
    ];

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Part => "parts that no record names",
            Self::List => "lists that no record names",
            Self::Leftover => "leftovers of killed runs",
            Self::Upload => "uploads that were cut off",
            Self::Damaged => "damaged records set aside",
            Self::Record => "records of superseded results",
            Self::SupersededPart => "parts of superseded results",
            Self::Portraits => "images of portraits that are not kept",
            Self::Published => "published from earlier manifests",
            Self::Manifest => "manifests that nothing names",
        }
    }
}

impl Garbage {
    /// What no record names; with `superseded` also what the present manifest does not use.
    ///
    /// # Errors
    /// Store errors.
    pub(super) fn of(session: &Session, superseded: bool) -> Result<Self, Failure> {
        let store = session.store()?;
        let dropped = match superseded {
            true => superseded_records(session)?,
            false => Vec::new(),
        };
        let gone: HashSet<Digest> = dropped.iter().map(|record| record.key).collect();
        let kept: Vec<&Arc<Record>> = (session.records.all())
            .filter(|record| !gone.contains(&record.key))
            .collect();
        let mut garbage = Self::default();
        garbage.parts(store, &kept, &dropped)?;
        garbage.lists(store, &kept)?;
        garbage.leftovers(store, &kept)?;
        garbage.add(store, UPLOADS, Kind::Upload, |_| true)?;
        garbage.add(store, DAMAGED, Kind::Damaged, |_| true)?;
        let (prunings, images) = portraits::find(session)?;
        garbage.prunings = prunings;
        let kind = Kind::Portraits;
        let object = |(path, bytes)| Object { kind, path, bytes };
        garbage.objects.extend(images.into_iter().map(object));
        if superseded {
            let ledger = store.sizes("ledger")?;
            garbage.objects.extend(dropped.iter().map(|record| {
                let path = record.path();
                let bytes = ledger.get(&path).copied().unwrap_or_default();
                let kind = Kind::Record;
                Object { kind, path, bytes }
            }));
            garbage.add(store, EARLIER, Kind::Published, |_| true)?;
            garbage.manifests(session)?;
        }
        garbage.objects.sort();
        garbage.records = dropped;
        Ok(garbage)
    }

    /// Adds the files below `folder` for which `is_garbage` holds.
    fn add(
        &mut self,
        store: &Store,
        folder: &str,
        kind: Kind,
        is_garbage: impl Fn(&str) -> bool,
    ) -> Result<(), Failure> {
        let files = store.sizes(folder)?.into_iter();
        let garbage = files.filter(|(path, _)| is_garbage(path));
        let object = |(path, bytes)| Object { kind, path, bytes };
        self.objects.extend(garbage.map(object));
        Ok(())
    }

    fn parts(
        &mut self,
        store: &Store,
        kept: &[&Arc<Record>],
        dropped: &[Arc<Record>],
    ) -> Result<(), Failure> {
        let named: HashSet<&str> = paths(kept.iter().copied()).collect();
        let superseded: HashSet<&str> = paths(dropped).collect();
        self.add(store, "tables", Kind::Part, |path| {
            !named.contains(path) && !superseded.contains(path)
        })?;
        self.add(store, "tables", Kind::SupersededPart, |path| {
            !named.contains(path) && superseded.contains(path)
        })
    }

    fn lists(&mut self, store: &Store, kept: &[&Arc<Record>]) -> Result<(), Failure> {
        let lists = kept.iter().flat_map(|record| &record.lists);
        let named: HashSet<String> = lists.map(ListRef::path).collect();
        self.add(store, "lists", Kind::List, |path| !named.contains(path))
    }

    /// Tasks at work and scratch files: nobody is at work while the lock is held. Checkpoints of
    /// tasks that have a record.
    fn leftovers(&mut self, store: &Store, kept: &[&Arc<Record>]) -> Result<(), Failure> {
        for folder in ["queue", "probe", SCRATCH] {
            self.add(store, folder, Kind::Leftover, |_| true)?;
        }
        let done: HashSet<String> = kept.iter().map(|record| record.key.to_string()).collect();
        self.add(store, CHECKPOINTS, Kind::Leftover, |path| {
            let below = path.strip_prefix(CHECKPOINTS).unwrap_or(path);
            let key = below.trim_start_matches('/').split('/').next();
            key.is_some_and(|key| done.contains(key))
        })
    }

    /// Recorded manifests besides the present one and those whose results are published.
    fn manifests(&mut self, session: &Session) -> Result<(), Failure> {
        let store = session.store()?;
        let mut named = HashSet::from([session.manifest.digest().to_string()]);
        named.extend(
            session
                .recorded_manifest()?
                .map(|digest| digest.to_string()),
        );
        let published = Results::load(store)?.steps.into_values();
        named.extend(published.map(|results| results.manifest.to_string()));
        self.add(store, MANIFESTS, Kind::Manifest, |path| {
            !named.iter().any(|digest| path.contains(digest))
        })
    }
}

fn paths<'a>(records: impl IntoIterator<Item = &'a Arc<Record>>) -> impl Iterator<Item = &'a str> {
    let parts = records.into_iter().flat_map(|record| &record.outputs);
    parts.map(|part| part.path.as_str())
}

/// Records that the present plan does not count, of the steps that it knows to be complete.
fn superseded_records(session: &Session) -> Result<Vec<Arc<Record>>, Failure> {
    let plan = session.plan()?;
    let complete: HashSet<&str> = plan
        .steps
        .iter()
        .filter(|step| step.complete())
        .map(|step| step.name.as_str())
        .collect();
    let done = plan.steps.iter().flat_map(StepPlan::records);
    let done: HashSet<Digest> = done.map(|record| record.key).collect();
    let records = session.records.all();
    let superseded = records
        .filter(|record| complete.contains(record.step.as_str()) && !done.contains(&record.key));
    Ok(superseded.cloned().collect())
}
