//! Which crate may depend on which: the layers of ARCHITECTURE.md as a function.

use std::fmt;
use std::path::Path;
use std::process::Command;

/// A crate of the workspace.
#[derive(Debug, Clone)]
pub struct Crate {
    /// Its package name.
    pub name: String,
    /// Its folder relative to the repository's root, `""` for the program.
    pub folder: String,
    /// The crates of the workspace that it depends on, for building, testing or running.
    pub dependencies: Vec<String>,
}

/// Where a crate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// The contracts, `core/`.
    Core,
    /// A model runtime, `models/*`.
    Model,
    /// What stages and commands share of the models, `inference/`.
    Inference,
    /// What reads the captions' files, `source/`.
    Source,
    /// What asks the web for one url, `web/`.
    Web,
    /// What downloads many urls, `download/`.
    Download,
    /// A stage, `stages/*`.
    Stage,
    /// A run for people, `report/`.
    Report,
    /// Where people decide, `review/`.
    Review,
    /// The embedded world, `tools/mini-world`.
    World,
    /// Another tool, `tools/*`.
    Tool,
    /// The program, `src/`.
    Program,
}

impl Layer {
    /// The layer of a folder; `None` for one that ARCHITECTURE.md does not know.
    pub fn of(folder: &str) -> Option<Self> {
        match folder.split('/').collect::<Vec<_>>()[..] {
            [""] => Some(Self::Program),
            ["core"] => Some(Self::Core),
            ["inference"] => Some(Self::Inference),
            ["source"] => Some(Self::Source),
            ["web"] => Some(Self::Web),
            ["download"] => Some(Self::Download),
            ["report"] => Some(Self::Report),
            ["review"] => Some(Self::Review),
            ["models", _] => Some(Self::Model),
            ["stages", _] => Some(Self::Stage),
            ["tools", "mini-world"] => Some(Self::World),
            ["tools", _] => Some(Self::Tool),
            _ => None,
        }
    }

    /// Whether a crate of this layer may depend on one of `other`. No layer but the models' may depend on itself.
    pub fn may_know(self, other: Self) -> bool {
        match self {
            Self::Core => false,
            Self::Source | Self::Web => other == Self::Core,
            Self::Download => matches!(other, Self::Core | Self::Model | Self::Web),
            Self::Model => other == Self::Model,
            Self::Inference | Self::Report => matches!(other, Self::Core | Self::Model),
            Self::Review => matches!(other, Self::Core | Self::Report),
            Self::Stage => matches!(
                other,
                Self::Core
                    | Self::Model
                    | Self::Inference
                    | Self::Source
                    | Self::Web
                    | Self::Download
            ),
            Self::World | Self::Tool => matches!(other, Self::Core | Self::Model),
            Self::Program => other != Self::Tool,
        }
    }
}

/// A dependency that its layer does not allow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offence {
    /// The crate that depends.
    pub from: String,
    /// The crate that it may not know.
    pub to: String,
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} depends on {}", self.from, self.to)
    }
}

/// Every dependency between `crates` that the layers forbid. A crate in an unknown folder offends by being there.
pub fn offences(crates: &[Crate]) -> Vec<Offence> {
    let layer = |name: &str| {
        crates
            .iter()
            .find(|c| c.name == name)
            .and_then(|c| Layer::of(&c.folder))
    };
    let mut offences = Vec::new();
    for from in crates {
        if Layer::of(&from.folder).is_none() {
            let to = format!("no layer, in the folder {}", from.folder);
            offences.push(Offence {
                from: from.name.clone(),
                to,
            });
        }
        for to in &from.dependencies {
            let allowed = layer(&from.name)
                .zip(layer(to))
                .is_some_and(|(from, to)| from.may_know(to));
            if !allowed {
                offences.push(Offence {
                    from: from.name.clone(),
                    to: to.clone(),
                });
            }
        }
    }
    offences.sort();
    offences
}

/// The crates of the workspace at `root`, as `cargo metadata` lists them.
///
/// # Errors
/// What cargo says, or what is missing in its answer.
pub fn workspace(root: &Path) -> Result<Vec<Crate>, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(root)
        .output()
        .map_err(|e| format!("cargo metadata: {e}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let answer =
        serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata: {e}"))?;
    read(&answer).ok_or_else(|| "cargo metadata: an unknown form".to_owned())
}

/// The crates in an answer of `cargo metadata --no-deps`.
fn read(answer: &serde_json::Value) -> Option<Vec<Crate>> {
    let root = Path::new(answer["workspace_root"].as_str()?);
    let packages = answer["packages"].as_array()?;
    let names: Vec<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    packages
        .iter()
        .map(|package| {
            let manifest = Path::new(package["manifest_path"].as_str()?);
            let dependencies = package["dependencies"]
                .as_array()?
                .iter()
                .filter_map(|d| d["name"].as_str());
            Some(Crate {
                name: package["name"].as_str()?.to_owned(),
                folder: manifest
                    .parent()?
                    .strip_prefix(root)
                    .ok()?
                    .to_str()?
                    .to_owned(),
                dependencies: dependencies
                    .filter(|d| names.contains(d))
                    .map(str::to_owned)
                    .collect(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_crate(folder: &str, dependencies: &[&str]) -> Crate {
        Crate {
            name: folder.to_owned(),
            folder: folder.to_owned(),
            dependencies: dependencies.iter().map(|&d| d.to_owned()).collect(),
        }
    }

    #[test]
    fn what_the_layers_forbid_is_found() {
        let crates = [
            a_crate("core", &["models/a"]),
            a_crate("models/a", &["models/b"]),
            a_crate("models/b", &["inference"]),
            a_crate("inference", &["core", "models/a", "stages/a"]),
            a_crate("source", &["core", "models/a"]),
            a_crate("stages/a", &["core", "inference", "models/a", "source"]),
            a_crate("stages/b", &["stages/a", "tools/mini-world"]),
            a_crate("tools/mini-world", &["core"]),
            a_crate("attic", &[]),
            a_crate(
                "",
                &[
                    "core",
                    "inference",
                    "models/b",
                    "stages/b",
                    "tools/mini-world",
                ],
            ),
        ];
        let found: Vec<String> = offences(&crates).iter().map(Offence::to_string).collect();
        assert_eq!(
            found,
            [
                "attic depends on no layer, in the folder attic",
                "core depends on models/a",
                "inference depends on stages/a",
                "models/b depends on inference",
                "source depends on models/a",
                "stages/b depends on stages/a",
                "stages/b depends on tools/mini-world",
            ]
        );
    }
}
