//! HTTP/2, which servers may choose under TLS: hyper's, with its limits drawn in.

use std::error::Error;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::{Request, Uri, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use laioncele_core::DropReason;

use crate::answer::{Body, Cap, Expected, MAX_HEADS, NoHead};
use crate::failure::Failure;
use crate::frames::{Account, Counted};
use crate::head::Head;
use crate::patience::Patience;
use crate::room::RoomShare;
use crate::stream::Stream;

/// A connection that several requests share.
#[derive(Clone)]
pub(crate) struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    account: Account,
}

/// The body of an answer, not read yet.
pub(crate) struct Unread {
    incoming: Incoming,
    length: Option<u64>,
    account: Account,
}

/// Bytes of one stream that may be under way unread: fewer than [`OVERHEAD`], which they are counted against until they are
/// read.
const WINDOW: u32 = 256 << 10;
/// The same for all streams of a connection. hyper lets half as many bytes be wasted by small frames that wait to be read,
/// each up to 256 of them.
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Bytes that a connection may bring beside bodies for each request.
const OVERHEAD: usize = MAX_HEADS + (64 << 10);

impl Connection {
    /// Begins HTTP/2 on a connection. Its work is done by a task that ends with it.
    ///
    /// # Errors
    /// `bad_response`, `connect`.
    pub(crate) async fn open(stream: Stream) -> Result<Self, Failure> {
        let account = Account::default();
        account.at_least(OVERHEAD);
        let counted = Counted::new(stream, account.clone());
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEADS as u32)
            .max_concurrent_streams(0)
            .max_send_buf_size(64 << 10);
        let (sender, work) = builder
            .handshake(TokioIo::new(counted))
            .await
            .map_err(|error| failure(&error))?;
        tokio::spawn(async move {
            if let Err(error) = work.await {
                tracing::trace!(%error, "HTTP/2 connection ended");
            }
        });
        Ok(Self { sender, account })
    }

    /// Whether the connection takes requests, as far as is known.
    pub(crate) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Whether the server said that it answers over HTTP/1.1 only.
    pub(crate) fn wants_http1(&self) -> bool {
        self.account.wants_http1()
    }

    /// Asks for `uri`; the head of the answer, and its body to be read.
    pub(crate) async fn ask(
        &mut self,
        uri: &str,
        headers: &[(&str, &str)],
        patience: &mut Patience,
    ) -> Result<(Head, Unread), NoHead> {
        let no_url =
            |why: &dyn Error| NoHead::Failed(Failure::last(DropReason::BadUrl, why.to_string()));
        let uri: Uri = uri.parse().map_err(|why| no_url(&why))?;
        let mut request = Request::get(uri).version(Version::HTTP_2);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::new()).map_err(|why| no_url(&why))?;
        self.account.at_least(0);
        self.account.add(OVERHEAD);
        let answer = patience
            .bound("waiting for an answer", self.sender.send_request(request))
            .await
            .map_err(NoHead::Failed)?;
        let (parts, incoming) = answer.map_err(|error| no_head(&error))?.into_parts();
        let headers = parts.headers.iter();
        let head = Head {
            status: parts.status.as_u16(),
            old: false,
            headers: headers
                .map(|(n, v)| (n.as_str().as_bytes().to_vec(), v.as_bytes().to_vec()))
                .collect(),
        };
        let length = head
            .list("content-length")
            .first()
            .and_then(|l| l.parse().ok());
        let account = self.account.clone();
        let unread = Unread {
            incoming,
            length,
            account,
        };
        Ok((head, unread))
    }
}

impl Unread {
    /// Reads the body.
    ///
    /// # Errors
    /// `too_large`, `connect` for a body that is cut off, `timeout`.
    pub(crate) async fn body(
        mut self,
        cap: Cap,
        share: &mut RoomShare,
        patience: &mut Patience,
    ) -> Result<Vec<u8>, Failure> {
        if let Some(length) = self.length.filter(|l| *l > cap.bytes as u64 && !cap.cut) {
            return Err(Failure::too_large(length));
        }
        let mut body = Body::new(cap, share);
        while let Some(frame) = patience
            .bound("reading the body", self.incoming.frame())
            .await?
        {
            let frame = frame.map_err(|error| {
                let had = body.bytes.len();
                Failure::cut_off(format!(
                    "body cut off after {had} bytes: {}",
                    innermost(&error)
                ))
            })?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            self.account.add(data.len());
            let taken = data.len().min(cap.bytes - body.bytes.len());
            body.make_room(taken, Expected::More, patience).await;
            body.bytes.extend_from_slice(&data[..taken]);
            if taken < data.len() {
                return if cap.cut {
                    Ok(body.bytes)
                } else {
                    Err(Failure::more_than(cap.bytes))
                };
            }
        }
        Ok(body.bytes)
    }
}

fn no_head(error: &hyper::Error) -> NoHead {
    if error.is_closed() || error.is_canceled() || error.is_incomplete_message() {
        return NoHead::Closed(innermost(error));
    }
    NoHead::Failed(failure(error))
}

/// A broken connection, or frames that are no HTTP/2.
fn failure(error: &hyper::Error) -> Failure {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = next {
        if cause.is::<std::io::Error>() {
            return Failure::cut_off(innermost(error));
        }
        next = cause.source();
    }
    Failure::passing(
        DropReason::BadResponse,
        format!("HTTP/2: {}", innermost(error)),
    )
}

fn innermost(error: &dyn Error) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;
    use crate::room::Room;

    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        [&head, payload].concat()
    }

    /// Reads frames until one opens a stream, and gives that.
    fn asked(stream: &mut TcpStream) -> std::io::Result<u32> {
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head)?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            stream.read_exact(&mut vec![0; length as usize])?;
            if head[3] == HEADERS {
                return Ok(u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
            }
        }
    }

    type Answer = fn(&mut TcpStream, u32) -> std::io::Result<()>;

    /// A server that answers every request of a connection with `answer`.
    fn start(answer: Answer) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || -> std::io::Result<()> {
            for stream in listener.incoming() {
                let mut stream = stream?;
                stream.read_exact(&mut [0; 24])?;
                stream.write_all(&frame(SETTINGS, 0, 0, &[]))?;
                while let Ok(id) = asked(&mut stream) {
                    if answer(&mut stream, id).is_err() {
                        break;
                    }
                }
            }
            Ok(())
        });
        address
    }

    async fn open(answer: Answer) -> Connection {
        let tcp = tokio::net::TcpStream::connect(start(answer)).await;
        let stream = Stream::Plain(tcp.expect("connected"));
        Connection::open(stream).await.expect("HTTP/2")
    }

    async fn get(connection: &mut Connection, max: usize) -> Result<(u16, Vec<u8>), DropReason> {
        let mut patience = Patience::new(Duration::from_secs(20));
        let asked = connection.ask("https://a.example/x", &[("user-agent", "a")], &mut patience);
        let (head, unread) = asked.await.map_err(|error| match error {
            NoHead::Closed(_) => DropReason::Connect,
            NoHead::Failed(failure) => failure.reason,
        })?;
        let cap = Cap {
            bytes: max,
            cut: false,
        };
        let mut share = Room::new(1 << 20).share();
        let body = unread.body(cap, &mut share, &mut patience).await;
        body.map(|bytes| (head.status, bytes)).map_err(|failure| {
            // Shown where the test fails.
            println!("{failure:?}");
            failure.reason
        })
    }

    /// `:status: 200` in the table that every connection begins with.
    const OK: [u8; 1] = [0x88];

    #[tokio::test]
    async fn requests_share_a_connection() {
        let mut connection = open(|stream, id| {
            stream.write_all(&frame(HEADERS, END_HEADERS, id, &OK))?;
            stream.write_all(&frame(DATA, 0, id, b"pho"))?;
            stream.write_all(&frame(DATA, END_STREAM, id, b"to"))
        })
        .await;
        for _ in 0..3 {
            let found = get(&mut connection, 100).await;
            assert_eq!(found, Ok((200, b"photo".to_vec())));
        }
        assert_eq!(get(&mut connection, 4).await, Err(DropReason::TooLarge));
        assert!(connection.is_open());
    }

    #[tokio::test]
    async fn a_body_in_frames_of_one_byte_comes_whole() {
        let mut connection = open(|stream, id| {
            stream.write_all(&frame(HEADERS, END_HEADERS, id, &OK))?;
            for byte in 0..100_000_u32 {
                stream.write_all(&frame(DATA, 0, id, &[byte as u8]))?;
            }
            // Padding of 200 bytes.
            let padded = [&[200, b'x'][..], &[0; 200]].concat();
            for _ in 0..2000 {
                stream.write_all(&frame(DATA, 8, id, &padded))?;
            }
            stream.write_all(&frame(DATA, END_STREAM, id, b""))
        })
        .await;
        let (_, body) = get(&mut connection, 1 << 20).await.expect("a body");
        assert_eq!((body.len(), body[70_000]), (102_000, 70_000_u32 as u8));
    }

    #[tokio::test]
    async fn floods_end_the_connection() {
        let pings: Answer = |stream, _| loop {
            stream.write_all(&frame(PING, 0, 0, &[0; 8]))?;
        };
        let settings: Answer = |stream, _| loop {
            stream.write_all(&frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9]))?;
        };
        let headers: Answer = |stream, id| {
            stream.write_all(&frame(HEADERS, 0, id, &OK))?;
            loop {
                stream.write_all(&frame(9, 0, id, &[0x10, 1, b'a', 1, b'b']))?;
            }
        };
        let empty: Answer = |stream, id| {
            stream.write_all(&frame(HEADERS, END_HEADERS, id, &OK))?;
            loop {
                stream.write_all(&frame(DATA, 0, id, b""))?;
            }
        };
        let padding: Answer = |stream, id| {
            stream.write_all(&frame(HEADERS, END_HEADERS, id, &OK))?;
            loop {
                stream.write_all(&frame(DATA, 8, id, b"\x03..."))?;
            }
        };
        for answer in [pings, settings, headers, empty, padding] {
            let mut connection = open(answer).await;
            let reason = get(&mut connection, 100).await.expect_err("no answer");
            assert!(
                matches!(reason, DropReason::Connect | DropReason::BadResponse),
                "{reason}"
            );
        }
    }

    #[tokio::test]
    async fn a_body_without_its_end_is_cut_off() {
        let mut connection = open(|stream, id| {
            stream.write_all(&frame(HEADERS, END_HEADERS, id, &OK))?;
            stream.write_all(&frame(DATA, 0, id, b"pho"))?;
            Err(std::io::Error::other("enough"))
        })
        .await;
        assert_eq!(get(&mut connection, 100).await, Err(DropReason::Connect));
    }
}
