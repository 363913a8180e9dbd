//! Reading requests: the head, as far as the world's web needs it.

use std::io::{Error, ErrorKind, Read, Result};
use std::net::TcpStream;

/// The longest head that is read.
const MAX_HEAD: usize = 16 << 10;
/// First byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// What somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// A page.
    Get {
        /// Of the Host header, without port, in lower case.
        host: String,
        /// With its query.
        path: String,
        /// Whether the connection is to be kept.
        keep: bool,
    },
    /// Another method.
    OtherMethod,
    /// A TLS handshake on the plain port, or no HTTP.
    NoHttp,
}

/// Reads one request after the other.
pub(super) struct Reader<'a> {
    stream: &'a TcpStream,
    /// Bytes read beyond the last request.
    rest: Vec<u8>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(stream: &'a TcpStream) -> Self {
        Self {
            stream,
            rest: Vec::new(),
        }
    }

    /// The next request; `None` if the other side has gone.
    pub(super) fn next(&mut self) -> Result<Option<Request>> {
        loop {
            if self.rest.first() == Some(&TLS_HANDSHAKE) {
                return Ok(Some(Request::NoHttp));
            }
            if let Some(end) = self.rest.windows(4).position(|w| w == b"\r\n\r\n") {
                let head: Vec<u8> = self.rest.drain(..end + 4).collect();
                return Ok(Some(parse(&String::from_utf8_lossy(&head))));
            }
            if self.rest.len() > MAX_HEAD {
                return Err(Error::new(ErrorKind::InvalidData, "the head is too long"));
            }
            let mut bytes = [0; 2048];
            let count = self.stream.read(&mut bytes)?;
            if count == 0 {
                return Ok(None);
            }
            self.rest.extend_from_slice(&bytes[..count]);
        }
    }
}

fn parse(head: &str) -> Request {
    let mut lines = head.split("\r\n");
    let words: Vec<_> = lines.next().unwrap_or_default().split(' ').collect();
    let ["GET", path, "HTTP/1.1" | "HTTP/1.0"] = words[..] else {
        let known = words.last().is_some_and(|w| w.starts_with("HTTP/"));
        return if known {
            Request::OtherMethod
        } else {
            Request::NoHttp
        };
    };
    let (mut host, mut keep) = (String::new(), true);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("host") {
            host = value
                .split(':')
                .next()
                .unwrap_or_default()
                .to_ascii_lowercase();
        } else if name.eq_ignore_ascii_case("connection") {
            keep = !value.eq_ignore_ascii_case("close");
        }
    }
    Request::Get {
        host,
        path: path.to_owned(),
        keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let get = |host: &str, path: &str, keep| Request::Get {
            host: host.to_owned(),
            path: path.to_owned(),
            keep,
        };
        for (head, request) in [
            (
                "GET /a.jpg?x HTTP/1.1\r\nHost: A.example:80\r\n\r\n",
                get("a.example", "/a.jpg?x", true),
            ),
            (
                "GET / HTTP/1.0\r\nconnection: Close\r\n\r\n",
                get("", "/", false),
            ),
            ("POST / HTTP/1.1\r\n\r\n", Request::OtherMethod),
            ("EHLO there\r\n\r\n", Request::NoHttp),
            ("\r\n\r\n", Request::NoHttp),
        ] {
            assert_eq!(parse(head), request, "{head}");
        }
    }
}
