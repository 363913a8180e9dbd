//! `laioncele retry`: asks again for images that could not be downloaded.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use laioncele_core::ledger::Record;
use laioncele_core::nearest::nearest;
use laioncele_core::spec::{Again, TaskSpec};
use laioncele_core::{Digest, DropReason, Part, Partition, StageName, TableId};
use laioncele_download_images::STEP;
use serde::Serialize;

use crate::args::{RunPaths, Verbosity};
use crate::commands::run::{run_name, tasks_failed};
use crate::crew::{Crew, WorkerArgs};
use crate::executor::launch::Local;
use crate::executor::{self, Executor, Options, Outcome};
use crate::failure::{Exit, Failure};
use crate::machine::Machine;
use crate::output;
use crate::plan::{Plan, StepPlan};
use crate::progress::reporter;
use crate::run_folder::{existing, full, keep};
use crate::session::{Access, Session};
use crate::words::count;
use crate::world_web::WorldWeb;

const EXAMPLES: &str = "\
Examples:
  laioncele retry                                     what failed for a reason that may pass
  laioncele retry --class timeout,http_5xx --older-than 7d
  laioncele retry --class http_4xx --host images.example.org --dry-run

Photos that are there stay as they are. Afterwards `laioncele run` runs only what depends on images
that came. A retry can be stopped at any time; the same command again goes on with what is left.";

/// `laioncele retry`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Retry {
    /// Drop reasons of download-images to try again [default: those that may pass: dns, connect,
    /// timeout, http_5xx]
    #[arg(long, short, value_name = "CLASS,...", value_delimiter = ',', value_parser = parse_class)]
    class: Vec<DropReason>,
    /// Only what was last asked for this long ago or longer (`36h`, `7d`)
    #[arg(long, value_name = "TIME", value_parser = parse_age)]
    older_than: Option<Duration>,
    /// Only urls of this host; may be given several times
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// Show what would be asked for
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    paths: RunPaths,
    #[command(flatten)]
    workers: WorkerArgs,
}

/// A number with a unit: seconds, minutes, hours, days or weeks.
fn parse_age(text: &str) -> Result<Duration, String> {
    let form = || format!("`{text}` is no time: a number with s, m, h, d or w, such as 36h or 7d");
    let (number, unit) = text.split_at(text.len() - text.chars().last().map_or(0, char::len_utf8));
    let unit: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err(form()),
    };
    let number: u64 = number.trim().parse().map_err(|_| form())?;
    let seconds = number.checked_mul(unit).ok_or_else(form)?;
    Ok(Duration::from_secs(seconds))
}

fn parse_class(text: &str) -> Result<DropReason, String> {
    let class = text.trim().parse::<DropReason>().ok();
    class.filter(|c| c.is_of_a_download()).ok_or_else(|| {
        let all = DropReason::ALL.iter().filter(|c| c.is_of_a_download());
        let all: Vec<_> = all.map(ToString::to_string).collect();
        let near = match nearest(text, &all) {
            Some(class) => format!(": did you mean `{class}`?"),
            None => String::new(),
        };
        let all = all.join(", ");
        format!("no class of a failed download{near}; they are {all}")
    })
}

/// What a retry did, or would do.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// Whether nothing was asked for.
    dry_run: bool,
    /// Images that were dropped for the chosen classes before.
    failed_before: BTreeMap<DropReason, u64>,
    /// Images that are photos now and were not before.
    recovered: u64,
    /// Images that are dropped for the chosen classes now, in the buckets that were tried again.
    failed_now: BTreeMap<DropReason, u64>,
    /// Buckets that have new photos.
    changed: usize,
    /// Buckets of the step that have no result yet under the present settings.
    not_run: usize,
}

impl Retry {
    /// Asks again.
    ///
    /// # Errors
    /// Whatever is wrong with manifest, source or folder; failed tasks; an interrupt.
    pub(crate) fn execute(mut self, verbosity: &Verbosity) -> Result<(), Failure> {
        if self.class.is_empty() {
            let all = DropReason::ALL.iter().copied();
            self.class = all.filter(|class| class.may_pass()).collect();
        }
        let access = match self.dry_run {
            true => Access::Existing,
            false => Access::Change,
        };
        if existing(&self.paths.output)?.is_none() {
            return Err(nothing_downloaded(&self.paths.output));
        }
        let session = Session::open(&self.paths, StageName::DownloadImages, access)?;
        let (tasks, mut report) = self.tasks(&session)?;
        let result = if self.dry_run || tasks.is_empty() {
            Ok(())
        } else {
            self.run(&session, &tasks, &mut report, verbosity)
        };
        if self.json {
            output::json(&report)?;
        } else {
            output::data(&report.render(&self, tasks.len()))?;
        }
        result
    }

    /// The tasks with failures of the chosen classes.
    fn tasks(&self, session: &Session) -> Result<(Vec<TaskSpec>, Report), Failure> {
        let plan = session.plan()?;
        let step = plan.steps.iter().find(|step| step.name == STEP);
        let step = step.ok_or_else(|| nothing_downloaded(&self.paths.output))?;
        let mut report = Report {
            dry_run: self.dry_run,
            not_run: step.tasks.len() - step.records().count(),
            ..Report::default()
        };
        if step.records().next().is_none() {
            return Err(nothing_downloaded(&self.paths.output));
        }
        let mut tasks = Vec::new();
        let present = Present::of(&plan);
        for record in step.records() {
            let failed = self.failed(record);
            if !failed.is_empty() {
                add(&mut report.failed_before, &failed);
                tasks.push(self.task(record, &present));
            }
        }
        Ok((tasks, report))
    }

    /// The rows that a result dropped for the chosen classes.
    fn failed(&self, record: &Record) -> BTreeMap<DropReason, u64> {
        let dropped = record.balances.iter().flat_map(|b| &b.dropped);
        let chosen = dropped.filter(|(reason, _)| self.class.contains(reason));
        chosen.map(|(reason, rows)| (*reason, *rows)).collect()
    }

    fn task(&self, record: &Record, present: &Present<'_>) -> TaskSpec {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default();
        let before = self.older_than.map(|age| now.saturating_sub(age));
        TaskSpec {
            stage: record.stage,
            step: record.step.clone(),
            partition: record.partition.clone(),
            key: record.key,
            key_parts: record.key_parts.clone(),
            inputs: record
                .inputs
                .iter()
                .map(|p| present.of_content(p))
                .collect(),
            lists: record.lists.clone(),
            again: Some(Again {
                replaces: record.attempt.clone(),
                reasons: self.class.clone(),
                hosts: self.host.iter().map(|h| h.to_ascii_lowercase()).collect(),
                before: before.map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX)),
            }),
        }
    }

    fn run(
        &self,
        session: &Session,
        tasks: &[TaskSpec],
        report: &mut Report,
        verbosity: &Verbosity,
    ) -> Result<(), Failure> {
        session.clear_leftovers()?;
        let mut executor = self.executor(session, verbosity)?;
        let mut web = WorldWeb::of(&session.manifest)?;
        let mut reporter = reporter(verbosity.quiet);
        reporter.begin("retry", tasks.len());
        let outcome = executor.run("retry", tasks, tasks.len(), web.host_map()?, &mut *reporter);
        let line = match &outcome {
            Ok(outcome) if outcome.records.len() == tasks.len() => "retry: done",
            _ => "retry: stopped",
        };
        reporter.end("retry", line);
        let outcome = outcome?;
        let before: BTreeMap<&Partition, u64> = tasks
            .iter()
            .filter_map(|task| {
                let old = session.records.find(STEP, &task.partition, task.key)?;
                Some((&task.partition, photos(old)))
            })
            .collect();
        for record in &outcome.records {
            let new =
                photos(record).saturating_sub(before.get(&record.partition).copied().unwrap_or(0));
            report.recovered += new;
            report.changed += usize::from(new > 0);
            add(&mut report.failed_now, &self.failed(record));
        }
        self.check(outcome, tasks.len())
    }

    fn executor(&self, session: &Session, verbosity: &Verbosity) -> Result<Executor, Failure> {
        let at_once = session
            .step(STEP)
            .map_or(1, laioncele_core::Step::tasks_at_once);
        let options = Options {
            crew: Crew::of_waiting_tasks(&Machine::look(), &self.workers, at_once),
            manifest: keep(session.store()?, &session.manifest)?,
            output: full(&self.paths.output)?,
            node_cache: None,
            log_filter: verbosity.filter(),
            run_name: run_name(),
            capacity: None,
        };
        let environment = |e: std::io::Error| Failure::new(Exit::Environment, e.to_string());
        let launcher = Local::new().map_err(environment)?;
        let executor = Executor::new(options, session.store()?.clone(), Box::new(launcher));
        executor::watch_signals(executor.events()).map_err(environment)?;
        Ok(executor)
    }

    fn check(&self, outcome: Outcome, all: usize) -> Result<(), Failure> {
        if outcome.interrupted {
            let text = "interrupted; what came is kept";
            return Err(
                Failure::new(Exit::Interrupted, text).hint("run the same command again to go on")
            );
        }
        match outcome.failed.as_slice() {
            [] => Ok(()),
            failed => Err(tasks_failed(&self.paths, STEP, all, failed)),
        }
    }
}

/// The parts of the present results by their contents: a part that was lost and made again lies
/// elsewhere than the records of tasks say that read it before.
struct Present<'a>(HashMap<(TableId, &'a Partition, Digest), &'a Part>);

impl<'a> Present<'a> {
    fn of(plan: &'a Plan) -> Self {
        let records = plan.steps.iter().flat_map(StepPlan::records);
        let parts = records.flat_map(|record| &record.outputs);
        let content = |part: &'a Part| ((part.table, &part.partition, part.digest), part);
        Self(parts.map(content).collect())
    }

    fn of_content(&self, part: &Part) -> Part {
        let content = (part.table, &part.partition, part.digest);
        self.0
            .get(&content)
            .map_or(part, |present| *present)
            .clone()
    }
}

/// Images of a result that are photos.
fn photos(record: &Record) -> u64 {
    record.balances.iter().map(|balance| balance.rows_out).sum()
}

fn add(sums: &mut BTreeMap<DropReason, u64>, more: &BTreeMap<DropReason, u64>) {
    for (reason, rows) in more {
        *sums.entry(*reason).or_default() += rows;
    }
}

fn nothing_downloaded(output: &Path) -> Failure {
    let text = format!("{}: nothing has been downloaded here yet", output.display());
    Failure::new(Exit::Environment, text)
        .hint("name the run's folder with --output, or start with `laioncele run`")
}

impl Report {
    fn render(&self, retry: &Retry, buckets: usize) -> String {
        let mut lines = Vec::new();
        let filtered = retry.older_than.is_some() || !retry.host.is_empty();
        lines.push(format!(
            "{}{} of {} failed for {}",
            if filtered { "up to " } else { "" },
            images(self.failed_before.values().sum()),
            count(buckets, "bucket"),
            by_class(&self.failed_before, &retry.class),
        ));
        if self.not_run > 0 {
            let buckets = count(self.not_run, "bucket");
            lines.push(format!(
                "{buckets} not downloaded yet under the present settings: `laioncele run` does that"
            ));
        }
        let output = retry.paths.output.display();
        if self.dry_run {
            lines.push("nothing was asked for (--dry-run)".to_owned());
        } else if self.recovered > 0 {
            lines.push(format!(
                "{} came; still failed: {}",
                images(self.recovered),
                by_class(&self.failed_now, &retry.class)
            ));
            lines.push(format!(
                "{} changed; to use them: laioncele run --output {output}",
                count(self.changed, "bucket")
            ));
        } else {
            lines.push("no image came; nothing needs to be run".to_owned());
        }
        lines.join("\n")
    }
}

fn images(number: u64) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), "image")
}

fn by_class(failed: &BTreeMap<DropReason, u64>, asked: &[DropReason]) -> String {
    if failed.is_empty() {
        let classes: Vec<_> = asked.iter().map(ToString::to_string).collect();
        return format!("none of {}", classes.join(", "));
    }
    let classes = failed.iter().map(|(reason, n)| format!("{reason} {n}"));
    classes.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_units() {
        let seconds = |text| parse_age(text).map(|age| age.as_secs());
        assert_eq!(seconds("36h"), Ok(36 * 3600));
        assert_eq!(seconds("7d"), Ok(7 * 86_400));
        for text in ["", "7", "d", "-1d", "1 day", "99999999999999999999w", "7ä"] {
            assert!(parse_age(text).is_err(), "{text}");
        }
    }

    #[test]
    fn classes_are_those_of_a_download() {
        assert_eq!(parse_class(" http_5xx"), Ok(DropReason::Http5xx));
        let error = parse_class("unknown_name").expect_err("no class of a download");
        assert!(
            error.contains("timeout") && !error.contains("unknown_name"),
            "{error}"
        );
    }
}
