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

/// How far a running step is.
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
    /// The steps that the run in the folder `output` was at when it showed them last; none where it showed nothing yet.
    pub(crate) fn read(output: &Path) -> Vec<Self> {
        let bytes = fs::read(output.join(PROGRESS)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
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
    /// The stage that the next step belongs to, and how many there are.
    place: (usize, usize),
    /// The running steps, and when each was last spoken of.
    running: Vec<(Now, Instant)>,
    /// Steps that have ended.
    ended: usize,
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
            place: (0, 0),
            running: Vec::new(),
            ended: 0,
        })
    }

    /// Logs an event of `step`, or of no step, and shows how far all running ones are.
    fn event(&mut self, kind: &str, step: Option<&str>, more: Value) {
        let time = time_text(SystemTime::now());
        let mut event = json!({ "event": kind, "time": time });
        for (now, _) in &mut self.running {
            now.time.clone_from(&time);
            if step == Some(&now.step) {
                let place = json!({ "step": now.step, "stage": now.stage, "stages": now.stages });
                extend(&mut event, place);
            }
        }
        extend(&mut event, more);
        if let Some(log) = &mut self.log
            && let Err(error) = writeln!(log, "{event}")
        {
            tracing::warn!("--events: {error}");
            self.log = None;
        }
        self.show();
    }

    /// Shows how far the running steps are.
    fn show(&self) {
        let running: Vec<&Now> = self.running.iter().map(|(now, _)| now).collect();
        put(
            &self.progress,
            &serde_json::to_vec(&running).unwrap_or_default(),
        );
        if let Some(path) = &self.metrics {
            put(path, prometheus(&running, self.ended).as_bytes());
        }
    }
}

fn extend(event: &mut Value, more: Value) {
    if let (Some(event), Value::Object(more)) = (event.as_object_mut(), more) {
        event.extend(more);
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

/// A number of a running step.
type Number = fn(&Now) -> f64;

/// Name, help and value of each number.
const NUMBERS: [(&str, &str, Number); 8] = [
    ("stage", "Number of the step's stage, from 1", |now| {
        now.stage as f64
    }),
    ("stages", "Stages of the run", |now| now.stages as f64),
    ("tasks", "Tasks of the step that this run does", |now| {
        now.progress.tasks as f64
    }),
    ("tasks_done", "Those of them that are done", |now| {
        now.progress.tasks_done as f64
    }),
    ("share_done", "Share of the step that is done", |now| {
        now.progress.share
    }),
    ("rows_done", "Rows that are done", |now| {
        now.progress.units as f64
    }),
    (
        "rows_per_second",
        "Rows a second since the step began",
        |now| now.progress.units_per_second,
    ),
    (
        "seconds_left",
        "Seconds left of the step; NaN while not known",
        |now| now.progress.seconds_left.unwrap_or(f64::NAN),
    ),
];

/// The numbers of the running steps, and how many steps have `ended`, in Prometheus' text format.
fn prometheus(running: &[&Now], ended: usize) -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let of_run: [(&str, &str, f64); 3] = [
        ("steps_running", "Steps that run now", running.len() as f64),
        (
            "steps_ended",
            "Steps of this run that have ended",
            ended as f64,
        ),
        (
            "updated_seconds",
            "When these numbers were written, in seconds since 1970",
            since.unwrap_or_default().as_secs_f64(),
        ),
    ];
    let mut text = String::new();
    for (name, help, value) in of_run {
        text.push_str(&format!(
            "# HELP laioncele_{name} {help}.\n# TYPE laioncele_{name} gauge\nlaioncele_{name} {value}\n"
        ));
    }
    for (name, help, value) in NUMBERS {
        text.push_str(&format!(
            "# HELP laioncele_{name} {help}.\n# TYPE laioncele_{name} gauge\n"
        ));
        for now in running {
            let step = &now.step;
            text.push_str(&format!(
                "laioncele_{name}{{step=\"{step}\"}} {}\n",
                value(now)
            ));
        }
    }
    text
}

impl Reporter for Events {
    fn place(&mut self, stage: usize, of: usize) {
        self.place = (stage, of);
        self.people.place(stage, of);
    }

    fn begin(&mut self, step: &str, tasks: usize) {
        let now = Now {
            step: step.to_owned(),
            stage: self.place.0,
            stages: self.place.1,
            progress: ProgressFacts {
                tasks,
                ..ProgressFacts::default()
            },
            ..Now::default()
        };
        self.running.push((now, Instant::now()));
        self.event("step_begun", Some(step), json!({ "tasks": tasks }));
        self.people.begin(step, tasks);
    }

    fn progress(&mut self, step: &str, progress: &StepProgress) {
        let running = self.running.iter_mut().find(|(now, _)| now.step == step);
        if let Some((now, last)) = running.filter(|(_, last)| last.elapsed() >= INTERVAL) {
            *last = Instant::now();
            now.progress = progress.facts();
            let facts = serde_json::to_value(&now.progress).unwrap_or_default();
            self.event("progress", Some(step), facts);
        }
        self.people.progress(step, progress);
    }

    fn end(&mut self, step: &str, line: &str) {
        let known = self.running.iter().any(|(now, _)| now.step == step);
        let about = known.then_some(step);
        self.event("step_ended", about, json!({ "step": step, "text": line }));
        self.running.retain(|(now, _)| now.step != step);
        self.ended += usize::from(known);
        self.show();
        self.people.end(step, line);
    }

    fn note(&mut self, text: &str) {
        self.event("note", None, json!({ "text": text }));
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
        events.place(6, 13);
        events.begin("download-images", 2);
        let shown: Vec<_> = Now::read(folder.path()).iter().map(Now::describe).collect();
        let portraits = "stage 4 of 13, generate-portraits: 0 of 8 tasks";
        assert_eq!(
            shown,
            [portraits, "stage 6 of 13, download-images: 0 of 2 tasks"]
        );
        let numbers = fs::read_to_string(&metrics).expect("metrics");
        for number in [
            "{step=\"generate-portraits\"} 8\n",
            "{step=\"download-images\"} 2\n",
        ] {
            let number = format!("laioncele_tasks{number}");
            assert!(numbers.contains(&number), "{numbers}");
        }
        events.end("generate-portraits", "generate-portraits: done in 2.00 s");
        let numbers = fs::read_to_string(&metrics).expect("metrics");
        for number in ["steps_running 1\n", "steps_ended 1\n"] {
            assert!(
                numbers.contains(&format!("laioncele_{number}")),
                "{numbers}"
            );
        }
        let lines = fs::read_to_string(log).expect("a log");
        let lines: Vec<Value> = lines
            .lines()
            .map(|l| serde_json::from_str(l).expect("JSON"))
            .collect();
        let kinds: Vec<_> = lines.iter().map(|l| &l["event"]).collect();
        assert_eq!(kinds, ["step_begun", "step_begun", "step_ended"]);
        assert_eq!(
            (&lines[0]["stage"], &lines[0]["tasks"], &lines[2]["stage"]),
            (&4.into(), &8.into(), &4.into())
        );
        assert_eq!(Now::read(folder.path()).len(), 1);
    }
}
