//! Arguments that several commands share.

use std::path::PathBuf;

use clap::Args;
use laioncele_core::StageName;
use laioncele_core::manifest::Assignment;
use laioncele_core::nearest::nearest;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::plan::stages;

/// The manifest that commands read where neither `--manifest` nor the run's folder names one.
pub(crate) const DEFAULT_MANIFEST: &str = "manifests/mini.toml";

/// Manifest and output folder of the run that a command works on.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunPaths {
    /// The manifest, which describes the run [default: the one that the folder was last run with;
    /// for a new folder manifests/mini.toml]
    #[arg(long, short, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// The folder for the run's tables, ledger and results, or a place in a bucket:
    /// s3://BUCKET/PREFIX, gs://…, az://…, with keys and endpoint from the environment
    #[arg(long, short, value_name = "FOLDER", default_value = "laioncele-output")]
    pub output: PathBuf,
    /// Settings of the command line, where the command takes such.
    #[arg(skip)]
    pub set: Vec<Assignment>,
}

/// Settings over those of the manifest.
#[derive(Args, Clone, Debug)]
pub(crate) struct SetArgs {
    /// Use another value than the manifest says, such as verify_images.same_person_photo=0.6; may
    /// be given several times
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<Assignment>,
}

/// The manifest that a command uses which needs no run.
#[derive(Args, Clone, Debug)]
pub(crate) struct ModelsOf {
    /// The manifest that is used [default: manifests/mini.toml]
    #[arg(long, short, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// Use the manifest of the run in this folder
    #[arg(long, short, value_name = "FOLDER", conflicts_with = "manifest")]
    pub output: Option<PathBuf>,
    /// Settings of the command line, where the command takes such.
    #[arg(skip)]
    pub set: Vec<Assignment>,
}

/// Stages as given on the command line, in data order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stages(pub Vec<StageName>);

impl std::str::FromStr for Stages {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        stages::parse(text).map(Self)
    }
}

impl Stages {
    /// The last of them in data order.
    pub(crate) fn last(&self) -> StageName {
        self.0.last().copied().unwrap_or(StageName::Evaluate)
    }
}

/// How much the program logs besides its results.
#[derive(Args, Clone, Debug)]
pub(crate) struct Verbosity {
    /// Log more: -v for progress, -vv for details
    #[arg(short, long, action = clap::ArgAction::Count, global = true, display_order = 900)]
    verbose: u8,
    /// Print errors only, and no progress
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        display_order = 901
    )]
    pub quiet: bool,
}

impl Verbosity {
    /// Log directives: `RUST_LOG` where it is set, else by the flags.
    pub(crate) fn filter(&self) -> String {
        match std::env::var("RUST_LOG") {
            Ok(directives) if !directives.trim().is_empty() => directives,
            _ => level(self.verbose, self.quiet).to_owned(),
        }
    }
}

fn level(verbose: u8, quiet: bool) -> &'static str {
    match (quiet, verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, _) => "debug",
    }
}

/// A value named as manifests name it; an unknown word's error has the nearest valid one.
pub(crate) fn setting<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(Value::from(text)).map_err(|error| {
        let error = error.to_string();
        // serde: unknown variant `x`, expected one of `a`, `b`
        let valid: Vec<String> = (error.split('`').skip(1).step_by(2).skip(1))
            .map(str::to_owned)
            .collect();
        match nearest(text, &valid) {
            Some(word) => format!("{error}: did you mean `{word}`?"),
            None => error,
        }
    })
}

/// A finite number.
pub(crate) fn finite<T: std::str::FromStr + Into<f64> + Copy>(text: &str) -> Result<T, String> {
    let number = text.trim().parse::<T>().ok();
    let number = number.filter(|number| (*number).into().is_finite());
    number.ok_or_else(|| format!("{text:?} is no finite number"))
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::EnvFilter;

    use super::*;

    #[test]
    fn last_is_the_last_stage_in_data_order() -> Result<(), String> {
        let stages: Stages = "evaluate,merge-names".parse()?;
        assert_eq!(stages.last(), StageName::Evaluate);
        Ok(())
    }

    #[test]
    fn an_unknown_word_of_a_setting_names_the_nearest() {
        assert_eq!(setting::<StageName>("evaluate"), Ok(StageName::Evaluate));
        let error = setting::<StageName>("evalute").expect_err("no such word");
        assert!(error.ends_with("did you mean `evaluate`?"), "{error}");
    }

    #[test]
    fn flags_choose_a_level_that_the_log_filter_accepts() {
        let chosen = [(0, true), (0, false), (1, false), (2, false), (9, false)]
            .map(|(verbose, quiet)| level(verbose, quiet));
        assert_eq!(chosen, ["error", "warn", "info", "debug", "debug"]);
        assert!(chosen.iter().all(|c| EnvFilter::try_new(c).is_ok()));
    }
}
