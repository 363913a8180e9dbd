//! Task keys: what a task's result depends on, and the hash of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, KeyHasher};
use crate::numbers::setting_text;
use crate::partition::Partition;

/// Everything a task's result depends on, by name, so that a plan can say what changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeyParts {
    /// Step version.
    pub version: u32,
    /// The settings' resolved values, flattened: `face.threshold` → `0.45`.
    pub settings: BTreeMap<String, String>,
    /// Model label → digest of its files.
    pub models: BTreeMap<String, Digest>,
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
        for (name, value) in &self.settings {
            hasher = hasher.text(name, value);
        }
        hasher = hasher.number("models", self.models.len() as u64);
        for (name, digest) in &self.models {
            hasher = hasher.digest(name, *digest);
        }
        for (name, digest) in &self.inputs {
            hasher = hasher.digest(name, *digest);
        }
        hasher.finish()
    }

    /// What differs from `before`, most telling first: settings, models, version, inputs.
    pub fn changes_since(&self, before: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        for (name, value) in &self.settings {
            match before.settings.get(name) {
                Some(old) if old == value => {}
                Some(old) => {
                    let (old, new) = (setting_text(old), setting_text(value));
                    changes.push(format!("{name} {old} → {new}"));
                }
                None => changes.push(format!("{name} = {} is new", setting_text(value))),
            }
        }
        changes.extend(
            before
                .settings
                .keys()
                .filter(|k| !self.settings.contains_key(*k))
                .map(|k| format!("{k} is gone")),
        );
        changes
            .extend(changed(&self.models, &before.models).map(|k| format!("{k} digest changed")));
        if self.version != before.version {
            changes.push(format!(
                "step version {} → {}",
                before.version, self.version
            ));
        }
        changes.extend(changed(&self.inputs, &before.inputs).map(|k| format!("input {k} changed")));
        changes
    }
}

fn changed<'a>(
    now: &'a BTreeMap<String, Digest>,
    before: &'a BTreeMap<String, Digest>,
) -> impl Iterator<Item = &'a String> {
    let gone = before.keys().filter(|k| !now.contains_key(*k));
    now.iter()
        .filter(|(k, v)| before.get(*k) != Some(*v))
        .map(|(k, _)| k)
        .chain(gone)
}
