//! Why a task must run.

use std::fmt;

use laioncele_core::key::Change;
use serde::Serialize;

/// Why a task must run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Cause {
    /// What is stored of its result is not whole.
    Loss(Loss),
    /// Its result lacks images by choice, and a step needs them.
    Pruned(Pruned),
    /// What its result depends on is not what it was.
    Change(Change),
    /// It never ran.
    NeverRun(NeverRun),
}

/// Images were taken from the result by choice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Pruned {
    /// They were pruned, and are needed.
    Pruned {
        /// The step that needs them.
        needed_by: String,
    },
}

/// There is no result on the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum NeverRun {
    /// It never ran.
    NeverRun,
}

/// What is not whole of a committed task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Loss {
    /// A part is not there.
    PartGone {
        /// Its path in the store.
        path: String,
    },
    /// A part has another size than its record says.
    PartSize {
        /// Its path in the store.
        path: String,
        /// Bytes in the record.
        expected: u64,
        /// Bytes of the file.
        found: u64,
    },
    /// A part has other bytes than its record says. Only `verify` looks.
    PartBytes {
        /// Its path in the store.
        path: String,
    },
    /// The record itself cannot be used.
    Record {
        /// Its path in the store.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

impl Cause {
    /// It never ran.
    pub const NEVER_RUN: Self = Self::NeverRun(NeverRun::NeverRun);
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loss(loss) => loss.fmt(f),
            Self::Pruned(Pruned::Pruned { needed_by }) => {
                write!(f, "{needed_by} needs images that were pruned")
            }
            Self::Change(change) => change.fmt(f),
            Self::NeverRun(_) => f.write_str("never run"),
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PartGone { path } => write!(f, "{path} is gone"),
            Self::PartSize {
                path,
                expected,
                found,
            } => write!(f, "{path} has {found} bytes, not {expected}"),
            Self::PartBytes { path } => write!(f, "{path} has other bytes than were written"),
            Self::Record { path, reason } => write!(f, "{path} is damaged: {reason}"),
        }
    }
}
