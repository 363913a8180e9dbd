//! `laioncele report`: the run as one page for a browser.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use laioncele_core::CoreError;
use laioncele_core::store::url_of;
use laioncele_report::{html, page};

use crate::args::RunPaths;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::report_facts;
use crate::run_view::{self, ReadRun};

/// The page's name in the run's folder.
const REPORT: &str = "report.html";

const EXAMPLES: &str = "\
Examples:
  laioncele report                                  writes laioncele-output/report.html
  laioncele report --output /data/mini --output-file mini.html

The page is one file: it needs no network and no other file. It shows the funnel with the reasons to
drop rows, similarities with the thresholds, people with their portraits beside their photos, merged
spellings, link rot, the training, samples, the evaluation, times, and models with their licences. Of
more people than fit into 20 MB it shows a sample, and says so. `laioncele run` writes it at its end.";

/// `laioncele report`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Report {
    #[command(flatten)]
    paths: RunPaths,
    /// The page [default: report.html in the run's folder]
    #[arg(long, short = 'f', value_name = "FILE")]
    output_file: Option<PathBuf>,
}

impl Report {
    /// Writes the page and prints its path.
    ///
    /// # Errors
    /// A folder without a run; a file that cannot be written.
    pub(crate) fn execute(self) -> Result<(), Failure> {
        let run = run_view::open(&self.paths)?;
        let file = self.output_file;
        let file = file.unwrap_or_else(|| match url_of(&self.paths.output) {
            // A browser opens files of this machine.
            Some(_) => PathBuf::from(REPORT),
            None => self.paths.output.join(REPORT),
        });
        write(run, &file)?;
        output::data(&file.display().to_string())
    }
}

/// Writes the page of a run that has just ended into its folder; returns its path.
///
/// # Errors
/// As [`Report::execute`].
pub(crate) fn write_into(run: ReadRun, output: &Path) -> Result<PathBuf, Failure> {
    let file = output.join(REPORT);
    write(run, &file)?;
    Ok(file)
}

/// Whether the folder of a run has a page already.
pub(crate) fn exists(output: &Path) -> bool {
    output.join(REPORT).is_file()
}

fn write(run: ReadRun, file: &Path) -> Result<(), Failure> {
    let facts = report_facts::of(&run.view, run.steps);
    let page = page(&run.view, facts);
    let text =
        html(&page).map_err(|e| Failure::new(Exit::Defect, laioncele_core::error::chain(&e)))?;
    // Beside it first: a browser that reloads sees the old page or the new one.
    let beside = file.with_extension("html.new");
    let io = |path: &Path, e| Failure::from(CoreError::from_io(path, e));
    fs::write(&beside, text).map_err(|e| io(&beside, e))?;
    fs::rename(&beside, file).map_err(|e| io(file, e))
}
