//! Hashes what is published outside the tables, and the recorded manifests.

use std::collections::BTreeSet;

use laioncele_core::store::Store;
use laioncele_core::{CoreError, Digest, Manifest};

use super::findings::{Findings, Kind};
use crate::failure::Failure;
use crate::published::{Published, RESULTS, Results, SHARDS, stray_shards};
use crate::run_folder::MANIFESTS;
use crate::session::Session;

/// Compares every published file with what `results.json` says of it, those of earlier manifests
/// too.
///
/// # Errors
/// Store errors.
pub(super) fn check(session: &Session, findings: &mut Findings) -> Result<(), Failure> {
    let store = session.store()?;
    let now = Results::load(store)?;
    if now.steps.is_empty() && store.exists(RESULTS)? && !Results::is_readable(store)? {
        findings.add(
            Kind::Published,
            RESULTS,
            "it does not say what is published",
        );
    }
    for published in now.steps.values() {
        files(store, "", published, findings)?;
    }
    for shard in stray_shards(store, &now)? {
        findings.add(Kind::Published, &shard, "it is no shard that was published");
    }
    for (folder, results) in Results::earlier(store)? {
        for published in results.steps.values() {
            files(store, &folder, published, findings)?;
        }
    }
    manifests(store, findings)
}

fn files(
    store: &Store,
    folder: &str,
    published: &Published,
    findings: &mut Findings,
) -> Result<(), Failure> {
    for (path, expected) in &published.files {
        findings.published += 1;
        let path = format!("{folder}{path}");
        match store.get(&path) {
            Ok(bytes) if Digest::of(&bytes) == expected.digest => {}
            Ok(_) => findings.add(
                Kind::Published,
                &path,
                "it has other bytes than were published",
            ),
            Err(CoreError::Missing { .. }) => {
                findings.add(Kind::Published, &path, "it was published and is gone");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The recorded manifests are the texts that their names say.
fn manifests(store: &Store, findings: &mut Findings) -> Result<(), Failure> {
    for path in store.list(MANIFESTS)? {
        let name = path.trim_start_matches(MANIFESTS).trim_matches('/');
        let named = name
            .strip_suffix(".toml")
            .and_then(|name| name.parse::<Digest>().ok());
        let found = store.local_copy(&path);
        let found = found.and_then(|file| Manifest::load(&file));
        if !found.is_ok_and(|manifest| Some(manifest.digest()) == named) {
            findings.add(
                Kind::Manifest,
                &path,
                "it is not the manifest that was recorded",
            );
        }
    }
    Ok(())
}

/// Deletes damaged published files, and what would vouch for them, so that the next run publishes
/// them again. How many there were.
///
/// # Errors
/// Store errors.
pub(super) fn forget(store: &Store, damaged: &[&str]) -> Result<usize, Failure> {
    if damaged.is_empty() {
        return Ok(0);
    }
    let mut results = Results::load(store)?;
    let mut files: BTreeSet<&str> = damaged.iter().copied().collect();
    let steps: Vec<String> = results
        .steps
        .iter()
        .filter(|(_, published)| {
            damaged
                .iter()
                .any(|path| published.files.contains_key(*path))
        })
        .map(|(step, _)| step.clone())
        .collect();
    for step in steps {
        results.forget(store, &step)?;
    }
    // pack-shards publishes nothing again that this index names.
    if damaged
        .iter()
        .any(|path| path.starts_with("laioncele/") || path.starts_with("sheets/"))
    {
        files.insert(SHARDS);
    }
    for path in files {
        store.delete_for_good(path)?;
    }
    Results::forget_earlier(store, damaged)?;
    Ok(damaged.len())
}
