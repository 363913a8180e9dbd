//! The limits per host over all workers of a run: a folder of lock files.
//!
//! A slot of a host is a file that one worker has locked; the kernel frees it when the worker dies. A worker that holds the
//! lock deletes the file when it gives the slot back, so that the folder holds no more files than slots are in use and
//! hosts have a rest or a rate to keep.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a worker keeps a slot at most before it lets others have their turn.
const HELD_FOR: Duration = Duration::from_secs(1);
/// How long a worker that finds no slot free waits before it looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(25);
/// How long a worker that gave a slot back in favour of others leaves it to them.
const YIELD_FOR: Duration = Duration::from_millis(60);

/// Files that were not written for so long were left behind by workers that are gone.
const LEFT_BEHIND: Duration = Duration::from_hours(1);

/// The folder.
#[derive(Debug)]
pub(crate) struct Slots {
    folder: PathBuf,
    per_host: usize,
}

/// The slots of one host that this worker holds.
#[derive(Debug, Default)]
pub(crate) struct HostSlots {
    held: Vec<Slot>,
    not_before: Option<Instant>,
    /// When a request that was reserved may begin.
    reserved: Option<Instant>,
}

#[derive(Debug)]
struct Slot {
    path: PathBuf,
    // Locked as long as it is open.
    _file: File,
    since: Instant,
}

impl Slots {
    /// The folder, made where it is missing.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn new(folder: PathBuf, per_host: usize) -> std::io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let slots = Self { folder, per_host };
        slots.sweep()?;
        Ok(slots)
    }

    fn path(&self, host: &str, what: &str) -> PathBuf {
        let digest = blake3::hash(host.as_bytes()).to_hex();
        self.folder.join(format!("{}.{what}", &digest[..32]))
    }

    fn try_slot(&self, host: &str, now: Instant) -> Option<Slot> {
        (0..self.per_host).find_map(|number| {
            let path = self.path(host, &number.to_string());
            let file = open(&path).ok()?;
            (file.try_lock().is_ok() && is_named(&file)).then_some(())?;
            Some(Slot {
                path,
                _file: file,
                since: now,
            })
        })
    }

    /// Reserves the next request to `host` and returns how far off it is: reservations of all workers are `interval` apart.
    fn reserve(&self, host: &str, interval: Duration) -> std::io::Result<Duration> {
        let (mut file, now) = (owned(&self.path(host, "rate"))?, since_epoch());
        let at = read_time(&mut file)?.max(now);
        write_time(&mut file, at + interval)?;
        Ok(at.saturating_sub(now))
    }

    /// Notes that `host` wants to be left alone for so long.
    pub(crate) fn rest(&self, host: &str, wish: Duration) {
        let note = || -> std::io::Result<()> {
            let mut file = owned(&self.path(host, "rest"))?;
            let until = read_time(&mut file)?.max(since_epoch() + wish);
            write_time(&mut file, until)
        };
        if let Err(error) = note() {
            tracing::warn!(%error, host, "a rest cannot be told to other workers");
        }
    }

    /// How much longer `host` wants to be left alone.
    fn resting(&self, host: &str) -> Option<Duration> {
        let path = self.path(host, "rest");
        let mut file = File::open(&path).ok()?;
        let left = |file: &mut File| {
            let until = read_time(file).unwrap_or_default();
            Some(until.saturating_sub(since_epoch())).filter(|left| !left.is_zero())
        };
        if let Some(left) = left(&mut file) {
            return Some(left);
        }
        // Read again under the lock: another worker may just have written.
        if file.try_lock().is_ok() && left(&mut file).is_none() && is_named(&file) {
            let _ = std::fs::remove_file(&path);
        }
        None
    }

    /// Deletes what earlier workers left behind: files that nobody holds and that were not written for long.
    fn sweep(&self) -> std::io::Result<()> {
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let Ok(file) = File::open(&path) else {
                continue;
            };
            let age = file.metadata()?.modified()?.elapsed().unwrap_or_default();
            if age > LEFT_BEHIND && file.try_lock().is_ok() && is_named(&file) {
                std::fs::remove_file(&path)?;
            }
        }
        Ok(())
    }
}

impl HostSlots {
    /// Makes sure that there is a slot beside the `busy` ones that are in use, and that requests of all workers are
    /// `interval` apart.
    ///
    /// # Errors
    /// When to ask again.
    pub(crate) fn take(
        &mut self,
        slots: &Slots,
        host: &str,
        busy: usize,
        interval: Option<Duration>,
        now: Instant,
    ) -> Result<(), Instant> {
        if let Some(left) = slots.resting(host) {
            return Err(now + left);
        }
        if let Some(at) = interval.map(|i| self.reservation(slots, host, i, now))
            && at > now
        {
            return Err(at);
        }
        if self.held.len() > busy {
            return Ok(());
        }
        if let Some(not_before) = self.not_before.filter(|at| *at > now) {
            return Err(not_before);
        }
        match slots.try_slot(host, now) {
            Some(slot) => {
                self.held.push(slot);
                Ok(())
            }
            None => Err(now + LOOK_AGAIN),
        }
    }

    /// A request begins.
    pub(crate) fn begin(&mut self) {
        self.reserved = None;
    }

    fn reservation(
        &mut self,
        slots: &Slots,
        host: &str,
        interval: Duration,
        now: Instant,
    ) -> Instant {
        *self.reserved.get_or_insert_with(|| {
            let off = slots.reserve(host, interval).unwrap_or_else(|error| {
                tracing::warn!(%error, host, "the rate over all workers is not known");
                interval
            });
            now + off
        })
    }

    /// Gives back what is not in use: all of it if nothing waits, else what was held for long enough.
    pub(crate) fn give_back(&mut self, busy: usize, nothing_waits: bool, now: Instant) {
        while self.held.len() > busy {
            let old = |s: &Slot| now.saturating_duration_since(s.since) >= HELD_FOR;
            let Some(at) = self.held.iter().position(|s| nothing_waits || old(s)) else {
                break;
            };
            drop(self.held.swap_remove(at));
            if !nothing_waits {
                self.not_before = Some(now + YIELD_FOR);
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // The lock is still held, so that nobody else can mean this file by its name and hold it.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

/// The file, locked; waits for whoever has it.
fn owned(path: &Path) -> std::io::Result<File> {
    loop {
        let file = open(path)?;
        file.lock()?;
        if is_named(&file) {
            return Ok(file);
        }
    }
}

/// Whether the open file still has a name: the one that had it locked before us may have deleted it.
fn is_named(file: &File) -> bool {
    file.metadata().is_ok_and(|m| m.nlink() > 0)
}

fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// The time in the file, since 1970; zero where there is none.
fn read_time(file: &mut File) -> std::io::Result<Duration> {
    let mut bytes = [0; 8];
    file.seek(SeekFrom::Start(0))?;
    match file.read_exact(&mut bytes) {
        Ok(()) => Ok(Duration::from_micros(u64::from_le_bytes(bytes))),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(Duration::ZERO),
        Err(e) => Err(e),
    }
}

fn write_time(file: &mut File, time: Duration) -> std::io::Result<()> {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&micros.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(folder: &Path) -> Slots {
        Slots::new(folder.to_owned(), 2).expect("a folder")
    }

    #[test]
    fn two_workers_share_the_slots_of_a_host() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, other) = (slots(folder.path()), slots(folder.path()));
        let (mut a, mut b) = (HostSlots::default(), HostSlots::default());
        let now = Instant::now();
        assert_eq!(a.take(&one, "a.example", 0, None, now), Ok(()));
        assert_eq!(b.take(&other, "a.example", 0, None, now), Ok(()));
        assert!(a.take(&one, "a.example", 1, None, now).is_err());
        assert!(b.take(&other, "a.example", 1, None, now).is_err());
        assert_eq!(
            HostSlots::default().take(&other, "b.example", 0, None, now),
            Ok(())
        );
        b.give_back(0, true, now);
        assert_eq!(a.take(&one, "a.example", 1, None, now), Ok(()));
        a.give_back(0, true, now);
        let left = std::fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(left, 0, "files of slots that nobody holds");
    }

    #[test]
    fn a_slot_held_for_long_is_left_to_others_for_a_moment() {
        let folder = tempfile::tempdir().expect("a folder");
        let slots = slots(folder.path());
        let (mut host, start) = (HostSlots::default(), Instant::now());
        assert_eq!(host.take(&slots, "a.example", 0, None, start), Ok(()));
        host.give_back(0, false, start);
        assert_eq!(host.held.len(), 1, "kept, because more is waiting");
        let later = start + HELD_FOR;
        host.give_back(0, false, later);
        assert_eq!(
            host.take(&slots, "a.example", 0, None, later),
            Err(later + YIELD_FOR)
        );
        assert_eq!(
            host.take(&slots, "a.example", 0, None, later + YIELD_FOR),
            Ok(())
        );
    }

    #[test]
    fn a_rest_reaches_other_workers() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, other) = (slots(folder.path()), slots(folder.path()));
        let now = Instant::now();
        one.rest("a.example", Duration::from_mins(1));
        one.rest("a.example", Duration::from_secs(1));
        let again = HostSlots::default().take(&other, "a.example", 0, None, now);
        assert!(again.is_err_and(|at| at > now + Duration::from_secs(50)));
        one.rest("b.example", Duration::ZERO);
        assert_eq!(other.resting("b.example"), None);
        assert!(!other.path("b.example", "rest").exists());
    }

    #[test]
    fn requests_of_all_workers_are_an_interval_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, other) = (slots(folder.path()), slots(folder.path()));
        let interval = Duration::from_secs(10);
        let off = |slots: &Slots| slots.reserve("a.example", interval).expect("a file");
        assert_eq!(off(&one), Duration::ZERO);
        let second = off(&other);
        assert!(second > Duration::from_secs(5) && second <= interval);
        assert!(off(&one) > Duration::from_secs(15));
    }
}
