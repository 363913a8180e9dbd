//! Writes a world to a folder: manifest, captions, web, reference photos, truth.

use std::path::{Path, PathBuf, absolute};

use laioncele_core::CoreError;

use crate::error::WorldError;
use crate::options::BuildOptions;
use crate::people::People;
use crate::plan::{World, plan};
use crate::source;

/// The manifest of a world, with `@words@` for what differs.
const TEMPLATE: &str = include_str!("mini.template.toml");

/// What was built.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// The manifest.
    pub manifest: PathBuf,
    /// Known names.
    pub known: usize,
    /// Unknown names.
    pub unknown: usize,
    /// Rows of the source.
    pub captions: usize,
    /// Urls that the web answers.
    pub pages: usize,
    /// Photos filed under names that lead into a trap.
    pub traps: usize,
    /// People with a reference photo.
    pub unseen: usize,
}

/// Builds the world of `options` in `folder`, which is made where it is missing; a world that stood there is replaced.
/// The same options give the same bytes.
///
/// # Errors
/// People that cannot be read, a folder that cannot be written.
pub fn build(options: &BuildOptions, folder: &Path) -> Result<Summary, WorldError> {
    let people_folder = options.weights.join("people");
    let people = People::load(&people_folder).map_err(|error| WorldError::People {
        folder: people_folder.clone(),
        reason: laioncele_core::error::chain(&error),
    })?;
    let world = plan(options.seed, options.size, &people, &people_folder)?;
    let mini = folder.join("mini");
    for old in ["captions", "references"] {
        remove_files(&mini.join(old))?;
    }
    for (number, rows) in world.shards.iter().enumerate() {
        let path = mini.join(format!("captions/part-{number:03}.parquet"));
        write(&path, &source::encode(rows)?)?;
    }
    for (number, picture) in world.references.iter().enumerate() {
        let path = mini.join(format!("references/unseen-{number:02}.jpg"));
        write(&path, &picture.jpeg(&world.unseen)?)?;
    }
    let json = |path: PathBuf, text: Result<String, serde_json::Error>| {
        let text = text.map_err(|source| WorldError::Json {
            path: path.clone(),
            source,
        })?;
        write(&path, text.as_bytes()).map_err(WorldError::from)
    };
    json(mini.join("web.json"), world.web.to_json())?;
    json(folder.join("truth.json"), world.truth.to_json())?;
    let manifest = folder.join("mini.toml");
    write(
        &manifest,
        manifest_text(options, folder, &world)?.as_bytes(),
    )?;
    Ok(summary(manifest, &world))
}

fn summary(manifest: PathBuf, world: &World) -> Summary {
    let names = &world.truth.names;
    let known = names.iter().filter(|n| n.known).count();
    Summary {
        manifest,
        known,
        unknown: names.len() - known,
        captions: world.shards.iter().map(Vec::len).sum(),
        pages: world.web.pages.len(),
        traps: world
            .truth
            .filings
            .iter()
            .filter(|f| f.trap.is_some())
            .count(),
        unseen: world.unseen.len(),
    }
}

fn manifest_text(
    options: &BuildOptions,
    folder: &Path,
    world: &World,
) -> Result<String, WorldError> {
    let weights = weights_from(&options.weights, folder)?;
    let counts = options.size.counts();
    let excluded = world.truth.names.iter().filter(|n| n.excluded);
    let excluded: Vec<_> = excluded.map(|n| toml_text(&n.name)).collect();
    Ok(TEMPLATE
        .replace("@seed@", &options.seed.to_string())
        .replace("@buckets@", &counts.buckets.to_string())
        .replace("@excluded@", &excluded.join(", "))
        .replace("@people@", &counts.unseen.to_string())
        .replace(
            "\"@weights@/",
            &format!("\"{}", toml_text(&weights).trim_matches('"')),
        )
        .replace("@training_steps@", &counts.training_steps.to_string()))
}

/// The weights' folder as the manifest writes it, with a slash at the end: relative if it is inside the world's folder.
fn weights_from(weights: &Path, folder: &Path) -> Result<String, WorldError> {
    let whole = |path: &Path| {
        let found = path.canonicalize().or_else(|_| absolute(path));
        found.map_err(|e| CoreError::from_io(path, e))
    };
    let (weights, folder) = (whole(weights)?, whole(folder)?);
    let path = weights.strip_prefix(&folder).unwrap_or(&weights);
    Ok(match path.as_os_str().is_empty() {
        true => "./".to_owned(),
        false => format!("{}/", path.display()),
    })
}

/// A text in quotes; TOML's basic strings escape like JSON's.
fn toml_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), CoreError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| CoreError::from_io(folder, e))?;
    }
    std::fs::write(path, bytes).map_err(|e| CoreError::from_io(path, e))
}

/// Removes the files of an earlier world, so that none of them is read with this one's.
fn remove_files(folder: &Path) -> Result<(), CoreError> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|e| CoreError::from_io(folder, e))?,
    };
    for entry in entries {
        let path = entry.map_err(|e| CoreError::from_io(folder, e))?.path();
        if path
            .extension()
            .is_some_and(|e| e == "parquet" || e == "jpg")
        {
            std::fs::remove_file(&path).map_err(|e| CoreError::from_io(&path, e))?;
        }
    }
    Ok(())
}
