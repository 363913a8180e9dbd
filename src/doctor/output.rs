//! Whether a run's results can be written where they are to go.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use laioncele_core::store::url_of;

use super::{Check, Level};
use crate::run_folder::RunFile;

/// The folder or the place in a bucket that is named by `--output`.
pub(super) fn check(output: &Path) -> Check {
    let name = "output";
    let run = match RunFile::read(output) {
        Ok(run) => run,
        Err(failure) => {
            let check = Check::of(Level::Error, name, failure.message);
            return check.way_out(&failure.hints.join("; "));
        }
    };
    let holds = match run {
        Some(_) => "holds a run",
        None => "holds no run yet",
    };
    if url_of(output).is_some() {
        let text = format!("the bucket answers; {} {holds}", output.display());
        return Check::of(Level::Ok, name, text);
    }
    let place = nearest(output);
    if !place.is_dir() {
        let text = format!("{} is no folder", place.display());
        return Check::of(Level::Error, name, text).way_out("another --output");
    }
    match try_to_write(&place) {
        Ok(()) => {
            let text = format!("{} can be written to and {holds}", output.display());
            Check::of(Level::Ok, name, text)
        }
        Err(error) => {
            let text = format!("{} cannot be written to: {error}", place.display());
            Check::of(Level::Error, name, text)
                .way_out("another --output, or the right to write there")
        }
    }
}

/// Makes a file and takes it away again: rights alone say nothing of quotas and of systems that have no such files.
fn try_to_write(folder: &Path) -> io::Result<()> {
    let file = folder.join(format!(".laioncele-doctor-{}", std::process::id()));
    File::create_new(&file)?;
    fs::remove_file(&file)
}

/// The folder itself, or the nearest one above it that is there.
pub(super) fn nearest(folder: &Path) -> PathBuf {
    let there = folder.ancestors().find(|f| f.exists());
    match there {
        Some(found) => found.to_owned(),
        // All of a relative path is missing.
        None => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_yet_is_judged_by_the_nearest_above() {
        let folder = tempfile::tempdir().expect("a folder");
        let new = folder.path().join("a/b");
        assert_eq!(nearest(&new), folder.path());
        assert_eq!(nearest(Path::new("no-such/folder")), Path::new("."));
        let found = check(&new);
        assert!(
            found.ok
                && found
                    .detail
                    .ends_with("can be written to and holds no run yet"),
            "{found:?}"
        );
        // Files are no folders.
        let file = folder.path().join("file");
        fs::write(&file, "").expect("written");
        assert!(!check(&file.join("below")).ok);
        // Root has the right to write there, too.
        assert!(!check(Path::new("/proc/laioncele")).ok);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }
}
