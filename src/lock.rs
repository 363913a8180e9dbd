//! One run at a time on a folder: the file `lock` in it, which says who runs here. A run in a bucket has a [`lease`].
//!
//! Two things hold a run's place. A file lock, which the kernel releases however the run ends: on one machine, and on file
//! systems whose locks reach other machines, it decides at once. And a lease for those whose locks do not: the holder writes
//! the file anew every [`RENEWAL`], and who finds it written less than [`LEASE`] ago by another machine is refused, although
//! the file lock was free. After that time the holder is gone, and its place is taken. Both times are those that the folder's
//! file system gives to files; clocks of two machines are never compared.
//!
//! A holder whose place was taken (its machine slept, its link was cut) sees it at its next renewal and ends at once. What it
//! commits until then harms nothing: of two records of one task the first counts.

mod lease;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use laioncele_core::CoreError;
use laioncele_core::store::Store;
use laioncele_core::task::{host_name, time_text};
use serde::{Deserialize, Serialize};

use crate::failure::Exit;
use crate::output;

use lease::Lease;

/// How often a holder shows that it lives.
const RENEWAL: Duration = Duration::from_secs(10);
/// How long another machine's holder that shows nothing still counts as alive.
const LEASE: Duration = Duration::from_mins(1);
/// Longest text of a lock file that is read.
const MAX_TEXT: u64 = 4096;

/// A run's place, in a folder or a bucket, held until it is dropped or the process exits.
pub(crate) struct Place {
    _folder: Option<Lock>,
    _bucket: Option<Lease>,
}

impl Place {
    /// Takes the place of the run in `store`, which `output` names.
    ///
    /// # Errors
    /// [`CoreError::Locked`] with the holder; what access to the folder or bucket says.
    pub(crate) fn take(store: &Store, output: &Path) -> Result<Self, CoreError> {
        let lease = store.bucket().map(|bucket| Lease::take(store, bucket));
        let bucket = lease.transpose()?;
        let folder = match &bucket {
            Some(_) => None,
            None => Some(Lock::take(output)?),
        };
        Ok(Self {
            _folder: folder,
            _bucket: bucket,
        })
    }
}

/// A lock on a run folder.
struct Lock {
    file: File,
    renewal: Option<(Sender<()>, JoinHandle<()>)>,
}

/// Who holds a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    host: String,
    process: u32,
    user: String,
    /// When its run began, as RFC 3339.
    since: String,
}

impl Lock {
    /// Takes the lock of the run folder `output`.
    ///
    /// # Errors
    /// [`CoreError::Locked`] with the holder, or [`CoreError::Io`].
    fn take(output: &Path) -> Result<Self, CoreError> {
        Self::take_as(output, Holder::this_process(), RENEWAL, LEASE)
    }

    fn take_as(
        output: &Path,
        own: Holder,
        renewal: Duration,
        lease: Duration,
    ) -> Result<Self, CoreError> {
        let path = output.join("lock");
        let io = |e| CoreError::from_io(&path, e);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(io)?;
        let free = match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(error)) => return Err(io(error)),
        };
        let found = read(&mut file).map_err(io)?;
        let here = found.as_ref().is_none_or(|holder| holder.host == own.host);
        let silent = silence(output, &file).map_err(io)?;
        if !free || (!here && silent < lease) {
            let until = free.then(|| lease.saturating_sub(silent));
            return Err(refused(output, found, until));
        }
        let text = own.text();
        write(&mut file, &text).map_err(io)?;
        let mut lock = Self {
            file,
            renewal: None,
        };
        lock.renew_every(renewal, path.clone(), text).map_err(io)?;
        Ok(lock)
    }

    /// Starts the thread that shows that this process lives.
    fn renew_every(&mut self, renewal: Duration, path: PathBuf, text: String) -> io::Result<()> {
        let (sender, stop) = channel();
        let file = self.file.try_clone()?;
        let thread = std::thread::Builder::new().name("lease".to_owned());
        let thread = thread.spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(renewal) {
                // A disk that fails now fails the run where it writes.
                match fs::read_to_string(&path) {
                    Ok(found) if found != text => lost(&path, &found),
                    _ => drop(file.write_all_at(text.as_bytes(), 0)),
                }
            }
        })?;
        self.renewal = Some((sender, thread));
        Ok(())
    }
}

impl Drop for Lock {
    /// Leaves the file empty: nobody waits for this process.
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.renewal.take() {
            drop(stop);
            drop(thread.join());
        }
        // What cannot be emptied is stale soon, and is this machine's at once.
        drop(self.file.set_len(0));
    }
}

impl Holder {
    fn this_process() -> Self {
        let user = ["USER", "LOGNAME"]
            .iter()
            .find_map(|v| std::env::var(v).ok());
        let number = || format!("uid {}", rustix::process::getuid().as_raw());
        Self {
            host: host_name(),
            process: std::process::id(),
            user: user.filter(|user| !user.is_empty()).unwrap_or_else(number),
            since: time_text(SystemTime::now()),
        }
    }

    fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Who the file says holds the folder; none where it is empty or of another form.
fn read(file: &mut File) -> io::Result<Option<Holder>> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0))?;
    match file.take(MAX_TEXT).read_to_string(&mut text) {
        Ok(_) => Ok(serde_json::from_str(&text).ok()),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
        Err(error) => Err(error),
    }
}

fn write(file: &mut File, text: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.write_all_at(text.as_bytes(), 0)
}

/// How long ago the file was written, by the clock of its file system: that of a file written now.
fn silence(folder: &Path, file: &File) -> io::Result<Duration> {
    let written = file.metadata()?.modified()?;
    let probe = folder.join(format!("lock-{}", std::process::id()));
    let now = File::create(&probe).and_then(|probe| probe.metadata()?.modified());
    drop(fs::remove_file(&probe));
    Ok(now?.duration_since(written).unwrap_or_default())
}

fn refused(output: &Path, found: Option<Holder>, free_in: Option<Duration>) -> CoreError {
    let holder = match found {
        Some(Holder {
            host,
            process,
            user,
            since,
        }) => format!("process {process} of {user} on {host}, since {since}"),
        None => "a process that has not said who it is".to_owned(),
    };
    let wait = match free_in {
        None => "wait for it".to_owned(),
        Some(time) => format!(
            "wait for it, or, if that machine is gone, {} seconds",
            time.as_secs() + 1
        ),
    };
    CoreError::Locked {
        path: output.to_owned(),
        holder,
        wait,
    }
}

/// Ends the process whose place another has taken.
fn lost(path: &Path, found: &str) -> ! {
    output::message(&format!(
        "error: {} was taken over by another laioncele while this one was silent: {found}",
        path.display()
    ));
    std::process::exit(Exit::Environment.code().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(host: &str) -> Holder {
        Holder {
            host: host.to_owned(),
            process: 7,
            user: "anna".to_owned(),
            since: "2026-11-30T08:00:00Z".to_owned(),
        }
    }

    fn take(folder: &Path, host: &str, lease: Duration) -> Result<Lock, CoreError> {
        Lock::take_as(folder, on(host), Duration::from_mins(10), lease)
    }

    fn holder(taken: Result<Lock, CoreError>) -> (String, String) {
        match taken {
            Err(CoreError::Locked { holder, wait, .. }) => (holder, wait),
            other => panic!("not refused: {:?}", other.err()),
        }
    }

    #[test]
    fn a_second_run_is_told_who_holds_the_folder_and_since_when() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let first = Lock::take(folder.path()).expect("free");
        let (said, wait) = holder(Lock::take(folder.path()));
        let own = Holder::this_process();
        let expected = format!("process {} of {} on {}", own.process, own.user, own.host);
        assert!(
            said.starts_with(&expected) && said.contains(", since 2"),
            "{said}"
        );
        assert_eq!(wait, "wait for it");
        drop(first);
        assert!(Lock::take(folder.path()).is_ok());
        Ok(())
    }

    /// What a killed run leaves: its text, and no lock.
    #[test]
    fn a_dead_holder_of_this_machine_is_followed_at_once() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("lock"), on("here").text())?;
        assert!(take(folder.path(), "here", LEASE).is_ok());
        Ok(())
    }

    #[test]
    fn a_silent_holder_of_another_machine_is_followed_after_its_lease() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("lock"), on("there").text())?;
        let (said, wait) = holder(take(folder.path(), "here", LEASE));
        assert_eq!(
            said,
            "process 7 of anna on there, since 2026-11-30T08:00:00Z"
        );
        assert!(wait.contains("if that machine is gone, "), "{wait}");
        let long_ago = SystemTime::now() - 2 * LEASE;
        let file = OpenOptions::new()
            .write(true)
            .open(folder.path().join("lock"))?;
        file.set_modified(long_ago)?;
        assert!(take(folder.path(), "here", LEASE).is_ok());
        Ok(())
    }

    #[test]
    fn a_holder_that_lives_is_not_followed_after_its_lease() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("lock");
        let renewal = Duration::from_millis(1);
        let _first = Lock::take_as(folder.path(), on("there"), renewal, LEASE).expect("free");
        File::options()
            .write(true)
            .open(&path)?
            .set_modified(SystemTime::now() - 2 * LEASE)?;
        // The next renewal makes it young again, however late it comes.
        while SystemTime::now()
            .duration_since(fs::metadata(&path)?.modified()?)
            .is_ok_and(|age| age > LEASE)
        {
            std::thread::yield_now();
        }
        assert!(take(folder.path(), "here", LEASE).is_err());
        Ok(())
    }

    #[test]
    fn a_run_that_ends_leaves_its_place_to_any_machine() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        drop(take(folder.path(), "there", LEASE).expect("free"));
        assert!(take(folder.path(), "here", LEASE).is_ok());
        Ok(())
    }

    #[test]
    fn a_lock_file_of_another_form_is_no_holder() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        for text in [&b"4711\n"[..], b"\xff\xfe", b"{}"] {
            fs::write(folder.path().join("lock"), text)?;
            assert!(take(folder.path(), "here", LEASE).is_ok());
        }
        Ok(())
    }
}
