//! What the frames of an HTTP/2 server cost, and whether they ask for HTTP/1.1: hyper says neither.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::stream::Stream;

/// What is known of a connection beside its answers, shared by those who want one.
///
/// A connection may bring so many more bytes. Whoever wants an answer adds to them; a server that sends pings, settings
/// or headers without end uses them up and is cut off.
#[derive(Clone, Default)]
pub(crate) struct Account(Arc<Shared>);

#[derive(Default)]
struct Shared {
    left: AtomicI64,
    wants_http1: AtomicBool,
}

impl Account {
    /// Lets `bytes` more come.
    pub(crate) fn add(&self, bytes: usize) {
        self.0.left.fetch_add(bytes as i64, Ordering::Relaxed);
    }

    /// At least `bytes` may come, however few were left.
    pub(crate) fn at_least(&self, bytes: usize) {
        self.0.left.fetch_max(bytes as i64, Ordering::Relaxed);
    }

    /// Whether the server said that it answers over HTTP/1.1 only.
    pub(crate) fn wants_http1(&self) -> bool {
        self.0.wants_http1.load(Ordering::Relaxed)
    }

    /// Whether there was enough left for `bytes`.
    fn charge(&self, bytes: usize) -> bool {
        let bytes = bytes as i64;
        self.0.left.fetch_sub(bytes, Ordering::Relaxed) >= bytes
    }
}

const DATA: u8 = 0;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const PADDED: u8 = 8;
const HTTP_1_1_REQUIRED: [u8; 4] = [0, 0, 0, 13];
/// Bytes of a frame before its payload.
const HEAD: usize = 9;
/// Bytes of a body below which hyper counts a frame as a burden, until it was read.
const CRUMB: usize = 256;
/// So many of them at once, and whoever reads the body goes first: hyper gives a connection up that has thousands of them
/// waiting.
const CRUMBS: usize = 64;
/// Bytes of a payload that are looked at: a GOAWAY's last stream and code.
const SEEN: usize = 8;

/// Follows the frames of a connection, however they are cut into reads.
#[derive(Default)]
struct Frames {
    /// The head of a frame and the first bytes of its payload, as far as they have come.
    start: Vec<u8>,
    /// Bytes of the payload that are still to come and do not matter.
    rest: usize,
}

/// What the start of a frame says.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    cost: usize,
    /// Whether it is one of very little body.
    is_crumb: bool,
    wants_http1: bool,
}

impl Frames {
    /// Takes the next bytes off `bytes`; a frame where its start is complete.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<Frame> {
        let skipped = self.rest.min(bytes.len());
        self.rest -= skipped;
        *bytes = &bytes[skipped..];
        loop {
            let needed = match length(&self.start) {
                None => HEAD,
                Some(length) => HEAD + length.min(SEEN),
            };
            let missing = (needed - self.start.len()).min(bytes.len());
            let (more, left) = bytes.split_at(missing);
            self.start.extend(more);
            *bytes = left;
            match length(&self.start) {
                Some(length) if self.start.len() == HEAD + length.min(SEEN) => {
                    self.rest = length - length.min(SEEN);
                    let frame = frame(length, &self.start);
                    self.start.clear();
                    return Some(frame);
                }
                _ if bytes.is_empty() => return None,
                _ => {}
            }
        }
    }
}

/// The length of a payload, once the frame's head is there.
fn length(start: &[u8]) -> Option<usize> {
    let &[a, b, c, ..] = start.get(..HEAD)? else {
        return None;
    };
    Some(u32::from_be_bytes([0, a, b, c]) as usize)
}

/// A body costs its bytes, however small its frames are and whatever pads them: a server that cuts it oddly is merely
/// rude. All else costs what it takes.
fn frame(length: usize, start: &[u8]) -> Frame {
    let (kind, flags, payload) = (start[3], start[4], &start[HEAD..]);
    let padding = match payload.first() {
        Some(padding) if flags & PADDED != 0 => 1 + usize::from(*padding),
        _ => 0,
    };
    let (cost, is_crumb) = match length.saturating_sub(padding) {
        data if kind == DATA && data > 0 => (data, data < CRUMB),
        _ => (HEAD + length, false),
    };
    let code = match kind {
        RST_STREAM => payload.first_chunk(),
        GOAWAY => payload.last_chunk(),
        _ => None,
    };
    let wants_http1 = code == Some(&HTTP_1_1_REQUIRED);
    Frame {
        cost,
        is_crumb,
        wants_http1,
    }
}

/// A stream that ends with an error when its account is used up.
pub(crate) struct Counted {
    stream: Stream,
    account: Account,
    frames: Frames,
    /// Crumbs that came since others had their turn.
    crumbs: usize,
}

impl Counted {
    pub(crate) fn new(stream: Stream, account: Account) -> Self {
        Self {
            stream,
            account,
            frames: Frames::default(),
            crumbs: 0,
        }
    }

    /// Whether `bytes` may have come.
    fn take(&mut self, mut bytes: &[u8]) -> bool {
        while let Some(frame) = self.frames.next(&mut bytes) {
            self.crumbs += usize::from(frame.is_crumb);
            if frame.wants_http1 {
                self.account.0.wants_http1.store(true, Ordering::Relaxed);
            }
            if !self.account.charge(frame.cost) {
                return false;
            }
        }
        true
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.crumbs >= CRUMBS {
            this.crumbs = 0;
            // Polled once, it wakes this task behind all others that can go on.
            let pause = pin!(tokio::task::yield_now());
            let _ = pause.poll(cx);
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let done = Pin::new(&mut this.stream).poll_read(cx, buf);
        if !this.take(&buf.filled()[before..]) {
            return Poll::Ready(Err(io::Error::other("more frames than the answers need")));
        }
        done
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn all(mut bytes: &[u8], frames: &mut Frames) -> Vec<Frame> {
        std::iter::from_fn(|| frames.next(&mut bytes)).collect()
    }

    fn costs(sent: &[u8]) -> Vec<usize> {
        let found = all(sent, &mut Frames::default());
        found.iter().map(|frame| frame.cost).collect()
    }

    #[test]
    fn a_body_costs_its_bytes_and_all_else_what_it_takes() {
        let sent = [
            bytes(DATA, 0, b"x"),
            bytes(DATA, 0, b""),
            bytes(DATA, PADDED, b"\x03abc..."),
            bytes(DATA, PADDED, b"\x03..."),
            bytes(DATA, PADDED, b"\xff..."),
            bytes(DATA, 0, &[7; 1000]),
            bytes(6, 0, &[0; 8]),
            bytes(0x77, 0, &[0; 100]),
        ];
        let expected = [1, 9, 3, 13, 13, 1000, 17, 109];
        assert_eq!(costs(&sent.concat()), expected);
    }

    #[test]
    fn a_wish_for_http1_is_seen() {
        let wants = |sent: &[u8]| all(sent, &mut Frames::default())[0].wants_http1;
        assert!(wants(&bytes(RST_STREAM, 0, &HTTP_1_1_REQUIRED)));
        assert!(wants(&bytes(GOAWAY, 0, &[0, 0, 0, 5, 0, 0, 0, 13, b'w'])));
        assert!(!wants(&bytes(RST_STREAM, 0, &[0, 0, 0, 8])));
        assert!(!wants(&bytes(GOAWAY, 0, &[0, 0, 0, 13, 0, 0, 0, 0])));
        assert!(!wants(&bytes(6, 0, &[0, 0, 0, 13])));
        assert!(!wants(&bytes(RST_STREAM, 0, &[0, 13])));
    }

    proptest! {
        #[test]
        fn frames_are_the_same_however_they_are_read(
            payloads in prop::collection::vec((0_u8..10, any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 0..8),
            step in 1_usize..30,
        ) {
            let sent: Vec<u8> = payloads.iter().flat_map(|(kind, flags, payload)| bytes(*kind, *flags, payload)).collect();
            let mut frames = Frames::default();
            let apart: Vec<Frame> = sent.chunks(step).flat_map(|piece| all(piece, &mut frames)).collect();
            prop_assert_eq!(apart.len(), payloads.len());
            prop_assert_eq!(apart, all(&sent, &mut Frames::default()));
        }
    }
}
