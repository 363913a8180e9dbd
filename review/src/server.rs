//! The server: loopback only, one page, a few paths.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use laioncele_core::decisions::Ruling;
use laioncele_core::task::time_text;
use laioncele_report::thumbnail;
use serde_json::json;

use crate::board::Board;
use crate::request::Request;

/// How long a request or an answer may take on its way.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections at once.
const MOST_CONNECTIONS: usize = 32;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// The port is taken, or there is no loopback device.
    #[error("cannot listen on 127.0.0.1:{port}")]
    Listen {
        /// The port; 0 for any.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// Nothing is random here.
    #[error("cannot make a token")]
    Token(#[source] io::Error),
}

/// A server that listens already.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    token: String,
}

struct Answer {
    status: &'static str,
    kind: &'static str,
    body: Vec<u8>,
}

impl Answer {
    fn text(status: &'static str, text: &str) -> Self {
        let body = text.as_bytes().to_vec();
        Self {
            status,
            kind: "text/plain; charset=utf-8",
            body,
        }
    }

    fn json(value: &serde_json::Value) -> Self {
        let body = value.to_string().into_bytes();
        Self {
            status: "200 OK",
            kind: "application/json",
            body,
        }
    }
}

impl Server {
    /// Listens on `port` of the loopback device, on any where it is 0.
    ///
    /// # Errors
    /// [`ReviewError`].
    pub fn listen(port: u16) -> Result<Self, ReviewError> {
        let listen = |source| ReviewError::Listen { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let token = token().map_err(ReviewError::Token)?;
        Ok(Self {
            listener,
            address,
            token,
        })
    }

    /// The page's address, with the token.
    pub fn url(&self) -> String {
        format!("http://{}/?token={}", self.address, self.token)
    }

    /// Answers until the process ends.
    pub fn serve(self, board: Board) {
        let (board, at_once) = (Mutex::new(board), AtomicUsize::new(0));
        let shared = Arc::new((self.token, self.address, board, at_once));
        for stream in self.listener.incoming().flatten() {
            let shared = shared.clone();
            if shared.3.fetch_add(1, Ordering::SeqCst) >= MOST_CONNECTIONS {
                shared.3.fetch_sub(1, Ordering::SeqCst);
                continue;
            }
            std::thread::spawn(move || {
                // A broken connection is the browser's affair.
                let (token, address, board, at_once) = &*shared;
                drop(connection(stream, token, *address, board));
                at_once.fetch_sub(1, Ordering::SeqCst);
            });
        }
    }
}

fn token() -> io::Result<String> {
    let mut bytes = [0; 16];
    let mut file = std::fs::File::open("/dev/urandom")?;
    io::Read::read_exact(&mut file, &mut bytes)?;
    Ok(bytes.map(|byte| format!("{byte:02x}")).concat())
}

fn connection(
    mut stream: TcpStream,
    token: &str,
    address: SocketAddr,
    board: &Mutex<Board>,
) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let Some(request) = Request::read(&mut stream)? else {
        return write(
            &mut stream,
            &Answer::text("400 Bad Request", "not understood"),
        );
    };
    let answer = match refused(&request, token, address) {
        Some(refusal) => refusal,
        None => answer(&request, board),
    };
    write(&mut stream, &answer)
}

/// Why a request is not answered: another host's name (a page elsewhere whose name leads here), no token, or a decision whose token
/// is in the address only, which a link elsewhere could hold.
fn refused(request: &Request, token: &str, address: SocketAddr) -> Option<Answer> {
    let port = address.port();
    let own = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    if !request.host.as_ref().is_some_and(|host| own.contains(host)) {
        return Some(Answer::text("403 Forbidden", "another host's name"));
    }
    let given = match request.method.as_str() {
        "GET" => request.token.as_deref().or(request.header_token.as_deref()),
        _ => request.header_token.as_deref(),
    };
    let same = given.is_some_and(|given| same(given.as_bytes(), token.as_bytes()));
    (!same).then(|| {
        Answer::text(
            "403 Forbidden",
            "open the address that `laioncele review` printed",
        )
    })
}

/// Whether both are equal, in a time that does not say where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (x, y)| all | (x ^ y)) == 0
}

fn answer(request: &Request, board: &Mutex<Board>) -> Answer {
    let lock = || board.lock().unwrap_or_else(PoisonError::into_inner);
    let missing = || Answer::text("404 Not Found", "there is no such thing here");
    let mut path = request.path.trim_start_matches('/').split('/');
    let words = [path.next(), path.next(), path.next()].map(Option::unwrap_or_default);
    match (request.method.as_str(), words) {
        ("GET", ["", "", ""]) => Answer {
            status: "200 OK",
            kind: "text/html; charset=utf-8",
            body: include_bytes!("../templates/review.html").to_vec(),
        },
        ("GET", ["identities", "", ""]) => Answer::json(&json!(lock().entries())),
        ("GET", [kind @ ("photo" | "portrait"), name, second]) => {
            let hex = |text: &str| u64::from_str_radix(text, 16).ok();
            let found = hex(name).zip(hex(second));
            let found = found.and_then(|(n, s)| lock().picture(n, s, kind == "portrait"));
            found.map_or_else(missing, |file| {
                let picture = thumbnail(&file, "", "");
                Answer::json(&json!({ "data": picture.data }))
            })
        }
        ("POST", ["decide", "", ""]) => match serde_json::from_slice::<Ruling>(&request.body) {
            Err(error) => Answer::text("400 Bad Request", &error.to_string()),
            Ok(ruling) => match lock().decide(ruling, time_text(SystemTime::now())) {
                Ok(line) => Answer::json(&json!({ "line": line })),
                Err(reason) => Answer::text("400 Bad Request", &reason),
            },
        },
        _ => missing(),
    }
}

fn write(stream: &mut TcpStream, answer: &Answer) -> io::Result<()> {
    let Answer { status, kind, body } = answer;
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\nCache-Control: no-store\r\n\
         Referrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n\
         Content-Security-Policy: default-src 'none'; img-src data:; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    stream.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, host: &str, query: Option<&str>, header: Option<&str>) -> Request {
        Request {
            method: method.to_owned(),
            path: "/".to_owned(),
            token: query.map(str::to_owned),
            header_token: header.map(str::to_owned),
            host: Some(host.to_owned()),
            body: Vec::new(),
        }
    }

    #[test]
    fn only_who_has_the_token_is_answered() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let is_refused = |r: &Request| refused(r, "secret", address).is_some();
        assert!(!is_refused(&request(
            "GET",
            "127.0.0.1:9",
            Some("secret"),
            None
        )));
        assert!(!is_refused(&request(
            "POST",
            "localhost:9",
            None,
            Some("secret")
        )));
        // A form elsewhere can send an address, but no header.
        assert!(is_refused(&request(
            "POST",
            "127.0.0.1:9",
            Some("secret"),
            None
        )));
        assert!(is_refused(&request(
            "GET",
            "127.0.0.1:9",
            Some("secre"),
            None
        )));
        assert!(is_refused(&request("GET", "127.0.0.1:9", None, None)));
        // A name elsewhere that leads here.
        assert!(is_refused(&request(
            "GET",
            "evil.example:9",
            Some("secret"),
            None
        )));
        let nameless = Request {
            host: None,
            ..request("GET", "", Some("secret"), None)
        };
        assert!(is_refused(&nameless));
    }

    #[test]
    fn tokens_differ() {
        let [a, b] = [token(), token()].map(|t| t.expect("a token"));
        assert!(a.len() == 32 && a != b && !same(a.as_bytes(), b.as_bytes()));
    }
}
