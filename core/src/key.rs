//! Task keys: what a task's result depends on, and the hash of it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, KeyHasher};
use crate::numbers::setting_text;
use crate::partition::Partition;
use crate::shared::Shared;

/// Everything a task's result depends on, by name, so that a plan can say what changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeyParts {
    /// Step version.
    pub version: u32,
    /// The settings' resolved values, flattened: `face.threshold` → `0.45`.
    pub settings: Shared<BTreeMap<String, String>>,
    /// Model label → digest of its files.
    pub models: Shared<BTreeMap<String, Digest>>,
    /// `table/partition` → digest over the digests of those parts; `table` → digest over all parts of a table that is read
    /// whole or in slices.
    pub inputs: BTreeMap<String, Digest>,
}

impl KeyParts {
    /// The key of the task of `step` on `partition` that these parts describe.
    pub fn key(&self, step: &str, partition: &Partition) -> Digest {
        let mut hasher = KeyHasher::new("task-key")
            .text("step", step)
            .text("partition", &partition.to_string())
            .number("version", self.version.into());
        hasher = hasher.number("settings", self.settings.len() as u64);
        for (name, value) in &*self.settings {
            hasher = hasher.text(name, value);
        }
        hasher = hasher.number("models", self.models.len() as u64);
        for (name, digest) in &*self.models {
            hasher = hasher.digest(name, *digest);
        }
        for (name, digest) in &self.inputs {
            hasher = hasher.digest(name, *digest);
        }
        hasher.finish()
    }

    /// What differs from `before`, most telling first: settings, models, version, inputs.
    pub fn changes_since(&self, before: &Self) -> Vec<Change> {
        let mut changes: Vec<Change> = changed(&before.settings, &self.settings)
            .map(|(name, from, to)| Change::Setting {
                name: name.clone(),
                from: from.cloned(),
                to: to.cloned(),
            })
            .collect();
        changes.extend(
            changed(&before.models, &self.models).map(|(name, from, to)| Change::Model {
                name: name.clone(),
                from: from.copied(),
                to: to.copied(),
            }),
        );
        if self.version != before.version {
            changes.push(Change::Version {
                from: before.version,
                to: self.version,
            });
        }
        let inputs = changed(&before.inputs, &self.inputs);
        changes.extend(inputs.map(|(name, ..)| Change::Input { name: name.clone() }));
        changes
    }
}

/// One difference between what two keys were made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Change {
    /// A setting has another value.
    Setting {
        /// As in the manifest: `verify_images.same_person_photo`.
        name: String,
        /// The value as JSON; none where there was no such setting.
        from: Option<String>,
        /// The value as JSON; none where there is no such setting any more.
        to: Option<String>,
    },
    /// Other files of a model are read.
    Model {
        /// The model's label.
        name: String,
        /// The digest before.
        from: Option<Digest>,
        /// The digest now.
        to: Option<Digest>,
    },
    /// The program does the step otherwise.
    Version {
        /// The step's version before.
        from: u32,
        /// The step's version now.
        to: u32,
    },
    /// Other rows are read.
    Input {
        /// `table/partition`, or a table that is read whole.
        name: String,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting { name, from, to } => match (from, to) {
                (Some(from), Some(to)) => {
                    let (from, to) = (setting_text(from), setting_text(to));
                    write!(f, "{name} {from} → {to}")
                }
                (None, Some(to)) => write!(f, "{name} = {} is new", setting_text(to)),
                (_, None) => write!(f, "{name} is gone"),
            },
            Self::Model { name, from, to } => match (from, to) {
                (Some(from), Some(to)) => {
                    write!(
                        f,
                        "{name} digest changed ({} → {})",
                        from.short(),
                        to.short()
                    )
                }
                (None, _) => write!(f, "{name} is new"),
                (_, None) => write!(f, "{name} is gone"),
            },
            Self::Version { from, to } => write!(f, "step version {from} → {to}"),
            Self::Input { name } => write!(f, "input {name} changed"),
        }
    }
}

/// The names whose values differ, with both: those that are there now first.
fn changed<'a, T: PartialEq>(
    before: &'a BTreeMap<String, T>,
    now: &'a BTreeMap<String, T>,
) -> impl Iterator<Item = (&'a String, Option<&'a T>, Option<&'a T>)> {
    let other = now
        .iter()
        .map(|(name, value)| (name, before.get(name), Some(value)))
        .filter(|(_, from, to)| from != to);
    let gone = before.iter().filter(|(name, _)| !now.contains_key(*name));
    other.chain(gone.map(|(name, value)| (name, Some(value), None)))
}
