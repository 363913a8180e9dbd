//! The page: everything that it says as one value, and that value as one HTML file.

use laioncele_core::forgotten::Forgotten;
use laioncele_core::reachability::{Reached, Tally};
use laioncele_core::table::EvaluationScore;
use laioncele_core::{CoreError, TableId};
use minijinja::{AutoEscape, Environment};
use serde::Serialize;

use crate::curve;
use crate::identities::{self, Identities};
use crate::merges::{self, MergedName};
use crate::numbers::{grouped, percent};
use crate::plot;
use crate::references::{self, CandidateRow};
use crate::samples::{self, Person, SampleRow, Samples};
use crate::similarities::{self, Distributions};
use crate::steps::{self, StepFact, StepRow};
use crate::view::RunView;

/// Hosts that the page lists at most.
const HOSTS: usize = 50;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The tables could not be read.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// The template does not fit what it is given: a defect.
    #[error("the page's template does not fit its data")]
    Template(#[from] minijinja::Error),
}

/// A threshold on faces.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Threshold {
    /// Whether it is one of portraits (else of photos).
    pub portraits: bool,
    /// The manifest's key: `same_person`.
    pub key: String,
    /// Its value.
    pub value: f64,
    /// What a calibration says that it stands for; none without a calibration.
    pub rates: Option<String>,
}

/// A model of the run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelFact {
    /// What task keys call it.
    pub label: String,
    /// BLAKE3 of what is read of it.
    pub digest: String,
    /// As its folder states it.
    pub licence: String,
    /// Whether that licence keeps commercial use out.
    pub non_commercial: bool,
}

/// A setting of the manifest.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SettingFact {
    /// `section.key`
    pub name: String,
    /// As TOML.
    pub value: String,
}

/// The evaluation: the table as `laioncele evaluate` prints it, and what must be known to read it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Evaluation {
    /// The heading, then a line for each metric.
    pub lines: Vec<Vec<String>>,
    /// Sentences.
    pub notes: Vec<String>,
}

/// What only the program knows of a run.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The version of the program.
    pub program: String,
    /// When the page is made, RFC 3339.
    pub made: String,
    /// All steps, in data order.
    pub steps: Vec<StepFact>,
    /// The thresholds on faces.
    pub thresholds: Vec<Threshold>,
    /// The evaluation, if there is one.
    pub evaluation: Option<Evaluation>,
    /// The people of the samples.
    pub references: Vec<Person>,
    /// Below which probability a guess at the word for a person is unsure.
    pub unsure_below: f32,
    /// The models.
    pub models: Vec<ModelFact>,
}

/// Everything that the page says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Page {
    program: String,
    made: String,
    manifest: String,
    digest: String,
    folder: String,
    remarks: Vec<String>,
    /// The funnel.
    pub steps: Vec<StepRow>,
    plots: Vec<Plot>,
    /// The identities.
    pub identities: Identities,
    merges: Vec<MergedName>,
    all_merges: usize,
    rot: Option<Rot>,
    curve: String,
    curve_text: String,
    candidates: Vec<CandidateRow>,
    all_candidates: usize,
    samples: Vec<SampleRow>,
    all_samples: usize,
    unsure: Vec<(String, String)>,
    evaluation: Option<Evaluation>,
    paper: Vec<Vec<&'static str>>,
    models: Vec<ModelFact>,
    non_commercial: bool,
    settings: Vec<SettingFact>,
}

/// A plot of similarities.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Plot {
    title: &'static str,
    svg: String,
    sentences: Vec<String>,
}

/// How the urls ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Rot {
    urls: String,
    photos: String,
    /// By class: word, urls, share.
    classes: Vec<(String, String, String)>,
    /// By host: host, urls, share of photos, the others.
    hosts: Vec<(String, String, String, String)>,
    /// By the year in the path, likewise.
    years: Vec<(String, String, String, String)>,
}

/// The paper's Table 1 and the first row of Table 2, as printed there.
const PAPER: [[&str; 5]; 5] = [
    [
        "paper, Table 1",
        "CLIP-TI ↑ (all)",
        "FID to SDXL ↓ (all)",
        "ID consistency ↑ (emotion)",
        "reference similarity ↑",
    ],
    ["SDXL", "36.29", "–", "0.3365", "–"],
    ["IP-Adapter", "30.36", "110.73", "0.5345", "–"],
    ["PhotoMaker", "36.78", "95.16", "0.5466", "–"],
    [
        "MagicNaming",
        "38.24",
        "56.75",
        "0.5624",
        "0.4008 (Table 2, scene)",
    ],
];

/// Reads all that the page says. What cannot be read is left out and remarked.
pub fn page(view: &RunView, facts: Facts) -> Page {
    let steps = steps::rows(view, &facts.steps);
    let plots = plots(view, &facts.thresholds);
    let identities = identities::read(view);
    let (merges, all_merges) = merges::read(view);
    let rot = rot(view);
    let points = curve::read(view);
    let (candidates, all_candidates) = references::read(view, &facts.references);
    let Samples { rows, all, unsure } = samples::read(view, &facts.references, facts.unsure_below);
    let undone = facts.steps.iter().filter(|s| s.done < s.tasks).count();
    if undone > 0 {
        view.remark(format!(
            "The run is not complete: {undone} of {} steps have tasks left. What is here is what is done.",
            facts.steps.len()
        ));
    }
    takedowns(view);
    let setting = |(name, value)| SettingFact { name, value };
    Page {
        program: facts.program,
        made: facts.made,
        manifest: view.manifest.path().display().to_string(),
        digest: view.manifest.digest().to_string(),
        folder: view.store.root().display().to_string(),
        steps,
        plots,
        identities,
        merges,
        all_merges,
        rot,
        curve: plot::losses(&points, "Training and validation error by step"),
        curve_text: curve_text(&points),
        candidates,
        all_candidates,
        samples: rows,
        all_samples: all,
        unsure,
        evaluation: facts.evaluation,
        paper: PAPER.iter().map(|row| row.to_vec()).collect(),
        non_commercial: facts.models.iter().any(|m| m.non_commercial),
        models: facts.models,
        settings: view.manifest.flattened().into_iter().map(setting).collect(),
        remarks: view.remarks(),
    }
}

/// Remarks who was taken down, and an encoder that was trained before.
fn takedowns(view: &RunView) {
    let stones = match Forgotten::load(&view.store) {
        Ok(Some(stones)) => stones,
        Ok(None) => return,
        Err(error) => return view.unreadable(&error),
    };
    let (people, images) = (stones.people(), stones.images());
    view.remark(format!(
        "{people} people and {images} single images were taken down."
    ));
    let mut weights = view.parts(TableId::Encoder);
    if weights.any(|part| stones.was_trained_before(part.digest)) {
        view.remark("The encoder was trained before that removal, on photos of theirs too.");
    }
}

fn plots(view: &RunView, thresholds: &[Threshold]) -> Vec<Plot> {
    let of = |portraits: bool| -> Vec<&Threshold> {
        let own = thresholds.iter().filter(|t| t.portraits == portraits);
        own.collect()
    };
    let mut plots = Vec::new();
    if view.has(TableId::PortraitFaces) {
        let title = "Portraits: two of one name, and of two names";
        plots.push(one_plot(title, &similarities::portraits(view), &of(true)));
    }
    if view.has(TableId::PhotoFaces) {
        let title =
            "Photos: the best face against its own name's portraits, and against other names'";
        plots.push(one_plot(title, &similarities::photos(view), &of(false)));
    }
    plots
}

fn one_plot(title: &'static str, found: &Distributions, thresholds: &[&Threshold]) -> Plot {
    let (same, different) = (&found.same, &found.different);
    let mut sentences = vec![format!(
        "{} similarities of one name, {} of two{}.",
        grouped(same.total()),
        grouped(different.total()),
        if found.sampled { " (a sample)" } else { "" }
    )];
    for threshold in thresholds {
        let (key, value) = (&threshold.key, threshold.value);
        sentences.push(format!(
            "{key} = {value}: {} of these of one name and {} of two names reach it.",
            percent(same.from(value), same.total()),
            percent(different.from(value), different.total()),
        ));
        if let Some(rates) = &threshold.rates {
            sentences.push(format!("By the calibration {key} = {value} {rates}."));
        }
    }
    let lines: Vec<_> = (thresholds.iter())
        .map(|t| (t.key.clone(), t.value))
        .collect();
    let label = format!("{title}. {}", sentences.join(" "));
    Plot {
        title,
        svg: plot::distributions(same, different, &lines, &label),
        sentences,
    }
}

fn rot(view: &RunView) -> Option<Rot> {
    if !view.has(TableId::Reachability) {
        return None;
    }
    let parts = view.parts(TableId::Reachability);
    let reached = match Reached::read(&view.store, view.dims(), parts, HOSTS) {
        Ok(reached) => reached,
        Err(error) => {
            view.unreadable(&error);
            return None;
        }
    };
    let total = &reached.total;
    let mut classes: Vec<_> = total.dropped.iter().collect();
    classes.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let class = |(reason, urls): (&laioncele_core::DropReason, &u64)| {
        let share = percent(*urls, total.urls());
        (reason.to_string(), grouped(*urls), share)
    };
    Some(Rot {
        urls: grouped(total.urls()),
        photos: percent(total.photos, total.urls()),
        classes: classes.into_iter().map(class).collect(),
        hosts: reached.hosts.iter().map(|(h, t)| tally(h, t)).collect(),
        years: reached.years.iter().map(|(y, t)| tally(y, t)).collect(),
    })
}

fn tally(name: &str, tally: &Tally) -> (String, String, String, String) {
    let others = tally.dropped.iter();
    let others: Vec<_> = others
        .map(|(r, n)| format!("{r} {}", grouped(*n)))
        .collect();
    let urls = tally.urls();
    (
        name.to_owned(),
        grouped(urls),
        percent(tally.photos, urls),
        others.join(", "),
    )
}

fn curve_text(points: &[curve::Point]) -> String {
    let Some(last) = points.last() else {
        return String::new();
    };
    let validation = last.validation.map_or_else(
        || "no people were held back".to_owned(),
        |v| format!("validation error {v:.4}"),
    );
    let (step, training) = (grouped(last.step), last.training);
    format!("After {step} steps: training error {training:.4}, {validation}.")
}

/// The page as one HTML file that needs no other and asks no network. What came from the web is escaped.
///
/// # Errors
/// [`ReportError::Template`], which is a defect.
pub fn html(page: &Page) -> Result<String, ReportError> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_template("page.html", include_str!("../templates/page.html"))?;
    environment.add_global("style", include_str!("../templates/page.css"));
    environment.add_global("script", include_str!("../templates/page.js"));
    Ok(environment
        .get_template("page.html")?
        .render(minijinja::value::Serde(page))?)
}

/// What is read of the evaluation where its own crate cannot be asked: metric, group, value, sample size.
pub(crate) fn plain_evaluation(rows: &[EvaluationScore]) -> Evaluation {
    let heading = ["metric", "group", "value", "sample size"].map(str::to_owned);
    let mut lines = vec![heading.to_vec()];
    lines.extend(rows.iter().map(|row| {
        let value = format!("{:.4}", row.value);
        vec![
            row.metric.clone(),
            row.group.clone(),
            value,
            grouped(row.count),
        ]
    }));
    Evaluation {
        lines,
        notes: Vec::new(),
    }
}

impl Evaluation {
    /// The rows of the table `evaluation` as they are, for where no more is known; none without any.
    pub fn of_rows(view: &RunView) -> Option<Self> {
        let rows = view.table::<EvaluationScore>();
        (!rows.is_empty()).then(|| plain_evaluation(&rows))
    }
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
