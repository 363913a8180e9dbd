//! Where the files are that come with the program: `manifests/` with the embedded world.

use std::env;
use std::path::{Path, PathBuf};

/// The environment variable that names the folder which holds `manifests/`.
pub(crate) const DATA: &str = "LAIONCELE_DATA";

/// The file or folder `path` that comes with the program: below the current folder as in a checkout, else below the folder that
/// `LAIONCELE_DATA` names, `share/laioncele` beside the program's `bin`, or the checkout that the program was built from. `path` itself
/// where it is nowhere.
pub(crate) fn shipped(path: &Path) -> PathBuf {
    let program = env::current_exe().ok();
    let prefix = program
        .as_deref()
        .and_then(|p| Some(p.parent()?.parent()?.join("share/laioncele")));
    let named = env::var_os(DATA).map(PathBuf::from);
    let built = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let folders = [named, prefix, Some(built)];
    find(path, Path::new(""), folders.into_iter().flatten())
}

fn find(path: &Path, here: &Path, folders: impl Iterator<Item = PathBuf>) -> PathBuf {
    if here.join(path).exists() {
        return path.to_owned();
    }
    let mut found = folders.map(|folder| folder.join(path));
    found
        .find(|path| path.exists())
        .unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_current_folder_comes_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let (here, there) = (folder.path().join("here"), folder.path().join("there"));
        for folder in [&here, &there] {
            std::fs::create_dir_all(folder.join("manifests")).expect("a folder");
        }
        let folders = || [folder.path().join("nowhere"), there.clone()].into_iter();
        let path = Path::new("manifests");
        assert_eq!(find(path, &here, folders()), path);
        std::fs::remove_dir(here.join("manifests")).expect("removed");
        assert_eq!(find(path, &here, folders()), there.join("manifests"));
        assert_eq!(find(Path::new("x"), &here, folders()), Path::new("x"));
    }
}
