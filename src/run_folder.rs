//! What a run folder knows of its run: `run.json` names the manifest that it was last run with,
//! `manifests/DIGEST.toml` are the texts of all manifests that it was run with.
//!
//! `laioncele run` writes them before its first task, the text first; nothing changes a text once
//! it is there. A crash between the two leaves a text that nothing names. `laioncele gc` deletes
//! such.

mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf, absolute};

use laioncele_core::manifest::SourceSettings;
use laioncele_core::numbers::setting_text;
use laioncele_core::store::{Store, url_of};
use laioncele_core::{CoreError, Digest, Manifest};
use serde::{Deserialize, Serialize};

use crate::failure::{Exit, Failure};

pub(crate) use source::other_source;

/// The object that names the run's manifest.
pub(crate) const RUN: &str = "run.json";
/// The folder of the recorded texts.
pub(crate) const MANIFESTS: &str = "manifests";

/// The newest form of `run.json` that this program reads, and the one it writes.
const FORMAT: u32 = 1;

/// Changed settings that are named in a message.
const SHOWN_CHANGES: usize = 4;

/// `run.json`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunFile {
    format: u32,
    /// The digest of the manifest's text.
    pub manifest: Digest,
    /// Where the manifest was written: an absolute path.
    pub path: PathBuf,
}

impl RunFile {
    /// The object that holds the manifest's text.
    pub(crate) fn recorded(&self) -> String {
        recorded(self.manifest)
    }

    /// What the run folder `output` says; none where nothing was recorded.
    ///
    /// # Errors
    /// As [`RunFile::of`]; a bucket that cannot be opened.
    pub(crate) fn read(output: &Path) -> Result<Option<Self>, Failure> {
        match existing(output)? {
            Some(store) => Self::of(&store),
            None => Ok(None),
        }
    }

    /// What the run in `store` says; none where nothing was recorded.
    ///
    /// # Errors
    /// A file that cannot be read or understood.
    pub(crate) fn of(store: &Store) -> Result<Option<Self>, Failure> {
        let path = store.shown(RUN);
        let bytes = match store.get(RUN) {
            Ok(bytes) => bytes,
            Err(CoreError::Missing { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let fail = |error: serde_json::Error| {
            let text = format!(
                "{}: it does not say what was run here: {error}",
                path.display()
            );
            Failure::new(Exit::Environment, text)
                .hint("delete it and name the manifest with --manifest")
        };
        let Format { format } = serde_json::from_slice(&bytes).map_err(fail)?;
        if format > FORMAT {
            return Err(CoreError::Newer {
                path: path.display().to_string(),
                what: "what was run".to_owned(),
                found: format,
                known: FORMAT,
            }
            .into());
        }
        serde_json::from_slice(&bytes).map(Some).map_err(fail)
    }

    /// The manifest as it was recorded.
    ///
    /// # Errors
    /// A text that is gone, altered or no manifest.
    pub(crate) fn load(&self, store: &Store) -> Result<Manifest, Failure> {
        let hint = "name the manifest with --manifest";
        let path = store.shown(&self.recorded());
        let manifest = store.local_copy(&self.recorded());
        let manifest = manifest.and_then(|file| Manifest::load(&file));
        let manifest = manifest.map_err(|error| Failure::from(error).hint(hint))?;
        if manifest.digest() != self.manifest {
            let text = format!("{}: it is not the text that was recorded", path.display());
            return Err(Failure::new(Exit::Environment, text).hint(hint));
        }
        Ok(manifest)
    }

    /// A remark where the file that the manifest was written in says something else by now, or is
    /// gone.
    /// `recorded` is the manifest itself, which knows what was set on the command line.
    pub(crate) fn changed_since(&self, recorded: &Manifest) -> Option<String> {
        let path = self.path.display();
        let same = || {
            let now =
                Manifest::load(&self.path).and_then(|m| m.with_settings(&recorded.assigned()));
            now.is_ok_and(|now| now.digest() == self.manifest)
        };
        match fs::read(&self.path) {
            Ok(_) if same() => None,
            Ok(_) => Some(format!(
                "{path} was changed since the last run here, whose manifest is used; --manifest {path} uses the new one"
            )),
            Err(_) => None,
        }
    }
}

/// The store of the run at `output`: a folder that is there, or a bucket.
///
/// # Errors
/// A folder or bucket that cannot be opened.
pub(crate) fn existing(output: &Path) -> Result<Option<Store>, CoreError> {
    match url_of(output).is_some() || output.is_dir() {
        true => Store::at_once(output).map(Some),
        false => Ok(None),
    }
}

/// `path` from the root of the file system; a url as it is.
///
/// # Errors
/// Where the current folder is gone.
pub(crate) fn full(path: &Path) -> Result<PathBuf, CoreError> {
    match url_of(path) {
        Some(_) => Ok(path.to_owned()),
        None => absolute(path).map_err(|e| CoreError::from_io(path, e)),
    }
}

fn recorded(manifest: Digest) -> String {
    format!("{MANIFESTS}/{manifest}.toml")
}

/// Records that `manifest` is what the folder is run with. Returns the recorded text's object, which workers read, wherever they
/// are: what is written into the manifest during the run does not concern it.
///
/// # Errors
/// Store errors.
pub(crate) fn record(store: &Store, manifest: &Manifest) -> Result<String, CoreError> {
    let kept = keep(store, manifest)?;
    let run = RunFile {
        format: FORMAT,
        manifest: manifest.digest(),
        path: origin(manifest)?,
    };
    let text = serde_json::to_vec_pretty(&run).map_err(|e| CoreError::record(RUN, e))?;
    store.put_changed(RUN, text)?;
    Ok(kept)
}

/// Puts the text of `manifest` among the recorded ones, without saying that the folder is run with it. Returns its object.
///
/// # Errors
/// Store errors.
pub(crate) fn keep(store: &Store, manifest: &Manifest) -> Result<String, CoreError> {
    let path = recorded(manifest.digest());
    store.put_changed(&path, manifest.recorded(&origin(manifest)?))?;
    Ok(path)
}

/// Where `manifest` was written, from the root of the file system.
fn origin(manifest: &Manifest) -> Result<PathBuf, CoreError> {
    absolute(manifest.path()).map_err(|e| CoreError::from_io(manifest.path(), e))
}

/// What `now` says otherwise than `before`, one text a setting.
pub(crate) fn changes(before: &Manifest, now: &Manifest) -> Vec<String> {
    let (before, now) = (before.flattened(), now.flattened());
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let change = |name: &&String| match (before.get(*name), now.get(*name)) {
        (Some(from), Some(to)) if from == to => None,
        (Some(from), Some(to)) => Some(format!(
            "{name} {} → {}",
            setting_text(from),
            setting_text(to)
        )),
        (None, Some(to)) => Some(format!("{name} = {} is new", setting_text(to))),
        (_, None) => Some(format!("{name} is gone")),
    };
    names.iter().filter_map(change).collect()
}

/// [`changes`] as one text; none without any.
pub(crate) fn changes_text(before: &Manifest, now: &Manifest) -> Option<String> {
    let changes = changes(before, now);
    if changes.is_empty() {
        return None;
    }
    let shown = changes.iter().take(SHOWN_CHANGES).cloned();
    let mut text = shown.collect::<Vec<_>>().join("; ");
    if changes.len() > SHOWN_CHANGES {
        text.push_str(&format!("; and {} more", changes.len() - SHOWN_CHANGES));
    }
    Some(text)
}

/// The entries of `[source] path`, as paths of this process.
pub(crate) fn source_paths(manifest: &Manifest) -> Vec<PathBuf> {
    let SourceSettings { path, .. } = &manifest.source;
    let resolve = |entry: &PathBuf| {
        let path = manifest.resolve(entry);
        if url_of(&path).is_some() {
            return path;
        }
        let path = path.canonicalize().unwrap_or(path);
        absolute(&path).unwrap_or(path)
    };
    path.entries().iter().map(resolve).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[run]\nseed = 1\n[source]\npath = \"captions\"\n[embedding_dims]\nname_tokens = 8\n\
                        name_channels = 128\nface = 512\nfeatures = 128\n[evaluate]\nseeds = 2\n";

    fn manifest(path: &Path, text: &str) -> Manifest {
        fs::write(path, text).expect("written");
        Manifest::load(path).expect("a manifest")
    }

    #[test]
    fn a_recorded_manifest_is_found_again_though_its_file_is_gone() -> Result<(), Failure> {
        let folder = tempfile::tempdir().expect("a folder");
        let (output, file) = (folder.path().join("output"), folder.path().join("m.toml"));
        let store = Store::local(&output)?;
        assert_eq!(RunFile::read(&output)?, None);
        let written = manifest(&file, TEXT);
        let recorded = record(&store, &written)?;
        assert_eq!(
            Manifest::of_run(&store, &recorded)?.digest(),
            written.digest()
        );
        let run = RunFile::read(&output)?.expect("it was recorded");
        assert_eq!(run.changed_since(&written), None);
        fs::write(&file, "[run]\n").expect("written");
        assert!(
            run.changed_since(&written)
                .is_some_and(|text| text.contains("--manifest"))
        );
        fs::remove_file(&file).expect("removed");
        let found = run.load(&store)?;
        assert_eq!(
            (found.digest(), found.path()),
            (written.digest(), file.as_path())
        );
        assert_eq!(source_paths(&found), [folder.path().join("captions")]);
        fs::write(output.join(run.recorded()), TEXT).expect("written");
        assert!(run.load(&store).is_ok(), "the same text without its head");
        fs::write(output.join(run.recorded()), format!("{TEXT}\n")).expect("written");
        let failure = run.load(&store).expect_err("altered");
        assert!(
            failure.message.contains("not the text"),
            "{}",
            failure.message
        );
        Ok(())
    }

    #[test]
    fn changes_name_old_and_new_values() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("m.toml");
        let before = manifest(&file, TEXT);
        let text = TEXT
            .replace("seed = 1", "seed = 3")
            .replace("seeds = 2", "images = 4");
        let after = manifest(&file, &text);
        let expected = [
            "evaluate.images = 4 is new",
            "evaluate.seeds is gone",
            "run.seed 1 → 3",
        ];
        assert_eq!(changes(&before, &after), expected);
        assert_eq!(changes_text(&before, &before), None);
        let comment = manifest(&file, &format!("# a remark\n{TEXT}"));
        assert!(changes(&before, &comment).is_empty() && comment.digest() != before.digest());
    }

    #[test]
    fn a_file_of_a_newer_program_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(RUN), r#"{"format": 9}"#).expect("written");
        let failure = RunFile::read(folder.path()).expect_err("newer");
        assert!(failure.message.contains("version 9"), "{}", failure.message);
    }
}
