//! `laioncele evaluate`: metrics of the last run's samples, or of images made by other systems.

mod show;

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use laioncele_core::{CoreError, StageName, TableId};
use laioncele_evaluate::{
    Bootstrap, Checks, Chosen, EvaluateError, FigureSeeds, FolderReport, Folders, Report, Resize,
    Systems, Table, choose_people, distances_of_files, figures_of_file, score_folders,
    score_systems,
};
use laioncele_inference::choice;

use crate::args::RunPaths;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::session::{Access, Session, manifest_of_run};
use crate::words::count;

const EXAMPLES: &str = "\
Examples:
  laioncele evaluate                                      the last run's metrics
  laioncele evaluate --table 1 --paper                    systems beside each other, and the paper's rows
  laioncele evaluate --json | jq '.scores[] | select(.metric == \"same_person_auc\")'
  laioncele evaluate --images other/ --references photos/ --prompts prompts.csv --base base/
  laioncele evaluate --systems systems.csv --table 1 --format latex
  laioncele evaluate -o cele --runs gen --table 6         two encoders beside each other
  laioncele evaluate --images by-name/ --references candidates/ --choose references.csv
  laioncele evaluate --systems systems.csv --references photos/ --words

Folders of another system:
  --references FOLDER  a photo of each person, named after them (ada.jpg), or a sub-folder of
                       photos (ada/1.jpg). A file references.csv in it, with the columns `person` and
                       `word` (man, woman or person), overrules guesses of --words
  --images FOLDER      a sub-folder of images for each person, named as their photo: ada/any.png
  --base FOLDER        images of the same prompts by the base model, without sub-folders
  --prompts FILE       .csv with a header, or .jsonl with an object on each line: `image`, `prompt`
                       and, if wanted, `group`. `image` is the path below its folder: ada/any.png,
                       or any.png for --base. With a `person` on each line it lists the images, which
                       may then lie anywhere below --images

Systems:
  --systems FILE       .csv or .jsonl, a line for each image: `image` (a path from the file's folder),
                       `system`, `person` (empty: the base model's), `prompt`, `group`, `seed`,
                       `reference` (a photo of the person)

Images are PNG, JPEG or WebP. Images that do not decode are reported and left out. CLIP-TI and the
difference between seeds need prompts, distances need the base model's images (or, with --against,
another system's). The networks are those of the manifest.";

/// Files that are named at most; the JSON has them all.
const SHOWN_FILES: usize = 10;

/// `laioncele evaluate`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Evaluate {
    /// Score these images of people instead of showing the last run's table
    #[arg(long, value_name = "FOLDER", requires = "references")]
    images: Option<PathBuf>,
    /// Score the images of several systems that this file lists
    #[arg(long, value_name = "FILE", conflicts_with_all = ["images", "prompts", "base"])]
    systems: Option<PathBuf>,
    /// The people's photos
    #[arg(long, value_name = "FOLDER")]
    references: Option<PathBuf>,
    /// The prompts of the images
    #[arg(long, value_name = "FILE", requires = "images")]
    prompts: Option<PathBuf>,
    /// The base model's images, for the Fréchet distance
    #[arg(long, alias = "plain", value_name = "FOLDER", requires = "images")]
    base: Option<PathBuf>,
    /// Instead of scoring, write down who may be a reference: whom the base model cannot draw by name. --images holds
    /// its images by name
    #[arg(long, value_name = "FILE", requires = "images", conflicts_with_all = ["prompts", "base"])]
    choose: Option<PathBuf>,
    /// The mean cosine to the photos from which on images show the person [default: the recognizer's, for photos]
    #[arg(
        long,
        value_name = "COSINE",
        requires = "choose",
        allow_negative_numbers = true
    )]
    threshold: Option<f64>,
    /// Systems may have different people and prompts
    #[arg(long, requires = "systems")]
    unequal: bool,
    #[command(flatten)]
    scoring: Scoring,
    #[command(flatten)]
    features: Features,
    /// Show these runs beside the one of --output, each called by its folder
    #[arg(long, value_name = "FOLDER", num_args = 1.., conflicts_with_all = ["images", "systems", "features"])]
    runs: Vec<PathBuf>,
    /// A layout of the paper: 1: systems; 2: fine-tuned models; 6: encoders
    #[arg(long, value_name = "NUMBER", conflicts_with = "features")]
    table: Option<Layouts>,
    /// Add the paper's figures to the layout
    #[arg(long, requires = "table")]
    paper: bool,
    /// How the layout is written, instead of for a terminal
    #[arg(long, value_name = "FORMAT", requires = "table")]
    format: Option<Formats>,
    #[command(flatten)]
    paths: RunPaths,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How images are scored.
#[derive(Args, Debug)]
struct Scoring {
    /// The system that distances are taken to; the base model where it is not given
    #[arg(long, value_name = "SYSTEM")]
    against: Option<String>,
    /// How pictures are resized for Inception, instead of the manifest's way
    #[arg(long, value_name = "WAY")]
    resize: Option<Resizes>,
    /// Seed of random partners and of intervals; the manifest's where it is not given
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Rounds of the bootstrap; 0: no intervals
    #[arg(long, value_name = "N")]
    resamples: Option<usize>,
    /// Write everything that was measured to a safetensors file
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Write "man" or "woman" for "person" in the prompts of people, as a run's samples have it: as references.csv beside the
    /// photos says, else as the gender network guesses from the first photo
    #[arg(long)]
    words: bool,
    /// Threads to score on; 0: as many as the machine has
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
}

/// Figures of recorded numbers.
#[derive(Args, Debug)]
struct Features {
    /// Figures of recorded embeddings in a safetensors file: `vectors` and `person`, if wanted `group`, `found`,
    /// `references`, `clip_cosine`; with --to the distance of its `features`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["images", "systems"])]
    features: Option<PathBuf>,
    /// Fréchet and kernel distance to the features in this file
    #[arg(long, value_name = "FILE", requires = "features")]
    to: Option<PathBuf>,
    /// The tensor of features; `features`, or the files' only matrix, where it is not given
    #[arg(long, value_name = "NAME", requires = "to")]
    tensor: Option<String>,
    /// Seed of random partners, where it is not that of --seed
    #[arg(long, value_name = "N", requires = "features")]
    partner_seed: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Layouts {
    #[value(name = "1")]
    One,
    #[value(name = "2")]
    Two,
    #[value(name = "6")]
    Six,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Formats {
    Markdown,
    Csv,
    Latex,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Resizes {
    Clean,
    LegacyPytorch,
    LegacyTensorflow,
    Torchmetrics,
}

impl From<Resizes> for Resize {
    fn from(way: Resizes) -> Self {
        match way {
            Resizes::Clean => Self::Clean,
            Resizes::LegacyPytorch => Self::LegacyPytorch,
            Resizes::LegacyTensorflow => Self::LegacyTensorflow,
            Resizes::Torchmetrics => Self::Torchmetrics,
        }
    }
}

impl From<Layouts> for Table {
    fn from(layout: Layouts) -> Self {
        match layout {
            Layouts::One => Self::One,
            Layouts::Two => Self::Two,
            Layouts::Six => Self::Six,
        }
    }
}

impl Scoring {
    fn chosen(&self) -> Chosen {
        Chosen {
            against: self.against.clone(),
            seed: self.seed,
            resamples: self.resamples,
            resize: self.resize.map(Resize::from),
            threads: self.threads,
            record: self.record.clone(),
            words: self.words,
        }
    }
}

impl Evaluate {
    /// Prints the metrics.
    ///
    /// # Errors
    /// A run without an evaluation; folders that cannot be scored; missing or wrong models.
    pub(crate) fn execute(self) -> Result<(), Failure> {
        if let Some(features) = &self.features.features {
            return self.print_features(features);
        }
        if let Some(list) = &self.systems {
            return self.print_scored(&self.score_list(list)?);
        }
        match (&self.images, &self.references) {
            (Some(images), Some(references)) => {
                if let Some(file) = &self.choose {
                    return self.choose(file, images, references);
                }
                let folders = Folders {
                    images: images.clone(),
                    references: references.clone(),
                    prompts: self.prompts.clone(),
                    base: self.base.clone(),
                };
                let manifest = manifest_of_run(&self.paths)?;
                let found = score_folders(&manifest, &folders, &self.scoring.chosen(), progress());
                self.print_scored(&found.map_err(failure)?)
            }
            (None, Some(_)) => Err(Failure::new(
                Exit::Usage,
                "--references goes with --images or --systems".to_owned(),
            )),
            _ => self.print_runs(&self.reports_of_runs()?),
        }
    }

    /// Writes who may be a reference, and why others may not.
    fn choose(&self, file: &Path, images: &Path, references: &Path) -> Result<(), Failure> {
        let manifest = manifest_of_run(&self.paths)?;
        let threads = self.scoring.threads;
        let choices = choose_people(&manifest, images, references, self.threshold, threads);
        let choices = choices.map_err(failure)?;
        fs::write(file, choice::csv(&choices)).map_err(|e| CoreError::from_io(file, e))?;
        if self.json {
            return output::json(&choices);
        }
        let counts = choice::told(&choice::verdicts(&choices));
        output::data(&format!("{}: {counts}", file.display()))
    }

    /// The report of the run in --output, and of those beside it.
    fn reports_of_runs(&self) -> Result<Vec<Report>, Failure> {
        let mut reports = vec![report_of_run(&self.paths)?];
        for folder in &self.runs {
            let paths = RunPaths {
                manifest: None,
                output: folder.clone(),
                set: Vec::new(),
            };
            reports.push(report_of_run(&paths)?);
        }
        if !self.runs.is_empty() {
            let folders = std::iter::once(&self.paths.output).chain(&self.runs);
            for (report, folder) in reports.iter_mut().zip(folders) {
                report.rename(laioncele_evaluate::OURS, &name_of(folder));
            }
        }
        Ok(reports)
    }

    fn print_runs(&self, reports: &[Report]) -> Result<(), Failure> {
        if let Some(table) = self.table {
            return show::layout(reports, table.into(), self.paper, self.format, self.json);
        }
        match reports {
            [report] if self.json => output::json(report),
            reports if self.json => output::json(&reports),
            reports => {
                let texts: Vec<String> = reports.iter().map(show::render).collect();
                output::data(&texts.join("\n\n"))
            }
        }
    }

    fn score_list(&self, list: &Path) -> Result<FolderReport, Failure> {
        let manifest = manifest_of_run(&self.paths)?;
        let root = list.parent().unwrap_or(Path::new(""));
        let checks = Checks {
            unequal: self.unequal,
        };
        let systems =
            Systems::read(list, root, self.references.as_deref(), checks).map_err(failure)?;
        score_systems(&manifest, &systems, &self.scoring.chosen(), progress()).map_err(failure)
    }

    fn print_scored(&self, found: &FolderReport) -> Result<(), Failure> {
        if self.json && self.table.is_none() {
            return output::json(found);
        }
        remarks(found)
            .iter()
            .for_each(|remark| output::message(remark));
        self.print_runs(std::slice::from_ref(&found.report))
    }

    fn print_features(&self, file: &Path) -> Result<(), Failure> {
        const RESAMPLES: usize = 2000;
        let seed = self.scoring.seed.unwrap_or_default();
        let seeds = FigureSeeds {
            partners: self.features.partner_seed.unwrap_or(seed),
            bootstrap: Bootstrap {
                seed,
                resamples: self.scoring.resamples.unwrap_or(RESAMPLES),
            },
        };
        let tensor = self.features.tensor.as_deref();
        let found = match &self.features.to {
            Some(to) => distances_of_files(file, to, tensor),
            None => figures_of_file(file, &seeds),
        };
        let found = found.map_err(failure)?;
        if self.json {
            return output::json(&found);
        }
        output::data(&show::scores(&found.scores))
    }
}

fn report_of_run(paths: &RunPaths) -> Result<Report, Failure> {
    let session = Session::open(paths, StageName::Evaluate, Access::Existing)?;
    let records = session.current_records()?;
    let mut tables = records
        .iter()
        .flat_map(|r| r.outputs_of(TableId::Evaluation));
    if tables.next().is_none() {
        let output = paths.output.display();
        let text = format!("{output}: its samples have not been evaluated, or not as they are now");
        return Err(Failure::new(Exit::Environment, text)
            .hint("run `laioncele run --stage all` with the same manifest and output"));
    }
    let report = laioncele_evaluate::report_of_run(session.store()?, &session.manifest, &records);
    Ok(report?)
}

/// The name of a run's folder, as a table calls it.
fn name_of(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let name = whole.file_name().unwrap_or(whole.as_os_str());
    name.to_string_lossy().into_owned()
}

/// Says on a terminal how many images are done, ten times.
fn progress() -> impl FnMut(usize, usize) {
    let shows = std::io::stderr().is_terminal();
    let mut tenths = 0;
    move |done: usize, total: usize| {
        let reached = done * 10 / total.max(1);
        if reached > tenths && shows {
            output::message(&format!("{done} of {}", count(total, "image")));
        }
        tenths = reached;
    }
}

/// Remarks on the folders besides the metrics, a line each.
fn remarks(found: &FolderReport) -> Vec<String> {
    let mut remarks = Vec::new();
    let broken = &found.undecodable;
    for file in broken.iter().take(SHOWN_FILES) {
        remarks.push(format!(
            "left out: {}: {}",
            file.file.display(),
            file.reason
        ));
    }
    if !broken.is_empty() {
        let all = count(found.images, "image");
        remarks.push(format!(
            "{} of {all} left out: not to be decoded",
            broken.len()
        ));
    }
    let unsure: Vec<String> = (found.words.iter())
        .filter(|word| word.is_unsure())
        .map(|word| format!("{} ({})", word.person, word.word))
        .collect();
    if !unsure.is_empty() {
        remarks.push(format!(
            "unsure guesses, which references.csv beside the photos can overrule: {}",
            unsure.join(", ")
        ));
    }
    if found.without_prompt > 0 {
        let images = count(found.without_prompt, "image");
        remarks.push(format!(
            "{images} without a prompt: only in the metrics of all images, without CLIP-TI"
        ));
    }
    if found.without_image > 0 {
        let prompts = count(found.without_image, "prompt");
        remarks.push(format!("{prompts} without an image"));
    }
    remarks
}

/// An error as the user sees it: wrong folders and files are wrong arguments.
fn failure(error: EvaluateError) -> Failure {
    match error {
        EvaluateError::Core(error @ CoreError::Missing { .. }) => {
            Failure::new(Exit::Usage, error.to_string())
        }
        EvaluateError::Core(error) => error.into(),
        error @ (EvaluateError::NoImages { .. }
        | EvaluateError::UnknownPerson { .. }
        | EvaluateError::UnknownSystem { .. }
        | EvaluateError::NoInception
        | EvaluateError::Features { .. }
        | EvaluateError::Prompts { .. }) => Failure::new(Exit::Usage, error.to_string())
            .hint("`laioncele evaluate --help` shows how folders, lists and files are laid out"),
        error @ EvaluateError::Systems { .. } => Failure::new(Exit::Usage, error.to_string())
            .hint("mend the list; `--unequal` allows systems with different people and prompts"),
        error => Failure::new(Exit::Environment, laioncele_core::error::chain(&error)),
    }
}

#[cfg(test)]
mod tests;
