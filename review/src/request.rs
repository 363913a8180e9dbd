//! One request: what is understood of HTTP/1.1, and no more.

use std::io::{self, Read};

/// Bytes of a head, and of a body.
const MOST_HEAD: usize = 16 << 10;
const MOST_BODY: usize = 4 << 10;
/// Lines of a head.
const MOST_LINES: usize = 64;

/// A request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    pub method: String,
    /// Without the query.
    pub path: String,
    /// The query's value of `token`.
    pub token: Option<String>,
    /// The header `X-Review-Token`.
    pub header_token: Option<String>,
    pub host: Option<String>,
    pub body: Vec<u8>,
}

impl Request {
    /// Reads one; none where it is none, or too long.
    ///
    /// # Errors
    /// A broken connection.
    pub(crate) fn read(stream: &mut impl Read) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let mut lines = [httparse::EMPTY_HEADER; MOST_LINES];
            let mut head = httparse::Request::new(&mut lines);
            match head.parse(&bytes) {
                Ok(httparse::Status::Complete(end)) => {
                    let (mut request, length) = Self::of_head(&head);
                    let Some(length) = length.filter(|length| *length <= MOST_BODY) else {
                        return Ok(None);
                    };
                    request.body = bytes.split_off(end);
                    return request.read_body(stream, length);
                }
                Ok(httparse::Status::Partial) if bytes.len() < MOST_HEAD => {}
                _ => return Ok(None),
            }
            match stream.read(&mut buffer)? {
                0 => return Ok(None),
                read => bytes.extend_from_slice(&buffer[..read]),
            }
        }
    }

    /// The request without its body, and the body's length; none for one that says none.
    fn of_head(head: &httparse::Request<'_, '_>) -> (Self, Option<usize>) {
        let header = |name: &str| {
            let found = head
                .headers
                .iter()
                .find(|h| h.name.eq_ignore_ascii_case(name));
            found
                .and_then(|h| std::str::from_utf8(h.value).ok())
                .map(|v| v.trim().to_owned())
        };
        let target = head.path.unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let token = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("token="));
        let length = match header("content-length") {
            None if header("transfer-encoding").is_none() => Some(0),
            None => None,
            Some(text) => text.parse().ok(),
        };
        let request = Self {
            method: head.method.unwrap_or_default().to_owned(),
            path: path.to_owned(),
            token: token.map(str::to_owned),
            header_token: header("x-review-token"),
            host: header("host"),
            body: Vec::new(),
        };
        (request, length)
    }

    fn read_body(mut self, stream: &mut impl Read, length: usize) -> io::Result<Option<Self>> {
        if self.body.len() > length {
            return Ok(None);
        }
        let missing = length - self.body.len();
        let read = stream.take(missing as u64).read_to_end(&mut self.body)?;
        Ok((read == missing).then_some(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Request> {
        Request::read(&mut text.as_bytes()).expect("no broken connection")
    }

    #[test]
    fn a_request_is_read_with_token_host_and_body() {
        let text = "POST /decide?x=1&token=abc HTTP/1.1\r\nHost: 127.0.0.1:9\r\nX-Review-Token: def\r\nContent-Length: 2\r\n\r\n{}";
        let request = read(text).expect("a request");
        assert_eq!(
            (request.method.as_str(), request.path.as_str()),
            ("POST", "/decide")
        );
        assert_eq!(request.token.as_deref(), Some("abc"));
        assert_eq!(request.header_token.as_deref(), Some("def"));
        assert_eq!(
            (request.host.as_deref(), &request.body[..]),
            (Some("127.0.0.1:9"), &b"{}"[..])
        );
    }

    #[test]
    fn what_is_no_request_or_too_long_is_none() {
        let long = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(MOST_HEAD * 2));
        for text in [
            "",
            "GET /",
            "\0\0\0\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            &long,
        ] {
            assert_eq!(read(text), None, "{}", &text[..text.len().min(60)]);
        }
    }
}
