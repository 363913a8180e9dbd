//! The ONNX Runtime library: found, loaded once per process, never downloaded.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;

use crate::error::FaceError;

/// The variable that names the library's file; it goes before the search.
const VARIABLE: &str = "ORT_DYLIB_PATH";

/// Where `make onnxruntime` puts it, in the current folder, that of the program, or one above them.
const FOLDER: &str = ".onnxruntime";

/// The process's environment of the ONNX Runtime; loads the library at the first call, and again
/// after a failure.
pub(crate) fn environment() -> Result<Environment, FaceError> {
    static LOADED: Mutex<Option<Environment>> = Mutex::new(None);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = &*loaded {
        return Ok(environment.clone());
    }
    let fresh = load(&library()?)?;
    *loaded = Some(fresh.clone());
    Ok(fresh)
}

fn load(path: &Path) -> Result<Environment, FaceError> {
    let fail = |reason: String| FaceError::Runtime { reason };
    let builder = ort::init_from(path).map_err(|e| fail(e.to_string()))?;
    builder
        .with_name("laioncele")
        .with_telemetry(false)
        .build()
        .map_err(|e| fail(e.to_string()))
}

fn library() -> Result<PathBuf, FaceError> {
    if let Some(named) = std::env::var_os(VARIABLE).filter(|v| !v.is_empty()) {
        let path = PathBuf::from(named);
        if path.is_file() {
            // An absolute path: the loader takes a relative one from the program's folder.
            return Ok(std::path::absolute(&path).unwrap_or(path));
        }
        return Err(FaceError::Runtime {
            reason: format!("{VARIABLE} is {}, which is no file", path.display()),
        });
    }
    let program = std::env::current_exe()
        .ok()
        .and_then(|p| p.parent().map(Path::to_owned));
    let starts: Vec<_> = [std::env::current_dir().ok(), program]
        .into_iter()
        .flatten()
        .collect();
    let found = starts.iter().find_map(|folder| search_upward(folder));
    found.ok_or_else(|| FaceError::Runtime {
        reason: format!(
            "no {} in or above {}",
            file().display(),
            starts
                .iter()
                .map(|s| s.display().to_string())
                .collect::<Vec<_>>()
                .join(" or ")
        ),
    })
}

fn search_upward(folder: &Path) -> Option<PathBuf> {
    folder
        .ancestors()
        .map(|f| f.join(file()))
        .find(|f| f.is_file())
}

fn file() -> PathBuf {
    let name = format!(
        "{}onnxruntime{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    );
    Path::new(FOLDER).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_found_in_a_folder_above() -> std::io::Result<()> {
        let root = tempfile::tempdir()?;
        let deep = root.path().join("a/b");
        std::fs::create_dir_all(&deep)?;
        assert_eq!(search_upward(&deep), None);
        std::fs::create_dir(root.path().join(FOLDER))?;
        let library = root.path().join(file());
        std::fs::write(&library, b"")?;
        assert_eq!(search_upward(&deep), Some(library));
        Ok(())
    }
}
