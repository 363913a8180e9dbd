//! A run's place in a bucket: the object `lock`, which its holder writes anew every [`RENEWAL`], each time only over what it
//! wrote before.
//!
//! Who finds it written less than [`LEASE`] ago is refused; after that the holder is gone, and its place is taken by a put over
//! the version that was seen, so that of two that take it one wins. Ages are those that the store gives. On one machine the
//! kernel's lock on a file of the scratch folder decides, and a killed run is followed at once.
//!
//! The object is left empty by a run that ends, and as it is by one that is killed. Nobody deletes it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use laioncele_core::bucket::{Bucket, Version};
use laioncele_core::store::{Created, Store};
use laioncele_core::{CoreError, Digest};
use serde::{Deserialize, Serialize};

use super::{Holder, LEASE, RENEWAL, lost, refused};

/// The object.
const LOCK: &str = "lock";
/// The file on which the kernel's lock is, and which names this machine's scratch folder; under a name that is in no bucket.
const OF_MACHINE: &str = "log/machine";
/// Others that take or leave the place at the same time, until this one gives up.
const TRIES: u32 = 10;

/// A place in a bucket, held until it is dropped or the process exits.
pub(crate) struct Lease {
    /// The kernel's lock is its file's.
    _machine: File,
    renewal: Option<(Sender<()>, JoinHandle<Held>)>,
}

/// What the object says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Claim {
    #[serde(flatten)]
    holder: Holder,
    /// Which scratch folder it has.
    machine: String,
    /// How often it was renewed: each text differs from the one before, and so does its version.
    beat: u64,
}

/// The claim that stands, and its version.
struct Held {
    bucket: Arc<Bucket>,
    claim: Claim,
    version: Version,
}

impl Lease {
    /// Takes the place of the run in `store`, which is in `bucket`.
    ///
    /// # Errors
    /// [`CoreError::Locked`] with the holder, [`CoreError::Bucket`], [`CoreError::Io`].
    pub(super) fn take(store: &Store, bucket: &Arc<Bucket>) -> Result<Self, CoreError> {
        Self::take_as(store, bucket, Holder::this_process(), RENEWAL, LEASE)
    }

    fn take_as(
        store: &Store,
        bucket: &Arc<Bucket>,
        holder: Holder,
        renewal: Duration,
        lease: Duration,
    ) -> Result<Self, CoreError> {
        let Some((file, machine)) = of_this_machine(store)? else {
            let found = bucket.look(LOCK)?.and_then(|seen| claim(&seen.bytes));
            let holder = found.map(|claim| claim.holder);
            return Err(refused(bucket.url().as_ref(), holder, None));
        };
        let own = Claim {
            holder,
            machine,
            beat: 0,
        };
        let mut held = claimed(store, bucket, own, lease)?;
        // At once, so that a store without such puts is no surprise later.
        if !held.renew()? {
            return Err(refused(bucket.url().as_ref(), None, Some(lease)));
        }
        let (sender, stop) = channel();
        let thread = std::thread::Builder::new().name("lease".to_owned());
        let thread = thread.spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(renewal) {
                // What does not answer now fails the run where it writes.
                if let Ok(false) = held.renew() {
                    held.lost();
                }
            }
            held
        });
        let thread = thread.map_err(|e| CoreError::from_io(bucket.url().as_ref(), e))?;
        Ok(Self {
            _machine: file,
            renewal: Some((sender, thread)),
        })
    }
}

impl Drop for Lease {
    /// Leaves the object empty: nobody waits for this process.
    fn drop(&mut self) {
        let Some((stop, thread)) = self.renewal.take() else {
            return;
        };
        drop(stop);
        if let Ok(held) = thread.join() {
            // What cannot be emptied is stale soon, and is this machine's at once.
            let empty = Vec::new().into();
            drop(held.bucket.replace(LOCK, &empty, &held.version));
        }
    }
}

impl Held {
    /// Shows that this process lives; `false` where another has taken its place.
    fn renew(&mut self) -> Result<bool, CoreError> {
        self.claim.beat += 1;
        let text = self.claim.text().into();
        let renewed = self.bucket.replace(LOCK, &text, &self.version)?;
        let stands = renewed.is_some();
        self.version = renewed.unwrap_or_else(|| self.version.clone());
        Ok(stands)
    }

    fn lost(&self) -> ! {
        let found = self.bucket.look(LOCK).ok().flatten();
        let found = found.map_or_else(String::new, |seen| {
            String::from_utf8_lossy(&seen.bytes).into_owned()
        });
        lost(self.bucket.url().as_ref(), &found)
    }
}

impl Claim {
    fn text(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Who the object says holds the place; none where it is empty or of another form.
fn claim(bytes: &[u8]) -> Option<Claim> {
    serde_json::from_slice(bytes).ok()
}

/// Writes `own` where nobody holds the place any more.
fn claimed(
    store: &Store,
    bucket: &Arc<Bucket>,
    own: Claim,
    lease: Duration,
) -> Result<Held, CoreError> {
    let mut others = None;
    for _ in 0..TRIES {
        if store.create(LOCK, own.text())? == Created::Won {
            let seen = bucket.look(LOCK)?.filter(|seen| seen.bytes == own.text());
            if let Some(seen) = seen {
                return Ok(held(bucket, own, seen.version));
            }
        }
        let Some(seen) = bucket.look(LOCK)? else {
            continue;
        };
        let found = claim(&seen.bytes);
        let here = found
            .as_ref()
            .is_none_or(|found| found.machine == own.machine);
        if !here && seen.age < lease {
            let wait = lease.saturating_sub(seen.age);
            let holder = found.map(|found| found.holder);
            return Err(refused(bucket.url().as_ref(), holder, Some(wait)));
        }
        if let Some(version) = bucket.replace(LOCK, &own.text().into(), &seen.version)? {
            return Ok(held(bucket, own, version));
        }
        others = found.map(|found| found.holder);
    }
    Err(refused(bucket.url().as_ref(), others, Some(lease)))
}

fn held(bucket: &Arc<Bucket>, claim: Claim, version: Version) -> Held {
    Held {
        bucket: bucket.clone(),
        claim,
        version,
    }
}

/// The file of this machine's scratch folder with the kernel's lock on it, and its name; none where a process has the lock.
fn of_this_machine(store: &Store) -> Result<Option<(File, String)>, CoreError> {
    let path = store.local_path(OF_MACHINE);
    let io = |e: io::Error| CoreError::from_io(&path, e);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(io)?;
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let file = options.open(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(io(error)),
    }
    let name = fs::read_to_string(&path).map_err(io)?;
    if !name.is_empty() {
        return Ok(Some((file, name)));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_nanos();
    let holder = Holder::this_process();
    let name = Digest::of(format!("{now} {holder:?}").as_bytes()).short();
    fs::write(&path, &name).map_err(io)?;
    Ok(Some((file, name)))
}
