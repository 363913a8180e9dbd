//! Progress of a step: a bar with rate and remaining time on a terminal, plain lines elsewhere.

use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use laioncele_core::Unit;
use serde::{Deserialize, Serialize};

use crate::bar::{self, Part};
use crate::executor::Cost;
use crate::words::{count, duration, grouped};
use crate::{output, terminal};

/// Time between two plain lines of one step.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// The progress of a step.
#[derive(Clone, Debug)]
pub(crate) struct StepProgress {
    /// Tasks to be done.
    tasks: usize,
    /// Tasks done.
    pub tasks_done: usize,
    /// Work done in the running tasks, in tasks.
    pub fraction: f64,
    units: Option<(Unit, u64)>,
    found: Option<(Unit, u64)>,
    started: Instant,
    /// Workers that hold tasks of it.
    pub workers: usize,
    /// What it has cost so far.
    pub cost: Cost,
    /// Tasks that take much longer than others did.
    pub stragglers: Vec<Straggler>,
}

/// A task that takes much longer than others did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Straggler {
    /// Number of the worker that is at it.
    pub worker: usize,
    /// The worker's machine.
    pub host: String,
    /// The task's partition.
    pub partition: String,
    /// Seconds since it began.
    pub seconds: f64,
}

impl Straggler {
    /// `bucket-0003 for 12:00 (worker 7 on node2)`
    fn describe(&self) -> String {
        let Self {
            worker,
            host,
            partition,
            seconds,
        } = self;
        let on = match host.is_empty() {
            true => String::new(),
            false => format!(" on {host}"),
        };
        let time = duration(Duration::from_secs_f64(seconds.clamp(0.0, 1e9)));
        format!("{partition} for {time} (worker {worker}{on})")
    }
}

impl StepProgress {
    /// A step of `tasks` tasks that starts now.
    pub(crate) fn new(tasks: usize) -> Self {
        Self {
            tasks,
            tasks_done: 0,
            fraction: 0.0,
            units: None,
            found: None,
            started: Instant::now(),
            workers: 0,
            cost: Cost::default(),
            stragglers: Vec::new(),
        }
    }

    /// Adds `new` units done. A step that counts in several units shows the first one.
    pub(crate) fn add_units(&mut self, unit: Unit, new: u64) {
        add(&mut self.units, unit, new);
    }

    /// Adds `new` units found in those done.
    pub(crate) fn add_found(&mut self, unit: Unit, new: u64) {
        add(&mut self.found, unit, new);
    }

    /// One task fewer is to be done.
    pub(crate) fn spare(&mut self) {
        self.tasks = self.tasks.saturating_sub(1);
    }

    /// The share that is done, from 0 to 1.
    fn done(&self) -> f64 {
        let tasks = self.tasks.max(1) as f64;
        ((self.tasks_done as f64 + self.fraction) / tasks).clamp(0.0, 1.0)
    }

    /// How far it is, as numbers.
    pub(crate) fn facts(&self) -> ProgressFacts {
        let elapsed = self.started.elapsed();
        let rate = |sum: u64| sum as f64 / elapsed.as_secs_f64().max(0.001);
        ProgressFacts {
            tasks: self.tasks,
            tasks_done: self.tasks_done,
            share: self.done(),
            unit: self.units.map(|(unit, _)| unit),
            units: self.units.map_or(0, |(_, sum)| sum),
            units_per_second: self.units.map_or(0.0, |(_, sum)| rate(sum)),
            seconds: elapsed.as_secs_f64(),
            seconds_left: remaining(self.done(), elapsed).map(|left| left.as_secs_f64()),
            workers: self.workers,
            cost: self.cost,
            stragglers: self.stragglers.clone(),
        }
    }

    /// What is said of it: the tasks matter most, then the time left.
    fn parts(&self, elapsed: Duration) -> Vec<Part> {
        let tasks = count(self.tasks, "task");
        let mut parts = vec![(0, format!("{} of {tasks}", self.tasks_done))];
        if let Some((unit, sum)) = self.units {
            let per_second = rate(sum as f64 / elapsed.as_secs_f64().max(0.001));
            parts.push((2, format!("{}, {per_second}/s", counted(unit, sum))));
        }
        if let Some((unit, sum)) = self.found {
            parts.push((3, counted(unit, sum)));
        }
        if let Some(left) = remaining(self.done(), elapsed) {
            parts.push((1, format!("{} left", duration(left))));
        }
        parts
    }
}

/// How far a step is. All of it concerns the tasks that this run does: what was done before makes no rate look better.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ProgressFacts {
    /// Tasks to be done.
    pub tasks: usize,
    /// Tasks done.
    pub tasks_done: usize,
    /// The share that is done, from 0 to 1, running tasks included.
    pub share: f64,
    /// What is counted.
    pub unit: Option<Unit>,
    /// How many of it are done.
    pub units: u64,
    /// How many a second.
    pub units_per_second: f64,
    /// Seconds since the step began.
    pub seconds: f64,
    /// Seconds left at the rate so far; null while too little is done to tell.
    pub seconds_left: Option<f64>,
    /// Workers that hold its tasks, on all machines.
    #[serde(default)]
    pub workers: usize,
    /// What its tasks have cost so far in this run.
    #[serde(default)]
    pub cost: Cost,
    /// Tasks that take much longer than others did, the longest first.
    #[serde(default)]
    pub stragglers: Vec<Straggler>,
}

impl ProgressFacts {
    /// `3 of 8 tasks, 3,000 images, 30/s, 1:40 left`
    pub(crate) fn describe(&self) -> String {
        let mut parts = vec![format!(
            "{} of {}",
            self.tasks_done,
            count(self.tasks, "task")
        )];
        if let Some(unit) = self.unit {
            parts.push(counted(unit, self.units));
            parts.push(format!("{}/s", rate(self.units_per_second)));
        }
        if self.workers > 0 {
            let workers = count(self.workers, "worker");
            let each = self.units_per_second / self.workers as f64;
            let each = self.unit.map(|_| format!(" of {}/s", rate(each)));
            parts.push(workers + &each.unwrap_or_default());
        }
        if let Some(left) = self.seconds_left {
            parts.push(format!(
                "{} left",
                duration(Duration::from_secs_f64(left.clamp(0.0, 1e9)))
            ));
        }
        let mut text = parts.join(", ");
        if !self.stragglers.is_empty() {
            let late: Vec<_> = self.stragglers.iter().map(Straggler::describe).collect();
            text.push_str(&format!("; behind the others: {}", late.join(", ")));
        }
        text
    }
}

fn add(units: &mut Option<(Unit, u64)>, unit: Unit, new: u64) {
    let (counted, sum) = units.get_or_insert((unit, 0));
    if *counted == unit {
        *sum += new;
    }
}

fn counted(unit: Unit, sum: u64) -> String {
    count(usize::try_from(sum).unwrap_or(usize::MAX), unit.as_str())
}

fn rate(per_second: f64) -> String {
    if per_second < 10.0 {
        format!("{per_second:.1}")
    } else {
        grouped(per_second.round() as u64)
    }
}

/// The time left at the rate so far; `None` while too little is done to tell.
fn remaining(done: f64, elapsed: Duration) -> Option<Duration> {
    let known = done > 0.01 && done < 1.0 && elapsed > Duration::from_secs(1);
    let left = elapsed.as_secs_f64() * (1.0 - done) / done;
    known.then(|| Duration::from_secs_f64(left.min(1e9)))
}

/// Shows the progress of a run, of which several steps may run.
pub(crate) trait Reporter {
    /// The next step belongs to stage number `stage`, from 1, of `of`.
    fn place(&mut self, _stage: usize, _of: usize) {}
    /// Step `step` starts to run `tasks` tasks.
    fn begin(&mut self, step: &str, tasks: usize);
    /// The step has come this far. Called often.
    fn progress(&mut self, step: &str, progress: &StepProgress);
    /// The step has ended; `line` says how.
    fn end(&mut self, step: &str, line: &str);
    /// A message that is not about progress.
    fn note(&mut self, text: &str);
}

/// The reporter for this process's standard error.
pub(crate) fn reporter(quiet: bool) -> Box<dyn Reporter> {
    if quiet {
        Box::new(QuietReporter)
    } else if io::stderr().is_terminal() {
        Box::new(BarReporter::default())
    } else {
        Box::new(LineReporter::default())
    }
}

/// Prints nothing.
pub(crate) struct QuietReporter;

impl Reporter for QuietReporter {
    fn begin(&mut self, _: &str, _: usize) {}
    fn progress(&mut self, _: &str, _: &StepProgress) {}
    fn end(&mut self, _: &str, _: &str) {}
    fn note(&mut self, _: &str) {}
}

/// Plain lines, for logs and pipes.
#[derive(Default)]
struct LineReporter {
    place: String,
    /// When each step was last spoken of.
    last: HashMap<String, Instant>,
}

impl Reporter for LineReporter {
    fn place(&mut self, stage: usize, of: usize) {
        self.place = format!("stage {stage} of {of}, ");
    }

    fn begin(&mut self, step: &str, tasks: usize) {
        self.last.insert(step.to_owned(), Instant::now());
        let place = &self.place;
        output::message(&format!("{place}{step}: {}", count(tasks, "task")));
    }

    fn progress(&mut self, step: &str, progress: &StepProgress) {
        if let Some(last) = self.last.get_mut(step)
            && last.elapsed() >= LINE_INTERVAL
        {
            *last = Instant::now();
            let text = bar::join(&progress.parts(progress.started.elapsed()));
            output::message(&format!("{step}: {text}"));
        }
    }

    fn end(&mut self, step: &str, line: &str) {
        self.last.remove(step);
        output::message(line);
    }

    fn note(&mut self, text: &str) {
        output::message(text);
    }
}

/// A bar for each step on the terminal.
#[derive(Default)]
struct BarReporter {
    place: String,
    /// What each running step is called, with the place of its stage.
    labels: HashMap<String, String>,
}

impl Reporter for BarReporter {
    fn place(&mut self, stage: usize, of: usize) {
        self.place = format!("{stage}/{of} ");
    }

    fn begin(&mut self, step: &str, tasks: usize) {
        let label = format!("{}{step}", self.place);
        let bar = bar::bar();
        bar.set_message(bar::line(
            &label,
            Some(0.0),
            vec![(0, count(tasks, "task"))],
        ));
        self.labels.insert(step.to_owned(), label);
        terminal::show_bar(step, bar);
    }

    fn progress(&mut self, step: &str, progress: &StepProgress) {
        if let Some((bar, label)) = terminal::bar(step).zip(self.labels.get(step)) {
            let parts = progress.parts(progress.started.elapsed());
            bar.set_message(bar::line(label, Some(progress.done()), parts));
        }
    }

    fn end(&mut self, step: &str, line: &str) {
        self.labels.remove(step);
        terminal::clear_bar(step);
        output::message(line);
    }

    fn note(&mut self, text: &str) {
        output::message(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn describe_shows_rate_and_time_left() {
        let mut progress = StepProgress::new(4);
        progress.tasks_done = 1;
        progress.fraction = 1.0;
        progress.add_units(Unit::Image, 3000);
        progress.add_units(Unit::Name, 7);
        let text = bar::join(&progress.parts(Duration::from_secs(100)));
        assert_eq!(text, "1 of 4 tasks, 3,000 images, 30/s, 1:40 left");
    }

    #[test]
    fn describe_shows_units_found_beside_units_done() {
        let mut progress = StepProgress::new(2);
        progress.fraction = 0.5;
        progress.add_units(Unit::Caption, 9000);
        progress.add_found(Unit::Mention, 1);
        let text = bar::join(&progress.parts(Duration::from_secs(3)));
        assert_eq!(
            text,
            "0 of 2 tasks, 9,000 captions, 3,000/s, 1 mention, 9.00 s left"
        );
    }

    #[test]
    fn no_time_is_left_to_tell_at_the_start_and_at_the_end() {
        let minute = Duration::from_mins(1);
        assert_eq!(remaining(0.0, minute), None);
        assert_eq!(remaining(1.0, minute), None);
        assert_eq!(remaining(0.5, minute), Some(minute));
        assert_eq!(StepProgress::new(0).done(), 0.0);
    }
}
