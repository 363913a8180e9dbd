//! HTTP/1: one request at a time on a connection, and answers read as forgivingly as browsers do.
//!
//! hyper's client is not used for this: it refuses chunks under HTTP/1.0, fails on chunk extensions beyond 16 KiB,
//! does not bound the 1xx answers before the real one, and cannot tell a kept connection that died from one that was
//! refused.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::answer::{Body, Cap, Expected, MAX_HEADS, NoHead};
use crate::failure::Failure;
use crate::head::{self, Head, HeadEnd};
use crate::patience::Patience;
use crate::room::RoomShare;
use crate::stream::Stream;

/// A connection, and what it brought that has not been read yet.
pub(crate) struct Connection<S = Stream> {
    stream: S,
    buffer: Vec<u8>,
    /// Where the unread bytes of `buffer` begin.
    at: usize,
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    /// With the connection.
    Close,
}

/// Bytes of a line between chunks at most.
const MAX_LINE: usize = 64 << 10;
/// Bytes between chunks at most, beside 16 for each byte of the body: some servers send bytes one by one.
const MAX_OVERHEAD: usize = 4 << 20;
/// Bytes read at a time beside the body.
const PIECE: usize = 8 << 10;

impl Connection {
    /// Whether an idle connection may be used again.
    pub(crate) fn is_quiet(&self) -> bool {
        self.stream.is_quiet()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            at: 0,
        }
    }

    /// Writes a request and reads the head of its answer.
    pub(crate) async fn ask(
        &mut self,
        request: &[u8],
        patience: &mut Patience,
    ) -> Result<Head, NoHead> {
        let written = patience
            .bound("writing the request", self.stream.write_all(request))
            .await
            .map_err(NoHead::Failed)?;
        // A server that answers before it has read all may close meanwhile: what it says counts.
        let mut heads = 0;
        loop {
            match self.head(&mut heads, patience).await {
                Ok(head) if head.status == 101 => {
                    let switched =
                        Failure::malformed("101: another protocol, which nobody asked for");
                    return Err(NoHead::Failed(switched));
                }
                Ok(head) if head.status < 200 => {}
                Err(NoHead::Closed(why)) => {
                    let why = written.err().map_or(why, |error| error.to_string());
                    return Err(NoHead::Closed(why));
                }
                done => return done,
            }
        }
    }

    async fn head(&mut self, heads: &mut usize, patience: &mut Patience) -> Result<Head, NoHead> {
        let mut end = HeadEnd::default();
        loop {
            let unread = &self.buffer[self.at..];
            if let Some(length) = end.find(unread) {
                let head = head::parse(&unread[..length]);
                self.at += length;
                *heads += length;
                return head.map_err(|why| NoHead::Failed(Failure::malformed(why)));
            }
            if !head::may_be_http(unread) {
                return Err(NoHead::Failed(Failure::malformed(head::no_http(unread))));
            }
            if *heads + unread.len() > MAX_HEADS {
                let why = format!("head of more than {} KiB", MAX_HEADS >> 10);
                return Err(NoHead::Failed(Failure::malformed(why)));
            }
            let nothing_yet = *heads == 0 && unread.is_empty();
            match patience.bound("waiting for an answer", self.fill()).await {
                Ok(Ok(1..)) => {}
                Ok(Ok(0)) if nothing_yet => {
                    return Err(NoHead::Closed("closed without an answer".to_owned()));
                }
                Ok(Err(error)) if nothing_yet => return Err(NoHead::Closed(error.to_string())),
                Ok(Ok(0)) => {
                    return Err(NoHead::Failed(Failure::cut_off("head cut off".to_owned())));
                }
                Ok(Err(error)) => {
                    return Err(NoHead::Failed(Failure::cut_off(format!(
                        "head cut off: {error}"
                    ))));
                }
                Err(late) => return Err(NoHead::Failed(late)),
            }
        }
    }

    /// Reads some bytes into the buffer; 0 at the end of the stream.
    async fn fill(&mut self) -> io::Result<usize> {
        if self.at > 0 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        self.buffer.reserve(PIECE);
        self.stream.read_buf(&mut self.buffer).await
    }

    /// Reads a body. Whether the connection may be used again is the second value.
    ///
    /// # Errors
    /// `too_large`; `connect` for a body that is cut off; `bad_response`, `timeout`.
    pub(crate) async fn body(
        &mut self,
        framing: Framing,
        cap: Cap,
        share: &mut RoomShare,
        patience: &mut Patience,
    ) -> Result<(Vec<u8>, bool), Failure> {
        let mut body = Body::new(cap, share);
        let whole = match framing {
            Framing::Length(length) => {
                if length > cap.bytes as u64 && !cap.cut {
                    return Err(Failure::too_large(length));
                }
                let wanted = length.min(cap.bytes as u64) as usize;
                self.exactly(&mut body, wanted, Expected::Nothing, patience)
                    .await?;
                wanted as u64 == length
            }
            Framing::Chunked => self.chunks(&mut body, patience).await?,
            Framing::Close => {
                self.until_close(&mut body, patience).await?;
                false
            }
        };
        Ok((body.bytes, whole && self.at == self.buffer.len()))
    }

    /// Moves `count` bytes of the stream into the body.
    async fn exactly(
        &mut self,
        body: &mut Body<'_>,
        count: usize,
        expected: Expected,
        patience: &mut Patience,
    ) -> Result<(), Failure> {
        let end = body.bytes.len() + count;
        while body.bytes.len() < end {
            let left = end - body.bytes.len();
            let buffered = &self.buffer[self.at..];
            if buffered.is_empty() {
                let had = body.bytes.len();
                body.make_room(left, expected, patience).await;
                let mut limited = (&mut self.stream).take(left as u64);
                let came = patience
                    .bound("reading the body", limited.read_buf(&mut body.bytes))
                    .await?;
                match came {
                    Ok(1..) => {}
                    Ok(0) => {
                        return Err(Failure::cut_off(format!("body cut off after {had} bytes")));
                    }
                    Err(error) => {
                        return Err(Failure::cut_off(format!(
                            "body cut off after {had} bytes: {error}"
                        )));
                    }
                }
            } else {
                let taken = buffered.len().min(left);
                body.make_room(left, expected, patience).await;
                body.bytes
                    .extend_from_slice(&self.buffer[self.at..self.at + taken]);
                self.at += taken;
            }
        }
        Ok(())
    }

    /// Reads chunks; whether they came to their end.
    async fn chunks(
        &mut self,
        body: &mut Body<'_>,
        patience: &mut Patience,
    ) -> Result<bool, Failure> {
        // Extensions and trailers are no part of the body, but no reason to read for ever.
        let mut overhead = 0;
        loop {
            let line = self.line(&mut overhead, body, patience).await?;
            let size = chunk_size(&line)?;
            if size == 0 {
                break;
            }
            let left = body.cap.bytes - body.bytes.len();
            if size > left as u64 {
                if !body.cap.cut {
                    return Err(Failure::more_than(body.cap.bytes));
                }
                self.exactly(body, left, Expected::More, patience).await?;
                return Ok(false);
            }
            self.exactly(body, size as usize, Expected::More, patience)
                .await?;
            if !self.line(&mut overhead, body, patience).await?.is_empty() {
                return Err(Failure::malformed("chunk longer than it says"));
            }
        }
        // The body is whole: trailers that do not end well cost the connection only.
        loop {
            match self.line(&mut overhead, body, patience).await {
                Ok(line) if line.is_empty() => return Ok(true),
                Ok(_) => {}
                Err(_) => return Ok(false),
            }
        }
    }

    /// The next line without its end.
    async fn line(
        &mut self,
        overhead: &mut usize,
        body: &Body<'_>,
        patience: &mut Patience,
    ) -> Result<Vec<u8>, Failure> {
        let mut looked = 0;
        loop {
            let unread = &self.buffer[self.at..];
            if let Some(end) = unread[looked..].iter().position(|b| *b == b'\n') {
                let line = unread[..looked + end].trim_ascii().to_vec();
                self.at += looked + end + 1;
                *overhead += looked + end + 1;
                return Ok(line);
            }
            looked = unread.len();
            if looked > MAX_LINE || *overhead > MAX_OVERHEAD + 16 * body.bytes.len() {
                return Err(Failure::malformed("chunk extensions without end"));
            }
            match patience.bound("reading the body", self.fill()).await? {
                Ok(1..) => {}
                Ok(0) => return Err(Failure::cut_off("body cut off between chunks".to_owned())),
                Err(error) => {
                    return Err(Failure::cut_off(format!(
                        "body cut off between chunks: {error}"
                    )));
                }
            }
        }
    }

    async fn until_close(
        &mut self,
        body: &mut Body<'_>,
        patience: &mut Patience,
    ) -> Result<(), Failure> {
        loop {
            let buffered = self.buffer.len() - self.at;
            let left = body.cap.bytes - body.bytes.len();
            if buffered > 0 {
                let taken = buffered.min(left);
                self.exactly(body, taken, Expected::More, patience).await?;
                if taken < buffered {
                    return if body.cap.cut {
                        Ok(())
                    } else {
                        Err(Failure::more_than(body.cap.bytes))
                    };
                }
                continue;
            }
            if left == 0 {
                // One byte more would be too many; whether there is one, a small read tells.
                match patience.bound("reading the body", self.fill()).await? {
                    Ok(1..) if !body.cap.cut => return Err(Failure::more_than(body.cap.bytes)),
                    _ => return Ok(()),
                }
            }
            body.make_room(left.min(PIECE), Expected::More, patience)
                .await;
            let mut limited = (&mut self.stream).take(left as u64);
            let came = patience
                .bound("reading the body", limited.read_buf(&mut body.bytes))
                .await?;
            match came {
                Ok(1..) => {}
                Ok(0) => return Ok(()),
                // Many servers end TLS without saying so; then this is how such a body ends.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(Failure::cut_off(format!("body cut off: {error}"))),
            }
        }
    }
}

/// How the body of an answer ends, by its head.
///
/// # Errors
/// Two lengths that differ.
pub(crate) fn framing(head: &Head) -> Result<Framing, Failure> {
    if matches!(head.status, 204 | 205 | 304) {
        return Ok(Framing::Length(0));
    }
    if head
        .list("transfer-encoding")
        .iter()
        .any(|coding| coding == "chunked")
    {
        return Ok(Framing::Chunked);
    }
    // A length that is no number says nothing, as if it were not there.
    let mut lengths: Vec<u64> = head
        .list("content-length")
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect();
    lengths.dedup();
    match lengths[..] {
        [] => Ok(Framing::Close),
        [length] => Ok(Framing::Length(length)),
        _ => Err(Failure::malformed("lengths that differ")),
    }
}

/// Whether the connection stays open after the answer, as far as its head says.
pub(crate) fn keeps_alive(head: &Head) -> bool {
    let words = head.list("connection");
    let says = |word: &str| words.iter().any(|w| w == word);
    !says("close") && (!head.old || says("keep-alive"))
}

/// The size of a chunk: hexadecimal, with blanks and extensions after it.
fn chunk_size(line: &[u8]) -> Result<u64, Failure> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let rest = line[digits..].trim_ascii_start();
    let number = std::str::from_utf8(&line[..digits]).unwrap_or_default();
    match u64::from_str_radix(number, 16) {
        Ok(size) if rest.is_empty() || rest[0] == b';' => Ok(size),
        _ => Err(Failure::malformed("chunk without a size")),
    }
}
