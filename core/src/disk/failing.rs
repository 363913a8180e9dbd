//! A disk that cannot be waited for: no record is created, and what waited for it waits on.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use crate::store::Store;

#[derive(Default)]
struct Failing {
    fails: AtomicBool,
    synced: AtomicUsize,
}

impl Failing {
    fn sync(&self) -> io::Result<()> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(io::Error::other("no answer"));
        }
        self.synced.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl Disk for Failing {
    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        LocalDisk.write(file, bytes)
    }
    fn sync_file(&self, file: &Path) -> io::Result<()> {
        LocalDisk.sync_file(file)?;
        self.sync()
    }
    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        self.sync()
    }
    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        LocalDisk.make_folder(folder)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        LocalDisk.rename(from, to)
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        LocalDisk.link(from, to)
    }
    fn remove(&self, file: &Path) -> io::Result<()> {
        LocalDisk.remove(file)
    }
}

#[test]
fn no_record_is_created_while_its_parts_cannot_be_put_on_the_disk() -> Result<(), CoreError> {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = Arc::new(Failing::default());
    let store = Store::on_disk(folder.path(), disk.clone())?;
    disk.fails.store(true, Ordering::Relaxed);
    for part in 0..20 {
        store.put(&format!("tables/t/{part}/x.parquet"), vec![1; 100])?;
    }
    let refused = store.create("ledger/s/0/x.json", "{}");
    let text = crate::error::chain(&refused.expect_err("the disk gives no answer"));
    assert!(
        text.contains("ledger/s/0/x.json") && text.contains("no answer"),
        "{text}"
    );
    assert!(!store.exists("ledger/s/0/x.json")?);
    disk.fails.store(false, Ordering::Relaxed);
    // A part of a failed task may be gone by now.
    store.delete("tables/t/7/x.parquet")?;
    assert_eq!(store.create("ledger/s/0/x.json", "{}")?, Created::Won);
    // At least 19 parts with their folders, `tables/t` and `tables`, the record and its four folders.
    let synced = disk.synced.load(Ordering::Relaxed);
    assert!(synced >= 19 + 20 + 2 + 1 + 4, "{synced}");
    let before = disk.synced.load(Ordering::Relaxed);
    store.create("ledger/s/0/y.json", "{}")?;
    let after = disk.synced.load(Ordering::Relaxed);
    assert_eq!(
        after - before,
        2,
        "the file and its folder: nothing waits any more"
    );
    Ok(())
}
