//! A run as `report`, `explain` and `review` read it: also one that is half done, of an earlier version, damaged, or at work.

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::sync::Arc;

use laioncele_core::StageName;
use laioncele_core::ledger::{Ledger, Record};
use laioncele_core::store::Store;
use laioncele_report::{RunView, StepFact};

use crate::args::RunPaths;
use crate::failure::{Exit, Failure};
use crate::registry;
use crate::session::{Access, Session, manifest_of_run};
use crate::staleness::StepState;

/// A run that is only read, and what is known of its steps.
pub(crate) struct ReadRun {
    /// The tables.
    pub view: RunView,
    /// All steps, in data order.
    pub steps: Vec<StepFact>,
}

/// Opens the run at `paths` as far as it can be read. What is not as it should be is a remark of the view.
///
/// # Errors
/// A folder without a run, or one that a newer program wrote; a manifest that is gone.
pub(crate) fn open(paths: &RunPaths) -> Result<ReadRun, Failure> {
    let run = match Session::open(paths, StageName::Evaluate, Access::Existing) {
        Ok(session) => of_session(&session)?,
        Err(failure) => of_ledger(paths, failure)?,
    };
    if let Some(remark) = at_work(&paths.output) {
        run.view.remark(remark);
    }
    Ok(run)
}

/// The run of an opened session.
///
/// # Errors
/// As [`Session::plan`].
pub(crate) fn of_session(session: &Session) -> Result<ReadRun, Failure> {
    let plan = session.plan()?;
    let steps = plan.steps.iter().map(|step| {
        let state = StepState::of(&plan, step);
        StepFact {
            stage: state.stage.to_string(),
            tasks: state.tasks,
            done: state.done,
            state: match state.complete() {
                true => "complete".to_owned(),
                false => state.why(),
            },
            step: state.step,
        }
    });
    let steps = steps.collect();
    let records = session.current_records()?;
    let store = session.store()?.clone();
    let view = RunView::new(store, session.manifest.clone(), records);
    for damaged in session.records.unusable() {
        view.remark(format!(
            "Damaged, and not counted: {}: {}",
            damaged.path, damaged.reason
        ));
    }
    Ok(ReadRun { view, steps })
}

/// What the ledger has of a run that cannot be planned: its models or its source are gone, or its manifest does not fit.
fn of_ledger(paths: &RunPaths, failure: Failure) -> Result<ReadRun, Failure> {
    if !paths.output.join("ledger").is_dir() {
        return Err(failure);
    }
    let Ok(manifest) = manifest_of_run(paths) else {
        return Err(failure);
    };
    let store = Store::local(&paths.output)?;
    let scan = Ledger::new(store.clone()).scan()?;
    let mut seen = HashSet::new();
    let newest = scan.records.into_iter();
    let records: Vec<Record> = newest
        .filter(|record| seen.insert((record.step.clone(), record.partition.clone())))
        .map(Arc::unwrap_or_clone)
        .collect();
    let steps = registry::steps();
    let steps = steps.iter().map(|step| {
        let spec = step.spec();
        let done = records.iter().filter(|r| r.step == spec.name).count();
        StepFact {
            stage: spec.stage.to_string(),
            step: spec.name.to_owned(),
            tasks: done,
            done,
            state: "not known: the run cannot be planned".to_owned(),
        }
    });
    let steps = steps.collect();
    let view = RunView::new(store, manifest, records);
    view.remark(format!(
        "The run cannot be planned ({}). What is here is the newest result of each task, whatever it was made from.",
        failure.message
    ));
    Ok(ReadRun { view, steps })
}

/// A sentence on another process that works in the folder now.
pub(crate) fn at_work(output: &Path) -> Option<String> {
    let path = output.join("lock");
    let text = fs::read_to_string(&path).ok()?;
    let holder: serde_json::Value = serde_json::from_str(&text).ok()?;
    let held = match File::open(&path).ok()?.try_lock_shared() {
        Err(TryLockError::WouldBlock) => true,
        Err(TryLockError::Error(_)) | Ok(()) => false,
    };
    held.then(|| {
        format!(
            "Process {} on {} works in this folder: what is here is what was done when it was read.",
            holder["process"], holder["host"]
        )
    })
}

/// The failure of a command that found nothing to show.
pub(crate) fn nothing_known(what: &str, hints: Vec<String>) -> Failure {
    let failure = Failure::new(Exit::Usage, format!("the run has nothing of {what}"));
    hints.into_iter().fold(failure, Failure::hint)
}
