//! A run opened: its manifest, steps, store, ledger and world; what every command begins with.

use std::path::{Path, PathBuf};

use laioncele_core::digest::FileDigests;
use laioncele_core::ledger::{Ledger, Record};
use laioncele_core::store::Store;
use laioncele_core::{CoreError, Manifest, StageName, Step};

use crate::cli::Place;
use crate::failure::{Exit, Failure};
use crate::lock::Lock;
use crate::plan::{self, Plan, Records, World, facts};
use crate::registry;

/// What a command does to the run's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Looks only, wherever the run may be: takes no lock, makes no folder.
    Look,
    /// Looks at a run that must be there.
    Existing,
    /// Makes the folder and holds its lock.
    Write,
}

/// An opened run.
pub struct Session {
    /// The manifest.
    pub manifest: Manifest,
    /// All steps, in data order.
    pub steps: Vec<Box<dyn Step>>,
    /// Facts of the steps up to the last stage that the command is about.
    pub world: World,
    /// The ledger's records.
    pub records: Records,
    /// The store; none where a read-only command finds no folder.
    store: Option<Store>,
    output: PathBuf,
    _lock: Option<Lock>,
}

impl Session {
    /// Opens the run at `place` for a command about stages up to `last`.
    ///
    /// # Errors
    /// Whatever is wrong with manifest, models, source or folder.
    pub fn open(place: &Place, last: StageName, access: Access) -> Result<Self, Failure> {
        let manifest = load_manifest(&place.manifest)?;
        let steps = registry::steps();
        let there = place.output.is_dir();
        let (store, lock) = match access {
            Access::Write => {
                let store = Store::local(&place.output)?;
                let lock = Lock::take(&place.output)?;
                (Some(store), Some(lock))
            }
            Access::Existing if !there => return Err(nothing_run(&place.output)),
            Access::Existing | Access::Look if there => (Some(Store::local(&place.output)?), None),
            Access::Existing | Access::Look => (None, None),
        };
        let records = match &store {
            Some(store) => Records::new(Ledger::new(store.clone()).all()?),
            None => Records::default(),
        };
        let memory = store.as_ref().map(|s| s.local_path("cache/digests.json"));
        let digests = FileDigests::open(memory);
        let world = facts::gather(&manifest, &steps, last, &digests);
        digests.save();
        Ok(Self {
            manifest,
            steps,
            world: world?,
            records,
            store,
            output: place.output.clone(),
            _lock: lock,
        })
    }

    /// The store.
    ///
    /// # Errors
    /// Where there is no run yet.
    pub fn store(&self) -> Result<&Store, Failure> {
        self.store.as_ref().ok_or_else(|| nothing_run(&self.output))
    }

    /// The plan of all steps of the world, by what the ledger says now.
    ///
    /// # Errors
    /// Steps that do not fit together.
    pub fn plan(&self) -> Result<Plan, Failure> {
        plan::plan(&self.world, &self.records)
            .map_err(|e| Failure::new(Exit::Defect, e.to_string()))
    }

    /// The step called `name`.
    pub fn step(&self, name: &str) -> Option<&dyn Step> {
        let step = self.steps.iter().find(|s| s.name() == name);
        step.map(|s| &**s)
    }

    /// The records that the plan counts as done: the present state of all tables.
    ///
    /// # Errors
    /// As [`Session::plan`].
    pub fn present(&self) -> Result<Vec<Record>, Failure> {
        let plan = self.plan()?;
        let records = plan.steps.iter().flat_map(|s| s.records());
        Ok(records.map(|r| (**r).clone()).collect())
    }
}

fn nothing_run(output: &Path) -> Failure {
    let text = format!("{}: nothing has been run there", output.display());
    Failure::new(Exit::Environment, text)
        .hint("name the run's folder with --output, or begin with `laioncele run`")
}

/// Loads the manifest at `path`.
///
/// # Errors
/// A missing or wrong manifest.
pub fn load_manifest(path: &Path) -> Result<Manifest, Failure> {
    Manifest::load(path).map_err(|error| {
        let missing = matches!(error, CoreError::Missing { .. });
        let failure = Failure::from(error);
        if missing {
            Failure {
                exit: Exit::Usage,
                ..failure
            }
            .hint("name the manifest with --manifest FILE; the repository's are in manifests/")
        } else {
            failure
        }
    })
}
