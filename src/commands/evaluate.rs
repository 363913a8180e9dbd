//! `laioncele evaluate`: metrics of the last run's samples, or of images made by another system.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use laioncele_core::{CoreError, StageName, TableId};
use laioncele_evaluate::{EvaluateError, FolderReport, Folders, Report, score_folders};

use crate::args::RunPaths;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::session::{Access, Session, manifest_of_run};
use crate::words::{count, table};

const EXAMPLES: &str = "\
Examples:
  laioncele evaluate                                      the last run's table
  laioncele evaluate --json | jq '.scores[] | select(.metric == \"same_person_auc\")'
  laioncele evaluate --images other/ --references photos/ --prompts prompts.csv --base base/

Folders of another system:
  --references FOLDER  a photo of each person, named after them (ada.jpg), or a sub-folder of
                       photos (ada/1.jpg)
  --images FOLDER      a sub-folder of images for each person, named as their photo: ada/any.png
  --base FOLDER        images of the same prompts by the base model, without sub-folders
  --prompts FILE       .csv with a header, or .jsonl with an object on each line: `image`, `prompt`
                       and, if wanted, `group`. `image` is the path below its folder: ada/any.png,
                       or any.png for --base

Images are PNG, JPEG or WebP. Images that do not decode are reported and left out. CLIP-TI and the
difference between seeds need --prompts, the Fréchet distance needs --base. The networks are those
of the manifest.";

/// Files that are named at most; the JSON has them all.
const SHOWN_FILES: usize = 10;

/// `laioncele evaluate`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Evaluate {
    /// Score these images of people instead of showing the last run's table
    #[arg(long, value_name = "FOLDER", requires = "references")]
    images: Option<PathBuf>,
    /// The people's photos
    #[arg(long, value_name = "FOLDER", requires = "images")]
    references: Option<PathBuf>,
    /// The prompts of the images
    #[arg(long, value_name = "FILE", requires = "images")]
    prompts: Option<PathBuf>,
    /// The base model's images, for the Fréchet distance
    #[arg(long, alias = "plain", value_name = "FOLDER", requires = "images")]
    base: Option<PathBuf>,
    /// Threads to score on; 0: as many as the machine has
    #[arg(long, value_name = "N", default_value_t = 0, requires = "images")]
    threads: usize,
    #[command(flatten)]
    paths: RunPaths,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Evaluate {
    /// Prints the metrics.
    ///
    /// # Errors
    /// A run without an evaluation; folders that cannot be scored; missing or wrong models.
    pub(crate) fn execute(self) -> Result<(), Failure> {
        match (&self.images, &self.references) {
            (Some(images), Some(references)) => {
                let folders = Folders {
                    images: images.clone(),
                    references: references.clone(),
                    prompts: self.prompts.clone(),
                    base: self.base.clone(),
                };
                self.print_folders(&self.score(&folders)?)
            }
            _ => self.print_run(&self.report_of_run()?),
        }
    }

    fn report_of_run(&self) -> Result<Report, Failure> {
        let session = Session::open(&self.paths, StageName::Evaluate, Access::Existing)?;
        let records = session.current_records()?;
        let mut tables = records
            .iter()
            .flat_map(|r| r.outputs_of(TableId::Evaluation));
        if tables.next().is_none() {
            let output = self.paths.output.display();
            let text =
                format!("{output}: its samples have not been evaluated, or not as they are now");
            return Err(Failure::new(Exit::Environment, text)
                .hint("run `laioncele run --stage all` with the same manifest and output"));
        }
        let report =
            laioncele_evaluate::report_of_run(session.store()?, &session.manifest, &records);
        Ok(report?)
    }

    fn print_run(&self, report: &Report) -> Result<(), Failure> {
        if self.json {
            return output::json(report);
        }
        output::data(&render(report))
    }

    fn score(&self, folders: &Folders) -> Result<FolderReport, Failure> {
        let manifest = manifest_of_run(&self.paths)?;
        let shows = std::io::stderr().is_terminal();
        let mut tenths = 0;
        let progress = |done: usize, total: usize| {
            let reached = done * 10 / total.max(1);
            if reached > tenths && shows {
                output::message(&format!("{done} of {}", count(total, "image")));
            }
            tenths = reached;
        };
        score_folders(&manifest, folders, self.threads, progress).map_err(failure)
    }

    fn print_folders(&self, found: &FolderReport) -> Result<(), Failure> {
        if self.json {
            return output::json(found);
        }
        remarks(found)
            .iter()
            .for_each(|remark| output::message(remark));
        output::data(&render(&found.report))
    }
}

fn render(report: &Report) -> String {
    let lines = report.table();
    let columns = lines.first().map_or(0, Vec::len);
    let numbers: Vec<usize> = (1..columns).collect();
    let notes = report.notes.iter().map(|note| format!("\n{note}"));
    table(&lines, &numbers) + "\n" + &notes.collect::<String>()
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
        | EvaluateError::Prompts { .. }) => Failure::new(Exit::Usage, error.to_string())
            .hint("`laioncele evaluate --help` shows how the folders are laid out"),
        error => Failure::new(Exit::Environment, laioncele_core::error::chain(&error)),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Parser, error::ErrorKind};
    use laioncele_evaluate::{Score, Undecodable};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        evaluate: Evaluate,
    }

    fn parse(arguments: &[&str]) -> Result<Evaluate, ErrorKind> {
        let words = std::iter::once("evaluate").chain(arguments.iter().copied());
        let line = Line::try_parse_from(words).map_err(|e| e.kind())?;
        Ok(line.evaluate)
    }

    #[test]
    fn folder_options_require_each_other() {
        assert!(parse(&[]).is_ok_and(|e| e.images.is_none()));
        let both = parse(&["--images", "a", "--references", "b", "--base", "c"]);
        assert!(both.is_ok_and(|e| e.base == Some(PathBuf::from("c"))));
        for alone in [
            ["--images", "a"],
            ["--references", "a"],
            ["--prompts", "a"],
            ["--base", "a"],
        ] {
            let kind = parse(&alone).expect_err("refused");
            assert_eq!(kind, ErrorKind::MissingRequiredArgument, "{alone:?}");
        }
    }

    fn found(undecodable: Vec<Undecodable>, without_prompt: usize) -> FolderReport {
        let score = Score {
            metric: "clip_ti".into(),
            group: "all".into(),
            value: 0.25,
            count: 3,
        };
        let report = Report {
            scores: vec![score],
            notes: vec!["One.".into(), "Two.".into()],
        };
        FolderReport {
            report,
            images: 12,
            undecodable,
            without_prompt,
            without_image: 0,
        }
    }

    #[test]
    fn remarks_name_what_is_left_out() {
        assert!(remarks(&found(Vec::new(), 0)).is_empty());
        let file = |k: usize| Undecodable {
            file: PathBuf::from(format!("{k}.png")),
            reason: "broken".into(),
        };
        let remarks = remarks(&found((0..11).map(file).collect(), 1));
        assert_eq!(remarks.len(), SHOWN_FILES + 2);
        assert_eq!(remarks[0], "left out: 0.png: broken");
        assert!(remarks[SHOWN_FILES].starts_with("11 of 12 images left out"));
        assert!(remarks[SHOWN_FILES + 1].starts_with("1 image without a prompt"));
    }

    #[test]
    fn render_puts_the_notes_after_the_table() {
        let text = render(&found(Vec::new(), 0).report);
        assert_eq!(
            text,
            "metric     all  sample size\nCLIP-TI ↑   25            3\n\nOne.\nTwo."
        );
    }

    #[test]
    fn wrong_folders_exit_as_wrong_arguments() {
        let missing = CoreError::Missing {
            path: PathBuf::from("nowhere"),
        };
        assert_eq!(failure(missing.into()).exit, Exit::Usage);
        let empty = EvaluateError::NoImages {
            folder: PathBuf::from("a"),
            expected: "images",
        };
        let shown = failure(empty);
        assert_eq!((shown.exit, shown.hints.len()), (Exit::Usage, 1));
    }
}
