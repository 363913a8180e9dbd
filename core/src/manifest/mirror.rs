//! Models on a machine that keeps them elsewhere than the manifest says.

use std::path::{Component, Path, PathBuf};

use super::Manifest;
use crate::error::CoreError;
use crate::model_cache;
use crate::store::url_of;

impl Manifest {
    /// The same manifest on a machine that keeps files of models below `mirror`, each at its whole path there ([`mirrored`]).
    #[must_use]
    pub fn with_mirror(self, mirror: PathBuf) -> Self {
        Self {
            mirror: Some(mirror),
            ..self
        }
    }

    /// `path` of a model, or of a folder of models, as a path of this process: where this machine keeps it, if it does. What is at a url
    /// is fetched where no copy is here; on a machine with a mirror all that a task needs is in there.
    ///
    /// # Errors
    /// A url of which nothing can be fetched.
    pub fn resolve_model(&self, path: &Path) -> Result<PathBuf, CoreError> {
        let own = self.resolve(path);
        let kept = self.mirror.as_deref().map(|mirror| mirrored(mirror, &own));
        match kept {
            Some(kept) if kept.exists() || url_of(&own).is_some() => Ok(kept),
            _ => model_cache::local(&own),
        }
    }

    /// [`Manifest::resolve_model`] of a path that may not be given.
    ///
    /// # Errors
    /// As it.
    pub fn resolve_given(&self, path: Option<&Path>) -> Result<Option<PathBuf>, CoreError> {
        path.map(|path| self.resolve_model(path)).transpose()
    }
}

/// Where the file or folder `path` lies below `mirror`: at its whole path, or its url, of which `.` and `..` are taken by name.
pub fn mirrored(mirror: &Path, path: &Path) -> PathBuf {
    let mut below = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => below.push(name),
            Component::ParentDir => drop(below.pop()),
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    mirror.join(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[run]\nseed = 1\n[source]\npath = \"captions\"\n[source.columns]\nurl = \"URL\"\ncaption = \"TEXT\"\n\
                        [embedding_dims]\nname_tokens = 8\nname_channels = 128\nface = 512\nfeatures = 128\n";

    #[test]
    fn models_are_taken_from_where_a_machine_keeps_them() -> Result<(), CoreError> {
        let folder =
            tempfile::tempdir().map_err(|e| CoreError::from_io(Path::new("tempdir"), e))?;
        let mirror = folder.path();
        let kept = mirror.join("run/models/x");
        std::fs::create_dir_all(&kept).map_err(|e| CoreError::from_io(&kept, e))?;
        let manifest = Manifest::parse(Path::new("/run/here/m.toml"), TEXT)?;
        let models = Path::new(".././models");
        assert_eq!(
            manifest.resolve_model(models)?,
            Path::new("/run/here/.././models")
        );
        let manifest = manifest.with_mirror(mirror.to_owned());
        assert_eq!(manifest.resolve_model(models)?, mirror.join("run/models"));
        assert_eq!(manifest.resolve_model(&models.join("x"))?, kept);
        // What is not kept, and what is no model, is where the manifest says.
        for path in ["../models/y", "../../other"] {
            let path = Path::new(path);
            assert_eq!(manifest.resolve_model(path)?, manifest.resolve(path));
        }
        assert_eq!(manifest.resolve(models), Path::new("/run/here/.././models"));
        // Nobody asks a store for what was published, or was not.
        let url = Path::new("s3://no-such-bucket/models/y");
        let kept = manifest.resolve_model(url)?;
        assert_eq!(kept, mirror.join("s3:/no-such-bucket/models/y"));
        Ok(())
    }
}
