//! The summary of a run: rows in, out and dropped, and the seconds of each step; as a table and as
//! JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use laioncele_core::ledger::{Record, RowBalance};
use laioncele_core::reachability::{Reached, Tally};
use laioncele_core::store::Store;
use laioncele_core::{CoreError, DropReason, Manifest, StageName, TableId};
use serde::Serialize;

use crate::args::RunPaths;
use crate::executor::Cost;
use crate::plan::StepPlan;
use crate::words::{count, duration, grouped, headed_table, worker_time};

/// A whole run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Summary {
    /// The steps, in the order in which they ran.
    pub steps: Vec<StepSummary>,
    /// How the urls of download-images ended, where the run came to that step.
    pub web: Option<WebSummary>,
    /// Seconds from start to end.
    pub seconds: f64,
}

/// How urls ended, and which of them are worth another try.
#[derive(Debug, Serialize)]
pub(crate) struct WebSummary {
    /// By class, and by class for the hosts with most urls and for the years that paths name.
    #[serde(flatten)]
    pub reached: Reached,
    /// Urls whose failure may pass, by reason.
    pub may_pass: BTreeMap<DropReason, u64>,
}

/// Hosts in the summary as JSON, and those of them that are printed.
const HOSTS: usize = 100;
const PRINTED_HOSTS: usize = 5;

impl WebSummary {
    /// The summary of the done tasks of download-images.
    ///
    /// # Errors
    /// Damaged parts.
    pub(crate) fn of(
        store: &Store,
        manifest: &Manifest,
        step: &StepPlan,
    ) -> Result<Self, CoreError> {
        let parts = step
            .records()
            .flat_map(|record| record.outputs_of(TableId::Reachability));
        let reached = Reached::read(store, &manifest.embedding_dims, parts, HOSTS)?;
        let dropped = reached.total.dropped.iter();
        let may_pass = dropped.filter(|(reason, _)| reason.may_pass());
        Ok(Self {
            may_pass: may_pass.map(|(reason, urls)| (*reason, *urls)).collect(),
            reached,
        })
    }

    fn render(&self, paths: &RunPaths) -> String {
        let total = &self.reached.total;
        if total.urls() == 0 {
            return String::new();
        }
        let mut rows = vec![web_row("host", "urls", "photos", "others")];
        rows.push(tally_row("all", total));
        let hosts = self.reached.hosts.iter().take(PRINTED_HOSTS);
        rows.extend(hosts.map(|(host, tally)| tally_row(host, tally)));
        let mut text = format!("{}\n", headed_table(&rows, &[1, 2]));
        text.extend(self.again(paths).map(|line| line + "\n"));
        text
    }

    /// How to ask again for what failed for a reason that may pass; nothing where nothing did.
    fn again(&self, paths: &RunPaths) -> Option<String> {
        let classes: Vec<_> = self.may_pass.keys().map(ToString::to_string).collect();
        let urls: u64 = self.may_pass.values().sum();
        (!classes.is_empty()).then(|| {
            format!(
                "{} failed for a reason that may pass; to ask again: laioncele retry --class {} --output {}",
                count(usize::try_from(urls).unwrap_or(usize::MAX), "url"),
                classes.join(","),
                paths.output.display(),
            )
        })
    }
}

fn web_row(host: &str, urls: &str, photos: &str, others: &str) -> Vec<String> {
    [host, urls, photos, others].map(str::to_owned).to_vec()
}

fn tally_row(host: &str, tally: &Tally) -> Vec<String> {
    let reason = |(r, n): (&DropReason, &u64)| format!("{r} {}", grouped(*n));
    let others: Vec<_> = tally.dropped.iter().map(reason).collect();
    let urls = tally.urls();
    let share = tally.photos as f64 * 100.0 / urls.max(1) as f64;
    web_row(
        host,
        &grouped(urls),
        &format!("{share:.1} %"),
        &others.join(", "),
    )
}

/// One step of a run.
#[derive(Debug, Serialize)]
pub(crate) struct StepSummary {
    /// The stage that the step belongs to.
    pub stage: StageName,
    /// The step's name.
    pub step: String,
    /// All tasks of the step.
    pub tasks: usize,
    /// Tasks that this run did.
    pub ran: usize,
    /// Tasks that are done now, whichever run did them.
    pub done: usize,
    /// Seconds that this run spent on the step.
    pub seconds: f64,
    /// Seconds that all its tasks took, also in earlier runs.
    pub task_seconds: f64,
    /// What this run has cost in time of workers.
    pub cost: Cost,
    /// The balance of each unit over all tasks.
    pub balances: Vec<RowBalance>,
    /// Metrics that are no row counts, summed over all tasks.
    pub metrics: BTreeMap<String, f64>,
}

impl StepSummary {
    /// The summary of a step of which this run did `ran` tasks in the time `took`.
    pub(crate) fn of(step: &StepPlan, ran: usize, took: Duration) -> Self {
        let mut summary = Self {
            stage: step.stage,
            step: step.name.clone(),
            tasks: step.tasks.len(),
            ran,
            done: 0,
            seconds: took.as_secs_f64(),
            task_seconds: 0.0,
            cost: Cost::default(),
            balances: Vec::new(),
            metrics: BTreeMap::new(),
        };
        for record in step.records() {
            summary.add(record);
        }
        summary
    }

    fn add(&mut self, record: &Record) {
        self.done += 1;
        self.task_seconds += record.seconds;
        add_metrics(&mut self.metrics, record);
        RowBalance::add_all(&mut self.balances, &record.balances);
    }
}

/// What a record calls the most memory that its worker had had when the task ended.
pub(crate) const PEAK_MEMORY: &str = "peak_memory_bytes";

/// Adds a record's metrics to those of others: sums, but of the peak the largest.
pub(crate) fn add_metrics(metrics: &mut BTreeMap<String, f64>, record: &Record) {
    for (name, value) in &record.metrics {
        let sum = metrics.entry(name.clone()).or_default();
        *sum = match name.as_str() {
            PEAK_MEMORY => sum.max(*value),
            _ => *sum + value,
        };
    }
}

impl Summary {
    /// Adds a step, in the place of its entry of before where the run had to go back to it.
    pub(crate) fn add(&mut self, mut step: StepSummary) {
        let before = self.steps.iter().position(|s| s.step == step.step);
        if let Some(before) = before.map(|at| self.steps.remove(at)) {
            step.ran += before.ran;
            step.seconds += before.seconds;
            step.cost.add(&before.cost);
        }
        self.steps.push(step);
    }

    /// The tables that are printed at the end of a run on `paths`.
    pub(crate) fn render(&self, paths: &RunPaths) -> String {
        let heading = [
            "step",
            "unit",
            "in",
            "out",
            "dropped",
            "seconds",
            "by reason",
        ];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        for step in &self.steps {
            let first = step.balances.first().map(|b| balance_row(step, b, true));
            rows.extend(first);
            let others = step.balances.iter().skip(1);
            rows.extend(others.map(|b| balance_row(step, b, false)));
        }
        let homonyms = self.homonyms();
        let (ran, tasks) = self.tasks();
        let web = self.web.as_ref().map(|web| web.render(paths));
        format!(
            "{}\n{}{homonyms}{ran} of {tasks} tasks run in {}{}; results in {}",
            headed_table(&rows, &[2, 3, 4, 5]),
            web.unwrap_or_default(),
            duration(Duration::from_secs_f64(self.seconds)),
            self.cost(),
            paths.output.display()
        )
    }

    /// What the run has cost in time of workers: `, 12.3 worker-hours (…)`; nothing where no worker did anything.
    fn cost(&self) -> String {
        let mut cost = Cost::default();
        self.steps.iter().for_each(|step| cost.add(&step.cost));
        if cost.worker_seconds <= 0.0 {
            return String::new();
        }
        let mut text = format!(", {}", worker_time(cost.worker_seconds));
        let mut lost = Vec::new();
        let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        if cost.lost_attempts > 0 {
            let attempts = count(number(cost.lost_attempts), "attempt");
            lost.push(format!("{attempts} that came to nothing"));
        }
        if cost.duplicates > 0 {
            let attempts = count(number(cost.duplicates), "attempt");
            lost.push(format!("{attempts} at what another had done"));
        }
        if !lost.is_empty() {
            let time = worker_time(cost.lost_seconds);
            text.push_str(&format!(", {time} of them for {}", lost.join(" and ")));
        }
        text
    }
}

impl Summary {
    /// How the web answered, where asking it again may help.
    pub(crate) fn may_ask_again(&self, paths: &RunPaths) -> Option<String> {
        self.web.as_ref()?.again(paths)
    }

    /// The tasks that the run did, and all of them.
    pub(crate) fn tasks(&self) -> (usize, usize) {
        let ran = self.steps.iter().map(|s| s.ran).sum();
        (ran, self.steps.iter().map(|s| s.tasks).sum())
    }
}

/// What verify-images calls the number of names whose photos show a second person often.
const HOMONYMS: &str = "homonyms";

impl Summary {
    /// A line on names that stand for two people; nothing without any.
    fn homonyms(&self) -> String {
        let counts = self.steps.iter().filter_map(|s| s.metrics.get(HOMONYMS));
        let names: f64 = counts.sum();
        if names < 1.0 {
            return String::new();
        }
        format!(
            "{} also {} another person in many photos (homonyms, see the dataset card)\n",
            count(names as usize, "name"),
            if names < 2.0 { "has" } else { "have" }
        )
    }
}

fn balance_row(step: &StepSummary, balance: &RowBalance, first: bool) -> Vec<String> {
    let dropped: u64 = balance.dropped.values().sum();
    let reason = |(r, n): (&DropReason, &u64)| format!("{r} {}", grouped(*n));
    let reasons: Vec<_> = balance.dropped.iter().map(reason).collect();
    let seconds = match (first, step.ran) {
        (false, _) => String::new(),
        (true, 0) => "already done".to_owned(),
        (true, _) => format!("{:.1}", step.seconds),
    };
    vec![
        if first {
            step.step.clone()
        } else {
            String::new()
        },
        balance.unit.to_string(),
        grouped(balance.rows_in),
        grouped(balance.rows_out),
        grouped(dropped),
        seconds,
        reasons.join(", "),
    ]
}

#[cfg(test)]
mod tests {
    use laioncele_core::Unit;

    use super::*;

    fn paths() -> RunPaths {
        RunPaths {
            manifest: None,
            output: "out".into(),
            set: Vec::new(),
        }
    }

    #[test]
    fn render_tells_how_the_web_answered_and_what_to_ask_again() {
        let mut total = Tally::default();
        total.add(None, 3);
        total.add(Some(DropReason::Timeout), 1);
        total.add(Some(DropReason::Http4xx), 2);
        let web = WebSummary {
            reached: Reached {
                hosts: vec![("a.example".to_owned(), total.clone())],
                total,
                ..Reached::default()
            },
            may_pass: BTreeMap::from([(DropReason::Timeout, 1)]),
        };
        let text = web.render(&paths());
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines: Vec<_> = text.lines().map(words).collect();
        assert_eq!(lines[1], "all 6 50.0 % timeout 1, http_4xx 2");
        assert_eq!(lines[2], "a.example 6 50.0 % timeout 1, http_4xx 2");
        let command = "laioncele retry --class timeout --output out";
        assert!(lines[3].starts_with("1 url failed") && lines[3].ends_with(command));
    }

    #[test]
    fn render_marks_steps_whose_tasks_were_already_done() {
        let balance = RowBalance {
            unit: Unit::Image,
            rows_in: 1200,
            rows_out: 1000,
            dropped: BTreeMap::from([(DropReason::DuplicateOf, 200)]),
        };
        let step = StepSummary {
            stage: StageName::DedupeImages,
            step: "dedupe-images".to_owned(),
            tasks: 2,
            ran: 0,
            done: 2,
            seconds: 0.1,
            task_seconds: 7.0,
            cost: Cost::default(),
            balances: vec![balance],
            metrics: BTreeMap::new(),
        };
        let summary = Summary {
            steps: vec![step],
            web: None,
            seconds: 0.2,
        };
        let text = summary.render(&paths());
        let row = text.lines().nth(1).unwrap_or_default();
        let words: Vec<_> = row.split_whitespace().collect();
        let expected = "dedupe-images image 1,200 1,000 200 already done duplicate_of 200";
        assert_eq!(words.join(" "), expected);
        assert!(
            text.ends_with("0 of 2 tasks run in 0.20 s; results in out"),
            "{text}"
        );
        assert!(!text.contains("homonyms"), "{text}");
    }

    #[test]
    fn the_cost_tells_apart_what_came_to_nothing() {
        let step = |cost| StepSummary {
            stage: StageName::VerifyImages,
            step: "verify-images".to_owned(),
            tasks: 2,
            ran: 2,
            done: 2,
            seconds: 0.1,
            task_seconds: 0.1,
            cost,
            balances: Vec::new(),
            metrics: BTreeMap::new(),
        };
        let cost = |worker_seconds, lost_seconds, lost_attempts, duplicates| Cost {
            worker_seconds,
            lost_seconds,
            lost_attempts,
            duplicates,
        };
        let of = |costs: &[Cost]| Summary {
            steps: costs.iter().copied().map(step).collect(),
            ..Summary::default()
        };
        assert_eq!(of(&[Cost::default()]).cost(), "");
        assert_eq!(of(&[cost(3600.0, 0.0, 0, 0)]).cost(), ", 1.00 worker-hours");
        let both = of(&[cost(3600.0, 90.0, 1, 0), cost(36_000.0, 90.0, 1, 1)]);
        assert_eq!(
            both.cost(),
            ", 11.0 worker-hours, 180 worker-seconds of them for 2 attempts that came to nothing and 1 attempt at what \
             another had done"
        );
    }

    #[test]
    fn render_counts_homonyms() {
        let step = StepSummary {
            stage: StageName::VerifyImages,
            step: "verify-images".to_owned(),
            tasks: 2,
            ran: 2,
            done: 2,
            seconds: 0.1,
            task_seconds: 0.1,
            cost: Cost::default(),
            balances: Vec::new(),
            metrics: BTreeMap::from([("homonyms".to_owned(), 3.0)]),
        };
        let summary = Summary {
            steps: vec![step],
            web: None,
            seconds: 0.2,
        };
        let text = summary.render(&paths());
        let line = text.lines().rev().nth(1).unwrap_or_default();
        assert!(
            line.starts_with("3 names also have another person"),
            "{text}"
        );
    }
}
