//! What the versions of HTTP have in common: how an answer fails to come, and how its bytes are held.

use crate::failure::Failure;
use crate::patience::Patience;
use crate::room::RoomShare;

/// Bytes of all heads of one answer together, those with 1xx codes included.
pub(crate) const MAX_HEADS: usize = 256 << 10;
/// Bytes that a body's first room is for at most; it doubles from there.
const FIRST_ROOM: usize = 64 << 10;
/// Bytes that there is room for at least, before the stream is asked for more.
const LEAST_ROOM: usize = 8 << 10;

/// Why there is no head.
pub(crate) enum NoHead {
    /// The connection ended before the first byte of an answer.
    Closed(String),
    Failed(Failure),
}

/// How many bytes of a body are wanted, and what becomes of one that has more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cap {
    pub(crate) bytes: usize,
    /// Whether what is beyond is left out, rather than the whole body.
    pub(crate) cut: bool,
}

/// What comes after the bytes that are known to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Nothing,
    More,
}

/// The bytes of a body so far, and their room.
pub(crate) struct Body<'a> {
    pub(crate) bytes: Vec<u8>,
    pub(crate) cap: Cap,
    share: &'a mut RoomShare,
}

impl<'a> Body<'a> {
    pub(crate) fn new(cap: Cap, share: &'a mut RoomShare) -> Self {
        Self {
            bytes: Vec::new(),
            cap,
            share,
        }
    }

    /// Makes room for some of the `left` bytes that are to come: step by step, so that no server gets room by promises.
    pub(crate) async fn make_room(
        &mut self,
        left: usize,
        expected: Expected,
        patience: &mut Patience,
    ) {
        let length = self.bytes.len();
        if self.bytes.capacity() - length >= left.min(LEAST_ROOM) {
            return;
        }
        let step = match expected {
            Expected::Nothing => left.min(FIRST_ROOM.max(length)),
            Expected::More => left.min(FIRST_ROOM).max(length).max(LEAST_ROOM),
        };
        patience.pause(self.share.grow_to(length + step)).await;
        self.bytes.reserve_exact(step);
    }
}
