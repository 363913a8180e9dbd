//! What a run says to other programs: a log of events as JSON lines (`--events`), numbers for Prometheus (`--metrics`), and
//! `log/progress.json` in the run's folder, which `laioncele status --watch` reads.
//!
//! The log is only added to; a line is written at once. The other two are written anew about once a second, beside their names
//! first, so that a reader sees whole ones. A crash leaves the last ones; a file that cannot be written stops no run.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use laioncele_core::CoreError;
use laioncele_core::task::time_text;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::progress::{ProgressFacts, Reporter, StepProgress};

/// Where a run shows how far it is.
pub(crate) const PROGRESS: &str = "log/progress.json";
/// Time between two events of progress.
const INTERVAL: Duration = Duration::from_secs(1);

/// How far a run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Now {
    /// When that was, RFC 3339.
    pub time: String,
    /// The step.
    pub step: String,
    /// Its stage's number, from 1.
    pub stage: usize,
    /// Of so many.
    pub stages: usize,
    /// How far it is.
    #[serde(flatten)]
    pub progress: ProgressFacts,
}

impl Now {
    /// What the run in the folder `output` showed last.
    pub(crate) fn read(output: &Path) -> Option<Self> {
        let bytes = fs::read(output.join(PROGRESS)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// `stage 4 of 13, generate-portraits: 3 of 8 tasks, …`
    pub(crate) fn describe(&self) -> String {
        let Self {
            stage,
            stages,
            step,
            progress,
            ..
        } = self;
        format!("stage {stage} of {stages}, {step}: {}", progress.describe())
    }
}

/// Tells other programs what it passes on to a reporter for people.
pub(crate) struct Events {
    people: Box<dyn Reporter>,
    log: Option<File>,
    metrics: Option<PathBuf>,
    progress: PathBuf,
    now: Now,
    last: Option<Instant>,
}

impl Events {
    /// Opens the log, whose earlier lines stay, and passes everything on to `people`.
    ///
    /// # Errors
    /// A log that cannot be opened.
    pub(crate) fn new(
        people: Box<dyn Reporter>,
        output: &Path,
        log: Option<&Path>,
        metrics: Option<&Path>,
    ) -> Result<Self, CoreError> {
        let open = |path: &Path| {
            let mut options = OpenOptions::new();
            let opened = options.create(true).append(true).open(path);
            opened.map_err(|e| CoreError::from_io(path, e))
        };
        let progress = output.join(PROGRESS);
        drop(progress.parent().map(fs::create_dir_all));
        Ok(Self {
            people,
            log: log.map(open).transpose()?,
            metrics: metrics.map(Path::to_owned),
            progress,
            now: Now::default(),
            last: None,
        })
    }

    fn event(&mut self, kind: &str, more: Value) {
        self.now.time = time_text(SystemTime::now());
        if let Some(log) = &mut self.log {
            let Now {
                time,
                step,
                stage,
                stages,
                ..
            } = &self.now;
            let mut event = json!({
                "event": kind, "time": time, "step": step, "stage": stage, "stages": stages,
            });
            if let (Some(event), Some(more)) = (event.as_object_mut(), more.as_object()) {
                event.extend(more.clone());
            }
            if let Err(error) = writeln!(log, "{event}") {
                tracing::warn!("--events: {error}");
                self.log = None;
            }
        }
        let now = serde_json::to_vec(&self.now).unwrap_or_default();
        put(&self.progress, &now);
        if let Some(path) = &self.metrics {
            put(path, prometheus(&self.now).as_bytes());
        }
    }
}

/// Writes a small file so that readers see all of it or what was there before.
fn put(path: &Path, bytes: &[u8]) {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let written = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    if let Err(error) = written {
        tracing::debug!("{}: {error}", path.display());
    }
}

/// The numbers in Prometheus' text format.
fn prometheus(now: &Now) -> String {
    let Now {
        step,
        stage,
        stages,
        progress,
        ..
    } = now;
    let label = format!("step=\"{step}\"");
    let numbers = [
        (
            "stage",
            "Number of the stage at work, from 1",
            *stage as f64,
        ),
        ("stages", "Stages of the run", *stages as f64),
        (
            "tasks",
            "Tasks of the step that this run does",
            progress.tasks as f64,
        ),
        (
            "tasks_done",
            "Those of them that are done",
            progress.tasks_done as f64,
        ),
        (
            "share_done",
            "Share of the step that is done",
            progress.share,
        ),
        ("rows_done", "Rows that are done", progress.units as f64),
        (
            "rows_per_second",
            "Rows a second since the step began",
            progress.units_per_second,
        ),
        (
            "seconds_left",
            "Seconds left of the step; NaN while not known",
            progress.seconds_left.unwrap_or(f64::NAN),
        ),
    ];
    let line = |(name, help, value): (&str, &str, f64)| {
        format!(
            "# HELP laioncele_{name} {help}.\n# TYPE laioncele_{name} gauge\nlaioncele_{name}{{{label}}} {value}\n"
        )
    };
    numbers.map(line).concat()
}

impl Reporter for Events {
    fn place(&mut self, stage: usize, of: usize) {
        (self.now.stage, self.now.stages) = (stage, of);
        self.people.place(stage, of);
    }

    fn begin(&mut self, step: &str, tasks: usize) {
        step.clone_into(&mut self.now.step);
        self.now.progress = ProgressFacts {
            tasks,
            ..ProgressFacts::default()
        };
        self.last = Some(Instant::now());
        self.event("step_begun", json!({ "tasks": tasks }));
        self.people.begin(step, tasks);
    }

    fn progress(&mut self, progress: &StepProgress) {
        if self.last.is_none_or(|last| last.elapsed() >= INTERVAL) {
            self.last = Some(Instant::now());
            self.now.progress = progress.facts();
            let facts = serde_json::to_value(&self.now.progress).unwrap_or_default();
            self.event("progress", facts);
        }
        self.people.progress(progress);
    }

    fn end(&mut self, line: &str) {
        self.event("step_ended", json!({ "text": line }));
        self.people.end(line);
    }

    fn note(&mut self, text: &str) {
        self.event("note", json!({ "text": text }));
        self.people.note(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::QuietReporter;

    #[test]
    fn what_happens_is_logged_measured_and_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let [log, metrics] = ["events.jsonl", "run.prom"].map(|name| folder.path().join(name));
        let people = Box::new(QuietReporter);
        let events = Events::new(people, folder.path(), Some(&log), Some(&metrics));
        let mut events = events.expect("opened");
        events.place(4, 13);
        events.begin("generate-portraits", 8);
        events.end("generate-portraits: done in 2.00 s");
        let lines = fs::read_to_string(log).expect("a log");
        let lines: Vec<Value> = lines
            .lines()
            .map(|l| serde_json::from_str(l).expect("JSON"))
            .collect();
        let kinds: Vec<_> = lines.iter().map(|l| &l["event"]).collect();
        assert_eq!(kinds, ["step_begun", "step_ended"]);
        assert_eq!(
            (&lines[0]["stage"], &lines[0]["tasks"]),
            (&4.into(), &8.into())
        );
        let numbers = fs::read_to_string(metrics).expect("metrics");
        assert!(
            numbers.contains("laioncele_tasks{step=\"generate-portraits\"} 8\n"),
            "{numbers}"
        );
        let now = Now::read(folder.path()).expect("shown");
        assert_eq!(
            now.describe(),
            "stage 4 of 13, generate-portraits: 0 of 8 tasks"
        );
    }
}
