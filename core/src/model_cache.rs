//! Models by their urls in buckets (`s3://BUCKET/PREFIX`, and what else [`crate::bucket`] reaches): copies of them on this machine, which are
//! read like any folder or file. A copy has the names and bytes of what is in the bucket, so that a model's digest, and the keys
//! of all tasks, are the same wherever it comes from.
//!
//! The copies lie in `models/` of the user's cache ([`user_cache`]), a folder of [`KeptFiles`]. `versions/` there has a file for each version
//! of an object by the tag that the store gives it: the digest of its bytes. Another version is fetched anew. A process asks once what is at
//! a url, and keeps to that.

mod listing;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use object_store::ObjectMeta;

use crate::bucket::Bucket;
use crate::digest::{ByteHasher, Digest, KeyHasher};
use crate::error::CoreError;
use crate::file_memory::FileMemory;
use crate::input;
use crate::kept_files::KeptFiles;
use listing::{Found, look};

/// How long a refusal is believed: a command that asks for a model in many places waits once for a store that is not there.
const BELIEVED: Duration = Duration::from_mins(1);

/// What is remembered of files that were hashed, in the folder of copies.
const DIGESTS: &str = "digests.json";

static OF_USER: OnceLock<ModelCache> = OnceLock::new();
static TOLD: OnceLock<fn(&str, u64)> = OnceLock::new();

/// Says who is told, for the rest of the process, of each url of which so many bytes are about to be fetched; of several calls the
/// first counts. Without, it is a line of the log.
pub fn tell(told: fn(&str, u64)) {
    TOLD.get_or_init(|| told);
}

/// The folder for what may be deleted at any time: `LAIONCELE_CACHE`, else `laioncele` in `XDG_CACHE_HOME`, else in `.cache` of the home folder;
/// none where no variable says so.
pub fn user_cache() -> Option<PathBuf> {
    let folder = |name: &str| {
        let value = std::env::var_os(name).filter(|value| !value.is_empty());
        value.map(PathBuf::from)
    };
    let usual = || {
        let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
        Some(cache?.join("laioncele"))
    };
    folder("LAIONCELE_CACHE").or_else(usual)
}

/// The user's copies of models.
///
/// # Errors
/// No place for them, or one that cannot be written.
pub fn of_user() -> Result<&'static ModelCache, CoreError> {
    if let Some(cache) = OF_USER.get() {
        return Ok(cache);
    }
    let folder = user_cache().ok_or_else(|| {
        let reason = "models by url are kept in ~/.cache/laioncele: set HOME, or LAIONCELE_CACHE to a folder";
        CoreError::Bucket {
            url: "the cache for models".to_owned(),
            reason: reason.to_owned(),
        }
    })?;
    let opened = ModelCache::open(&folder.join("models"))?;
    Ok(OF_USER.get_or_init(|| opened))
}

/// `path` itself, or the user's copy of what is there where it is a url.
///
/// # Errors
/// As [`ModelCache::local`].
pub fn local(path: &Path) -> Result<PathBuf, CoreError> {
    match crate::store::url_of(path) {
        Some(url) => of_user()?.local(url),
        None => Ok(path.to_owned()),
    }
}

/// The url of what this process found below `path` as a copy; none of any other path.
pub fn origin(path: &Path) -> Option<PathBuf> {
    OF_USER.get()?.origin(path)
}

/// Where digests of the user's copies are remembered; none where this process asked for no copy.
pub fn digests_of_copies() -> Option<PathBuf> {
    Some(OF_USER.get()?.files.root().join(DIGESTS))
}

/// What this process found: how many models by url, of how many bytes, in which folder. None where it asked for none.
pub fn found() -> Option<(usize, u64, PathBuf)> {
    let cache = OF_USER.get()?;
    let known = cache.known.lock().unwrap_or_else(PoisonError::into_inner);
    let bytes = known.values().flatten().map(|copy| copy.bytes).sum();
    (!known.is_empty()).then(|| (known.len(), bytes, cache.files.root().to_owned()))
}

/// Copies of models on this machine.
pub struct ModelCache {
    files: KeptFiles,
    digests: FileMemory<Digest>,
    /// What is at a url, without a slash at its end.
    known: Mutex<BTreeMap<String, Result<Kept, Refusal>>>,
}

/// A copy of what is at a url.
struct Kept {
    path: PathBuf,
    bytes: u64,
}

/// Why there is none.
struct Refusal {
    url: String,
    reason: String,
    since: Instant,
}

impl ModelCache {
    /// Copies in the folder `root`, made where it is missing.
    ///
    /// # Errors
    /// [`CoreError::Io`].
    pub fn open(root: &Path) -> Result<Self, CoreError> {
        let versions = root.join("versions");
        fs::create_dir_all(&versions).map_err(|e| CoreError::from_io(&versions, e))?;
        Ok(Self {
            files: KeptFiles::open(root)?,
            digests: FileMemory::open(Some(root.join(DIGESTS))),
            known: Mutex::default(),
        })
    }

    /// The local file or folder with what is at `url`, fetched where it is not here yet.
    ///
    /// # Errors
    /// [`CoreError::Bucket`]: nothing there, no keys, no network, an object that changes meanwhile, a name that no file may have;
    /// [`CoreError::Io`]: no room.
    pub fn local(&self, url: &str) -> Result<PathBuf, CoreError> {
        if ["http://", "https://"]
            .iter()
            .any(|web| url.starts_with(web))
        {
            let reason = "a web server does not say which files a model has: download it and name its folder, \
                          or put it into a bucket (s3://…, gs://…, az://…)";
            return Err(refused(url, reason));
        }
        let (bucket, path) = input::place(url)?;
        self.local_from(&bucket, &path, url)
    }

    /// As [`ModelCache::local`], of the object or folder `path` of `bucket`.
    fn local_from(&self, bucket: &Bucket, path: &str, url: &str) -> Result<PathBuf, CoreError> {
        let url = url.trim_end_matches('/');
        // Held while it comes: of several threads one fetches.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(url) {
            Some(Ok(copy)) => return Ok(copy.path.clone()),
            Some(Err(refusal)) if refusal.since.elapsed() < BELIEVED => {
                return Err(refused(&refusal.url, &refusal.reason));
            }
            _ => {}
        }
        let copied = self.copy(bucket, path, url);
        self.digests.save();
        match copied {
            Ok(copy) => {
                let path = copy.path.clone();
                known.insert(url.to_owned(), Ok(copy));
                Ok(path)
            }
            Err(CoreError::Bucket { url: at, reason }) => {
                let error = refused(&at, &reason);
                let since = Instant::now();
                let refusal = Refusal {
                    url: at,
                    reason,
                    since,
                };
                known.insert(url.to_owned(), Err(refusal));
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// The url of what was found below `path`.
    fn origin(&self, path: &Path) -> Option<PathBuf> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find_map(|(url, copy)| {
            let below = path.strip_prefix(&copy.as_ref().ok()?.path).ok()?;
            let url = PathBuf::from(url);
            // Joining nothing would add a slash.
            Some(match below.as_os_str().is_empty() {
                true => url,
                false => url.join(below),
            })
        })
    }

    fn copy(&self, bucket: &Bucket, path: &str, url: &str) -> Result<Kept, CoreError> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let (files, is_file) = match look(bucket, path, url)? {
            Found::Object(about) => (vec![(listing::file_name(url, name)?, about)], true),
            Found::Folder(files) => (files, false),
        };
        self.announce(bucket, &files, url);
        let mut links = Vec::new();
        let mut view = KeyHasher::new("model-by-url").text("url", url);
        for (name, about) in &files {
            let digest = self.object(bucket, about)?;
            view = view.digest(&name.to_string_lossy(), digest);
            links.push((name.clone(), digest));
        }
        let folder = self.files.view(view.finish(), &links)?;
        Ok(Kept {
            path: match (is_file, files.first()) {
                (true, Some((name, _))) => folder.join(name),
                _ => folder,
            },
            bytes: files.iter().map(|(_, about)| about.size).sum(),
        })
    }

    /// Tells of what has to be fetched of `url`, if anything has.
    fn announce(&self, bucket: &Bucket, files: &[(PathBuf, ObjectMeta)], url: &str) {
        let about = files.iter().map(|(_, about)| about);
        let missing = about.filter(|about| {
            let name = version_name(bucket, about);
            self.whole(&name, about.size).is_none()
        });
        match (missing.map(|about| about.size).sum(), TOLD.get()) {
            (0, _) => {}
            (bytes, Some(told)) => told(url, bytes),
            (bytes, None) => tracing::info!("fetching {url} ({bytes} bytes)"),
        }
    }

    /// The digest of an object, whose bytes are here when this returns.
    fn object(&self, bucket: &Bucket, about: &ObjectMeta) -> Result<Digest, CoreError> {
        let name = version_name(bucket, about);
        let lock = self.files.lock(&name)?;
        let locked = |e| CoreError::from_io(&self.files.partial(&name), e);
        // Many look at once, one fetches.
        lock.lock_shared().map_err(locked)?;
        if let Some(digest) = self.whole(&name, about.size) {
            return Ok(digest);
        }
        lock.unlock().and_then(|()| lock.lock()).map_err(locked)?;
        if let Some(digest) = self.whole(&name, about.size) {
            return Ok(digest);
        }
        let partial = self.files.partial(&name);
        let fetched = self.fetch(bucket, about, &partial);
        let noted = fetched.and_then(|digest| {
            self.note(&name, digest)?;
            Ok(digest)
        });
        noted.inspect_err(|_| drop(fs::remove_file(&partial)))
    }

    /// The digest that is noted of a version, where its file is here with these bytes.
    fn whole(&self, name: &str, bytes: u64) -> Option<Digest> {
        let noted = fs::read_to_string(self.version(name)).ok()?;
        let digest: Digest = noted.trim().parse().ok()?;
        let file = self.files.file(digest);
        let is_here = fs::metadata(&file).is_ok_and(|found| found.len() == bytes);
        let is_whole =
            is_here && (self.digests.of(&file, Digest::of_file)).is_ok_and(|found| found == digest);
        if is_here && !is_whole {
            tracing::debug!("{} is damaged: fetched again", file.display());
        }
        is_whole.then_some(digest)
    }

    /// Fetches an object into `partial`, and gives the file its place.
    fn fetch(
        &self,
        bucket: &Bucket,
        about: &ObjectMeta,
        partial: &Path,
    ) -> Result<Digest, CoreError> {
        tracing::debug!("fetching {} of {}", about.location, bucket.url());
        let about = bucket.listed(about)?;
        let write = |e| CoreError::Io {
            path: partial.to_owned(),
            source: e,
        };
        // What a killed process left is overwritten.
        let mut output = File::create(partial).map_err(write)?;
        let mut hasher = ByteHasher::default();
        bucket.read_pieces(&about, |piece| {
            hasher.add(&piece);
            output.write_all(&piece).map_err(write)
        })?;
        output.sync_all().map_err(write)?;
        let digest = hasher.finish();
        let file = self.files.keep(partial, digest)?;
        // Where it cannot be looked at now, its bytes are read again later.
        drop(self.digests.remember(&file, digest));
        Ok(digest)
    }

    /// Notes the digest of a version.
    fn note(&self, name: &str, digest: Digest) -> Result<(), CoreError> {
        let (partial, version) = (self.files.partial(name), self.version(name));
        let written = fs::write(&partial, digest.to_string());
        let noted = written.and_then(|()| fs::rename(&partial, &version));
        noted.map_err(|source| CoreError::Io {
            path: version,
            source,
        })
    }

    fn version(&self, name: &str) -> PathBuf {
        self.files.root().join("versions").join(name)
    }
}

/// What a version of an object is called: of another one by another name.
fn version_name(bucket: &Bucket, about: &ObjectMeta) -> String {
    let url = bucket.shown(about.location.as_ref());
    let version = input::version(about).text("url", &url);
    version.finish().to_string()
}

fn refused(url: &str, reason: &str) -> CoreError {
    CoreError::Bucket {
        url: url.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests;
