//! `laioncele plan`: what would run and why.

use clap::Args;
use laioncele_core::StageName;
use serde::Serialize;

use crate::cli::{Place, Stages};
use crate::failure::Failure;
use crate::output;
use crate::plan::StepPlan;
use crate::session::{Access, Session};
use crate::words::{grouped, table};

const EXAMPLES: &str = "\
Examples:
  laioncele plan
  laioncele plan --stage verify-images.. --manifest manifests/mini.toml --output /data/mini
  laioncele plan --json | jq '[.[] | .to_run] | add'

A step whose inputs are not known before another has run shows what it waits for.";

/// Causes that are shown of one step.
const SHOWN_CAUSES: usize = 2;

/// `laioncele plan`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Plan {
    /// Stages: `all`, a name, a list `a,b`, or a range `from..to`
    #[arg(long, short, value_name = "STAGES", default_value = "all")]
    stage: Stages,
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A step's line.
#[derive(Debug, Serialize)]
struct Line {
    stage: StageName,
    step: String,
    tasks: usize,
    done: usize,
    /// Tasks that would run; null while the step waits.
    to_run: Option<usize>,
    waits_for: Option<String>,
    causes: Vec<Cause>,
}

/// Why tasks would run.
#[derive(Debug, Serialize)]
struct Cause {
    cause: String,
    tasks: usize,
}

impl Plan {
    /// Prints the plan.
    ///
    /// # Errors
    /// Whatever is wrong with manifest, models, source or folder.
    pub fn execute(self) -> Result<(), Failure> {
        let session = Session::open(&self.place, self.stage.last(), Access::Look)?;
        let plan = session.plan()?;
        let wanted = plan
            .steps
            .iter()
            .filter(|s| self.stage.0.contains(&s.stage));
        let lines: Vec<Line> = wanted.map(Line::of).collect();
        if self.json {
            output::json(&lines)
        } else {
            output::data(&render(&lines))
        }
    }
}

impl Line {
    fn of(step: &StepPlan) -> Self {
        let waits_for = step.waits_for().map(str::to_owned);
        let cause = |(cause, tasks)| Cause { cause, tasks };
        Self {
            stage: step.stage,
            step: step.name.clone(),
            tasks: step.tasks.len(),
            done: step.records().count(),
            to_run: waits_for.is_none().then(|| step.missing().count()),
            waits_for,
            causes: step.first_causes().into_iter().map(cause).collect(),
        }
    }

    fn why(&self) -> String {
        if let Some(on) = &self.waits_for {
            return format!("waits for {on}");
        }
        match self.causes.as_slice() {
            [] => "done".to_owned(),
            [only] => only.cause.clone(),
            several => {
                let cause = |c: &Cause| format!("{} ({})", c.cause, c.tasks);
                let shown: Vec<_> = several.iter().take(SHOWN_CAUSES).map(cause).collect();
                let more = several.len().saturating_sub(SHOWN_CAUSES);
                let more = match more {
                    0 => String::new(),
                    n => format!("; {n} more"),
                };
                format!("{}{more}", shown.join("; "))
            }
        }
    }
}

fn render(lines: &[Line]) -> String {
    let heading = ["step", "tasks", "to run", "why"].map(str::to_owned);
    let mut rows = vec![heading.to_vec()];
    rows.extend(lines.iter().map(|line| {
        vec![
            line.step.clone(),
            grouped(line.tasks as u64),
            line.to_run.map_or("?".to_owned(), |n| grouped(n as u64)),
            line.why(),
        ]
    }));
    table(&rows, &[1, 2])
}
