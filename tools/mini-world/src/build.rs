//! Writes a world to a folder: manifest, captions, web, reference photos, truth.

use std::io::ErrorKind;
use std::path::{Path, PathBuf, absolute};

use laioncele_core::CoreError;

use crate::captions;
use crate::error::WorldError;
use crate::options::BuildOptions;
use crate::people::People;
use crate::world::{self, World};

/// The manifest of a world, with `@word@` for each part that differs between worlds.
const TEMPLATE: &str = include_str!("mini.template.toml");

/// What a world consists of.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Path of the manifest.
    pub manifest: PathBuf,
    /// Names that the model knows.
    pub known: usize,
    /// Names that it does not know.
    pub unknown: usize,
    /// Rows of the captions' files.
    pub captions: usize,
    /// Pages of the web.
    pub pages: usize,
    /// Photos whose page is a trap.
    pub traps: usize,
    /// People with a reference photo.
    pub unseen: usize,
}

/// Builds the world of `options` in `folder`. Makes the folder if it is missing, and replaces a
/// world that is there. The same options give the same bytes.
///
/// # Errors
/// People that cannot be read, a folder that cannot be written.
pub fn build(options: &BuildOptions, folder: &Path) -> Result<Summary, WorldError> {
    let people_folder = options.weights.join("people");
    let people = People::load(&people_folder)?;
    let world = world::create(options.seed, options.size, &people, &people_folder)?;
    let mini = folder.join("mini");
    for stale in ["captions", "references"] {
        remove_files(&mini.join(stale))?;
    }
    for (number, rows) in world.shards.iter().enumerate() {
        let path = mini.join(format!("captions/part-{number:03}.parquet"));
        write(&path, &captions::encode(rows)?)?;
    }
    for (number, photo) in world.references.iter().enumerate() {
        let path = mini.join(format!("references/unseen-{number:02}.jpg"));
        write(&path, &photo.jpeg(&world.unseen)?)?;
    }
    write_json(&mini.join("web.json"), world.web.to_json())?;
    write_json(&folder.join("truth.json"), world.truth.to_json())?;
    let manifest = folder.join("mini.toml");
    let text = manifest_text(options, folder, &world)?;
    write(&manifest, text.as_bytes())?;
    Ok(summary(manifest, &world))
}

fn summary(manifest: PathBuf, world: &World) -> Summary {
    let names = &world.truth.names;
    let known = names.iter().filter(|name| name.known).count();
    let photos = world.truth.photos.iter();
    Summary {
        manifest,
        known,
        unknown: names.len() - known,
        captions: world.shards.iter().map(Vec::len).sum(),
        pages: world.web.pages.len(),
        traps: photos.filter(|photo| photo.expected_drop.is_some()).count(),
        unseen: world.unseen.len(),
    }
}

fn manifest_text(
    options: &BuildOptions,
    folder: &Path,
    world: &World,
) -> Result<String, WorldError> {
    let weights = weights_prefix(&options.weights, folder)?;
    let counts = options.size.counts();
    let excluded = world.truth.names.iter().filter(|name| name.excluded);
    let excluded: Vec<_> = excluded.map(|name| toml_string(&name.name)).collect();
    let (samples, words) = options.size.samples();
    Ok(TEMPLATE
        .replace("@samples@", samples)
        .replace("@words@", words)
        .replace("@seed@", &options.seed.to_string())
        .replace("@buckets@", &counts.buckets.to_string())
        .replace("@excluded@", &excluded.join(", "))
        .replace("@people@", &counts.unseen.to_string())
        .replace(
            "\"@weights@/",
            &format!("\"{}", toml_string(&weights).trim_matches('"')),
        )
        .replace("@training_steps@", &counts.training_steps.to_string()))
}

/// What the manifest writes before the name of a weights' file: the folder with a slash at the end.
/// The path is relative if the weights are inside the world's folder.
fn weights_prefix(weights: &Path, folder: &Path) -> Result<String, WorldError> {
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

/// A text in quotes. TOML's basic strings escape like JSON's.
fn toml_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn write_json(path: &Path, text: Result<String, serde_json::Error>) -> Result<(), WorldError> {
    let text = text.map_err(|source| WorldError::Json {
        path: path.to_owned(),
        source,
    })?;
    Ok(write(path, text.as_bytes())?)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), CoreError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| CoreError::from_io(folder, e))?;
    }
    std::fs::write(path, bytes).map_err(|e| CoreError::from_io(path, e))
}

/// Removes the Parquet and JPEG files of an earlier world, so that no run reads them together with
/// the new ones.
fn remove_files(folder: &Path) -> Result<(), CoreError> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|e| CoreError::from_io(folder, e))?,
    };
    for entry in entries {
        let path = entry.map_err(|e| CoreError::from_io(folder, e))?.path();
        let extension = path.extension();
        if extension.is_some_and(|e| e == "parquet" || e == "jpg") {
            std::fs::remove_file(&path).map_err(|e| CoreError::from_io(&path, e))?;
        }
    }
    Ok(())
}
