//! A folder of a machine, from several workers' points of view.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use laioncele_core::file_digests::FileDigests;
use laioncele_core::key::KeyParts;
use laioncele_core::manifest::mirrored;
use laioncele_core::protocol::NodeCache;
use laioncele_core::store::Store;
use laioncele_core::{FilesRead, Manifest, ModelFiles};

use super::list::SMALL;
use super::machine::Folder;
use super::*;

const MANIFEST: &str = "[run]\nseed = 1\n[source]\npath = \"captions\"\n[source.columns]\nurl = \"URL\"\ncaption = \"TEXT\"\n\
                        [embedding_dims]\nname_tokens = 8\nname_channels = 4\nface = 4\nfeatures = 3\n";

/// A run's store, a large and a small model published there, and a folder for a machine.
struct World {
    folder: tempfile::TempDir,
    store: Store,
    list: ModelList,
    from: NodeCache,
}

fn large() -> Vec<u8> {
    (0..SMALL * 4).map(|n| (n % 251) as u8).collect()
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::local(&folder.path().join("run")).expect("a store");
        let models = folder.path().join("models");
        fs::create_dir_all(models.join("net")).expect("folders");
        fs::write(models.join("net/weights"), large()).expect("weights");
        fs::write(models.join("net/config"), "{}").expect("a config");
        fs::write(models.join("spec.toml"), "threshold = 0.5").expect("a spec");
        let files_read: FilesRead =
            |folder| Ok(["weights", "config"].map(|file| folder.join(file)).into());
        let digests = FileDigests::open(None);
        let listed = [
            ModelFiles::folder("models.net", models.join("net"), files_read),
            ModelFiles::file("models.spec", models.join("spec.toml")),
        ]
        .map(|model| publish::listed(model, &digests).expect("a model"));
        let list = ModelList {
            models: listed.into(),
        };
        for file in list.models.iter().flat_map(|model| &model.files) {
            publish::put(&store, file, &digests).expect("published");
        }
        let text = serde_json::to_vec(&list).expect("JSON");
        let models = format!("{MODELS}/lists/{}", Digest::of(&text));
        store.put(&models, text).expect("a list");
        let from = NodeCache {
            folder: folder.path().join("machine"),
            models,
        };
        Self {
            folder,
            store,
            list,
            from,
        }
    }

    fn models(&self) -> NodeModels {
        let path = self.folder.path().join("m.toml");
        let manifest = Manifest::parse(&path, MANIFEST).expect("a manifest");
        NodeModels::open(&self.store, &manifest, &self.from).expect("a list")
    }

    fn key(&self, labels: &[&str]) -> KeyParts {
        let models = self.list.models.iter();
        let named = models.filter(|model| labels.contains(&model.label.as_str()));
        KeyParts {
            models: named.map(|m| (m.label.clone(), m.digest)).collect(),
            ..KeyParts::default()
        }
    }

    fn weights(&self) -> &ListedFile {
        let files = self.list.models.iter().flat_map(|model| &model.files);
        files.max_by_key(|file| file.bytes).expect("weights")
    }

    /// Where the weights are kept.
    fn kept(&self) -> PathBuf {
        let name = self.weights().digest.to_string();
        self.from.folder.join("files").join(name)
    }

    fn fetch(&self) -> Result<(), CacheError> {
        let folder = Folder::open(&self.from.folder)?;
        folder.fetch(&self.store, "models.net", self.weights(), &|| false)
    }

    fn object(&self) -> PathBuf {
        self.store.local_path(&object_of(self.weights().digest))
    }
}

#[test]
fn a_task_finds_its_models_where_the_manifest_has_them() {
    let world = World::new();
    let mut models = world.models();
    fs::rename(
        world.folder.path().join("models"),
        world.folder.path().join("away"),
    )
    .expect("moved");
    let go_on = || false;
    let manifest = models
        .fetch(&world.store, &world.key(&[]), &go_on)
        .expect("a manifest");
    let resolved = |manifest: &Manifest, path: &Path| manifest.resolve_model(path).expect("a path");
    let spec = resolved(&manifest, Path::new("models/spec.toml"));
    assert_eq!(
        fs::read(spec).expect("the spec of all tasks"),
        b"threshold = 0.5"
    );
    let weights = Path::new("models/net/weights");
    assert!(!resolved(&manifest, weights).exists());
    let manifest = models.fetch(&world.store, &world.key(&["models.net"]), &go_on);
    let weights = resolved(&manifest.expect("a manifest"), weights);
    assert!(weights.starts_with(&world.from.folder));
    assert_eq!(fs::read(weights).expect("weights"), large());
}

#[test]
fn models_of_another_digest_are_not_taken() {
    let world = World::new();
    let mut key = world.key(&["models.net"]);
    key.models
        .insert("models.net".to_owned(), Digest::of(b"another"));
    let fetched = world.models().fetch(&world.store, &key, &|| false);
    assert!(matches!(fetched, Err(CacheError::Unlisted { .. })));
}

#[test]
fn workers_of_a_machine_fetch_once() {
    let world = World::new();
    let object = world.object();
    let versions: Vec<_> = std::thread::scope(|scope| {
        let fetch = || {
            scope.spawn(|| {
                world.fetch().expect("fetched");
                std::os::unix::fs::MetadataExt::ino(&fs::metadata(world.kept()).expect("a file"))
            })
        };
        let threads: Vec<_> = (0..8).map(|_| fetch()).collect();
        let joined = threads.into_iter().map(|t| t.join().expect("no panic"));
        joined.collect()
    });
    // Each fetch would have made another file.
    assert!(versions.iter().all(|v| *v == versions[0]), "{versions:?}");
    // And nobody asks the store again.
    fs::remove_file(object).expect("removed");
    world.fetch().expect("it is here");
}

#[test]
fn torn_and_altered_files_are_fetched_again() {
    let world = World::new();
    world.fetch().expect("fetched");
    let mut flipped = large();
    flipped[1000] ^= 1;
    for damage in [&b"torn"[..], &flipped] {
        fs::write(world.kept(), damage).expect("damaged");
        world.fetch().expect("fetched again");
        assert_eq!(fs::read(world.kept()).expect("weights"), large());
    }
    // What a killed worker had begun is in nobody's way.
    let name = world.weights().digest.to_string();
    let partial = world.from.folder.join("partial").join(name);
    fs::write(&partial, vec![7; large().len() * 2]).expect("a leftover");
    fs::remove_file(world.kept()).expect("removed");
    world.fetch().expect("fetched");
    assert!(!partial.exists());
    assert_eq!(fs::read(world.kept()).expect("weights"), large());
}

#[test]
fn a_damaged_object_is_named_and_never_kept() {
    let world = World::new();
    let mut flipped = large();
    flipped[70_000] ^= 1;
    fs::write(world.object(), flipped).expect("damaged");
    let error = world.fetch().expect_err("damaged");
    let CacheError::Damaged { object, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(*object, world.object());
    assert!(!world.kept().exists());
    // The next run publishes it again.
    let digests = FileDigests::open(None);
    publish::put(&world.store, world.weights(), &digests).expect("published");
    world.fetch().expect("fetched");
}

#[test]
fn a_missing_object_and_a_cancel_leave_nothing() {
    let world = World::new();
    let folder = Folder::open(&world.from.folder).expect("a folder");
    let cancelled = folder.fetch(&world.store, "models.net", world.weights(), &|| true);
    assert!(matches!(cancelled, Err(CacheError::Cancelled)));
    fs::remove_file(world.object()).expect("removed");
    let missing = world.fetch();
    assert!(
        matches!(&missing, Err(CacheError::Store { label, .. }) if label == "models.net"),
        "{missing:?}"
    );
    let partial = fs::read_dir(world.from.folder.join("partial")).expect("a folder");
    assert_eq!(partial.count(), 0);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let world = World::new();
    let folder = Folder::open(&world.from.folder).expect("a folder");
    // Whoever writes: a folder lies where the file would be.
    fs::create_dir_all(world.kept().join("x")).expect("in the way");
    let error = folder.fetch(&world.store, "models.net", world.weights(), &|| false);
    let error = error.expect_err("in the way");
    assert!(
        matches!(&error, CacheError::Folder { path, .. } if *path == world.kept()),
        "{error:?}"
    );
}

#[test]
fn a_full_disk_is_told_as_one_and_costs_nothing_later() {
    let world = World::new();
    let folder = Folder::open(&world.from.folder).expect("a folder");
    let name = world.weights().digest.to_string();
    let partial = world.from.folder.join("partial").join(name);
    // Whatever is written there, there is no room for it.
    std::os::unix::fs::symlink("/dev/full", &partial).expect("a link");
    let full = folder.fetch(&world.store, "models.net", world.weights(), &|| false);
    let full = full.expect_err("a full disk");
    assert!(
        matches!(&full, CacheError::Folder { path, .. } if *path == partial),
        "{full:?}"
    );
    assert!(laioncele_core::StageError::environment(full).is_disk_full());
    world.fetch().expect("there is room now");
}

#[test]
fn a_view_whose_links_were_changed_is_made_again() {
    let world = World::new();
    let folder = Folder::open(&world.from.folder).expect("a folder");
    let digest = Digest::of(b"the list");
    let view = folder.view(digest, &world.list).expect("a view");
    let link = mirrored(&view, &world.weights().path);
    assert_eq!(fs::read_link(&link).expect("a link"), world.kept());
    let before = fs::metadata(&view).expect("a view");
    folder.view(digest, &world.list).expect("the same view");
    let inode = |about: &fs::Metadata| std::os::unix::fs::MetadataExt::ino(about);
    assert_eq!(inode(&before), inode(&fs::metadata(&view).expect("a view")));
    fs::remove_file(&link).expect("removed");
    fs::write(&link, "something else").expect("changed");
    folder.view(digest, &world.list).expect("another view");
    assert_eq!(fs::read_link(&link).expect("a link"), world.kept());
    assert_eq!(
        fs::metadata(&view).expect("a view").permissions().mode() & 0o777,
        before.permissions().mode() & 0o777
    );
}
