//! A power cut at every point of what a few tasks write: whatever the disk had by then, each record that is there names
//! parts that are whole.
//!
//! The steps of the writes are recorded and played again on an imagined disk that does as little as it may: a file keeps what
//! it had when it was last synced and perhaps a piece of the rest, and of the names that were given or taken in a folder
//! since that was last synced the first few count, each folder by itself.

use std::collections::BTreeMap;

use super::*;
use crate::digest::Digest;
use crate::ledger::Ledger;
use crate::part_list::PartList;
use crate::partition::Partition;
use crate::store::Store;
use crate::table::{TableId, UniquePhoto};
use crate::testing::StepHarness;
use crate::{
    CoreError, ImageId, Manifest, NameId, Partitioning, StageError, StageName, Step, StepSpec,
    Task, Unit,
};

/// Numbers that look like chance, the same in every run of the test.
struct Dice(u64);

impl Dice {
    /// A number up to and with `most`.
    fn up_to(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % (most as u64 + 1)) as usize
    }
}

#[derive(Clone, Debug)]
enum Did {
    Write(PathBuf, Vec<u8>),
    SyncFile(PathBuf, Vec<u8>),
    SyncFolder(PathBuf),
    MakeFolder(PathBuf),
    Rename(PathBuf, PathBuf),
    Link(PathBuf, PathBuf),
    Remove(PathBuf),
}

/// The machine's disk, and what was done to it.
#[derive(Default)]
struct Recording(Mutex<Vec<Did>>);

impl Recording {
    fn note(&self, did: Did) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(did);
    }
}

impl Disk for Recording {
    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        LocalDisk.write(file, bytes)?;
        self.note(Did::Write(file.to_owned(), bytes.to_vec()));
        Ok(())
    }

    fn sync_file(&self, file: &Path) -> io::Result<()> {
        let bytes = fs::read(file)?;
        self.note(Did::SyncFile(file.to_owned(), bytes));
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.note(Did::SyncFolder(folder.to_owned()));
        Ok(())
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        LocalDisk.make_folder(folder)?;
        self.note(Did::MakeFolder(folder.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        // A part that was written as its rows came: the recording has not seen its bytes.
        if !self.knows(from) {
            self.note(Did::Write(from.to_owned(), fs::read(from)?));
        }
        LocalDisk.rename(from, to)?;
        self.note(Did::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        LocalDisk.link(from, to)?;
        self.note(Did::Link(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        LocalDisk.remove(file)?;
        self.note(Did::Remove(file.to_owned()));
        Ok(())
    }
}

impl Recording {
    fn knows(&self, file: &Path) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .any(|did| matches!(did, Did::Write(path, _) | Did::SyncFile(path, _) if path == file))
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Node {
    Folder,
    File(usize),
}

/// Names given and taken in one folder, in order: a name and what it means now.
type Names = Vec<(PathBuf, Option<Node>)>;

/// An imagined disk.
#[derive(Default)]
struct Imagined {
    /// What a process sees.
    seen: BTreeMap<PathBuf, Node>,
    written: Vec<Vec<u8>>,
    /// What a power cut leaves at least.
    safe: BTreeMap<PathBuf, Node>,
    safe_bytes: BTreeMap<usize, Vec<u8>>,
    /// By folder, what it may leave besides.
    unsafe_names: BTreeMap<PathBuf, Names>,
}

impl Imagined {
    fn play(&mut self, did: &Did) {
        match did {
            Did::Write(path, bytes) => {
                self.written.push(bytes.clone());
                self.point(path, Some(Node::File(self.written.len() - 1)));
            }
            Did::SyncFile(path, bytes) => {
                if !self.seen.contains_key(path) {
                    self.play(&Did::Write(path.clone(), bytes.clone()));
                }
                if let Some(Node::File(number)) = self.seen.get(path) {
                    self.safe_bytes.insert(*number, bytes.clone());
                }
            }
            Did::SyncFolder(folder) => {
                for (path, node) in self.unsafe_names.remove(folder).unwrap_or_default() {
                    keep(&mut self.safe, path, node);
                }
            }
            Did::MakeFolder(path) => {
                if !self.seen.contains_key(path) {
                    self.point(path, Some(Node::Folder));
                }
            }
            Did::Rename(from, to) => {
                let node = self.seen.get(from).copied();
                self.point(to, node);
                self.point(from, None);
            }
            Did::Link(from, to) => {
                let node = self.seen.get(from).copied();
                self.point(to, node);
            }
            Did::Remove(path) => self.point(path, None),
        }
    }

    fn point(&mut self, path: &Path, node: Option<Node>) {
        keep(&mut self.seen, path.to_owned(), node);
        let folder = path.parent().expect("a folder").to_owned();
        let names = self.unsafe_names.entry(folder).or_default();
        names.push((path.to_owned(), node));
    }

    /// What a power cut leaves now, below `root` of the recording, written below `target`.
    fn cut(&self, root: &Path, target: &Path, dice: &mut Dice) {
        let mut names = self.safe.clone();
        for more in self.unsafe_names.values() {
            let count = dice.up_to(more.len());
            for (path, node) in &more[..count] {
                keep(&mut names, path.clone(), *node);
            }
        }
        // Sorted by path: a folder comes before what is in it, and what is in a lost folder is lost.
        for (path, node) in names {
            let place = target.join(path.strip_prefix(root).expect("below the root"));
            match node {
                Node::Folder => drop(fs::create_dir(place)),
                Node::File(number) => drop(fs::write(place, self.left_of(number, dice))),
            }
        }
    }

    fn left_of(&self, number: usize, dice: &mut Dice) -> Vec<u8> {
        if let Some(bytes) = self.safe_bytes.get(&number) {
            return bytes.clone();
        }
        let bytes = &self.written[number];
        bytes[..dice.up_to(bytes.len())].to_vec()
    }
}

fn keep(names: &mut BTreeMap<PathBuf, Node>, path: PathBuf, node: Option<Node>) {
    match node {
        Some(node) => drop(names.insert(path, node)),
        None => drop(names.remove(&path)),
    }
}

/// Writes one part whole, one as its rows come, and drops a row.
struct TwoParts;

const SPEC: StepSpec = StepSpec {
    name: "two-parts",
    stage: StageName::DedupeImages,
    version: 1,
    partitioning: Partitioning::Buckets,
    reads: &[],
    writes: &[TableId::UniquePhotos],
};

impl Step for TwoParts {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn settings(&self, _: &Manifest) -> Result<serde_json::Value, CoreError> {
        Ok(serde_json::Value::Null)
    }

    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let photo = |id| UniquePhoto {
            name_id: NameId(1),
            image_id: ImageId(id),
            average_hash: id,
            copies: 0,
        };
        task.write(vec![photo(1), photo(2)])?;
        let mut writer = task.part_writer::<UniquePhoto>(10)?;
        writer.add(&crate::Row::to_batch(
            vec![photo(3)],
            task.embedding_dims(),
        )?)?;
        let partition = task.partition().clone();
        task.write_part::<UniquePhoto>(&partition, writer)?;
        task.drop_row(Unit::Image, 4, None, crate::DropReason::Corrupt, None);
        task.balance(Unit::Image, 4, 3);
        Ok(())
    }
}

/// What two tasks do to the disk, the second of which reads a list.
fn record(root: &Path, durability: Durability) -> Vec<Did> {
    let disk = Arc::new(Recording::default());
    let mut harness = StepHarness::new(root, "").expect("a harness");
    let store = Store::on_disk(&root.join("run"), disk.clone()).expect("a store");
    harness.store = store.with_durability(durability);
    let first = harness.run(&TwoParts, &Partition::Bucket(0), Vec::new());
    let first = first.expect("a record");
    let list = PartList::new(TableId::UniquePhotos, first.outputs);
    list.store(&harness.store).expect("stored");
    let mut second = harness.task(&TwoParts, &Partition::Bucket(1), Vec::new());
    let task = second.as_mut().expect("a task");
    task.read_also(list.reference().clone());
    let mut task = second.expect("a task");
    TwoParts.run(&mut task).expect("it runs");
    task.commit().expect("a record");
    let mut all = disk.0.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut *all)
}

/// What is wrong with the run in `folder`.
fn lies(folder: &Path) -> Vec<String> {
    let store = Store::local(folder).expect("a store");
    let ledger = Ledger::new(store.clone());
    let records = match ledger.all() {
        Ok(records) => records,
        Err(error) => return vec![error.to_string()],
    };
    let mut lies = Vec::new();
    for record in records {
        let inputs = ledger.inputs(&record).unwrap_or_else(|error| {
            lies.push(error.to_string());
            Vec::new()
        });
        for part in record.outputs.iter().chain(&inputs) {
            match store.get(&part.path) {
                Ok(bytes) if Digest::of(&bytes) == part.digest => {}
                Ok(bytes) => lies.push(format!("{}: {} bytes", part.path, bytes.len())),
                Err(error) => lies.push(error.to_string()),
            }
        }
    }
    lies
}

/// Cuts at every point, several times each: the lies found, and the records seen in all.
fn cut_everywhere(durability: Durability) -> (Vec<String>, usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().canonicalize().expect("a path");
    let done = record(&root, durability);
    let mut dice = Dice(1);
    let (mut found, mut records) = (Vec::new(), 0);
    for end in 0..=done.len() {
        let mut disk = Imagined::default();
        done[..end].iter().for_each(|did| disk.play(did));
        for _ in 0..6 {
            let left = tempfile::tempdir().expect("a folder");
            disk.cut(&root.join("run"), left.path(), &mut dice);
            found.extend(lies(left.path()));
            let store = Store::local(left.path()).expect("a store");
            records += store.list("ledger").expect("listed").len();
        }
    }
    (found, records)
}

#[test]
fn after_a_power_cut_at_any_point_what_the_ledger_names_is_whole() {
    let (lies, records) = cut_everywhere(Durability::PowerCut);
    assert!(records > 12, "a test of {records} records");
    assert_eq!(lies, Vec::<String>::new());
}

/// The same cuts find lies where nothing waits for the disk: the test above can fail.
#[test]
fn without_waiting_for_the_disk_a_power_cut_leaves_lies() {
    let (lies, _) = cut_everywhere(Durability::Kill);
    assert!(!lies.is_empty());
}

/// Power may be cut after the last step, too: what was committed stays.
#[test]
fn a_record_is_on_the_disk_when_its_commit_returns() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().canonicalize().expect("a path");
    let mut disk = Imagined::default();
    for did in record(&root, Durability::PowerCut) {
        disk.play(&did);
    }
    let mut dice = Dice(1);
    for _ in 0..20 {
        let left = tempfile::tempdir().expect("a folder");
        disk.cut(&root.join("run"), left.path(), &mut dice);
        let records = Ledger::new(Store::local(left.path()).expect("a store")).all();
        assert_eq!(records.expect("whole records").len(), 2);
    }
}
