//! What workers say and how they end: progress, answers, records, lost tasks.

use laioncele_core::CoreError;
use laioncele_core::ledger::{Ledger, Record};
use laioncele_core::protocol::{FailureKind, FromWorker};

use super::{Executor, no_workers};
use crate::executor::cost::Ended;
use crate::executor::pool::Event;
use crate::executor::queue::WorkerId;
use crate::executor::slots::AfterFailedStart;
use crate::executor::step_run::warn_of;
use crate::executor::{StepNumber, spec_path, task_log, wire_log, worker_log};
use crate::failure::Failure;
use crate::progress::Reporter;
use crate::words::{count, duration};

impl Executor {
    pub(super) fn handle_event(
        &mut self,
        event: Event,
        done: &mut Vec<(StepNumber, Record)>,
        reporter: &mut dyn Reporter,
    ) -> Result<(), Failure> {
        match event {
            Event::Interrupt => self.interrupt(reporter),
            Event::Ended(worker, reason) => self.worker_ended(worker, reason, done)?,
            Event::Message(worker, message) => self.handle_message(worker, message, done)?,
        }
        Ok(())
    }

    fn handle_message(
        &mut self,
        worker: WorkerId,
        message: FromWorker,
        done: &mut Vec<(StepNumber, Record)>,
    ) -> Result<(), Failure> {
        match message {
            FromWorker::Progress { id, progress } => {
                if let Some(step) = self.step_of(worker, id) {
                    step.note_progress(worker, id, progress);
                }
            }
            FromWorker::AtRow { id, row } => {
                if let Some(step) = self.step_of(worker, id) {
                    match row {
                        Some(row) => drop(step.at_row.insert(id, row)),
                        None => drop(step.at_row.remove(&id)),
                    }
                }
            }
            FromWorker::Overdue { id, row, limit } => self.overdue(worker, id, row, limit),
            FromWorker::Log { id, level, text } => {
                wire_log::relay(worker, &level, &text);
                if let Some(id) = id {
                    self.note(worker, id, &format!("{level}: {text}"));
                }
            }
            FromWorker::Done { id, .. } => {
                let text = "reported as done, but it has no record";
                self.answered(worker, id, FailureKind::Internal, text, done)?;
            }
            FromWorker::Failed { id, kind, text } => {
                self.answered(worker, id, kind, &text, done)?;
            }
            FromWorker::Hello { .. } | FromWorker::Pong { .. } => {}
        }
        Ok(())
    }

    /// Adds what is said of assignment `id` to its task's log.
    fn note(&mut self, worker: WorkerId, id: u64, text: &str) {
        let (store, attempt) = (self.store.clone(), self.attempt(id));
        let host = self.pool.host(worker);
        let Some(step) = self.step_of(worker, id) else {
            return;
        };
        if let Some(task) = step.queue.task_of(worker, id) {
            let place = if host.is_empty() { "" } else { " on " };
            let who = format!("attempt {attempt}, worker {worker}{place}{host}");
            task_log::note(&store, &step.tasks[task], &who, text);
        }
    }

    /// A worker does not come to the end of a row, or of several: it is ended as if it had died there.
    fn overdue(&mut self, worker: WorkerId, id: u64, row: Option<u64>, limit: u64) {
        let Some(step) = self.step_of(worker, id) else {
            return;
        };
        if let Some(row) = row {
            step.at_row.insert(id, row);
        }
        let limit = count(usize::try_from(limit).unwrap_or(usize::MAX), "second");
        let why = format!("was ended at its deadline: a row took longer than {limit}");
        self.pool.end(worker, why);
    }

    /// Assignment `id` has ended; without a record it failed for this reason.
    fn answered(
        &mut self,
        worker: WorkerId,
        id: u64,
        kind: FailureKind,
        text: &str,
        done: &mut Vec<(StepNumber, Record)>,
    ) -> Result<(), Failure> {
        if self.collect_record(worker, id, done)? {
            return Ok(());
        }
        self.note(worker, id, &format!("failed: {text}"));
        // What is wrong with one machine is no fault of the task, and stops nothing.
        let kind = match kind {
            FailureKind::Environment if self.pool.retire_host(worker, text) => {
                FailureKind::Cancelled
            }
            kind => kind,
        };
        if let Some(step) = self.step_of(worker, id) {
            step.task_failed(worker, id, kind, text);
        }
        Ok(())
    }

    /// Collects the record of assignment `id`. Returns whether it exists.
    fn collect_record(
        &mut self,
        worker: WorkerId,
        id: u64,
        done: &mut Vec<(StepNumber, Record)>,
    ) -> Result<bool, CoreError> {
        let ledger = Ledger::new(self.store.clone());
        let attempt = self.attempt(id);
        let Some(step) = self.step_of(worker, id) else {
            // Its record was collected before.
            return Ok(true);
        };
        let Some(task) = step.queue.task_of(worker, id) else {
            return Ok(true);
        };
        let spec = &step.tasks[task];
        let Some(record) = ledger.find(&spec.step, &spec.partition, spec.key)? else {
            return Ok(false);
        };
        // The record that is to be replaced is not the new one.
        if spec
            .again
            .as_ref()
            .is_some_and(|a| a.replaces == record.attempt)
        {
            return Ok(false);
        }
        let path = spec_path(spec);
        let how = match record.attempt == attempt {
            true => Ended::Done,
            false => Ended::Duplicate,
        };
        step.queue.finished(worker, id);
        step.task_ended(worker, id, how);
        done.push((step.number, record));
        self.store.delete(&path)?;
        Ok(true)
    }

    fn worker_ended(
        &mut self,
        worker: WorkerId,
        reason: Option<String>,
        done: &mut Vec<(StepNumber, Record)>,
    ) -> Result<(), Failure> {
        let at_work = self.is_at_work();
        let Some((reason, failed_start)) = self.pool.remove(worker, reason, at_work) else {
            return Ok(());
        };
        let log = worker_log(&self.store, worker);
        let holding = self.steps.values().filter(|step| step.queue.holds(worker));
        let holding: Vec<StepNumber> = holding.map(|step| step.number).collect();
        match failed_start {
            None => {}
            Some(AfterFailedStart::TryAgain(pause)) => tracing::warn!(
                "worker {worker} {reason} before it was of use; another is started in {} (its log: {})",
                duration(pause),
                log.display()
            ),
            Some(AfterFailedStart::GiveUp) => {
                let obstacles = self.pool.obstacles();
                let about = obstacles.map_or(String::new(), |text| format!(" ({text})"));
                let text = format!("the last one {reason}{about}; see {}", log.display());
                return Err(no_workers(&text));
            }
        }
        let text = format!("{reason} (its log: {})", log.display());
        for number in holding {
            self.tasks_lost(number, worker, &reason, &text, done)?;
        }
        Ok(())
    }

    /// What `worker` held of a step.
    fn tasks_lost(
        &mut self,
        number: StepNumber,
        worker: WorkerId,
        reason: &str,
        text: &str,
        done: &mut Vec<(StepNumber, Record)>,
    ) -> Result<(), Failure> {
        let step = &self.steps[&number];
        let at_row = step.at_row.clone();
        // Before any is found to be done: what is then the first it holds has not begun.
        let begun = step.queue.begun(worker);
        let held: Vec<_> = step.queue.held().filter(|(w, _)| *w == worker).collect();
        for (_, assignment) in held {
            if self.collect_record(worker, assignment.id, done)? {
                continue;
            }
            self.note(worker, assignment.id, &format!("its worker {text}"));
            if let Some(step) = self.steps.get_mut(&number) {
                step.task_ended(worker, assignment.id, Ended::Lost);
            }
        }
        let Some(step) = self.steps.get_mut(&number) else {
            return Ok(());
        };
        let at = |id| at_row.get(&id).copied();
        for (task, after) in step.queue.lost(worker, &begun, (reason, text), at) {
            warn_of(&step.tasks[task], after, &format!("its worker {text}"));
        }
        Ok(())
    }
}
