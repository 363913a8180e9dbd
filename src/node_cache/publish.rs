//! The coordinator's side: models become objects of the run's store.

use std::path::PathBuf;

use laioncele_core::file_digests::FileDigests;
use laioncele_core::model_cache;
use laioncele_core::store::Store;
use laioncele_core::{CoreError, Digest, Manifest, ModelFiles, Step};

use super::list::SMALL;
use super::{ListedFile, ListedModel, MODELS, ModelList, object_of};
use crate::failure::{Exit, Failure};
use crate::words::size;

/// Publishes the models that `needed` steps read, and the small ones of all `steps`, which settings are read from. `manifest` is the
/// recorded one, whose paths are those that workers see. Returns the object of the list.
///
/// # Errors
/// A model that is missing or changes meanwhile, a store without room.
pub(crate) fn publish(
    store: &Store,
    manifest: &Manifest,
    steps: &[&dyn Step],
    needed: impl Fn(&dyn Step) -> bool,
    digests: &FileDigests,
) -> Result<String, Failure> {
    let mut list = ModelList::default();
    for step in steps {
        for model in step.models(manifest)? {
            let listed = listed(model, digests)?;
            let wanted = listed.bytes() <= SMALL || needed(*step);
            if wanted && !list.models.contains(&listed) {
                list.models.push(listed);
            }
        }
    }
    for file in list.models.iter().flat_map(|model| &model.files) {
        put(store, file, digests)?;
    }
    for file in list.models.iter_mut().flat_map(|model| &mut model.files) {
        // Other machines have no such copy: they look where the manifest has it.
        file.path = model_cache::origin(&file.path).unwrap_or_else(|| file.path.clone());
    }
    digests.save();
    let text = serde_json::to_vec(&list)
        .map_err(|e| Failure::new(Exit::Usage, format!("--node-cache: {e}")))?;
    let object = format!("{MODELS}/lists/{}", Digest::of(&text));
    store.put_changed(&object, text)?;
    Ok(object)
}

pub(super) fn listed(model: ModelFiles, digests: &FileDigests) -> Result<ListedModel, CoreError> {
    let digest = digests.of_model(&model)?;
    let files = match model.path.is_dir() {
        true => (model.files_read)(&model.path).map_err(|source| CoreError::Model {
            path: model.path.clone(),
            source,
        })?,
        false => vec![model.path],
    };
    let file = |path: PathBuf| {
        let about = std::fs::metadata(&path).map_err(|e| CoreError::from_io(&path, e))?;
        let digest = digests.of(&path)?;
        Ok(ListedFile {
            path,
            bytes: about.len(),
            digest,
        })
    };
    let files: Result<Vec<ListedFile>, CoreError> = files.into_iter().map(file).collect();
    Ok(ListedModel {
        label: model.label,
        digest,
        files: files?,
    })
}

/// Publishes a file, unless it is published: in a folder its bytes are looked at again where they may have changed, in a bucket its size.
pub(super) fn put(
    store: &Store,
    file: &ListedFile,
    digests: &FileDigests,
) -> Result<(), CoreError> {
    let object = object_of(file.digest);
    let there = store.size(&object)? == Some(file.bytes);
    let whole = || match store.bucket() {
        Some(_) => Ok(true),
        None => Ok(digests.of(&store.local_path(&object))? == file.digest),
    };
    if there && whole()? {
        return Ok(());
    }
    if file.bytes > SMALL {
        let (path, bytes) = (file.path.display(), size(file.bytes));
        tracing::info!("publishing {path} ({bytes}) for the machines' caches");
    }
    store.put_file(&file.path, &object)
}
