//! Large objects that are read whole, a few pieces at a time.

use std::ops::Range;
use std::pin::pin;

use bytes::Bytes;
use futures::{StreamExt, stream};
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStoreExt};

use super::{Bucket, refused};
use crate::error::CoreError;

/// Bytes of a request.
const PIECE: usize = 16 << 20;
/// Requests under way at once, whose answers are in memory until it is their turn.
const AHEAD: usize = 4;

impl Bucket {
    /// What the store says now of an object that it has listed.
    pub(crate) fn listed(&self, listed: &ObjectMeta) -> Result<ObjectMeta, CoreError> {
        let path = listed.location.as_ref();
        let found = self.run(path, self.objects.head(&listed.location))?;
        match is_version(&found, listed) {
            true => Ok(found),
            false => Err(self.changed(path)),
        }
    }

    /// Hands all bytes of an object to `each`, in their order: of the version that `about` tells of, or none after it has changed.
    pub(crate) fn read_pieces(
        &self,
        about: &ObjectMeta,
        mut each: impl FnMut(Bytes) -> Result<(), CoreError>,
    ) -> Result<(), CoreError> {
        let path = about.location.as_ref();
        let starts = (0..about.size).step_by(PIECE);
        let ranges = starts.map(|start| start..about.size.min(start + PIECE as u64));
        let pieces = ranges.map(|range| self.piece(about, range));
        let mut pieces = pin!(stream::iter(pieces).buffered(AHEAD));
        while let Some((wanted, got)) = self.runtime.block_on(pieces.next()) {
            let (found, bytes) = match got {
                Err(object_store::Error::Precondition { .. }) => return Err(self.changed(path)),
                got => self.run(path, async { got })?,
            };
            if !is_version(&found, about) {
                return Err(self.changed(path));
            }
            if bytes.len() as u64 != wanted {
                return Err(refused(&self.shown(path), "it is cut off".to_owned()));
            }
            each(bytes)?;
        }
        Ok(())
    }

    /// How many bytes are wanted, and what came.
    async fn piece(
        &self,
        about: &ObjectMeta,
        range: Range<u64>,
    ) -> (u64, object_store::Result<(ObjectMeta, Bytes)>) {
        let wanted = range.end - range.start;
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            if_match: about.e_tag.clone(),
            ..GetOptions::default()
        };
        let got = async {
            let got = self.objects.get_opts(&about.location, options).await?;
            let found = got.meta.clone();
            Ok((found, got.bytes().await?))
        };
        (wanted, got.await)
    }

    fn changed(&self, path: &str) -> CoreError {
        let reason = "it was changed while it was read: run the same command again";
        refused(&self.shown(path), reason.to_owned())
    }
}

/// Whether both are of one version, as far as both say. Listings and answers of one store may differ in a tag's quotes.
fn is_version(found: &ObjectMeta, wanted: &ObjectMeta) -> bool {
    let tag = |about: &ObjectMeta| {
        let tag = about.e_tag.as_deref()?;
        Some(tag.trim_start_matches("W/").trim_matches('"').to_owned())
    };
    let same_tag = match (tag(found), tag(wanted)) {
        (Some(found), Some(wanted)) => found == wanted,
        _ => true,
    };
    same_tag && found.size == wanted.size
}
