//! How the program fails: one message, hints, and an exit code for the class of failure.

use laioncele_core::CoreError;
use laioncele_core::error::chain;
use laioncele_mini_world::WorldError;

/// The classes of failure. Documented in `--help` and the README.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// A bug in this program.
    Defect = 1,
    /// Invalid arguments or an invalid manifest.
    Usage = 2,
    /// Missing or damaged weights, a full disk, a locked folder, an empty source, a newer table.
    Environment = 3,
    /// Tasks failed.
    TasksFailed = 4,
    /// `verify` found damage.
    Damage = 5,
    /// Interrupted by Ctrl-C or a termination signal.
    Interrupted = 130,
}

/// A failure as it is shown to the user.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What failed, and on which file or task.
    pub message: String,
    /// What to do about it, one line each.
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

    /// Adds a hint.
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

/// Exit code and hint of an error of core.
fn classify(error: &CoreError) -> (Exit, Option<&'static str>) {
    match error {
        CoreError::Manifest { .. } | CoreError::List { .. } => (Exit::Usage, None),
        CoreError::Unaccounted { .. }
        | CoreError::UnbalancedDrops { .. }
        | CoreError::NothingBalanced { .. } => (
            Exit::Defect,
            Some("this is a bug in laioncele: please report it"),
        ),
        CoreError::Record { .. } => (
            Exit::Environment,
            Some("delete this record: its task runs again, and nothing else is lost"),
        ),
        CoreError::Io { .. } | CoreError::Store { .. } | CoreError::Bucket { .. } => (
            Exit::Environment,
            Some("fix this and rerun the command; the run resumes"),
        ),
        CoreError::Missing { .. }
        | CoreError::Model { .. }
        | CoreError::EmptySource { .. }
        | CoreError::Parquet { .. }
        | CoreError::Schema { .. }
        | CoreError::Newer { .. }
        | CoreError::Damaged { .. }
        | CoreError::Locked { .. } => (Exit::Environment, None),
    }
}
