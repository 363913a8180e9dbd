//! The ONNX Runtime library: found, loaded once per process, never downloaded.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;

use crate::error::FaceError;

/// The variable that names the library's file; it goes before the search.
const VARIABLE: &str = "ORT_DYLIB_PATH";

/// Where `make onnxruntime` puts it.
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

/// A place where the library is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimePlace {
    /// Which place that is, in words.
    pub place: String,
    /// The library's file there.
    pub found: Option<PathBuf>,
}

/// Where the ONNX Runtime library is looked for, in this order: the first that is found is taken.
///
/// # Errors
/// [`FaceError::Runtime`]: `ORT_DYLIB_PATH` names what is no file; then nothing else is looked at.
pub fn runtime_places() -> Result<Vec<RuntimePlace>, FaceError> {
    let mut places = vec![named()?];
    let program = std::env::current_exe().ok();
    let program = program.as_deref().and_then(Path::parent);
    let here = std::env::current_dir().ok();
    for start in [here.as_deref(), program].into_iter().flatten() {
        places.push(RuntimePlace {
            place: format!("{FOLDER}/ in or above {}", start.display()),
            found: search_upward(start),
        });
    }
    let environment = std::env::var_os("VIRTUAL_ENV").map(PathBuf::from);
    let own = program.and_then(Path::parent).map(Path::to_owned);
    let mut prefixes: Vec<PathBuf> = own.clone().into_iter().chain(environment).collect();
    prefixes.dedup();
    places.extend(prefixes.iter().map(|prefix| RuntimePlace {
        place: format!("the Python package onnxruntime of {}", prefix.display()),
        found: of_python(prefix),
    }));
    places.extend(own.iter().map(|prefix| {
        let file = prefix.join("lib").join(name());
        RuntimePlace {
            place: file.display().to_string(),
            found: file.is_file().then_some(file),
        }
    }));
    // A program that `cargo install` put elsewhere, and the checkout where `make onnxruntime` was called.
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    if let Ok(checkout) = checkout.canonicalize() {
        places.push(RuntimePlace {
            place: format!(
                "{FOLDER}/ in or above {}, where the program was built",
                checkout.display()
            ),
            found: search_upward(&checkout),
        });
    }
    Ok(places)
}

/// What [`VARIABLE`] names.
fn named() -> Result<RuntimePlace, FaceError> {
    let found = match std::env::var_os(VARIABLE).filter(|v| !v.is_empty()) {
        None => None,
        Some(named) => {
            let path = PathBuf::from(named);
            if !path.is_file() {
                return Err(FaceError::Runtime {
                    reason: format!("{VARIABLE} is {}, which is no file", path.display()),
                });
            }
            // An absolute path: the loader takes a relative one from the program's folder.
            Some(std::path::absolute(&path).unwrap_or(path))
        }
    };
    Ok(RuntimePlace {
        place: VARIABLE.to_owned(),
        found,
    })
}

fn library() -> Result<PathBuf, FaceError> {
    let places = runtime_places()?;
    let found = places.iter().find_map(|place| place.found.clone());
    found.ok_or_else(|| {
        let places: Vec<_> = places.into_iter().map(|place| place.place).collect();
        FaceError::Runtime {
            reason: format!("it is nowhere of: {}", places.join("; ")),
        }
    })
}

fn search_upward(folder: &Path) -> Option<PathBuf> {
    let file = Path::new(FOLDER).join(name());
    folder
        .ancestors()
        .map(|f| f.join(&file))
        .find(|f| f.is_file())
}

/// The library of the package `onnxruntime` that pip installed below `prefix`: of a virtual environment, or of a whole system. Of several
/// Python versions the newest.
fn of_python(prefix: &Path) -> Option<PathBuf> {
    let mut pythons = vec![(u32::MAX, prefix.join("Lib"))];
    for lib in ["lib", "lib64"].map(|lib| prefix.join(lib)) {
        for entry in std::fs::read_dir(lib).into_iter().flatten().flatten() {
            let folder = entry.file_name();
            let version = folder.to_str().and_then(|f| f.strip_prefix("python3."));
            if let Some(version) = version.and_then(|v| v.parse().ok()) {
                pythons.push((version, entry.path()));
            }
        }
    }
    pythons.sort_by(|a, b| b.cmp(a));
    let packages = |(_, python): &(u32, PathBuf)| {
        ["site-packages", "dist-packages"].map(|packages| python.join(packages))
    };
    let mut folders = pythons.iter().flat_map(packages);
    folders.find_map(|folder| library_in(&folder.join("onnxruntime/capi")))
}

/// `libonnxruntime.so.1.22.0` and the like, which PyPI's package holds; beside it lie libraries of other names.
fn library_in(capi: &Path) -> Option<PathBuf> {
    let name = name();
    let (stem, suffix) = (
        format!("{}onnxruntime.", std::env::consts::DLL_PREFIX),
        &name,
    );
    let entries = std::fs::read_dir(capi).into_iter().flatten().flatten();
    let is_library = |file: &str| {
        let versioned = file.starts_with(&stem) && file.ends_with(std::env::consts::DLL_SUFFIX);
        versioned || file.starts_with(suffix.as_str())
    };
    let named = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_library));
    named
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .max()
}

/// `libonnxruntime.so`
fn name() -> String {
    format!(
        "{}onnxruntime{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    )
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
        let library = root.path().join(FOLDER).join(name());
        std::fs::write(&library, b"")?;
        assert_eq!(search_upward(&deep), Some(library));
        Ok(())
    }

    #[test]
    fn the_library_of_a_virtual_environment_is_found() -> std::io::Result<()> {
        let root = tempfile::tempdir()?;
        assert_eq!(of_python(root.path()), None);
        let capi = |python: &str| {
            let packages = root.path().join("lib").join(python);
            packages.join("site-packages/onnxruntime/capi")
        };
        for python in ["python3.9", "python3.12", "python2.7"] {
            std::fs::create_dir_all(capi(python))?;
            std::fs::write(capi(python).join("onnxruntime_pybind11_state.so"), b"")?;
            std::fs::write(capi(python).join("libonnxruntime_providers_shared.so"), b"")?;
        }
        assert_eq!(of_python(root.path()), None);
        let file = match cfg!(target_os = "macos") {
            true => "libonnxruntime.1.22.0.dylib",
            false => "libonnxruntime.so.1.22.0",
        };
        for python in ["python3.9", "python3.12"] {
            std::fs::write(capi(python).join(file), b"")?;
        }
        assert_eq!(of_python(root.path()), Some(capi("python3.12").join(file)));
        Ok(())
    }
}
