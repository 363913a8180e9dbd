//! The program on machines that do not have it: published in the run's folder by its SHA-256, which any machine can compute, and fetched by a
//! few lines of sh before it is run. The coordinator then asks it for its BLAKE3 digest like any other worker.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use laioncele_core::CoreError;
use laioncele_core::error::chain;
use laioncele_core::store::Store;
use sha2::{Digest, Sha256};

use crate::failure::{Exit, Failure};

const SCRIPT: &str = include_str!("program.sh");
/// Where programs lie in the run's folder.
const PROGRAMS: &str = "cache/programs";
/// What the program is called on the machines.
const NAME: &str = "laioncele";

/// Publishes this program, and the ONNX Runtime that it would load here, in the run's folder. Returns the command that fetches them into
/// `cache`, a folder of the machine on which it is run, and runs the program.
///
/// # Errors
/// A run in a bucket, from which sh cannot fetch; files that cannot be read or published.
pub(crate) fn publish(store: &Store, cache: &Path) -> Result<Vec<String>, Failure> {
    if store.bucket().is_some() {
        let text = "--fetch-program: from a bucket the machines cannot fetch it";
        let hint = "install laioncele there, and say where with --program";
        return Err(Failure::new(Exit::Usage, text).hint(hint));
    }
    let this = std::env::current_exe().map_err(|e| {
        let text = format!("cannot find the program's own file: {e}");
        Failure::new(Exit::Environment, text)
    })?;
    let libraries = libraries()?.into_iter().map(|library| {
        let name = library.file_name().unwrap_or_default();
        (name.to_string_lossy().into_owned(), library)
    });
    let mut command = vec!["sh".to_owned(), "-c".to_owned(), SCRIPT.to_owned()];
    command.push(NAME.to_owned());
    let share = store.local_path(PROGRAMS);
    for folder in [cache, share.as_path()] {
        command.push(folder.to_string_lossy().into_owned());
    }
    for (name, file) in std::iter::once((NAME.to_owned(), this)).chain(libraries) {
        command.push(format!("{name}={}", put(store, &file)?));
    }
    command.push("--".to_owned());
    Ok(command)
}

/// The ONNX Runtime and the providers beside it; none where there is none, which is said by the stages that need it.
fn libraries() -> Result<Vec<PathBuf>, Failure> {
    let environment = |text: String| Failure::new(Exit::Environment, text);
    let places = laioncele_face::runtime_places().map_err(|e| environment(chain(&e)))?;
    let Some(library) = places.into_iter().find_map(|place| place.found) else {
        return Ok(Vec::new());
    };
    let folder = library.parent().unwrap_or(Path::new("."));
    let entries = fs::read_dir(folder).map_err(|e| CoreError::from_io(folder, e))?;
    let beside = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_provider = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.contains("onnxruntime_providers") && path.is_file()
    };
    let mut libraries: Vec<PathBuf> = beside.filter(is_provider).collect();
    libraries.sort();
    libraries.insert(0, library);
    Ok(libraries)
}

/// Publishes a file under its SHA-256, unless it is there whole. Returns the SHA-256 in hexadecimal digits.
fn put(store: &Store, file: &Path) -> Result<String, CoreError> {
    let digest = sha256(file).map_err(|e| CoreError::from_io(file, e))?;
    let object = format!("{PROGRAMS}/{digest}");
    let there = store.local_path(&object);
    if !sha256(&there).is_ok_and(|found| found == digest) {
        store.put_file(file, &object)?;
    }
    Ok(digest)
}

fn sha256(file: &Path) -> io::Result<String> {
    let (mut file, mut buffer) = (File::open(file)?, vec![0; 1 << 18]);
    let mut hasher = Sha256::new();
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    let digits = hasher.finalize();
    Ok(digits.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Output};

    use super::*;

    /// A share with a program that says where its libraries are, and the words that fetch and run it.
    fn share(folder: &Path) -> (Vec<String>, String) {
        let share = folder.join("share");
        fs::create_dir_all(&share).expect("a folder");
        let mut words = vec!["laioncele".to_owned()];
        words.extend(["here", "share"].map(|name| folder.join(name).display().to_string()));
        let mut first = String::new();
        let program = "#!/bin/sh\necho \"$ORT_DYLIB_PATH $*\"\n";
        for (name, text) in [
            ("laioncele", program),
            ("libonnxruntime.so", "the library"),
            ("libonnxruntime_providers_x.so", "a provider"),
        ] {
            let file = folder.join(name);
            fs::write(&file, text).expect("a file");
            let digest = sha256(&file).expect("a digest");
            fs::rename(&file, share.join(&digest)).expect("published");
            words.push(format!("{name}={digest}"));
            if first.is_empty() {
                first = digest;
            }
        }
        words.extend(["--", "worker", "a b"].map(str::to_owned));
        (words, first)
    }

    fn run(words: &[String]) -> Output {
        let mut command = Command::new("sh");
        command.env_remove("ORT_DYLIB_PATH");
        let output = command.args(["-c", SCRIPT]).args(words).output();
        output.expect("sh")
    }

    fn said(output: &Output) -> String {
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[test]
    fn what_was_fetched_is_run_and_what_is_damaged_fetched_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let (words, digest) = share(folder.path());
        let here = folder.path().join("here/programs").join(&digest);
        let wanted = format!("{}/libonnxruntime.so worker a b\n", here.display());
        assert_eq!(said(&run(&words)), wanted);
        // The share is needed no more, until something here is damaged.
        let (share, away) = (folder.path().join("share"), folder.path().join("away"));
        fs::rename(&share, &away).expect("moved");
        assert_eq!(said(&run(&words)), wanted);
        fs::write(here.join("laioncele"), "#!/bin/sh\necho torn").expect("damaged");
        assert!(!run(&words).status.success());
        fs::rename(&away, &share).expect("moved back");
        assert_eq!(said(&run(&words)), wanted);
        let mode = fs::metadata(here.join("laioncele")).expect("a file");
        assert_eq!(mode.permissions().mode() & 0o777, 0o755);
    }

    #[test]
    fn a_damaged_program_is_not_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let (words, digest) = share(folder.path());
        let object = folder.path().join("share").join(&digest);
        fs::write(object, "#!/bin/sh\necho another").expect("damaged");
        let output = run(&words);
        assert!(!output.status.success() && output.stdout.is_empty());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("is damaged"), "{text}");
    }

    #[test]
    fn workers_that_start_together_run_one_program() {
        let folder = tempfile::tempdir().expect("a folder");
        let (words, _) = share(folder.path());
        let outputs: Vec<Output> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..6).map(|_| scope.spawn(|| run(&words))).collect();
            let joined = threads.into_iter().map(|t| t.join().expect("no panic"));
            joined.collect()
        });
        let said: Vec<String> = outputs.iter().map(said).collect();
        assert!(said.iter().all(|text| *text == said[0]), "{said:?}");
    }
}
