//! What is done of each step, what would run, and the first cause: for `plan` and `status`.

use laioncele_core::StageName;
use serde::Serialize;

use crate::plan::{self, Plan, StepPlan};
use crate::words::{grouped, headed_table};

/// Most causes shown per step.
const SHOWN_CAUSES: usize = 2;

/// A step's entry.
#[derive(Debug, Serialize)]
pub(crate) struct StepState {
    /// The stage that the step belongs to.
    pub stage: StageName,
    /// The step's name.
    pub step: String,
    /// All tasks of the step.
    pub tasks: usize,
    /// Tasks that are done.
    pub done: usize,
    /// Tasks that would run; null while the step waits.
    pub to_run: Option<usize>,
    /// The step whose tasks must run first.
    pub waits_for: Option<String>,
    /// Why tasks would run, most frequent first; of a step that waits, why the step at the
    /// beginning of the chain runs.
    pub causes: Vec<Cause>,
}

/// Why tasks would run.
#[derive(Debug, Serialize)]
pub(crate) struct Cause {
    /// For people.
    cause: String,
    /// For how many tasks it is the first cause.
    tasks: usize,
    /// `kind`, and what belongs to it: `name`, `from`, `to`; `path`.
    #[serde(flatten)]
    what: plan::Cause,
}

impl StepState {
    /// The state of `step` in `plan`.
    pub(crate) fn of(plan: &Plan, step: &StepPlan) -> Self {
        let waits_for = step.waits_for().map(str::to_owned);
        let cause = |(what, tasks): (plan::Cause, usize)| Cause {
            cause: what.to_string(),
            tasks,
            what,
        };
        let root = plan.root_of(step).unwrap_or(step);
        Self {
            stage: step.stage,
            step: step.name.clone(),
            tasks: step.tasks.len(),
            done: step.records().count(),
            to_run: waits_for.is_none().then(|| step.missing().count()),
            waits_for,
            causes: root.first_causes().into_iter().map(cause).collect(),
        }
    }

    /// Whether all its tasks are done.
    pub(crate) fn complete(&self) -> bool {
        self.to_run == Some(0)
    }

    /// The causes in words, or `done`.
    pub(crate) fn why(&self) -> String {
        match (&self.waits_for, self.causes.first()) {
            (Some(on), Some(first)) => format!("waits for {on}: {}", first.cause),
            (Some(on), None) => format!("waits for {on}"),
            (None, None) => "done".to_owned(),
            (None, Some(only)) if self.causes.len() == 1 => only.cause.clone(),
            (None, Some(_)) => {
                let cause = |c: &Cause| format!("{} ({})", c.cause, c.tasks);
                let shown: Vec<_> = self.causes.iter().take(SHOWN_CAUSES).map(cause).collect();
                let more = match self.causes.len().saturating_sub(SHOWN_CAUSES) {
                    0 => String::new(),
                    n => format!("; {n} more"),
                };
                format!("{}{more}", shown.join("; "))
            }
        }
    }

    fn to_run_text(&self) -> String {
        self.to_run.map_or("?".to_owned(), |n| grouped(n as u64))
    }
}

/// The steps as a tree: stages, and below those that are several steps their steps.
pub(crate) fn tree(steps: &[StepState]) -> String {
    let heading = ["stage", "tasks", "to run", "why"].map(str::to_owned);
    let mut rows = vec![heading.to_vec()];
    for stage in steps.chunk_by(|a, b| a.stage == b.stage) {
        match stage {
            [only] if only.step == only.stage.as_str() => rows.push(row(String::new(), only)),
            _ => {
                rows.push(stage_row(stage));
                let last = stage.len() - 1;
                rows.extend(stage.iter().enumerate().map(|(k, step)| {
                    let branch = if k == last { "└─ " } else { "├─ " };
                    row(branch.to_owned(), step)
                }));
            }
        }
    }
    headed_table(&rows, &[1, 2])
}

fn row(branch: String, step: &StepState) -> Vec<String> {
    let tasks = grouped(step.tasks as u64);
    vec![branch + &step.step, tasks, step.to_run_text(), step.why()]
}

/// The row of a stage of several steps: what is to run of them together, and the cause of the first
/// that is not done.
fn stage_row(steps: &[StepState]) -> Vec<String> {
    let tasks: usize = steps.iter().map(|step| step.tasks).sum();
    let known: usize = steps.iter().filter_map(|step| step.to_run).sum();
    let waits = steps.iter().any(|step| step.to_run.is_none());
    let to_run = match (waits, known) {
        (true, 0) => "?".to_owned(),
        (true, known) => format!("{}+?", grouped(known as u64)),
        (false, known) => grouped(known as u64),
    };
    let first = steps.iter().find(|step| !step.complete());
    let why = first.map_or_else(|| "done".to_owned(), StepState::why);
    let name = steps[0].stage.to_string();
    vec![name, grouped(tasks as u64), to_run, why]
}

#[cfg(test)]
mod tests {
    use laioncele_core::key::Change;

    use super::*;

    fn step(stage: StageName, name: &str, to_run: Option<usize>) -> StepState {
        let what = plan::Cause::Change(Change::Version { from: 1, to: 2 });
        let cause = Cause {
            cause: what.to_string(),
            tasks: 2,
            what,
        };
        StepState {
            stage,
            step: name.to_owned(),
            tasks: 8,
            done: 8 - to_run.unwrap_or(8),
            to_run,
            waits_for: to_run.is_none().then(|| "verify-images".to_owned()),
            causes: if to_run == Some(0) {
                Vec::new()
            } else {
                vec![cause]
            },
        }
    }

    #[test]
    fn a_tree_has_stages_and_their_steps_with_causes() {
        let steps = [
            step(StageName::DownloadImages, "download-images", Some(0)),
            step(StageName::VerifyImages, "score-photos", Some(0)),
            step(StageName::VerifyImages, "verify-images", Some(2)),
            step(StageName::FilterCounts, "filter-counts", None),
        ];
        let tree = tree(&steps);
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines: Vec<_> = tree.lines().skip(1).map(words).collect();
        let expected = [
            "download-images 8 0 done",
            "verify-images 16 2 step version 1 → 2",
            "├─ score-photos 8 0 done",
            "└─ verify-images 8 2 step version 1 → 2",
            "filter-counts 8 ? waits for verify-images: step version 1 → 2",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn json_has_the_parts_of_a_cause() -> Result<(), serde_json::Error> {
        let json = serde_json::to_value(step(StageName::VerifyImages, "verify-images", Some(2)))?;
        let expected = serde_json::json!([{
            "cause": "step version 1 → 2", "tasks": 2, "kind": "version", "from": 1, "to": 2
        }]);
        assert_eq!(json["causes"], expected);
        let never = Cause {
            cause: String::new(),
            tasks: 1,
            what: plan::Cause::NEVER_RUN,
        };
        assert_eq!(serde_json::to_value(never)?["kind"], "never_run");
        Ok(())
    }
}
