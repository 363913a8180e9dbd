//! Objects that are sent in pieces: an object is there when its last piece is, whole or not at all.
//!
//! Pieces of an upload that a kill cuts off cost money and are in no listing. So each upload is noted as an object below
//! [`UPLOADS`] until it has ended; whoever holds the run's lock gives up those that are still noted.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::multipart::MultipartStore;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStoreExt, PutPayload, WriteMultipart};
use serde::{Deserialize, Serialize};

use super::{Bucket, PIECE, UPLOADS, reason};
use crate::digest::Digest;
use crate::error::CoreError;

/// Pieces under way at once.
const AT_ONCE: usize = 4;

/// An upload that has begun.
#[derive(Serialize, Deserialize)]
struct Note {
    /// The object that it is to be.
    path: String,
    /// Its name among the store's uploads.
    id: String,
}

impl Note {
    async fn give_up(&self, uploads: &dyn MultipartStore) -> object_store::Result<()> {
        let object = ObjectPath::from(self.path.as_str());
        uploads.abort_multipart(&object, &self.id).await
    }
}

impl Bucket {
    /// Writes the object `path` in the pieces that `next` gives, of [`PIECE`] bytes but the last; an empty one is the end.
    pub(super) fn send_pieces(
        &self,
        path: &str,
        next: impl FnMut() -> Result<Bytes, CoreError>,
    ) -> Result<(), CoreError> {
        match &self.uploads {
            Some(uploads) => self.send_noted(&**uploads, path, next),
            None => self.send_unnoted(path, next),
        }
    }

    fn send_noted(
        &self,
        uploads: &dyn MultipartStore,
        path: &str,
        next: impl FnMut() -> Result<Bytes, CoreError>,
    ) -> Result<(), CoreError> {
        let id = self.run(path, uploads.create_multipart(&ObjectPath::from(path)))?;
        let note = Note {
            path: path.to_owned(),
            id,
        };
        let text = serde_json::to_vec(&note).map_err(|e| CoreError::record(path, e))?;
        let noted = format!("{UPLOADS}/{}.json", Digest::of(&text));
        let sent = self
            .put(&noted, text.into())
            .and_then(|()| self.send_all(uploads, &note, next));
        if sent.is_err() {
            drop(self.runtime.block_on(note.give_up(uploads)));
        }
        // One that stays is given up again, which is no harm.
        drop(self.delete(&noted));
        sent
    }

    fn send_all(
        &self,
        uploads: &dyn MultipartStore,
        note: &Note,
        mut next: impl FnMut() -> Result<Bytes, CoreError>,
    ) -> Result<(), CoreError> {
        let object = ObjectPath::from(note.path.as_str());
        let mut sent = Vec::new();
        loop {
            let mut pieces = Vec::with_capacity(AT_ONCE);
            while pieces.len() < AT_ONCE {
                match next()? {
                    piece if piece.is_empty() => break,
                    piece => pieces.push((sent.len() + pieces.len(), piece)),
                }
            }
            if pieces.is_empty() {
                break;
            }
            let send = |(number, piece)| {
                uploads.put_part(&object, &note.id, number, PutPayload::from_bytes(piece))
            };
            let parts = stream::iter(pieces).map(send).buffered(AT_ONCE);
            sent.extend(self.run(&note.path, parts.try_collect::<Vec<_>>())?);
        }
        let completed = uploads.complete_multipart(&object, &note.id, sent);
        self.run(&note.path, async { completed.await.map(drop) })
    }

    /// Gives up the upload that is noted as the object `noted`, whose pieces are deleted, and deletes the note. Only for who
    /// holds the run's lock.
    pub(crate) fn abandon_upload(&self, noted: &str) -> Result<(), CoreError> {
        // What is no note is of no use, and what had ended meanwhile is gone.
        let note = serde_json::from_slice::<Note>(&self.get(noted)?);
        if let (Ok(note), Some(uploads)) = (note, &self.uploads) {
            match self.runtime.block_on(note.give_up(&**uploads)) {
                Err(error) if !reason::is_missing(&error) => return Err(self.fail(noted, &error)),
                _ => {}
            }
        }
        self.delete(noted)
    }

    fn send_unnoted(
        &self,
        path: &str,
        mut next: impl FnMut() -> Result<Bytes, CoreError>,
    ) -> Result<(), CoreError> {
        let object = ObjectPath::from(path);
        let upload = self.run(path, self.objects.put_multipart(&object))?;
        let mut writer = WriteMultipart::new_with_chunk_size(upload, PIECE);
        loop {
            let sent = match next() {
                Ok(piece) if piece.is_empty() => break,
                Ok(piece) => self.run(path, async {
                    writer.wait_for_capacity(AT_ONCE).await?;
                    writer.put(piece);
                    Ok(())
                }),
                Err(error) => Err(error),
            };
            if let Err(error) = sent {
                drop(self.runtime.block_on(writer.abort()));
                return Err(error);
            }
        }
        self.run(path, async { writer.finish().await.map(drop) })
    }

    /// Copies the object `from` of `size` bytes through this machine.
    pub(super) fn copy_in_pieces(&self, from: &str, to: &str, size: u64) -> Result<(), CoreError> {
        self.before(to)?;
        let mut at = 0;
        self.send_pieces(to, || {
            let end = size.min(at + PIECE as u64);
            if at == end {
                return Ok(Bytes::new());
            }
            let piece = self.get_range(from, at..end)?;
            at = end;
            Ok(piece)
        })?;
        self.after(to)
    }
}
