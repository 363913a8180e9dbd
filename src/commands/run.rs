//! `laioncele run`: runs the missing tasks and publishes the results.

mod schedule;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use laioncele_core::ledger::{Ledger, Record};
use laioncele_core::protocol::{FailureKind, NodeCache};
use laioncele_core::spec::TaskSpec;
use laioncele_core::{CoreError, Digest, Manifest, StageName, Step};

use crate::args::{RunPaths, SetArgs, Stages, Verbosity};
use crate::commands::{plan, report};
use crate::crew::{Crew, Place, WorkerArgs};
use crate::doctor::{Weights, before_run};
use crate::error_rates::ErrorRates;
use crate::events::Events;
use crate::executor::{self, Executor, Failed, Options};
use crate::failure::{Exit, Failure};
use crate::machine::Machine;
use crate::machines::{Machines, OnArgs};
use crate::node_cache;
use crate::output;
use crate::plan::{Cause, Planner, StepPlan};
use crate::progress::{Reporter, reporter};
use crate::published::Publication;
use crate::report::Summary;
use crate::run_folder::full;
use crate::run_view::{self, ReadRun};
use crate::session::{Access, Session};
use crate::words::count;
use crate::world_web::WorldWeb;

const EXAMPLES: &str = "\
Examples:
  laioncele run                                       the embedded world, into laioncele-output
  laioncele run --stage all --manifest manifests/mini.toml --output /data/mini
  laioncele run --stage extract-names,merge-names
  laioncele run --output s3://bucket/runs/mini        in a bucket, with the keys of AWS_…
  laioncele run --stage download-images..             from this stage to the last
  laioncele run --json > summary.json
  laioncele run --dry-run --set verify_images.same_person_photo=0.6
  laioncele run --on 'command:ssh -o BatchMode=yes {host}' --hosts node1,node2 --threads 8
  laioncele run --on ray://10.0.0.1:6379

A value of --set stays with the run: the folder's copy of the manifest has it, until another one or
--manifest says otherwise.
What could not be downloaded is not asked for again by another run: see `laioncele retry`.
A run can be stopped at any time, even by kill -9: only running tasks are lost. Run the same command
again to resume.";

pub(crate) use schedule::Order;

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
    #[command(flatten)]
    set: SetArgs,
    /// Show what would run, and why, as `plan` does; nothing runs or is written
    #[arg(long, conflicts_with_all = ["change_source", "events", "metrics"])]
    dry_run: bool,
    /// Go on though the folder's run had another source
    #[arg(long)]
    change_source: bool,
    #[command(flatten)]
    workers: WorkerArgs,
    /// Begin no step before the one before it has ended
    #[arg(long)]
    one_step_at_a_time: bool,
    /// Add what happens to this file, a JSON object a line
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Keep numbers for Prometheus in this file
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
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
    pub(crate) fn execute(mut self, verbosity: &Verbosity) -> Result<(), Failure> {
        let begun = Instant::now();
        self.paths.set = std::mem::take(&mut self.set.set);
        if self.dry_run {
            return plan::show(&self.paths, &self.stage, self.json);
        }
        let access = Access::Run {
            change_source: self.change_source,
        };
        let session = Session::open(&self.paths, self.stage.last(), access)?;
        let mut run = ActiveRun::begin(session, &self, verbosity)?;
        let order = match self.one_step_at_a_time {
            true => Order::OneByOne,
            false => Order::SideBySide,
        };
        let result = run.steps(&self.stage, order);
        run.report(&result);
        drop(run.executor);
        let mut summary = run.summary;
        summary.seconds = begun.elapsed().as_secs_f64();
        // The summary is printed even if something stopped the run.
        let (ran, tasks) = summary.tasks();
        let idle = ran == 0 && result.is_ok();
        if idle {
            let tasks = count(tasks, "task");
            run.reporter.note(&format!(
                "nothing to do: {tasks} already done; results in {}",
                self.paths.output.display()
            ));
        }
        if self.json {
            output::json(&summary)?;
        } else if verbosity.quiet {
            // Errors only.
        } else if idle {
            if let Some(text) = summary.may_ask_again(&self.paths) {
                output::data(&text)?;
            }
        } else if !summary.steps.is_empty() {
            output::data(&summary.render(&self.paths))?;
        }
        result
    }

    fn options(
        &self,
        crews: &Crews,
        manifest: String,
        node_cache: Option<NodeCache>,
        verbosity: &Verbosity,
    ) -> Result<Options, Failure> {
        Ok(Options {
            crew: crews.of(Place::Processor, 0),
            manifest,
            output: full(&self.paths.output)?,
            node_cache,
            log_filter: verbosity.filter(),
            run_name: run_name(),
            capacity: crews
                .machine
                .threads_each
                .map(|_| crews.of(Place::Processor, 0).workers),
        })
    }
}

/// Publishes the models of the steps of `stages` that are not done yet, for workers that keep them in `folder` of their machines.
/// `recorded` is the object of the manifest.
fn publish_models(
    session: &Session,
    stages: &Stages,
    recorded: &str,
    folder: &Path,
) -> Result<NodeCache, Failure> {
    let (store, plan) = (session.store()?, session.plan()?);
    let left = plan.steps.iter().filter(|step| !step.complete());
    let left: HashSet<&str> = left
        .filter(|step| stages.0.contains(&step.stage))
        .map(|step| step.name.as_str())
        .collect();
    let steps = session.steps.iter().map(|step| &**step);
    let steps: Vec<&dyn Step> = steps
        .filter(|step| step.spec().stage <= stages.last())
        .collect();
    let models = node_cache::publish(
        store,
        &Manifest::of_run(store, recorded)?,
        &steps,
        |step| left.contains(step.spec().name),
        &session.digests,
    )?;
    Ok(NodeCache {
        folder: folder.to_owned(),
        models,
    })
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
        let mut crews = Self {
            machine: machines.machine.clone(),
            args: machines.workers.clone(),
            weights: Weights::default(),
        };
        crews.check(session, stages)?;
        Ok(crews)
    }

    /// As [`Crews::checked`], once more: other steps may be missing by now.
    fn check(&mut self, session: &Session, stages: &Stages) -> Result<(), Failure> {
        let plan = session.plan()?;
        let left = plan.steps.iter();
        let left = left.filter(|step| stages.0.contains(&step.stage) && !step.complete());
        let steps: Vec<&dyn Step> = left.filter_map(|step| session.step(&step.name)).collect();
        self.weights = match steps.is_empty() {
            true => Weights::default(),
            false => before_run(&session.manifest, &steps, &self.machine, &self.args)?,
        };
        Ok(())
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
    /// Whether all tasks were done when it began.
    idle: bool,
    /// Pruned results that were found to be needed whole, and the steps that need them.
    wanted: Vec<(Digest, String)>,
    /// Whether the steps were begun again for such results.
    again: bool,
}

impl ActiveRun {
    fn begin(mut session: Session, run: &Run, verbosity: &Verbosity) -> Result<Self, Failure> {
        if run.on.is_local() {
            check_gpus(&run.workers.gpus)?;
        }
        // Of a run in a bucket, the scratch folder of this machine.
        let folder = session.store()?.root().to_owned();
        let log = folder.join("log").join("machines.log");
        let store = session.store()?.clone();
        let machines = run.on.machines(&run.workers, &store, &log)?;
        let place = (!run.on.is_local()).then(|| machines.words());
        let plan = session.plan_whole()?;
        let crews = Crews::checked(&session, &run.stage, &machines)?;
        session.clear_leftovers()?;
        let manifest = session.record_manifest()?;
        let publish = |folder| publish_models(&session, &run.stage, &manifest, folder);
        let node_cache = run.on.node_cache().map(publish).transpose()?;
        let options = run.options(&crews, manifest, node_cache, verbosity)?;
        let executor = Executor::new(options, store, machines.launcher);
        executor::watch_signals(executor.events())
            .map_err(|e| Failure::new(Exit::Environment, format!("signal handlers: {e}")))?;
        let chosen = |step: &&StepPlan| run.stage.0.contains(&step.stage);
        let idle = plan.steps.iter().filter(chosen).all(StepPlan::complete);
        let mut reporter: Box<dyn Reporter> = Box::new(Events::new(
            reporter(verbosity.quiet),
            &folder,
            run.events.as_deref(),
            run.metrics.as_deref(),
        )?);
        if let Some(place) = place {
            reporter.note(&place);
        }
        Ok(Self {
            crews,
            idle,
            planner: session.planner()?,
            web: WorldWeb::of(&session.manifest)?,
            error_rates: ErrorRates::of(&session.manifest)?,
            session,
            executor,
            reporter,
            summary: Summary::default(),
            paths: run.paths.clone(),
            wanted: Vec::new(),
            again: false,
        })
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
        for (number, (spec, causes)) in planned.missing().enumerate() {
            clear_loss(&ledger, spec, causes, number < SHOWN_FAILURES)?;
        }
        for list in &planned.lists {
            list.restore(store)?;
        }
        Ok(())
    }

    /// Writes the page of `laioncele report` where there is something new to show. That it could not be written fails no run.
    fn report(&mut self, result: &Result<(), Failure>) {
        let ran: usize = self.summary.steps.iter().map(|step| step.ran).sum();
        let Ok(store) = self.session.store() else {
            return;
        };
        let folder = store.root().to_owned();
        if result.is_err() || (ran == 0 && report::exists(&folder)) {
            return;
        }
        let written = self.read_run();
        let written = written.and_then(|run| report::write_into(run, &folder));
        match written {
            Ok(path) => self.reporter.note(&format!("report: {}", path.display())),
            Err(failure) => tracing::warn!("no report: {}", failure.message),
        }
    }

    /// The run as it is now, with the records that it has added.
    fn read_run(&self) -> Result<ReadRun, Failure> {
        let paths = RunPaths {
            manifest: Some(self.session.manifest.file().to_owned()),
            output: self.paths.output.clone(),
            set: Vec::new(),
        };
        let session = Session::open(&paths, StageName::Evaluate, Access::Existing)?;
        run_view::of_session(&session)
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
        step.check_results(store, manifest, &records)?;
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

/// Takes the record of a lost result out of the ledger.
fn clear_loss(
    ledger: &Ledger,
    spec: &TaskSpec,
    causes: &[Cause],
    said: bool,
) -> Result<(), Failure> {
    let Some(Cause::Loss(loss)) = causes.first() else {
        return Ok(());
    };
    if said {
        tracing::warn!("{} {}: {loss}; made again", spec.step, spec.partition);
    }
    Ok(ledger.remove(&spec.step, &spec.partition, spec.key)?)
}

fn interrupted() -> Failure {
    Failure::new(Exit::Interrupted, "interrupted; finished tasks are kept")
        .hint("run the same command again to resume")
}
