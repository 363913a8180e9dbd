//! What was said of a task, whichever worker did it: `log/tasks/STEP/PARTITION.log` in the run's folder, or in this machine's scratch
//! folder of a run in a bucket.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use laioncele_core::spec::TaskSpec;
use laioncele_core::store::Store;
use laioncele_core::task::time_text;

/// Adds a line to a task's log: `who` says `text`. That it cannot be written hinders nothing.
pub(super) fn note(store: &Store, spec: &TaskSpec, who: &str, text: &str) {
    let path = format!("log/tasks/{}/{}.log", spec.step, spec.partition);
    let path = store.local_path(&path);
    let time = time_text(SystemTime::now());
    // A text of several lines stays one entry.
    let text = text.trim_end().replace('\n', "\n    ");
    if let Err(error) = append(&path, &format!("{time} {who}: {text}\n")) {
        tracing::debug!(path = %path.display(), %error, "a task's log was not written");
    }
}

fn append(path: &Path, entry: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(entry.as_bytes())
}
