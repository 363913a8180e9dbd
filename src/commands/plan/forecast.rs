//! `laioncele plan --estimate --captions N`: the model of a large run.

use std::path::PathBuf;

use clap::Args;
use laioncele_core::{CoreError, StageName};

use crate::args::RunPaths;
use crate::failure::{Exit, Failure};
use crate::plan::Plan;
use crate::plan::forecast::{Figure, FigureError, Figures, Forecast, Nodes, Origin, forecast};
use crate::session::{Access, Session};
use crate::words::{grouped, table, three_digits};

/// Options of the model.
#[derive(Args, Debug)]
#[command(next_help_heading = "Model of a large run")]
pub(super) struct ForecastArgs {
    /// Model a run over so many captions: rows, hours and bytes of each stage, from rates that were measured
    /// and from assumptions, told apart
    #[arg(long, value_name = "N", requires = "estimate", value_parser = captions)]
    captions: Option<f64>,
    /// Machines
    #[arg(long, value_name = "N", default_value_t = 16, requires = "captions", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    nodes: u32,
    /// Cores of each
    #[arg(long, value_name = "N", default_value_t = 64, requires = "captions", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    cores: u32,
    /// GPUs of each
    #[arg(long, value_name = "N", default_value_t = 8, requires = "captions", value_parser = clap::value_parser!(u32).range(0..=1_000))]
    gpus: u32,
    /// Figures in the place of those that the program is shipped with, a TOML file of the form that docs/scale.md
    /// shows; or `run`: those that the run in --output has measured
    #[arg(long, value_name = "FILE|run", requires = "captions")]
    rates: Option<PathBuf>,
    /// Another value of a figure; may be given several times
    #[arg(long, value_name = "NAME=VALUE", requires = "captions", value_parser = assumption)]
    assume: Vec<(String, f64)>,
}

fn captions(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (1.0..=1e15).contains(&number) => Ok(number),
        _ => Err("expected a number of captions, such as 5.85e9".to_owned()),
    }
}

fn assumption(text: &str) -> Result<(String, f64), String> {
    let form = || "expected NAME=VALUE, such as names=400000".to_owned();
    let (name, value) = text.split_once('=').ok_or_else(form)?;
    let value = value.trim().parse().map_err(|_| form())?;
    Ok((name.trim().to_owned(), value))
}

/// Seconds of tasks below which a run's own rate says little.
const ENOUGH: f64 = 1.0;

impl ForecastArgs {
    /// The model, where it is asked for.
    ///
    /// # Errors
    /// Figures that cannot be used; with `--rates run` a run that cannot be read.
    pub(super) fn forecast(&self, paths: &RunPaths) -> Result<Option<Forecast>, Failure> {
        let Some(captions) = self.captions else {
            return Ok(None);
        };
        let usage = |error: FigureError| Failure::new(Exit::Usage, error.to_string());
        let mut figures = Figures::shipped().map_err(usage)?;
        match &self.rates {
            Some(run) if run.as_os_str() == "run" => {
                let session = Session::open(paths, StageName::Evaluate, Access::Existing)?;
                for (name, figure) in of_run(&session.plan()?) {
                    figures.set(name, figure).map_err(usage)?;
                }
            }
            Some(file) => {
                let text = std::fs::read_to_string(file);
                let text = text.map_err(|e| CoreError::from_io(file, e))?;
                figures.read(&text).map_err(|error| {
                    Failure::new(Exit::Usage, format!("{}: {error}", file.display()))
                })?;
            }
            None => {}
        }
        for (name, value) in &self.assume {
            let figure = Figure {
                value: *value,
                origin: Origin::Given,
                source: "--assume".to_owned(),
            };
            figures.set(name, figure).map_err(usage)?;
        }
        let machines = Nodes {
            nodes: self.nodes,
            cores: self.cores,
            gpus: self.gpus,
        };
        Ok(Some(forecast(captions, machines, figures)))
    }
}

/// The steps whose tasks have a rate that the model knows.
const RATES: [(&str, &str); 7] = [
    ("extract-names", "captions_per_core_second"),
    ("count-spellings", "counted_mentions_per_core_second"),
    ("file-mentions", "filed_mentions_per_core_second"),
    ("encode-names", "names_per_gpu_second"),
    ("score-portraits", "portraits_scored_per_core_second"),
    ("fingerprint-photos", "fingerprints_per_core_second"),
    ("score-photos", "photos_scored_per_core_second"),
];

/// What the records of a run say: rows of a step's first balance by the seconds of its tasks. A worker counts as one core or
/// GPU, however many threads it had.
fn of_run(plan: &Plan) -> Vec<(&'static str, Figure)> {
    let mut found = Vec::new();
    let mut add = |name: &'static str, value: f64, source: String| {
        let origin = Origin::Run;
        if value > 0.0 && value.is_finite() {
            found.push((
                name,
                Figure {
                    value,
                    origin,
                    source,
                },
            ));
        }
    };
    for step in &plan.steps {
        let (mut rows_in, mut rows_out, mut seconds) = (0, 0, 0.0);
        for record in step.records() {
            seconds += record.seconds;
            rows_in += record.balances.first().map_or(0, |b| b.rows_in);
            rows_out += record.balances.first().map_or(0, |b| b.rows_out);
        }
        let rate = RATES.iter().find(|(name, _)| *name == step.name);
        if let Some((_, figure)) = rate.filter(|_| seconds >= ENOUGH) {
            let text = format!(
                "{} rows in {} s of workers",
                grouped(rows_in),
                three_digits(seconds)
            );
            add(
                figure,
                rows_in as f64 / seconds,
                format!("{}: {text}", step.name),
            );
        }
        if step.name == laioncele_download_images::STEP && rows_in > 0 {
            let text = format!("{} of {} urls", grouped(rows_out), grouped(rows_in));
            add(
                "reached_share",
                rows_out as f64 / rows_in as f64,
                format!("{}: {text}", step.name),
            );
        }
    }
    found
}

/// The model for people: stages, sums, and what it was computed from, by where that comes from.
pub(super) fn render(forecast: &Forecast) -> String {
    let Nodes { nodes, cores, gpus } = forecast.machines;
    let heading = [
        "stage",
        "rows",
        "",
        "core-hours",
        "GPU-hours",
        "hours",
        "written",
        "downloaded",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    let hours = |hours: Option<f64>| hours.map_or_else(|| "no GPU".to_owned(), three_digits);
    rows.extend(forecast.stages.iter().map(|stage| {
        vec![
            stage.stage.to_string(),
            grouped(stage.rows.round() as u64),
            stage.unit.to_owned(),
            three_digits(stage.core_hours),
            three_digits(stage.gpu_hours),
            hours(stage.hours),
            terabytes(stage.bytes_written),
            terabytes(stage.bytes_downloaded),
        ]
    }));
    let mut text = format!(
        "{} captions ({}) on {nodes} nodes of {cores} cores and {gpus} GPUs\n\n{}\n\n",
        grouped(forecast.captions as u64),
        terabytes(forecast.source_bytes),
        table(&rows, &[1, 3, 4, 5, 6, 7])
    );
    text.push_str(&format!(
        "one stage after another: {} hours, {} node-hours; {} written\n",
        hours(forecast.hours),
        hours(forecast.node_hours),
        terabytes(forecast.bytes_written)
    ));
    text.push_str("not in it: start of workers, retries, stragglers; train-encoder, generate-samples and evaluate\n");
    for origin in Origin::ALL {
        let figures = forecast.figures.by_origin(origin);
        let line = |(name, figure): (&str, &Figure)| {
            let value = number(figure.value);
            vec![format!("  {name}"), value, figure.source.clone()]
        };
        let rows: Vec<_> = figures.map(line).collect();
        if !rows.is_empty() {
            text.push_str(&format!("\n{}:\n{}\n", origin.as_str(), table(&rows, &[1])));
        }
    }
    text.trim_end().to_owned()
}

/// A figure as it was given: whole, or with its decimals.
fn number(value: f64) -> String {
    match value.fract() == 0.0 && value < 1e15 {
        true => grouped(value as u64),
        false => three_digits(value),
    }
}

fn terabytes(bytes: f64) -> String {
    match bytes <= 0.0 {
        true => String::new(),
        false => format!("{} TB", three_digits(bytes / 1e12)),
    }
}
