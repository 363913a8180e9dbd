//! Puts with conditions: whether a store keeps them, and objects that are written only over a version that was seen.

use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectMeta, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};

use super::{Bucket, Created, reason, refused};
use crate::disk::unused_name;
use crate::error::CoreError;

/// Where objects lie by which a store is tried out; each is deleted by who made it.
const PROBES: &str = "probe";

/// A version of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(Option<String>, Option<String>);

/// An object as it was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its bytes.
    pub bytes: Bytes,
    /// Which version it is.
    pub version: Version,
    /// How long ago it was written, by the store's clock, in whole seconds.
    pub age: Duration,
}

impl Bucket {
    /// Tries out whether of two puts that may each only create an object the second fails.
    ///
    /// # Errors
    /// [`CoreError::Bucket`]: a store without such puts, or one that takes both; no such bucket, no rights, wrong keys, no
    /// network.
    pub fn check(&self) -> Result<(), CoreError> {
        let path = self.probe();
        let (first, second) = (format!("{path} first"), format!("{path} second"));
        self.create(&path, &first.clone().into())?;
        let checked = self.check_second(&path, &first, second.into());
        let deleted = self.delete(&path);
        checked.and(deleted)
    }

    fn check_second(&self, path: &str, first: &str, second: Bytes) -> Result<(), CoreError> {
        let created = self.create(path, &second)?;
        let found = self.get(path)?;
        if created == Created::Lost && found == first.as_bytes() {
            return Ok(());
        }
        let text = "this store ignores the condition of a put (If-None-Match: *), on which the ledger rests: of two runs \
                    both would count, so no run can be kept here";
        Err(refused(self.url(), text.to_owned()))
    }

    /// The object `path`, and how old it is; none where there is none.
    ///
    /// # Errors
    /// [`CoreError::Bucket`].
    pub fn look(&self, path: &str) -> Result<Option<Seen>, CoreError> {
        let object = ObjectPath::from(path);
        let got = async {
            let got = self.objects.get(&object).await?;
            let meta = got.meta.clone();
            Ok((meta, got.bytes().await?))
        };
        let (meta, bytes): (ObjectMeta, Bytes) = match self.runtime.block_on(got) {
            Ok(seen) => seen,
            Err(error) if reason::is_missing(&error) => return Ok(None),
            Err(error) => return Err(self.fail(path, &error)),
        };
        let now = self.written_now()?.last_modified;
        let age = (now - meta.last_modified).to_std().unwrap_or_default();
        let version = Version(meta.e_tag, meta.version);
        Ok(Some(Seen {
            bytes,
            version,
            age,
        }))
    }

    /// What the store says of an object that it was given now.
    fn written_now(&self) -> Result<ObjectMeta, CoreError> {
        let path = self.probe();
        self.put(&path, Bytes::from_static(b"now"))?;
        let meta = self.run(&path, self.objects.head(&ObjectPath::from(path.as_str())));
        self.delete(&path)?;
        meta
    }

    /// Writes the object `path` over the version `before`; none where it is another by now, or gone.
    ///
    /// # Errors
    /// [`CoreError::Bucket`].
    pub fn replace(
        &self,
        path: &str,
        bytes: &Bytes,
        before: &Version,
    ) -> Result<Option<Version>, CoreError> {
        let version = UpdateVersion {
            e_tag: before.0.clone(),
            version: before.1.clone(),
        };
        let options = PutOptions::from(PutMode::Update(version));
        let payload = PutPayload::from(bytes.clone());
        let object = ObjectPath::from(path);
        match self
            .runtime
            .block_on(self.objects.put_opts(&object, payload, options))
        {
            Ok(put) => Ok(Some(Version(put.e_tag, put.version))),
            Err(
                object_store::Error::Precondition { .. }
                | object_store::Error::AlreadyExists { .. },
            ) => {
                // An earlier try of the same request may have been the one.
                let seen = self.look(path)?.filter(|seen| seen.bytes == *bytes);
                Ok(seen.map(|seen| seen.version))
            }
            Err(error) if reason::is_missing(&error) => Ok(None),
            Err(error) => Err(self.fail(path, &error)),
        }
    }

    fn probe(&self) -> String {
        let now = std::time::SystemTime::now();
        let now = now
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        format!("{PROBES}/{:x}-{}", now.as_nanos(), unused_name())
    }
}
