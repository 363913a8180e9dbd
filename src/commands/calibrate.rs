//! `laioncele calibrate`: the error rates of the recognizer's thresholds, measured on a run's
//! portraits or on labelled pairs of images.

mod pairs;
mod portraits;

use std::path::PathBuf;

use clap::Args;
use laioncele_core::CoreError;
use laioncele_face::calibration::{Calibration, Curve, Point};
use laioncele_inference::FaceSection;
use serde::Serialize;

use crate::args::RunPaths;
use crate::error_rates;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::session::manifest_of_run;
use crate::words::{grouped, headed_table};

const EXAMPLES: &str = "\
Examples:
  laioncele calibrate                                the last run's portraits
  laioncele calibrate --far 0.001 --json | jq .pair.chosen
  laioncele calibrate --pairs pairs.parquet --write face/calibration.toml

Without --pairs, the portraits of a run are compared. Pairs of two people are portraits of two
names. A pair of one person is the third and the fourth portrait of a name whose first two agree:
the portraits that are measured did not take part in the choice. Portraits are easier than photos.
For photos, use labelled pairs.

pairs.parquet has the columns `a` and `b` (image files, relative to its folder) and `same` (a
boolean, or 0 and 1). Pairs with an image that has no face or cannot be read are left out and
counted.

With calibration = \"FILE\" in [models.face], `run` prints the error rates of the thresholds after
verify-portraits and verify-images, and `faces compare` prints them with its decision. Intervals
are 95 %; they account for pairs that share people.";

/// The thresholds in the table, besides the chosen one and the manifest's.
const SHOWN: [f64; 9] = [0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7];

/// `laioncele calibrate`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Calibrate {
    /// Measure labelled pairs of images instead of the run's portraits
    #[arg(long, value_name = "FILE")]
    pairs: Option<PathBuf>,
    /// Choose the lowest threshold whose share of false accepts is at most this
    #[arg(long, value_name = "SHARE", default_value_t = 0.01)]
    far: f64,
    /// Compare the portraits of at most this many names with each other
    #[arg(
        long,
        value_name = "N",
        default_value_t = 500,
        conflicts_with = "pairs"
    )]
    names: usize,
    /// Write the calibration to this file
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    #[command(flatten)]
    paths: RunPaths,
    /// Print JSON with all points of the curves
    #[arg(long)]
    json: bool,
}

/// The measured curves.
pub(crate) struct Measured {
    from: String,
    pair: Curve,
    portraits: Option<Curve>,
}

#[derive(Serialize)]
struct Report<'a> {
    recognizer: &'a str,
    from: &'a str,
    pair: Part<'a>,
    portraits: Option<Part<'a>>,
}

#[derive(Serialize)]
struct Part<'a> {
    /// The manifest's threshold.
    set: Option<Point>,
    /// The lowest threshold with no more false accepts than asked for.
    chosen: Option<Point>,
    equal_errors: Option<Point>,
    #[serde(flatten)]
    curve: &'a Curve,
}

impl Calibrate {
    /// Measures, prints and, where asked, writes.
    ///
    /// # Errors
    /// No portraits or pairs to measure, missing or wrong networks, a file that cannot be written.
    pub(crate) fn execute(self) -> Result<(), Failure> {
        if !(0.0..=1.0).contains(&self.far) {
            let text = format!("--far is {}: a share is between 0 and 1", self.far);
            return Err(Failure::new(Exit::Usage, text));
        }
        let manifest = manifest_of_run(&self.paths)?;
        let files = FaceSection::from_manifest(&manifest)?.files;
        let measured = match &self.pairs {
            Some(file) => pairs::measure(&manifest, file)?,
            None => portraits::measure(&manifest, &self.paths, self.names)?,
        };
        let calibration = Calibration {
            recognizer: error_rates::digest(&files)?,
            from: measured.from,
            pair: measured.pair,
            portraits: measured.portraits,
        };
        let portraits = laioncele_verify_portraits::Settings::from_manifest(&manifest)?.same_person;
        let photos = laioncele_verify_images::Settings::from_manifest(&manifest)?.same_person_photo;
        self.print(&calibration, portraits, photos)?;
        match &self.write {
            Some(path) => write(&calibration, path),
            None => Ok(()),
        }
    }

    fn print(&self, found: &Calibration, portraits: f64, photos: f64) -> Result<(), Failure> {
        if !self.json {
            let mut text = format!("{}\n\n", found.from);
            let pair = ("two faces (same_person)", &found.pair, portraits);
            let against = found.portraits.as_ref();
            let against =
                against.map(|c| ("a face and four portraits (same_person_photo)", c, photos));
            for (title, curve, set) in [Some(pair), against].into_iter().flatten() {
                text.push_str(&self.render(title, curve, set));
            }
            return output::data(text.trim_end());
        }
        let part = |curve, set| self.part(curve, set);
        output::json(&Report {
            recognizer: &found.recognizer,
            from: &found.from,
            pair: part(&found.pair, portraits),
            portraits: found.portraits.as_ref().map(|c| part(c, photos)),
        })
    }

    fn part<'a>(&self, curve: &'a Curve, set: f64) -> Part<'a> {
        Part {
            set: curve.at(set),
            chosen: curve.at_false_accepts(self.far),
            equal_errors: curve.equal_errors(),
            curve,
        }
    }

    fn render(&self, title: &str, curve: &Curve, set: f64) -> String {
        let part = self.part(curve, set);
        let heading = ["threshold", "false accepts", "false rejects", ""];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        let shown = SHOWN
            .iter()
            .filter_map(|t| curve.at(*t))
            .map(|p| (p, String::new()));
        let mut points: Vec<(Point, String)> = shown.collect();
        points.extend(part.set.map(|p| (p, "the manifest's".to_owned())));
        let chosen = format!("for {} false accepts", self.far);
        points.extend(part.chosen.map(|p| (p, chosen)));
        points.sort_by(|a, b| a.0.threshold.total_cmp(&b.0.threshold));
        rows.extend(points.into_iter().map(|(point, note)| {
            vec![
                format!("{:.3}", point.threshold),
                point.false_accepts.to_string(),
                point.false_rejects.to_string(),
                note,
            ]
        }));
        let (same, different) = (grouped(curve.same), grouped(curve.different));
        let counts = format!("{same} of one person, {different} of two people");
        format!("{title}: {counts}\n{}\n\n", headed_table(&rows, &[0, 1, 2]))
    }
}

fn write(calibration: &Calibration, path: &PathBuf) -> Result<(), Failure> {
    let text = toml::to_string(calibration)
        .map_err(|e| Failure::new(Exit::Defect, format!("calibration: {e}")))?;
    let text = format!(
        "# Written by `laioncele calibrate`. Rates: share, and the ends of its 95 % interval.\n{text}"
    );
    std::fs::write(path, text).map_err(|e| CoreError::from_io(path, e))?;
    output::message(&format!("written: {}", path.display()));
    Ok(())
}
