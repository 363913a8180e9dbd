//! The checks of `doctor`: whether everything that a manifest names exists, is intact and fits
//! together, before a run spends hours on it. `run` begins with those of them that concern the steps
//! that it will run, so that both judge alike.

mod baselines;
mod digests;
mod disk;
mod memory;
mod models;
mod output;
mod system;

use std::path::{Path, PathBuf};

use laioncele_core::error::chain;
use laioncele_core::model_cache;
use laioncele_core::{CoreError, Manifest, StageName, Step};
use laioncele_extract_names::check_source;
use serde::Serialize;

use crate::crew::WorkerArgs;
use crate::failure::{Exit, Failure};
use crate::machine::Machine;
use crate::plan::inputs;
use crate::words::{count, grouped, size};
pub(crate) use digests::Digests;
pub(crate) use memory::Weights;
use models::Wanted;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// All is well.
    Ok,
    /// A run may do, but not well.
    Warning,
    /// A run would end with it.
    Error,
}

impl Level {
    /// The word that a line begins with.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// What was checked: `source`, `models.sdxl.unet`, `embedding_dims`, `memory`, …
    pub check: String,
    /// How it ended.
    pub level: Level,
    /// Whether the check passed, if with a warning.
    pub ok: bool,
    /// Its file or folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// What was found, or the error.
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way_out: Option<String>,
}

impl Check {
    fn new(check: &str, path: Option<&Path>, found: Result<String, String>) -> Self {
        Self {
            check: check.to_owned(),
            level: if found.is_ok() {
                Level::Ok
            } else {
                Level::Error
            },
            ok: found.is_ok(),
            // Of a model by url the url, wherever its copy is.
            path: path.map(|path| model_cache::origin(path).unwrap_or_else(|| path.to_owned())),
            detail: found.unwrap_or_else(|error| error),
            way_out: None,
        }
    }

    /// A check that ended with `level`.
    fn of(level: Level, check: &str, detail: String) -> Self {
        let found = match level {
            Level::Error => Err(detail),
            _ => Ok(detail),
        };
        Self {
            level,
            ..Self::new(check, None, found)
        }
    }

    /// With what to do about it, where all is not well.
    fn way_out(self, way_out: &str) -> Self {
        let wanted = self.level != Level::Ok && self.way_out.is_none();
        Self {
            way_out: wanted.then(|| way_out.to_owned()).or(self.way_out),
            ..self
        }
    }

    /// What was found, with the file that it concerns where the error does not name it.
    pub(crate) fn text(&self) -> String {
        let detail = match &self.path {
            Some(path) if !self.ok && !self.detail.contains(&*path.to_string_lossy()) => {
                format!("{}: {}", path.display(), self.detail)
            }
            _ => self.detail.clone(),
        };
        match &self.way_out {
            Some(way_out) => format!("{detail}; {way_out}"),
            None => detail,
        }
    }
}

/// Runs all checks. `deep` reads all weights of SDXL and of the image encoders, `digests` says whether SDXL's files are told by theirs.
/// `output` is the folder of a run, if one is asked about, which need not be there yet.
pub(crate) fn examine(
    manifest: &Manifest,
    steps: &[Box<dyn Step>],
    deep: bool,
    digests: &Digests,
    workers: &WorkerArgs,
    output: Option<&Path>,
) -> Vec<Check> {
    let mut checks = settings(manifest, steps);
    checks.extend(second_opinion(manifest));
    checks.push(source(manifest));
    checks.extend(files(manifest, steps));
    let mut weights = Weights::default();
    checks.extend(models::check(manifest, Wanted::all(), deep, &mut weights));
    checks.extend(models::recognized(manifest));
    checks.extend(digests::check(manifest, digests));
    checks.extend(copies());
    checks.extend(weights.check(manifest, &Machine::look(), workers));
    checks.push(system::runtime());
    checks.extend(system::check(manifest, output));
    checks.extend(output.map(output::check));
    checks.push(disk::check(output));
    let set_in = format!("what is set is in {}", manifest.path().display());
    // What memory lacks is no setting, and says itself what helps.
    let way_out = |check: Check| match check.check.starts_with("memory") {
        true => check,
        false => check.way_out(&set_in),
    };
    checks.into_iter().map(way_out).collect()
}

/// Where the copies are of models that the manifest has by url.
fn copies() -> Option<Check> {
    let (models, bytes, folder) = model_cache::found()?;
    let text = format!(
        "{} by url ({}): copies are kept in {} (LAIONCELE_CACHE says another folder)",
        count(models, "model"),
        size(bytes),
        folder.display()
    );
    Some(Check::of(Level::Ok, "models by url", text))
}

/// The checks of the models that `steps` will load, as a run begins; the weights of each of its
/// workers.
///
/// # Errors
/// The first check that failed.
pub(crate) fn before_run(
    manifest: &Manifest,
    steps: &[&dyn Step],
    machine: &Machine,
    workers: &WorkerArgs,
) -> Result<Weights, Failure> {
    let mut weights = Weights::default();
    let wanted = Wanted::by(manifest, steps)?;
    let mut checks = models::check(manifest, wanted, false, &mut weights);
    if (steps.iter()).any(|step| step.spec().stage == StageName::MergeNames) {
        checks.extend(second_opinion(manifest));
    }
    checks.extend(weights.check(manifest, machine, workers));
    match checks.into_iter().find(|check| !check.ok) {
        None => Ok(weights),
        Some(failed) => {
            let text = format!("{}: {}", failed.check, failed.text());
            let hint = format!(
                "`laioncele doctor --manifest {}` shows every check",
                manifest.path().display()
            );
            Err(Failure::new(Exit::Environment, text).hint(hint))
        }
    }
}

/// Whether the language model that the manifest names can be asked.
fn second_opinion(manifest: &Manifest) -> Option<Check> {
    let found = laioncele_merge_names::check_second_opinion(manifest)?;
    let found = found.map_err(|error| chain(&error));
    Some(Check::new("merge_names.second_opinion", None, found))
}

/// The settings of each step, and what they say of its models; one entry if all are valid.
fn settings(manifest: &Manifest, steps: &[Box<dyn Step>]) -> Vec<Check> {
    let path = Some(manifest.path());
    let read = steps
        .iter()
        .map(|step| (step, inputs::settings(&**step, manifest).map(drop)))
        .map(|(step, read)| (step, read.and_then(|()| models_named(&**step, manifest))));
    let wrong: Vec<Check> = read
        .filter_map(|(step, read)| Some((step, read.err()?)))
        .map(|(step, error)| Check::new(step.spec().name, path, Err(chain(&error))))
        .collect();
    if wrong.is_empty() {
        let text = format!("valid for {}", count(steps.len(), "step"));
        return vec![Check::new("settings", path, Ok(text))];
    }
    wrong
}

/// Whether the manifest names all that the step loads; whether that is there others check.
fn models_named(step: &dyn Step, manifest: &Manifest) -> Result<(), CoreError> {
    match step.models(manifest) {
        Err(error @ CoreError::Manifest { .. }) => Err(error),
        _ => Ok(()),
    }
}

/// The captions' files, and the columns that the manifest maps: the verdict that `run` begins with.
fn source(manifest: &Manifest) -> Check {
    let path = manifest.resolve(manifest.source.path.first());
    let found = check_source(manifest).map_err(|e| chain(&e));
    let found = found.map(|source| {
        let (files, rows) = (count(source.files, "file"), grouped(source.rows));
        let uncounted = match source.uncounted {
            0 => String::new(),
            files => format!(" and those of {}, not counted yet", count(files, "file")),
        };
        let mut text = format!("{files}, {rows} rows{uncounted}, {}", size(source.bytes));
        if source.passed_over > 0 {
            let others = count(source.passed_over, "file");
            text += &format!("; {others} of other formats beside Parquet passed over");
        }
        if source.found_before > 0 {
            let again = count(source.found_before, "file");
            text += &format!("; {again} found again by another path, read once");
        }
        for (layout, files) in &source.layouts {
            let of = match source.layouts.len() {
                1 => String::new(),
                _ => format!("{}: ", count(*files, "file")),
            };
            text += &format!("; {of}{layout}");
        }
        text
    });
    Check::new("source", Some(&path), found)
}

/// What steps use besides models that are loaded: photos of people.
fn files(manifest: &Manifest, steps: &[Box<dyn Step>]) -> Vec<Check> {
    let used = steps.iter().filter_map(|step| step.models(manifest).ok());
    let used = used.flatten().filter(|m| !m.label.starts_with("models."));
    let mut used: Vec<(String, PathBuf)> = used.map(|m| (m.label, m.path)).collect();
    used.sort();
    used.dedup();
    let check = |(label, path): (String, PathBuf)| {
        let found = match path.exists() {
            true => Ok("exists".to_owned()),
            false => Err("missing".to_owned()),
        };
        Check::new(&label, Some(&path), found).way_out("put it there, or correct the path")
    };
    used.into_iter().map(check).collect()
}
