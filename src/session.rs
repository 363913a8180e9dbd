//! An opened run: manifest, steps, store and ledger. Most commands start by opening one.

use std::path::{Path, PathBuf};

use laioncele_core::decisions::{Decisions, LABEL, MERGES, Rulings};
use laioncele_core::error::chain;
use laioncele_core::file_digests::FileDigests;
use laioncele_core::ledger::{DAMAGED, Ledger, Record, Scan};
use laioncele_core::scratch;
use laioncele_core::store::Store;
use laioncele_core::{CoreError, Digest, Manifest, StageName, Step};

use crate::args::{DEFAULT_MANIFEST, ModelsOf, RunPaths};
use crate::failure::{Exit, Failure};
use crate::lock::Place;
use crate::overrides;
use crate::plan::{
    self, Cause, Plan, PlanError, PlanInputs, Planner, Records, State, StepInfo, TaskPlan, inputs,
};
use crate::registry;
use crate::run_folder::{self, RunFile};
use crate::shipped::shipped;

/// How a command uses the run's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Reads a run that may not exist yet: takes no lock, creates no folder.
    Read,
    /// Reads a run that must exist.
    Existing,
    /// Changes a run that must exist, and holds its lock.
    Change,
    /// Runs: creates the folder and holds its lock.
    Run {
        /// Goes on though the folder's run has another source.
        change_source: bool,
    },
}

/// How a command reads the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// What was read before and has not changed since is remembered.
    Remembered,
    /// Every record from its own file.
    Anew,
}

impl Access {
    fn locks(self) -> bool {
        matches!(self, Self::Change | Self::Run { .. })
    }
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
    /// Digests of files, remembered in the run's folder.
    pub digests: FileDigests,
    /// The store; `None` if a read-only command finds no folder.
    store: Option<Store>,
    output: PathBuf,
    _lock: Option<Place>,
}

impl Session {
    /// Opens the run at `paths` for a command that works on stages up to `last`. Its manifest is
    /// the one that is named, else the one that the folder was last run with. Where the two differ,
    /// that is said.
    ///
    /// # Errors
    /// Whatever is wrong with manifest, models, source or folder; a manifest with another source
    /// than the folder's run.
    pub(crate) fn open(paths: &RunPaths, last: StageName, access: Access) -> Result<Self, Failure> {
        Self::open_by(paths, last, access, Look::Remembered)
    }

    /// As [`Session::open`]; says whether each record of the ledger is read from its own file.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub(crate) fn open_by(
        paths: &RunPaths,
        last: StageName,
        access: Access,
        look: Look,
    ) -> Result<Self, Failure> {
        let mut store = run_folder::existing(&paths.output)?;
        let recorded = store.as_ref().map(RunFile::of).transpose()?.flatten();
        let has_records = || {
            store
                .as_ref()
                .map_or(Ok(false), |store| store.any("ledger"))
        };
        let was_run = recorded.is_some() || has_records()?;
        if !was_run && matches!(access, Access::Existing | Access::Change) {
            return Err(nothing_run(&paths.output));
        }
        let manifest = manifest_of(paths, store.as_ref(), recorded.as_ref())?;
        let steps = registry::steps();
        let creates = matches!(access, Access::Run { .. });
        if let Some(bucket) = store
            .as_ref()
            .and_then(Store::bucket)
            .filter(|_| access.locks())
        {
            bucket.check()?;
        }
        if store.is_some() || creates {
            let opened = Store::open(&paths.output)?;
            store = Some(opened.with_durability(manifest.run.durability()));
        }
        let lock = match &store {
            Some(store) if access.locks() => Some(Place::take(store, &paths.output)?),
            _ => None,
        };
        let records = match &store {
            Some(store) => {
                let scan = scanned(store, access, look)?;
                Records::beside(scan, |paths| store.sizes_of("tables", paths))?
            }
            None => Records::default(),
        };
        if let Some(first) = records.unusable().first().filter(|_| !access.locks()) {
            let (path, reason) = (&first.path, &first.reason);
            let others = match records.unusable().len() - 1 {
                0 => String::new(),
                others => format!(" (and {others} other records)"),
            };
            tracing::warn!(
                "{path} is damaged{others}: {reason}; `laioncele run` makes again what it stood for"
            );
        }
        let memory = store.as_ref().map(|s| s.local_path("cache/digests.json"));
        let digests = FileDigests::open(memory);
        let inputs = inputs::gather(&manifest, &steps, last, &digests, creates);
        digests.save();
        let mut inputs = inputs?;
        if let Some(store) = &store {
            for step in &mut inputs.steps {
                add_rulings(store, step)?;
            }
        }
        let session = Self {
            manifest,
            steps,
            inputs,
            records,
            digests,
            store,
            output: paths.output.clone(),
            _lock: lock,
        };
        session.compare(paths, recorded.as_ref(), access)?;
        Ok(session)
    }

    /// Compares the manifest with the one that the folder was last run with, and says what differs.
    ///
    /// # Errors
    /// Another source.
    fn compare(
        &self,
        paths: &RunPaths,
        recorded: Option<&RunFile>,
        access: Access,
    ) -> Result<(), Failure> {
        let folder = self.output.display();
        if paths.manifest.is_none() {
            let changed = |run: &RunFile| run.changed_since(&self.manifest);
            if let Some(remark) = recorded.and_then(changed).filter(|_| paths.set.is_empty()) {
                tracing::warn!("{remark}");
            }
            if paths.set.is_empty() {
                return Ok(());
            }
        }
        if recorded.is_some_and(|run| run.manifest == self.manifest.digest()) {
            return Ok(());
        }
        let before = recorded.and_then(|run| run.load(self.store.as_ref()?).ok());
        let shards = &self.inputs.shards;
        if run_folder::other_source(before.as_ref(), &self.manifest, &self.records, shards) {
            if access
                != (Access::Run {
                    change_source: true,
                })
            {
                return Err(self.other_source(before.as_ref()));
            }
            tracing::warn!("{folder}: its run had another source; going on with --change-source");
        }
        let (Some(before), Some(run)) = (before, recorded) else {
            return Ok(());
        };
        let changes = run_folder::changes_text(&before, &self.manifest);
        match changes {
            Some(changes) if matches!(access, Access::Run { .. }) => {
                tracing::warn!("{folder}: settings changed since its last run: {changes}");
            }
            Some(changes) if paths.manifest.is_none() => {
                tracing::warn!("{folder}: by --set its settings would change: {changes}");
            }
            Some(changes) => tracing::warn!(
                "{folder} was last run with {}; {} differs: {changes}",
                run.path.display(),
                self.manifest.path().display()
            ),
            None => {}
        }
        Ok(())
    }

    fn other_source(&self, before: Option<&Manifest>) -> Failure {
        let paths = |manifest: &Manifest| {
            let paths = run_folder::source_paths(manifest);
            let paths: Vec<_> = paths.iter().map(|p| p.display().to_string()).collect();
            paths.join(", ")
        };
        let run = before.map_or_else(
            || "a run on another source".to_owned(),
            |before| format!("a run on {}", paths(before)),
        );
        let text = format!(
            "{} holds {run}, but {} reads {}",
            self.output.display(),
            self.manifest.path().display(),
            paths(&self.manifest)
        );
        Failure::new(Exit::Usage, text)
            .hint("leave out --manifest to use the run's own, or name another folder with --output")
            .hint("if the source has moved and changed: `laioncele run --change-source` goes on with it")
    }

    /// The digest of the manifest that the folder was last run with.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub(crate) fn recorded_manifest(&self) -> Result<Option<Digest>, Failure> {
        Ok(RunFile::read(&self.output)?.map(|run| run.manifest))
    }

    /// Records that the folder is run with this session's manifest. Returns the object that workers
    /// read it from.
    ///
    /// # Errors
    /// Store errors.
    pub(crate) fn record_manifest(&self) -> Result<String, Failure> {
        Ok(run_folder::record(self.store()?, &self.manifest)?)
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

    /// As [`Session::plan`]; from now on results that lack images which a step needs count as missing.
    ///
    /// # Errors
    /// As [`Session::plan`].
    pub(crate) fn plan_whole(&mut self) -> Result<Plan, Failure> {
        plan::plan_whole(&self.inputs, &mut self.records).map_err(|e| defect(&e))
    }

    /// Reads the ledger again, with what a run has added.
    ///
    /// # Errors
    /// Store errors.
    pub(crate) fn look_again(&mut self) -> Result<(), Failure> {
        let store = self.store()?;
        let scan = Ledger::new(store.clone()).scan()?;
        self.records = Records::beside(scan, |paths| store.sizes_of("tables", paths))?;
        Ok(())
    }

    /// A planner for the steps of the inputs.
    ///
    /// # Errors
    /// As [`Session::plan`].
    pub(crate) fn planner(&self) -> Result<Planner, Failure> {
        Planner::new(&self.inputs).map_err(|e| defect(&e))
    }

    /// Deletes what a killed run left behind: tasks at work, scratch files, journals of downloads
    /// that are committed; and moves damaged records out of the ledger. Only for who holds the
    /// run's lock.
    ///
    /// # Errors
    /// Store errors.
    pub(crate) fn clear_leftovers(&self) -> Result<(), Failure> {
        let store = self.store()?;
        let ledger = Ledger::new(store.clone());
        for damaged in self.records.unusable() {
            let (path, reason) = (&damaged.path, &damaged.reason);
            tracing::warn!("{path} is moved to {DAMAGED}/, and its task runs again: {reason}");
            ledger.set_aside(damaged)?;
        }
        for stale in store.list("queue")? {
            store.delete(&stale)?;
        }
        scratch::clear(store)?;
        let downloads = self.records.of_step(laioncele_download_images::STEP);
        Ok(laioncele_download_images::prune(store, downloads)?)
    }

    /// `step` with what people have decided in a review by now: a run may be on its way for days.
    ///
    /// # Errors
    /// Decisions that cannot be read.
    pub(crate) fn decided(&self, mut step: StepInfo) -> Result<StepInfo, Failure> {
        add_rulings(self.store()?, &mut step)?;
        Ok(step)
    }

    /// The step called `name`.
    pub(crate) fn step(&self, name: &str) -> Option<&dyn Step> {
        let step = self.steps.iter().find(|s| s.spec().name == name);
        step.map(|s| &**s)
    }

    /// The records of the current state of all tables: those that the plan counts as done, and pruned ones.
    ///
    /// # Errors
    /// As [`Session::plan`].
    pub(crate) fn current_records(&self) -> Result<Vec<Record>, Failure> {
        let plan = self.plan()?;
        let tasks = plan.steps.iter().flat_map(|step| &step.tasks);
        let record = |task: &TaskPlan| match &task.state {
            State::Done(record) => Some((**record).clone()),
            // What lacks images that a step needs is there all the same.
            State::Missing { spec, causes } if matches!(causes[..], [Cause::Pruned(_), ..]) => {
                let (step, partition) = (&spec.step, &spec.partition);
                let record = self.records.named(step, partition, spec.key)?;
                Some((**record).clone())
            }
            State::Missing { .. } | State::Waiting { .. } => None,
        };
        Ok(tasks.filter_map(record).collect())
    }
}

/// What the ledger holds. Who may change the run leaves the next command less to read.
fn scanned(store: &Store, access: Access, look: Look) -> Result<Scan, CoreError> {
    let ledger = Ledger::new(store.clone());
    if look == Look::Anew {
        return ledger.scan_anew();
    }
    let scan = ledger.scan()?;
    if access.locks()
        && let Err(error) = ledger.remember(&scan)
    {
        tracing::debug!("records are not remembered: {}", chain(&error));
    }
    Ok(scan)
}

/// Adds what people struck out in a review to what the keys of filter-counts depend on, and what they merged to those of merge-spellings.
fn add_rulings(store: &Store, step: &mut StepInfo) -> Result<(), Failure> {
    let (label, digest): (_, fn(&Rulings) -> Option<Digest>) = match step.name.as_str() {
        "filter-counts" => (LABEL, Rulings::digest),
        "merge-spellings" => (MERGES, Rulings::merges_digest),
        _ => return Ok(()),
    };
    step.models.remove(label);
    let decided = digest(&Decisions::load(store)?.rulings());
    step.models
        .extend(decided.map(|digest| (label.to_owned(), digest)));
    Ok(())
}

fn defect(error: &PlanError) -> Failure {
    Failure::new(Exit::Defect, error.to_string())
}

fn nothing_run(output: &Path) -> Failure {
    let text = format!("{}: nothing has been run here", output.display());
    Failure::new(Exit::Environment, text)
        .hint("name the run's folder with --output, or start with `laioncele run`")
}

/// The manifest of the run at `paths`, and no more of it.
///
/// # Errors
/// As [`load_manifest`]; a folder that does not say which manifest is its own.
pub(crate) fn manifest_of_run(paths: &RunPaths) -> Result<Manifest, Failure> {
    let store = run_folder::existing(&paths.output)?;
    let recorded = store.as_ref().map(RunFile::of).transpose()?.flatten();
    manifest_of(paths, store.as_ref(), recorded.as_ref())
}

fn manifest_of(
    paths: &RunPaths,
    store: Option<&Store>,
    recorded: Option<&RunFile>,
) -> Result<Manifest, Failure> {
    let manifest = written_manifest(paths, store, recorded)?;
    overrides::with_settings(manifest, &paths.set)
}

fn written_manifest(
    paths: &RunPaths,
    store: Option<&Store>,
    recorded: Option<&RunFile>,
) -> Result<Manifest, Failure> {
    match (&paths.manifest, recorded.zip(store)) {
        (Some(path), _) => load_manifest(path),
        (None, Some((run, store))) => run.load(store),
        (None, None) if store.is_some_and(|store| store.any("ledger").is_ok_and(|any| any)) => {
            let folder = paths.output.display();
            let text = format!("{folder} does not say which manifest it was run with");
            Err(Failure::new(Exit::Usage, text).hint("name the manifest with --manifest FILE"))
        }
        (None, None) => load_manifest(Path::new(DEFAULT_MANIFEST)),
    }
}

/// The manifest of a command that needs no run.
///
/// # Errors
/// As [`load_manifest`]; a folder without a run.
pub(crate) fn manifest_of_models(chosen: &ModelsOf) -> Result<Manifest, Failure> {
    let manifest = match (&chosen.manifest, &chosen.output) {
        (Some(path), _) => load_manifest(path),
        (None, Some(output)) => {
            let store = run_folder::existing(output)?;
            let store = store.ok_or_else(|| nothing_run(output))?;
            let run = RunFile::of(&store)?.ok_or_else(|| nothing_run(output))?;
            run.load(&store)
        }
        (None, None) => load_manifest(Path::new(DEFAULT_MANIFEST)),
    };
    overrides::with_settings(manifest?, &chosen.set)
}

/// Loads the manifest at `path`; one below `manifests/` also where it came with the program.
///
/// # Errors
/// A missing or wrong manifest.
pub(crate) fn load_manifest(path: &Path) -> Result<Manifest, Failure> {
    let path = match path.starts_with("manifests") {
        true => shipped(path),
        false => path.to_owned(),
    };
    Manifest::load(&path).map_err(|error| {
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
