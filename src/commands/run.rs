//! `laioncele run`: runs the missing tasks step by step and publishes the results.

use std::path::{PathBuf, absolute};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use laioncele_core::ledger::{Ledger, Record};
use laioncele_core::protocol::FailureKind;
use laioncele_core::spec::TaskSpec;
use laioncele_core::{CoreError, Manifest, Step};

use crate::args::{RunPaths, Stages, Verbosity};
use crate::crew::{Crew, Place, WorkerArgs};
use crate::doctor::{Weights, before_run};
use crate::error_rates::ErrorRates;
use crate::executor::{self, Executor, Failed, Options, Outcome};
use crate::failure::{Exit, Failure};
use crate::machine::Machine;
use crate::machines::{Machines, OnArgs};
use crate::output;
use crate::plan::{Cause, Planner, StepPlan};
use crate::progress::{Reporter, reporter};
use crate::published::Publication;
use crate::report::{StepSummary, Summary, WebSummary};
use crate::session::{Access, Session};
use crate::words::{count, duration};
use crate::world_web::WorldWeb;

const EXAMPLES: &str = "\
Examples:
  laioncele run                                       the embedded world, into laioncele-output
  laioncele run --stage all --manifest manifests/mini.toml --output /data/mini
  laioncele run --stage extract-names,merge-names
  laioncele run --stage download-images..             from this stage to the last
  laioncele run --json > summary.json
  laioncele run --on 'command:ssh -o BatchMode=yes {host}' --hosts node1,node2 --threads 8
  laioncele run --on ray://10.0.0.1:6379

What could not be downloaded is not asked for again by another run: see `laioncele retry`.
A run can be stopped at any time, even by kill -9: only running tasks are lost. Run the same command
again to resume.";

/// Failed tasks that are shown with the command that reruns them.
const SHOWN_FAILURES: usize = 5;

/// `laioncele run`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Run {
    /// Stages: `all`, a name, a list `a,b` or a range `from..to`
    #[arg(long, short, value_name = "STAGES", default_value = "all")]
    stage: Stages,
    #[command(flatten)]
    paths: RunPaths,
    /// Go on though the folder's run had another source
    #[arg(long)]
    change_source: bool,
    #[command(flatten)]
    workers: WorkerArgs,
    #[command(flatten)]
    on: OnArgs,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

impl Run {
    /// Runs.
    ///
    /// # Errors
    /// Whatever stops the run; failed tasks; an interrupt.
    pub(crate) fn execute(self, verbosity: &Verbosity) -> Result<(), Failure> {
        let begun = Instant::now();
        let access = Access::Run {
            change_source: self.change_source,
        };
        let session = Session::open(&self.paths, self.stage.last(), access)?;
        let mut run = ActiveRun::begin(session, &self, verbosity)?;
        let result = run.steps(&self.stage);
        drop(run.executor);
        let mut summary = run.summary;
        summary.seconds = begun.elapsed().as_secs_f64();
        // The summary is printed even if something stopped the run.
        if self.json {
            output::json(&summary)?;
        } else if !summary.steps.is_empty() {
            output::data(&summary.render(&self.paths))?;
        }
        result
    }

    fn options(
        &self,
        crews: &Crews,
        manifest: PathBuf,
        verbosity: &Verbosity,
    ) -> Result<Options, Failure> {
        let full = |path: &PathBuf| absolute(path).map_err(|e| CoreError::from_io(path, e));
        Ok(Options {
            crew: crews.of(Place::Processor, 0),
            manifest,
            output: full(&self.paths.output)?,
            log_filter: verbosity.filter(),
            run_name: run_name(),
        })
    }
}

/// Fails early if a GPU of `asked` does not exist.
fn check_gpus(asked: &[u16]) -> Result<(), Failure> {
    let Some(last) = asked.iter().max() else {
        return Ok(());
    };
    if !cfg!(feature = "cuda") {
        tracing::warn!("--gpus: laioncele was built without CUDA: images are generated on the CPU");
    }
    // This process may see only some of the GPUs; its workers get their own variable.
    if std::env::var_os("CUDA_VISIBLE_DEVICES").is_some() {
        return Ok(());
    }
    let problem = match laioncele_nn::gpus() {
        Ok(gpus) if usize::from(*last) >= gpus.len() => {
            format!("there is no GPU {last}; the last is {}", gpus.len() - 1)
        }
        Ok(_) => return Ok(()),
        Err(reason) => reason.to_owned(),
    };
    let failure = Failure::new(Exit::Environment, format!("--gpus: {problem}"));
    Err(failure.hint("leave out --gpus to use the manifest's `device`"))
}

/// A name that is unique among the runs on this folder; part of the names of parts.
pub(crate) fn run_name() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    format!(
        "{:x}-{:x}",
        now.map_or(0, |d| d.as_millis()),
        std::process::id()
    )
}

/// What decides how many workers each step has.
struct Crews {
    machine: Machine,
    args: WorkerArgs,
    weights: Weights,
}

impl Crews {
    /// Checks the models of all steps of `stages` that are not done yet, and with them whether the
    /// memory suffices.
    fn checked(session: &Session, stages: &Stages, machines: &Machines) -> Result<Self, Failure> {
        let (machine, args) = (machines.machine.clone(), &machines.workers);
        let plan = session.plan()?;
        let left = plan.steps.iter();
        let left = left.filter(|step| stages.0.contains(&step.stage) && !step.complete());
        let steps: Vec<&dyn Step> = left.filter_map(|step| session.step(&step.name)).collect();
        let weights = match steps.is_empty() {
            true => Weights::default(),
            false => before_run(&session.manifest, &steps, &machine, args)?,
        };
        Ok(Self {
            machine,
            args: args.clone(),
            weights,
        })
    }

    fn of(&self, place: Place, weights: u64) -> Crew {
        Crew::of(&self.machine, &self.args, place, weights)
    }

    fn of_step(&self, step: &dyn Step, manifest: &Manifest) -> Result<Crew, CoreError> {
        let at_once = step.tasks_at_once();
        if at_once > 1 {
            let (machine, args) = (&self.machine, &self.args);
            return Ok(Crew::of_waiting_tasks(machine, args, at_once));
        }
        let models = step.models(manifest)?;
        let place = Place::of_models(manifest, &models, &self.machine)?;
        Ok(self.of(place, self.weights.of_models(&models)))
    }
}

/// A run while it executes.
struct ActiveRun {
    crews: Crews,
    session: Session,
    planner: Planner,
    executor: Executor,
    reporter: Box<dyn Reporter>,
    web: WorldWeb,
    error_rates: Option<ErrorRates>,
    summary: Summary,
    paths: RunPaths,
}

impl ActiveRun {
    fn begin(session: Session, run: &Run, verbosity: &Verbosity) -> Result<Self, Failure> {
        if run.on.is_local() {
            check_gpus(&run.workers.gpus)?;
        }
        let log = run.paths.output.join("log").join("machines.log");
        let machines = run.on.machines(&run.workers, &log)?;
        let place = (!run.on.is_local()).then(|| machines.words());
        let crews = Crews::checked(&session, &run.stage, &machines)?;
        let store = session.store()?.clone();
        session.clear_leftovers()?;
        let manifest = session.record_manifest()?;
        let options = run.options(&crews, manifest, verbosity)?;
        let executor = Executor::new(options, store, machines.launcher);
        executor::watch_signals(executor.events())
            .map_err(|e| Failure::new(Exit::Environment, format!("signal handlers: {e}")))?;
        let mut reporter = reporter(verbosity.quiet);
        if let Some(place) = place {
            reporter.note(&place);
        }
        Ok(Self {
            crews,
            planner: session.planner()?,
            web: WorldWeb::of(&session.manifest)?,
            error_rates: ErrorRates::of(&session.manifest)?,
            session,
            executor,
            reporter,
            summary: Summary::default(),
            paths: run.paths.clone(),
        })
    }

    fn steps(&mut self, stages: &Stages) -> Result<(), Failure> {
        for step in self.session.inputs.steps.clone() {
            let mut planned = self.planner.plan_step(&step, &self.session.records);
            if stages.0.contains(&step.stage) {
                self.step(&mut planned)?;
            }
            self.planner.add(&step, &planned);
        }
        Ok(())
    }

    fn step(&mut self, planned: &mut StepPlan) -> Result<(), Failure> {
        if self.executor.interrupted() {
            return Err(interrupted());
        }
        let begun = Instant::now();
        if let Some(on) = planned.waits_for() {
            return Err(self.not_ready(planned, on));
        }
        let missing: Vec<TaskSpec> = planned.missing().map(|(spec, _)| spec.clone()).collect();
        self.clear_losses(planned)?;
        let outcome = self.run_tasks(planned, &missing)?;
        let ran = outcome.records.len();
        planned.mark_done(outcome.records);
        let summary = StepSummary::of(planned, ran, begun.elapsed());
        self.summary.steps.push(summary);
        if planned.name == laioncele_download_images::STEP {
            let store = self.session.store()?;
            self.summary.web = Some(WebSummary::of(store, &self.session.manifest, planned)?);
        }
        if outcome.interrupted {
            return Err(interrupted());
        }
        if !outcome.failed.is_empty() {
            let (name, all) = (&planned.name, planned.tasks.len());
            return Err(tasks_failed(&self.paths, name, all, &outcome.failed));
        }
        self.report_error_rates(planned)?;
        self.publish(planned)
    }

    /// Reports the error rates of the threshold of a step that compares faces, if they were
    /// measured.
    fn report_error_rates(&mut self, planned: &StepPlan) -> Result<(), Failure> {
        let Some(rates) = &self.error_rates else {
            return Ok(());
        };
        if let Some(line) = rates.line(&self.session.manifest, &planned.name)? {
            self.reporter.note(&line);
        }
        Ok(())
    }

    /// Takes the records of lost results out of the ledger, so that the tasks can commit again, and
    /// writes lists that are not as they should be.
    fn clear_losses(&self, planned: &StepPlan) -> Result<(), Failure> {
        let store = self.session.store()?;
        let ledger = Ledger::new(store.clone());
        let lost = planned
            .missing()
            .filter_map(|(spec, causes)| match causes.first() {
                Some(Cause::Loss(loss)) => Some((spec, loss)),
                _ => None,
            });
        for (number, (spec, loss)) in lost.enumerate() {
            if number < SHOWN_FAILURES {
                tracing::warn!("{} {}: {loss}; made again", spec.step, spec.partition);
            }
            ledger.remove(&spec.step, &spec.partition, spec.key)?;
        }
        for list in &planned.lists {
            list.restore(store)?;
        }
        Ok(())
    }

    fn run_tasks(&mut self, planned: &StepPlan, missing: &[TaskSpec]) -> Result<Outcome, Failure> {
        let tasks = count(planned.tasks.len(), "task");
        if missing.is_empty() {
            let line = format!("{}: nothing to do, {tasks} already done", planned.name);
            self.reporter.note(&line);
            return Ok(Outcome::default());
        }
        let begun = Instant::now();
        if let Some(step) = self.session.step(&planned.name) {
            let crew = self.crews.of_step(step, &self.session.manifest)?;
            self.executor.set_crew(crew);
        }
        let host_map = self.web.host_map()?;
        self.reporter.begin(&planned.name, missing.len());
        let result = self
            .executor
            .run(missing, planned.tasks.len(), host_map, &mut *self.reporter);
        let took = duration(begun.elapsed());
        let line = match &result {
            Ok(outcome) if outcome.records.len() == missing.len() => {
                format!("{}: done in {took}", planned.name)
            }
            Ok(outcome) => {
                let (done, all) = (outcome.records.len(), missing.len());
                format!("{}: {done} of {all} tasks done in {took}", planned.name)
            }
            Err(_) => format!("{}: stopped after {took}", planned.name),
        };
        self.reporter.end(&line);
        result
    }

    fn publish(&self, planned: &StepPlan) -> Result<(), Failure> {
        let Some(step) = self.session.step(&planned.name) else {
            return Ok(());
        };
        let records: Vec<Record> = planned.records().map(|r| (**r).clone()).collect();
        let (store, manifest) = (self.session.store()?, &self.session.manifest);
        let publication = Publication::begin(store, &planned.name, manifest.digest(), &records)?;
        step.publish(store, manifest, &records)?;
        if let Some(publication) = publication {
            publication.end(&self.session.digests)?;
            self.session.digests.save();
        }
        Ok(())
    }

    fn not_ready(&self, planned: &StepPlan, on: &str) -> Failure {
        let first = self
            .session
            .step(on)
            .map_or(planned.stage, |s| s.spec().stage);
        let text = format!(
            "stage `{}` cannot run: step `{on}`, whose output it reads, is not complete",
            planned.stage
        );
        Failure::new(Exit::Usage, text).hint(format!(
            "use --stage {first}..{} to run both",
            planned.stage
        ))
    }
}

/// The failure of a command whose tasks failed, with the commands that rerun them.
pub(crate) fn tasks_failed(paths: &RunPaths, step: &str, all: usize, failed: &[Failed]) -> Failure {
    let environment = failed.iter().any(|f| f.kind == FailureKind::Environment);
    let exit = if environment {
        Exit::Environment
    } else {
        Exit::TasksFailed
    };
    let all = count(all, "task");
    let mut text = format!("step `{step}`: {} of {all} failed", failed.len());
    for failure in failed.iter().take(SHOWN_FAILURES) {
        text.push_str(&format!("\n  {}: {}", failure.spec.partition, failure.text));
    }
    let mut report = Failure::new(exit, text);
    for failure in failed.iter().take(SHOWN_FAILURES) {
        report = report.hint(format!(
            "to rerun it: laioncele worker --task {} --output {}",
            paths
                .output
                .join(executor::spec_path(&failure.spec))
                .display(),
            paths.output.display()
        ));
    }
    report
}

fn interrupted() -> Failure {
    Failure::new(Exit::Interrupted, "interrupted; finished tasks are kept")
        .hint("run the same command again to resume")
}
