//! `laioncele plan`: what would run, and why; and the model of a large run.

mod forecast;

use clap::Args;
use serde::Serialize;

use self::forecast::{ForecastArgs, render};
use crate::args::{RunPaths, SetArgs, Stages};
use crate::failure::{Exit, Failure};
use crate::output;
use crate::plan::Plan;
use crate::plan::estimate::{Basis, Estimate, EstimateError};
use crate::session::{Access, Session};
use crate::staleness::{StepState, tree};

const EXAMPLES: &str = "\
Examples:
  laioncele plan
  laioncele plan --stage verify-images.. --manifest manifests/mini.toml --output /data/mini
  laioncele plan --set filter_counts.min_images=8
  laioncele plan --json | jq '[.[] | .to_run] | add'
  laioncele plan --estimate --seconds-per-portrait 6.9 --names 42000
  laioncele plan --estimate --captions 5850000000 --nodes 32 --cores 64 --gpus 8
  laioncele plan --estimate --captions 1e9 --assume seconds_per_portrait=3.2 --assume names=400000

  laioncele plan --json | jq '.[].causes[] | select(.kind == \"setting\") | {name, from, to}'

A step whose inputs are not known yet shows the step that it waits for, and why that one runs. A
part that is gone or has another size is made again; what depends on it runs if its bytes change.
Altered bytes are found by `laioncele verify`.

With --captions no run is planned: hours and bytes of a run over so many captions are computed from
rates, each of which says whether it was measured or is assumed.";

/// `laioncele plan`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PlanCommand {
    /// Stages: `all`, a name, a list `a,b` or a range `from..to`
    #[arg(long, short, value_name = "STAGES", default_value = "all")]
    stage: Stages,
    #[command(flatten)]
    paths: RunPaths,
    #[command(flatten)]
    set: SetArgs,
    /// Also estimate the worker-hours for all portraits
    #[arg(long)]
    estimate: bool,
    #[command(flatten)]
    forecast: ForecastArgs,
    /// Seconds that one worker needs per portrait [default: measured by the run]
    #[arg(long, value_name = "SECONDS", requires = "estimate", value_parser = seconds)]
    seconds_per_portrait: Option<f64>,
    /// Names that get portraits [default: those that the run has encoded]
    #[arg(long, value_name = "N", requires = "estimate")]
    names: Option<u64>,
    /// Print JSON; with --estimate an object with `steps` and `estimate`
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if f64::is_finite(seconds) && seconds > 0.0 => Ok(seconds),
        _ => Err("expected a number above 0".to_owned()),
    }
}

/// The plan as JSON, with an estimate.
#[derive(Debug, Serialize)]
struct Estimated<'a> {
    steps: &'a [StepState],
    estimate: Estimate,
}

/// Prints what a run of `stages` would do; nothing is written.
///
/// # Errors
/// Whatever is wrong with manifest, models, source or folder.
pub(crate) fn show(paths: &RunPaths, stages: &Stages, json: bool) -> Result<(), Failure> {
    let session = Session::open(paths, stages.last(), Access::Read)?;
    let entries = states(&session.plan()?, stages);
    match json {
        true => output::json(&entries),
        false => output::data(&tree(&entries)),
    }
}

fn states(plan: &Plan, stages: &Stages) -> Vec<StepState> {
    let wanted = plan.steps.iter().filter(|s| stages.0.contains(&s.stage));
    wanted.map(|step| StepState::of(plan, step)).collect()
}

impl PlanCommand {
    /// Prints the plan.
    ///
    /// # Errors
    /// Whatever is wrong with manifest, models, source or folder.
    pub(crate) fn execute(mut self) -> Result<(), Failure> {
        self.paths.set = std::mem::take(&mut self.set.set);
        if let Some(forecast) = self.forecast.forecast(&self.paths)? {
            return match self.json {
                true => output::json(&forecast),
                false => output::data(&render(&forecast)),
            };
        }
        if !self.estimate {
            return show(&self.paths, &self.stage, self.json);
        }
        let session = Session::open(&self.paths, self.stage.last(), Access::Read)?;
        let plan = session.plan()?;
        let entries = states(&plan, &self.stage);
        let estimate = self.hours(&session, &plan)?;
        match self.json {
            true => output::json(&Estimated {
                steps: &entries,
                estimate,
            }),
            false => output::data(&format!("{}\n\n{}", tree(&entries), estimate.render())),
        }
    }

    fn hours(&self, session: &Session, plan: &Plan) -> Result<Estimate, Failure> {
        let settings: laioncele_generate_portraits::Settings =
            session.manifest.section("generate_portraits")?;
        let given = Basis {
            names: self.names,
            seconds_per_portrait: self.seconds_per_portrait,
            portraits_per_name: None,
        };
        let basis = given.or(Basis::measured(&plan.steps));
        basis.estimate(settings.lazy).map_err(|error| {
            let option = match error {
                EstimateError::UnknownNames => "--names",
                EstimateError::UnknownSeconds => "--seconds-per-portrait",
            };
            Failure::new(Exit::Usage, error.to_string()).hint(format!("set it with {option}"))
        })
    }
}
