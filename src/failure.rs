//! How the program fails: one message, the way out, and an exit code that says which kind of failure it was.

use laioncele_core::CoreError;
use laioncele_core::error::chain;
use laioncele_mini_world::WorldError;

/// What an exit code stands for. Documented in `--help` and the README.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// A defect of this program.
    Defect = 1,
    /// Wrong arguments or a wrong manifest.
    Usage = 2,
    /// Missing or broken weights, a full disk, a locked folder, an empty source, a newer table.
    Environment = 3,
    /// Tasks failed.
    TasksFailed = 4,
    /// `verify` found damage.
    Damage = 5,
    /// Interrupted by Ctrl-C or a termination signal.
    Interrupted = 130,
}

/// A failure as the user sees it.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What failed, on what.
    pub message: String,
    /// Ways out, one line each.
    pub hints: Vec<String>,
}

impl Failure {
    /// A failure without hints.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hints: Vec::new(),
        }
    }

    /// Adds a way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Message and hints, as printed on standard error.
    pub fn render(&self) -> String {
        let mut text = format!("error: {}", self.message);
        for hint in &self.hints {
            text.push_str(&format!("\nhint: {hint}"));
        }
        text
    }
}

impl From<CoreError> for Failure {
    fn from(error: CoreError) -> Self {
        let (exit, hint) = classify(&error);
        let failure = Self::new(exit, chain(&error));
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<WorldError> for Failure {
    fn from(error: WorldError) -> Self {
        match error {
            WorldError::Core(error) => error.into(),
            error => Self::new(Exit::Environment, chain(&error)),
        }
    }
}

/// Exit code and way out of an error of the contracts.
fn classify(error: &CoreError) -> (Exit, Option<&'static str>) {
    match error {
        CoreError::Manifest { .. } => (Exit::Usage, None),
        CoreError::Unaccounted { .. } => (
            Exit::Defect,
            Some("this is a defect of laioncele: please report it"),
        ),
        CoreError::Record { .. } => (
            Exit::Environment,
            Some("delete this record: its task runs again and nothing else is lost"),
        ),
        CoreError::Io { .. } | CoreError::Store { .. } => (
            Exit::Environment,
            Some("when that is mended, run the same command again: it goes on where it stopped"),
        ),
        CoreError::Missing { .. }
        | CoreError::EmptySource { .. }
        | CoreError::Parquet { .. }
        | CoreError::Schema { .. }
        | CoreError::Newer { .. }
        | CoreError::Damaged { .. }
        | CoreError::Locked { .. } => (Exit::Environment, None),
    }
}
