//! A worker's side: before a task begins, its models are here and the manifest knows where.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use laioncele_core::decisions::{LABEL, MERGES};
use laioncele_core::key::KeyParts;
use laioncele_core::protocol::NodeCache;
use laioncele_core::store::Store;
use laioncele_core::{Digest, Manifest};

use super::list::SMALL;
use super::machine::Folder;
use super::{CacheError, ListedFile, ListedModel, ModelList};
use crate::words::size;

/// The models of a run on this machine, as one worker knows them.
pub(crate) struct NodeModels {
    from: NodeCache,
    folder: Folder,
    list: ModelList,
    /// The run's manifest, which finds models in the folder.
    manifest: Arc<Manifest>,
    /// Files whose bytes this worker has looked at.
    whole: HashSet<Digest>,
}

impl NodeModels {
    /// Those of the run in `store` with `manifest`.
    ///
    /// # Errors
    /// A list that is missing or damaged, a folder that cannot be written.
    pub(crate) fn open(
        store: &Store,
        manifest: &Manifest,
        from: &NodeCache,
    ) -> Result<Self, CacheError> {
        let (digest, list) = read_list(store, &from.models)?;
        let folder = Folder::open(&from.folder)?;
        let mirror = folder.view(digest, &list)?;
        Ok(Self {
            from: from.clone(),
            folder,
            list,
            manifest: Arc::new(manifest.clone().with_mirror(mirror)),
            whole: HashSet::new(),
        })
    }

    /// Whether these are the models that `from` means.
    pub(crate) fn are_of(&self, from: &NodeCache) -> bool {
        self.from == *from
    }

    /// The manifest for a task of this key, whose models are here now.
    ///
    /// # Errors
    /// As [`CacheError`] has them; [`CacheError::Cancelled`] once `cancelled` says so.
    pub(crate) fn fetch(
        &mut self,
        store: &Store,
        key: &KeyParts,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Arc<Manifest>, CacheError> {
        let Self {
            folder,
            list,
            whole,
            ..
        } = self;
        for (label, digest) in wanted(key) {
            let is_it = |model: &ListedModel| model.label == *label && model.digest == digest;
            if !list.models.iter().any(is_it) {
                let label = label.clone();
                return Err(CacheError::Unlisted { label, digest });
            }
        }
        let of_task = |model: &&ListedModel| {
            model.bytes() <= SMALL || key.models.get(&model.label) == Some(&model.digest)
        };
        for model in list.models.iter().filter(of_task) {
            let missing = |file: &ListedFile| !folder.file(file.digest).exists();
            if model.bytes() > SMALL && model.files.iter().any(missing) {
                tracing::info!("fetching {} ({})", model.label, size(model.bytes()));
            }
            for file in &model.files {
                if !whole.contains(&file.digest) {
                    folder.fetch(store, &model.label, file, cancelled)?;
                    whole.insert(file.digest);
                }
            }
        }
        Ok(self.manifest.clone())
    }
}

/// The models in a task's key. What people decided in a review is no file of the manifest.
fn wanted(key: &KeyParts) -> impl Iterator<Item = (&String, Digest)> {
    let models = key.models.iter();
    let models = models.filter(|(label, _)| !is_ruling(label));
    models.map(|(label, digest)| (label, *digest))
}

fn is_ruling(label: &str) -> bool {
    [LABEL, MERGES].contains(&label)
}

/// The list `object`, and its digest, which is its name.
fn read_list(store: &Store, object: &str) -> Result<(Digest, ModelList), CacheError> {
    let label = || "the list of models".to_owned();
    let bytes = store.get(object).map_err(|source| CacheError::Store {
        label: label(),
        source: Box::new(source),
    })?;
    let found = Digest::of(&bytes);
    let name = Path::new(object).file_name().unwrap_or_default();
    let damaged = || CacheError::Damaged {
        label: label(),
        object: store.shown(object),
        found,
    };
    if name.to_string_lossy() != found.to_string() {
        return Err(damaged());
    }
    let list = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
    Ok((found, list))
}
