//! Reads requests, as far as the world's web needs them.

use std::io::{Error, ErrorKind, Read, Result};
use std::net::TcpStream;

/// The longest request head that is read, in bytes.
const MAX_HEAD: usize = 16 << 10;
/// The most header fields of a request.
const MAX_FIELDS: usize = 64;
/// First byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// GET of a page.
    Get {
        /// The Host header in lower case, without port.
        host: String,
        /// The path with its query.
        path: String,
        /// Whether the connection stays open afterwards.
        keep: bool,
    },
    /// Another method.
    OtherMethod,
    /// A TLS handshake, or no HTTP request at all.
    NotHttp,
}

/// Reads the requests of a connection, one after the other.
pub(super) struct RequestReader<'a> {
    stream: &'a TcpStream,
    /// Bytes that were read beyond the last request.
    rest: Vec<u8>,
}

impl<'a> RequestReader<'a> {
    pub(super) fn new(stream: &'a TcpStream) -> Self {
        Self {
            stream,
            rest: Vec::new(),
        }
    }

    /// The next request; `None` if the client has closed the connection.
    pub(super) fn next(&mut self) -> Result<Option<Request>> {
        loop {
            if self.rest.first() == Some(&TLS_HANDSHAKE) {
                return Ok(Some(Request::NotHttp));
            }
            if let Some(end) = self.rest.windows(4).position(|w| w == b"\r\n\r\n") {
                let head: Vec<u8> = self.rest.drain(..end + 4).collect();
                return Ok(Some(parse(&head)));
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

/// The request with this head.
fn parse(head: &[u8]) -> Request {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let complete = request.parse(head).is_ok_and(|status| status.is_complete());
    let (true, Some(method), Some(path)) = (complete, request.method, request.path) else {
        return Request::NotHttp;
    };
    if method != "GET" {
        return Request::OtherMethod;
    }
    let field = |name: &str| {
        let mut fields = request.headers.iter();
        let field = fields.find(|field| field.name.eq_ignore_ascii_case(name));
        String::from_utf8_lossy(field.map_or(&b""[..], |field| field.value)).to_ascii_lowercase()
    };
    Request::Get {
        host: field("host").split(':').next().unwrap_or("").to_owned(),
        path: path.to_owned(),
        keep: field("connection") != "close",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_reads_method_host_path_and_connection() {
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
            ("EHLO there\r\n\r\n", Request::NotHttp),
            ("\r\n\r\n", Request::NotHttp),
        ] {
            assert_eq!(parse(head.as_bytes()), request, "{head}");
        }
    }
}
