//! How the store writes to a local folder: in an order that no power cut turns into a lie.
//!
//! An object is written whole under a scratch name, put on the disk, and only then named; after that its folder is put on
//! the disk. Parts are named at once and put on the disk later, all at the same time: before the next object that is no part
//! gets its name, which is the record that names them. So, whatever is cut off when, there is either no record or one
//! whose parts are whole. With [`Durability::Kill`] nothing waits for the disk: that
//! outlives a kill of any process, not a power cut.
//!
//! Scratch names lie in `cache/scratch`; what a kill leaves there is deleted when the next run begins.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::CoreError;
use crate::fail_point;

/// Where scratch files lie, below the run's folder.
pub const SCRATCH: &str = "cache/scratch";

/// What a put-if-absent found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// Nothing was there; ours is now.
    Won,
    /// Something was there already and stays.
    Lost,
}

/// What the store's writes outlive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A power cut: an object that is there is on the disk, and so is all that was written before it.
    PowerCut,
    /// A kill of any process. The system writes to the disk when it likes: a power cut may leave records whose parts are
    /// empty.
    Kill,
}

/// The steps that change a disk. Tests record them.
pub(crate) trait Disk: Send + Sync {
    /// Writes a new file.
    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Puts a file's bytes on the disk.
    fn sync_file(&self, file: &Path) -> io::Result<()>;
    /// Puts a folder's names on the disk.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Makes a folder; that it is there is no error.
    fn make_folder(&self, folder: &Path) -> io::Result<()>;
    /// Gives a file another name, over what has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name, which must be free.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Takes a name away.
    fn remove(&self, file: &Path) -> io::Result<()>;
}

/// The machine's own.
pub(crate) struct LocalDisk;

impl Disk for LocalDisk {
    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut options = File::options();
        let mut file = options.write(true).create_new(true).open(file)?;
        file.write_all(bytes)
    }

    fn sync_file(&self, file: &Path) -> io::Result<()> {
        File::open(file)?.sync_data()
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        match fs::create_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        fs::remove_file(file)
    }
}

/// Writes objects below a folder.
pub(crate) struct Writer {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    durability: Durability,
    state: Mutex<State>,
}

/// What this process knows of the disk.
#[derive(Default)]
struct State {
    /// Folders whose own names are on the disk: another process may have made a folder and died before its name was safe.
    settled: HashSet<PathBuf>,
    unsynced: Unsynced,
}

/// What must be on the disk before the next record.
#[derive(Default)]
struct Unsynced {
    files: Vec<PathBuf>,
    folders: BTreeSet<PathBuf>,
    /// Folders whose names are on the disk with these.
    made: Vec<PathBuf>,
}

/// When an object is put on the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// Whenever the system likes.
    Never,
    /// With the next object that is put there now.
    Later,
    /// Before it gets its name.
    Now,
}

/// Files and folders that are put on the disk at the same time: a file system then has one wait for all of them.
const SYNCS_AT_ONCE: usize = 8;

impl Writer {
    /// A writer below `root`, which exists.
    pub(crate) fn new(root: PathBuf, disk: Arc<dyn Disk>, durability: Durability) -> Self {
        let state = State {
            settled: HashSet::from([root.clone()]),
            unsynced: Unsynced::default(),
        };
        Self {
            root,
            disk,
            durability,
            state: Mutex::new(state),
        }
    }

    /// The same below the same folder, with another rule.
    pub(crate) fn with_durability(&self, durability: Durability) -> Self {
        Self::new(self.root.clone(), self.disk.clone(), durability)
    }

    /// Writes the object `path`, over what is there.
    ///
    /// # Errors
    /// [`CoreError::Io`], as of all that follow.
    pub(crate) fn put(&self, path: &str, bytes: &[u8]) -> Result<(), CoreError> {
        self.wrapped(path, || {
            let staged = self.stage(path, bytes)?;
            self.name(path, &staged, |target| self.disk.rename(&staged, target))
                .inspect_err(|_| drop(self.disk.remove(&staged)))
        })
    }

    /// Writes the object `path` where none is.
    pub(crate) fn create(&self, path: &str, bytes: &[u8]) -> Result<Created, CoreError> {
        self.wrapped(path, || {
            let staged = self.stage(path, bytes)?;
            let link = |target: &Path| match self.disk.link(&staged, target) {
                Ok(()) => Ok(Created::Won),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Created::Lost),
                Err(error) => Err(error),
            };
            let created = self.name(path, &staged, link);
            // A second name of the object, or of nothing: a run that begins deletes it too.
            drop(self.disk.remove(&staged));
            created
        })
    }

    /// Writes the object `path` with the bytes of `source`, over what is there.
    pub(crate) fn copy(&self, mut source: File, path: &str) -> Result<(), CoreError> {
        self.wrapped(path, || {
            self.reach("begun", path)?;
            let staged = self.unused(|staged| File::create_new(staged).map(drop))?;
            let target = File::options().write(true).open(&staged);
            let copied = target.and_then(|mut target| io::copy(&mut source, &mut target));
            let staged_now = copied.and_then(|_| self.reach("staged", path));
            staged_now
                .and_then(|()| self.name(path, &staged, |target| self.disk.rename(&staged, target)))
                .inspect_err(|_| drop(self.disk.remove(&staged)))
        })
    }

    /// Makes `file`, which lies on the same disk, the object `path`.
    pub(crate) fn adopt(&self, file: &Path, path: &str) -> Result<(), CoreError> {
        self.wrapped(path, || {
            self.reach("begun", path)?;
            self.reach("staged", path)?;
            self.name(path, file, |target| self.disk.rename(file, target))
        })
    }

    /// Gives the object `from` a second name, over what has it.
    pub(crate) fn link(&self, from: &str, to: &str) -> Result<(), CoreError> {
        let file = self.root.join(from);
        self.wrapped(to, || {
            self.reach("begun", to)?;
            let staged = self.unused(|staged| self.disk.link(&file, staged))?;
            let named = self.name(to, &staged, |target| self.disk.rename(&staged, target));
            // Renaming one name of a file to another of its names leaves both.
            drop(self.disk.remove(&staged));
            named
        })
    }

    /// Takes the object `path` away; that none is there is no error.
    pub(crate) fn delete(&self, path: &str) -> Result<(), CoreError> {
        self.wrapped(path, || {
            self.reach("delete", path)?;
            match self.disk.remove(&self.root.join(path)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            self.reach("deleted", path)
        })
    }

    fn wrapped<T>(&self, path: &str, work: impl FnOnce() -> io::Result<T>) -> Result<T, CoreError> {
        work().map_err(|source| CoreError::Io {
            path: self.root.join(path),
            source,
        })
    }

    /// A scratch file of `bytes`.
    fn stage(&self, path: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        self.reach("begun", path)?;
        let staged = self.unused(|staged| {
            let written = self.disk.write(staged, bytes);
            written.inspect_err(|error| {
                if error.kind() != io::ErrorKind::AlreadyExists {
                    drop(self.disk.remove(staged));
                }
            })
        })?;
        self.reach("staged", path).map(|()| staged)
    }

    /// Makes a scratch file by `make`, under a name that is free.
    fn unused(&self, make: impl Fn(&Path) -> io::Result<()>) -> io::Result<PathBuf> {
        let folder = self.root.join(SCRATCH);
        loop {
            let staged = folder.join(unused_name());
            match make(&staged) {
                Ok(()) => return Ok(staged),
                // Of a process of the same number, on another machine or before this one.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.is_dir() => {
                    fs::create_dir_all(&folder)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Names `file` `path` by `give`, with both on the disk when they must be. Others wait meanwhile: what they count on may
    /// be among what is put on the disk here.
    fn name<T>(
        &self,
        path: &str,
        file: &Path,
        give: impl FnOnce(&Path) -> io::Result<T>,
    ) -> io::Result<T> {
        let target = self.root.join(path);
        let folder = target.parent().unwrap_or(&self.root);
        let when = self.when(path);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.make(folder, when, &mut state)?;
        if when == When::Now {
            self.sync(file, &mut state)?;
        }
        self.reach("synced", path)?;
        let given = give(&target)?;
        self.reach("named", path)?;
        match when {
            When::Never => {}
            When::Later => {
                state.unsynced.folders.insert(folder.to_owned());
                state.unsynced.files.push(target);
            }
            When::Now => self.disk.sync_folder(folder)?,
        }
        self.reach("ended", path)?;
        Ok(given)
    }

    fn when(&self, path: &str) -> When {
        let below = |folders: &[&str]| folders.iter().any(|folder| path.starts_with(folder));
        if self.durability == Durability::Kill || below(&NOT_KEPT) {
            When::Never
        } else if below(&NAMED_BY_RECORDS) {
            When::Later
        } else {
            When::Now
        }
    }

    /// Makes `folder` and what is missing above it.
    fn make(&self, folder: &Path, when: When, state: &mut State) -> io::Result<()> {
        let State { settled, unsynced } = state;
        let below = |f: &&Path| f.starts_with(&self.root) && !settled.contains(*f);
        let mut unsure: Vec<&Path> = folder.ancestors().take_while(below).collect();
        if unsure.is_empty() && !folder.is_dir() {
            // Somebody deleted it meanwhile.
            unsure = folder.ancestors().take_while(|f| !f.is_dir()).collect();
        }
        for folder in unsure.into_iter().rev() {
            self.disk.make_folder(folder)?;
            if when == When::Never {
                continue;
            }
            unsynced.made.push(folder.to_owned());
            unsynced.folders.extend(folder.parent().map(Path::to_owned));
        }
        Ok(())
    }

    /// Puts `file` and all that waits for it on the disk.
    fn sync(&self, file: &Path, state: &mut State) -> io::Result<()> {
        let State { settled, unsynced } = state;
        let parts = unsynced.files.iter().map(|part| || self.sync_part(part));
        let folders = unsynced.folders.iter();
        let folders = folders.map(|folder| || self.disk.sync_folder(folder));
        let own = || self.disk.sync_file(file);
        let mut jobs: Vec<Job<'_>> = vec![Box::new(own)];
        jobs.extend(parts.map(|job| Box::new(job) as Job<'_>));
        jobs.extend(folders.map(|job| Box::new(job) as Job<'_>));
        at_once(jobs)?;
        settled.extend(unsynced.made.drain(..));
        *unsynced = Unsynced::default();
        Ok(())
    }

    /// A part that is gone belongs to a task that failed: no record will name it.
    fn sync_part(&self, part: &Path) -> io::Result<()> {
        match self.disk.sync_file(part) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            synced => synced,
        }
    }

    fn reach(&self, what: &str, path: &str) -> io::Result<()> {
        fail_point::reach(|| {
            let folder = path.split('/').next().unwrap_or_default();
            format!("{what}.{folder}")
        })
    }
}

/// Tasks at work: the run that wrote them is the only reader, and the next run deletes them.
const NOT_KEPT: [&str; 1] = ["queue/"];
/// What counts only once a record is there.
const NAMED_BY_RECORDS: [&str; 2] = ["tables/", "attempts/"];

type Job<'a> = Box<dyn FnOnce() -> io::Result<()> + Send + 'a>;

/// Does all jobs, [`SYNCS_AT_ONCE`] at a time.
fn at_once(jobs: Vec<Job<'_>>) -> io::Result<()> {
    if jobs.len() < 2 {
        return jobs.into_iter().try_for_each(|job| job());
    }
    let threads = jobs.len().min(SYNCS_AT_ONCE);
    let jobs = Mutex::new(jobs);
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let work = || std::iter::from_fn(next).try_for_each(|job| job());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        let joined = threads.into_iter().map(|thread| {
            let panicked = |panic| std::panic::resume_unwind(panic);
            thread.join().unwrap_or_else(panicked)
        });
        joined.fold(own, io::Result::and)
    })
}

/// A name that this process has given to no scratch file yet.
pub(crate) fn unused_name() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("{}-{number}", std::process::id())
}

#[cfg(test)]
mod failing;
#[cfg(test)]
mod replay;
