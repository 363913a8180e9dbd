//! When each step of a run begins: once the steps before it that write what it reads have ended, or, where it reads no more
//! than its own partition of what they write, task by task as theirs are done.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use laioncele_core::ledger::{Ledger, Record};
use laioncele_core::spec::TaskSpec;
use laioncele_core::{Partition, Scope, StageName};

use super::{ActiveRun, clear_loss, interrupted, tasks_failed};
use crate::args::Stages;
use crate::executor::{Beginning, Outcome};
use crate::failure::{Exit, Failure};
use crate::plan::{State, StepInfo, StepPlan, TaskPlan, keeps_to_itself};
use crate::report::{StepSummary, WebSummary};
use crate::words::{count, duration};

/// Whether steps run beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Each begins when the one before it has ended.
    OneByOne,
    /// Each begins as soon as it can.
    SideBySide,
}

/// The steps of a run, in data order.
struct Course {
    steps: Vec<StepInfo>,
    /// The steps before each that write a table that it reads.
    before: Vec<Vec<usize>>,
    states: Vec<StepState>,
    order: Order,
}

enum StepState {
    /// Has not begun.
    Ahead,
    Running(Box<RunningStep>),
    Ended,
}

/// A step that has begun.
struct RunningStep {
    planned: StepPlan,
    /// Where in `planned` each partition is.
    places: HashMap<Partition, usize>,
    /// Tasks whose inputs are not known yet.
    waiting: usize,
    /// Tasks that were done in this run.
    ran: usize,
    begun: Instant,
}

impl RunningStep {
    fn new(planned: StepPlan) -> Self {
        let partitions = planned.tasks.iter().enumerate();
        let places = partitions.map(|(place, task)| (task.partition.clone(), place));
        let waits = |task: &&TaskPlan| matches!(task.state, State::Waiting { .. });
        Self {
            places: places.collect(),
            waiting: planned.tasks.iter().filter(waits).count(),
            planned,
            ran: 0,
            begun: Instant::now(),
        }
    }

    /// The state of the task on `partition`.
    fn state(&mut self, partition: &Partition) -> Option<&mut State> {
        let place = *self.places.get(partition)?;
        Some(&mut self.planned.tasks.get_mut(place)?.state)
    }
}

impl Course {
    fn new(steps: Vec<StepInfo>, order: Order) -> Self {
        let writers = |step: usize| {
            let reads = &steps[step].reads;
            let writes = |before: &usize| {
                let writes = &steps[*before].writes;
                reads.iter().any(|read| writes.contains(&read.table))
            };
            (0..step).filter(writes).collect()
        };
        Self {
            before: (0..steps.len()).map(writers).collect(),
            states: steps.iter().map(|_| StepState::Ahead).collect(),
            steps,
            order,
        }
    }

    fn is_running(&self) -> bool {
        let running = |state: &StepState| matches!(state, StepState::Running(_));
        self.states.iter().any(running)
    }

    /// Whether all steps before `step` that write what it reads have ended.
    fn is_ready(&self, step: usize) -> bool {
        let ended = |before: &usize| matches!(self.states[*before], StepState::Ended);
        match self.order {
            Order::OneByOne => (0..step).all(|before| ended(&before)),
            Order::SideBySide => self.before[step].iter().all(ended),
        }
    }

    /// Whether `step` can follow those before it task by task.
    fn can_follow(&self, step: usize) -> bool {
        let own = self.steps[step]
            .reads
            .iter()
            .all(|read| read.scope == Scope::Own);
        let goes_ahead = |before: &usize| match self.states[*before] {
            StepState::Ahead => false,
            StepState::Running(_) => {
                let partitioning = self.steps[*before].partitioning;
                keeps_to_itself(partitioning) && partitioning == self.steps[step].partitioning
            }
            StepState::Ended => true,
        };
        self.order == Order::SideBySide && own && self.before[step].iter().all(goes_ahead)
    }
}

impl ActiveRun {
    /// Runs all steps of `stages`.
    ///
    /// # Errors
    /// Whatever stops the run. What runs then is left to its end first.
    pub(super) fn steps(&mut self, stages: &Stages, order: Order) -> Result<(), Failure> {
        loop {
            let mut course = Course::new(self.session.inputs.steps.clone(), order);
            self.course(&mut course, stages)?;
            if self.wanted.is_empty() {
                return Ok(());
            }
            self.go_back(stages)?;
        }
    }

    /// Makes ready for another course over all steps, since tasks need images that were pruned from results which counted as
    /// done.
    fn go_back(&mut self, stages: &Stages) -> Result<(), Failure> {
        self.session.look_again()?;
        for (key, step) in self.wanted.drain(..) {
            self.session.records.want(key, &step);
        }
        self.session.plan_whole()?;
        self.crews.check(&self.session, stages)?;
        self.planner = self.session.planner()?;
        self.again = true;
        Ok(())
    }

    /// Runs steps until all have ended, or one needs what was pruned.
    fn course(&mut self, course: &mut Course, stages: &Stages) -> Result<(), Failure> {
        let mut failure = None;
        loop {
            let happened = self.advance(course, stages, failure.is_none());
            if let Err(problem) = happened {
                self.executor.stop();
                failure.get_or_insert(problem);
            }
            if !course.is_running() {
                let ahead = |state: &StepState| matches!(state, StepState::Ahead);
                return match failure {
                    Some(failure) => Err(failure),
                    None if self.executor.interrupted() && course.states.iter().any(ahead) => {
                        Err(interrupted())
                    }
                    None if !self.wanted.is_empty() => Ok(()),
                    None if course.states.iter().any(ahead) => continue,
                    None => Ok(()),
                };
            }
            let done = self.executor.turn(&mut *self.reporter);
            let fed = done.and_then(|done| {
                let mut done = done.into_iter();
                done.try_for_each(|(step, record)| self.feed(course, step, record))
            });
            if let Err(problem) = fed {
                self.abandon(course);
                return Err(failure.unwrap_or(problem));
            }
        }
    }

    /// Ends the steps whose tasks have ended, and begins those that can.
    fn advance(
        &mut self,
        course: &mut Course,
        stages: &Stages,
        go_on: bool,
    ) -> Result<(), Failure> {
        let mut result = Ok(());
        for (step, outcome, took) in self.executor.take_ended() {
            let ended = std::mem::replace(&mut course.states[step], StepState::Ended);
            if let StepState::Running(running) = ended {
                let ended = self.end_step(&course.steps[step], *running, outcome, took);
                result = result.and(ended);
            }
        }
        result?;
        if go_on && !self.executor.interrupted() {
            for step in 0..course.steps.len() {
                if self.wanted.is_empty() {
                    self.begin_step(course, step, stages)?;
                }
            }
        }
        Ok(())
    }

    /// Begins a step if it can begin; one of another stage is only looked at.
    fn begin_step(
        &mut self,
        course: &mut Course,
        step: usize,
        stages: &Stages,
    ) -> Result<(), Failure> {
        if !matches!(course.states[step], StepState::Ahead) {
            return Ok(());
        }
        let (ready, info) = (course.is_ready(step), &course.steps[step]);
        let chosen = stages.0.contains(&info.stage);
        let can_begin = ready || (chosen && course.can_follow(step));
        if !can_begin {
            return Ok(());
        }
        course.steps[step] = self.session.decided(info.clone())?;
        let info = &course.steps[step];
        if !chosen {
            let planned = self.planner.plan_step(info, &self.session.records);
            self.planner.add(info, &planned);
            course.states[step] = StepState::Ended;
            return Ok(());
        }
        let planned = match ready {
            true => self.planner.plan_step(info, &self.session.records),
            false => self.plan_own(info),
        };
        if let Some(on) = planned.waits_for().filter(|_| ready) {
            return Err(self.not_ready(&planned, on));
        }
        let pruned = self.session.records.needed(&planned);
        if !pruned.is_empty() {
            let needed = pruned.into_iter().map(|key| (key, info.name.clone()));
            self.wanted.extend(needed);
            return Ok(());
        }
        self.clear_losses(&planned)?;
        self.planner.begin(info, &planned);
        let running = RunningStep::new(planned);
        let left = running.waiting + running.planned.missing().count();
        if left == 0 {
            let tasks = count(running.planned.tasks.len(), "task");
            // Once is enough where it is so of all steps.
            if !self.idle && !self.again {
                let line = format!("{}: nothing to do, {tasks} already done", info.name);
                self.reporter.note(&line);
            }
            course.states[step] = StepState::Ended;
            return self.end_step(info, running, Outcome::default(), Duration::ZERO);
        }
        self.start(info, step, &running, left)?;
        course.states[step] = StepState::Running(Box::new(running));
        Ok(())
    }

    /// The tasks of a step as far as their inputs are known.
    fn plan_own(&self, info: &StepInfo) -> StepPlan {
        let mut planned = self.planner.plan_step(info, &self.session.records);
        for task in &mut planned.tasks {
            let state = self
                .planner
                .plan_own(info, &task.partition, &self.session.records);
            if let Some(state) = state {
                task.state = state;
            }
        }
        planned
    }

    /// Hands the tasks of a step to the executor.
    fn start(
        &mut self,
        info: &StepInfo,
        number: usize,
        running: &RunningStep,
        left: usize,
    ) -> Result<(), Failure> {
        let step = self.session.step(&info.name);
        let step = step.ok_or_else(|| defect(&info.name, "is no step of this program"))?;
        let crew = self.crews.of_step(step, &self.session.manifest)?;
        self.executor.begin(Beginning {
            number,
            name: info.name.clone(),
            crew,
            all_tasks: running.planned.tasks.len(),
            tasks: left,
            host_map: self.web.host_map()?,
        });
        let stages = StageName::ALL;
        let stage = stages.iter().position(|stage| *stage == info.stage);
        let place = stage.map_or(0, |at| at + 1);
        self.reporter.place(place, stages.len());
        self.reporter.begin(&info.name, left);
        for (spec, _) in running.planned.missing() {
            self.executor.push(number, spec.clone());
        }
        if running.waiting == 0 {
            self.executor.close(number);
        }
        Ok(())
    }

    /// Takes the record of a task of `step`, and hands out what waited for it.
    fn feed(&mut self, course: &mut Course, step: usize, record: Record) -> Result<(), Failure> {
        let StepState::Running(running) = &mut course.states[step] else {
            return Ok(());
        };
        running.ran += 1;
        let mut news = vec![(step, Arc::new(record))];
        while let Some((step, record)) = news.pop() {
            let info = &course.steps[step];
            if let StepState::Running(running) = &mut course.states[step]
                && let Some(state) = running.state(&record.partition)
            {
                *state = State::Done(record.clone());
            }
            if keeps_to_itself(info.partitioning) && writes_elsewhere(&record) {
                let what = format!("has written beside its partition {}", record.partition);
                return Err(defect(&info.name, &what));
            }
            self.planner.task_done(info, &record);
            let partition = &record.partition;
            for next in step + 1..course.steps.len() {
                if course.before[next].contains(&step)
                    && let Some(done) = self.look_again(course, next, partition)?
                {
                    news.push((next, done));
                }
            }
        }
        Ok(())
    }

    /// Looks again at the task of `step` on `partition`, if it waits. Hands it out, or returns its record where it is done.
    fn look_again(
        &mut self,
        course: &mut Course,
        step: usize,
        partition: &Partition,
    ) -> Result<Option<Arc<Record>>, Failure> {
        let StepState::Running(running) = &mut course.states[step] else {
            return Ok(None);
        };
        let info = &course.steps[step];
        let Some(waiting @ State::Waiting { .. }) = running.state(partition) else {
            return Ok(None);
        };
        let known = self
            .planner
            .plan_own(info, partition, &self.session.records);
        let Some(known) = known else {
            return Ok(None);
        };
        let done = match &known {
            State::Missing { spec, .. } if self.needs_pruned(spec) => {
                // All steps come again once its inputs are whole: what waits now is planned anew then.
                self.executor.close_all();
                return Ok(None);
            }
            State::Missing { spec, causes } => {
                let ledger = Ledger::new(self.session.store()?.clone());
                clear_loss(&ledger, spec, causes, true)?;
                self.executor.push(step, (**spec).clone());
                None
            }
            State::Done(record) => {
                self.executor.spare(step);
                Some(record.clone())
            }
            State::Waiting { .. } => return Ok(None),
        };
        *waiting = known;
        running.waiting -= 1;
        if running.waiting == 0 {
            self.executor.close(step);
        }
        Ok(done)
    }

    /// Whether images were pruned from what a task reads; the results are wanted whole then.
    fn needs_pruned(&mut self, spec: &TaskSpec) -> bool {
        let pruned = self.session.records.pruned_among(&spec.inputs);
        let any = !pruned.is_empty();
        let needed = pruned.into_iter().map(|key| (key, spec.step.clone()));
        self.wanted.extend(needed);
        any
    }

    /// Reports and publishes what a step has done.
    fn end_step(
        &mut self,
        info: &StepInfo,
        running: RunningStep,
        outcome: Outcome,
        took: Duration,
    ) -> Result<(), Failure> {
        let RunningStep {
            planned,
            ran,
            begun,
            waiting,
            ..
        } = running;
        if took > Duration::ZERO {
            let asked = ran + waiting + planned.missing().count();
            let (name, took) = (&info.name, duration(took));
            let line = match planned.complete() {
                true => format!("{name}: done in {took}"),
                false => format!("{name}: {ran} of {asked} tasks done in {took}"),
            };
            self.reporter.end(name, &line);
        }
        let mut summary = StepSummary::of(&planned, ran, begun.elapsed());
        summary.cost = outcome.cost;
        self.summary.add(summary);
        if info.name == laioncele_download_images::STEP {
            let store = self.session.store()?;
            self.summary.web = Some(WebSummary::of(store, &self.session.manifest, &planned)?);
        }
        if outcome.interrupted {
            return Err(interrupted());
        }
        if !outcome.failed.is_empty() {
            let all = planned.tasks.len();
            return Err(tasks_failed(&self.paths, &info.name, all, &outcome.failed));
        }
        if !planned.complete() {
            // Another step has failed: what this one has not begun waits for the next run.
            return Ok(());
        }
        self.planner.end(info);
        self.report_error_rates(&planned)?;
        self.publish(&planned)
    }

    /// Says of the running steps that they are stopped.
    fn abandon(&mut self, course: &Course) {
        for (info, state) in course.steps.iter().zip(&course.states) {
            if let StepState::Running(running) = state {
                let took = duration(running.begun.elapsed());
                let line = format!("{}: stopped after {took}", info.name);
                self.reporter.end(&info.name, &line);
            }
        }
    }
}

fn writes_elsewhere(record: &Record) -> bool {
    let mut parts = record.outputs.iter();
    parts.any(|part| part.partition != record.partition)
}

fn defect(step: &str, what: &str) -> Failure {
    Failure::new(Exit::Defect, format!("step `{step}` {what}"))
        .hint("this is a bug in laioncele: please report it")
}
