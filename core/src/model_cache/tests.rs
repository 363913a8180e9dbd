//! Copies of objects in a store in memory.

use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};

use super::*;
use crate::file_digests::FileDigests;

const FILES: [(&str, &str); 3] = [
    ("m/config.json", "{}"),
    ("m/unet/weights", "012345"),
    ("m/empty", ""),
];

/// A bucket with a model, and a folder for copies.
struct World {
    folder: tempfile::TempDir,
    objects: Arc<dyn ObjectStore>,
    bucket: Bucket,
}

impl World {
    fn new() -> Self {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).build().expect("a runtime");
        let world = Self {
            folder: tempfile::tempdir().expect("a folder"),
            bucket: Bucket::of(objects.clone(), runtime, "s3://b"),
            objects,
        };
        for (name, text) in FILES {
            world.put(name, text);
        }
        world
    }

    fn put(&self, name: &str, text: &str) {
        let (path, bytes) = (ObjectPath::from(name), text.to_owned().into_bytes());
        let put = self.objects.put(&path, bytes.into());
        self.bucket.run(name, put).expect("put");
    }

    /// The copies as a new process sees them.
    fn cache(&self) -> ModelCache {
        ModelCache::open(self.folder.path()).expect("a cache")
    }

    fn local(&self, path: &str) -> Result<PathBuf, CoreError> {
        let url = self.bucket.shown(path);
        self.cache().local_from(&self.bucket, path, &url)
    }

    /// What the store says of the model's weights.
    fn weights(&self) -> ObjectMeta {
        let about = self.bucket.about("m/unet/weights").expect("asked");
        about.expect("weights")
    }

    fn list(&self, folder: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.path().join(folder)).expect("a folder");
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        paths
    }
}

fn inode(path: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).expect("a file"))
}

#[test]
fn a_folder_and_a_file_are_copied_as_they_are() {
    let world = World::new();
    let copy = world.local("m").expect("a copy");
    for (name, text) in FILES {
        let file = copy.join(name.strip_prefix("m/").expect("in the model"));
        assert_eq!(fs::read_to_string(file).expect("a file"), text);
    }
    let source = world.folder.path().join("source");
    for (name, text) in FILES {
        let file = source.join(name);
        fs::create_dir_all(file.parent().expect("a folder")).expect("folders");
        fs::write(file, text).expect("written");
    }
    let digest = |folder: &Path| FileDigests::open(None).of(folder).expect("a digest");
    assert_eq!(digest(&copy), digest(&source.join("m")));
    let file = world.local("m/unet/weights").expect("a copy");
    assert!(file.ends_with("weights"), "{}", file.display());
    assert_eq!(fs::read_to_string(&file).expect("a file"), "012345");
    // What is copied of a folder is not fetched again for itself.
    assert_eq!(world.list("versions").len(), FILES.len());
    assert!(world.list("partial").is_empty());
}

#[test]
fn a_copy_is_known_by_its_url() {
    let world = World::new();
    let cache = world.cache();
    let copy = cache.local_from(&world.bucket, "m", "s3://b/m/");
    let copy = copy.expect("a copy");
    assert_eq!(cache.origin(&copy).as_deref(), Some(Path::new("s3://b/m")));
    let weights = cache.origin(&copy.join("unet/weights"));
    assert_eq!(weights.as_deref(), Some(Path::new("s3://b/m/unet/weights")));
    assert_eq!(cache.origin(world.folder.path()), None);
}

#[test]
fn what_is_here_is_not_fetched_again_and_another_version_is() {
    let world = World::new();
    let first = world.local("m").expect("a copy");
    let before = inode(&first.join("unet/weights"));
    assert_eq!(world.local("m").expect("a copy"), first);
    assert_eq!(inode(&first.join("unet/weights")), before);
    world.put("m/unet/weights", "abcdef");
    let second = world.local("m").expect("a copy");
    let read = |copy: &Path| fs::read_to_string(copy.join("unet/weights")).expect("a file");
    assert_eq!(
        (read(&second), read(&first)),
        ("abcdef".into(), "012345".into())
    );
    assert_eq!(
        inode(&first.join("config.json")),
        inode(&second.join("config.json"))
    );
}

#[test]
fn one_process_keeps_to_what_it_found() {
    let world = World::new();
    let cache = world.cache();
    let first = cache
        .local_from(&world.bucket, "m", "s3://b/m")
        .expect("a copy");
    world.put("m/unet/weights", "abcdef");
    let again = cache
        .local_from(&world.bucket, "m", "s3://b/m")
        .expect("a copy");
    assert_eq!(again, first);
}

#[test]
fn damaged_and_missing_files_and_leftovers_are_made_good() {
    let world = World::new();
    let weights = world.local("m").expect("a copy").join("unet/weights");
    let kept = fs::canonicalize(&weights).expect("a file");
    for damage in ["01234X", "0"] {
        // Another time of modification, whatever the clock's steps are.
        fs::remove_file(&kept).expect("removed");
        fs::write(&kept, damage).expect("damaged");
        world.local("m").expect("a copy");
        assert_eq!(fs::read_to_string(&weights).expect("a file"), "012345");
    }
    fs::remove_file(&kept).expect("removed");
    for version in world.list("versions") {
        // As a process leaves it that is killed while it fetches.
        let name = version.file_name().expect("a name");
        fs::write(world.folder.path().join("partial").join(name), "01").expect("a leftover");
        fs::write(version, "no digest").expect("torn");
    }
    fs::write(weights.with_file_name("weights2"), "mine").expect("a file too many");
    world.local("m").expect("a copy");
    assert_eq!(fs::read_to_string(&weights).expect("a file"), "012345");
    assert!(world.list("partial").is_empty());
}

#[test]
fn many_at_once_fetch_once() {
    let world = World::new();
    let copies: Vec<(PathBuf, u64)> = std::thread::scope(|scope| {
        let copy = || {
            // Each like a process of its own.
            scope.spawn(|| {
                let copy = world.local("m").expect("a copy");
                let file = inode(&copy.join("unet/weights"));
                (copy, file)
            })
        };
        let threads: Vec<_> = (0..8).map(|_| copy()).collect();
        let joined = threads.into_iter().map(|t| t.join().expect("no panic"));
        joined.collect()
    });
    assert!(copies.iter().all(|copy| *copy == copies[0]), "{copies:?}");
}

#[test]
fn an_object_that_changes_meanwhile_is_an_error_and_leaves_nothing() {
    let world = World::new();
    let weights = world.weights();
    world.put("m/unet/weights", "abcdef");
    let cache = world.cache();
    let error = cache.object(&world.bucket, &weights).expect_err("changed");
    assert!(error.to_string().contains("was changed"), "{error}");
    // And between the answers of one fetch.
    let about = world.weights();
    world.put("m/unet/weights", "012345");
    let read = world.bucket.read_pieces(&about, |_| Ok(()));
    assert!(
        read.expect_err("changed")
            .to_string()
            .contains("was changed")
    );
    for folder in ["partial", "versions", "files"] {
        assert!(world.list(folder).is_empty(), "{folder}");
    }
}

#[test]
fn a_full_disk_is_told_as_one_and_costs_nothing_later() {
    let world = World::new();
    let weights = world.weights();
    let cache = world.cache();
    let partial = cache.files.partial(&version_name(&world.bucket, &weights));
    std::os::unix::fs::symlink("/dev/full", &partial).expect("a link");
    let error = cache.object(&world.bucket, &weights).expect_err("full");
    assert!(crate::error::is_disk_full(&error), "{error:?}");
    cache
        .object(&world.bucket, &weights)
        .expect("there is room now");
}

#[test]
fn what_is_not_there_is_told_with_its_url() {
    let world = World::new();
    for path in ["n", "m/unet/weight", "m/un"] {
        let error = world.local(path).expect_err(path).to_string();
        assert!(error.contains(&format!("s3://b/{path}")), "{error}");
        assert!(error.contains("no object and no folder"), "{error}");
    }
    let error = world
        .cache()
        .local("https://h.example/m")
        .expect_err("a web server");
    assert!(error.to_string().contains("download it"), "{error}");
    assert!(world.cache().local("ftp://h.example/m").is_err());
}
