//! An opened run: manifest, steps, store and ledger. Most commands start by opening one.

use std::path::{Path, PathBuf};

use laioncele_core::file_digests::FileDigests;
use laioncele_core::ledger::{Ledger, Record};
use laioncele_core::scratch;
use laioncele_core::store::Store;
use laioncele_core::{CoreError, Manifest, StageName, Step};

use crate::args::RunPaths;
use crate::failure::{Exit, Failure};
use crate::lock::Lock;
use crate::plan::{self, Plan, PlanError, PlanInputs, Planner, Records, StepPlan, inputs};
use crate::registry;

/// How a command uses the run's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Reads a run that may not exist yet: takes no lock, creates no folder.
    Read,
    /// Reads a run that must exist.
    Existing,
    /// Creates the folder and holds its lock.
    Write,
}

/// An opened run.
pub(crate) struct Session {
    /// The manifest that describes the run.
    pub manifest: Manifest,
    /// All steps, in data order.
    pub steps: Vec<Box<dyn Step>>,
    /// Plan inputs of the steps up to the last stage that the command works on.
    pub inputs: PlanInputs,
    /// The ledger's records.
    pub records: Records,
    /// The store; `None` if a read-only command finds no folder.
    store: Option<Store>,
    output: PathBuf,
    _lock: Option<Lock>,
}

impl Session {
    /// Opens the run at `paths` for a command that works on stages up to `last`.
    ///
    /// # Errors
    /// Whatever is wrong with manifest, models, source or folder.
    pub(crate) fn open(paths: &RunPaths, last: StageName, access: Access) -> Result<Self, Failure> {
        let manifest = load_manifest(&paths.manifest)?;
        let steps = registry::steps();
        let there = paths.output.is_dir();
        let (store, lock) = match access {
            Access::Write => {
                let store = Store::local(&paths.output)?;
                let store = store.with_durability(manifest.run.durability());
                let lock = Lock::take(&paths.output)?;
                (Some(store), Some(lock))
            }
            Access::Existing if !there => return Err(nothing_run(&paths.output)),
            Access::Existing | Access::Read if there => (Some(Store::local(&paths.output)?), None),
            Access::Existing | Access::Read => (None, None),
        };
        let records = match &store {
            Some(store) => Records::new(Ledger::new(store.clone()).all()?),
            None => Records::default(),
        };
        let memory = store.as_ref().map(|s| s.local_path("cache/digests.json"));
        let digests = FileDigests::open(memory);
        let checked = access == Access::Write;
        let inputs = inputs::gather(&manifest, &steps, last, &digests, checked);
        digests.save();
        Ok(Self {
            manifest,
            steps,
            inputs: inputs?,
            records,
            store,
            output: paths.output.clone(),
            _lock: lock,
        })
    }

    /// The store of the run's tables, ledger and queue.
    ///
    /// # Errors
    /// If nothing has been run yet.
    pub(crate) fn store(&self) -> Result<&Store, Failure> {
        self.store.as_ref().ok_or_else(|| nothing_run(&self.output))
    }

    /// The plan of all steps of the inputs, given the current ledger records.
    ///
    /// # Errors
    /// Steps that do not fit together.
    pub(crate) fn plan(&self) -> Result<Plan, Failure> {
        plan::plan(&self.inputs, &self.records).map_err(|e| defect(&e))
    }

    /// A planner for the steps of the inputs.
    ///
    /// # Errors
    /// As [`Session::plan`].
    pub(crate) fn planner(&self) -> Result<Planner, Failure> {
        Planner::new(&self.inputs).map_err(|e| defect(&e))
    }

    /// Deletes what a killed run left behind: tasks at work, scratch files, journals of downloads that are committed. Only
    /// with [`Access::Write`].
    ///
    /// # Errors
    /// Store errors.
    pub(crate) fn clear_leftovers(&self) -> Result<(), Failure> {
        let store = self.store()?;
        for stale in store.list("queue")? {
            store.delete(&stale)?;
        }
        scratch::clear(store)?;
        let downloads = self.records.of_step(laioncele_download_images::STEP);
        Ok(laioncele_download_images::prune(store, downloads)?)
    }

    /// The step called `name`.
    pub(crate) fn step(&self, name: &str) -> Option<&dyn Step> {
        let step = self.steps.iter().find(|s| s.spec().name == name);
        step.map(|s| &**s)
    }

    /// The records that the plan counts as done: the current state of all tables.
    ///
    /// # Errors
    /// As [`Session::plan`].
    pub(crate) fn current_records(&self) -> Result<Vec<Record>, Failure> {
        let plan = self.plan()?;
        let records = plan.steps.iter().flat_map(StepPlan::records);
        Ok(records.map(|r| (**r).clone()).collect())
    }
}

fn defect(error: &PlanError) -> Failure {
    Failure::new(Exit::Defect, error.to_string())
}

fn nothing_run(output: &Path) -> Failure {
    let text = format!("{}: nothing has been run here", output.display());
    Failure::new(Exit::Environment, text)
        .hint("name the run's folder with --output, or start with `laioncele run`")
}

/// Loads the manifest at `path`.
///
/// # Errors
/// A missing or wrong manifest.
pub(crate) fn load_manifest(path: &Path) -> Result<Manifest, Failure> {
    Manifest::load(path).map_err(|error| {
        let missing = matches!(error, CoreError::Missing { .. });
        let failure = Failure::from(error);
        if missing {
            Failure {
                exit: Exit::Usage,
                ..failure
            }
            .hint("name the manifest with --manifest FILE; the repository has some in manifests/")
        } else {
            failure
        }
    })
}
