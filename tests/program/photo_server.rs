//! A small server on the loopback device, whose paths say how it behaves.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Cursor, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use image::{ImageFormat, Rgb, RgbImage};

/// A server of photos and failures, which counts who asks for what.
///
/// `/photo/N.jpg` and `/png/N` are photos; `/html`, `/missing` and `/broken` fail; `/noai/N.jpg` asks not to be used;
/// `/moved/N.jpg` leads to the photo; `/flaky/N.jpg` answers 503 and `/hanging/N.jpg` nothing, until [`PhotoServer::heal`].
pub(crate) struct PhotoServer {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    healed: AtomicBool,
    asked: Mutex<BTreeMap<String, usize>>,
}

impl PhotoServer {
    /// Starts to serve.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(State::default());
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                std::thread::spawn(move || serve(&stream, &state));
            }
        });
        Self { address, state }
    }

    /// The url of `path`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on all photos are there.
    pub(crate) fn heal(&self) {
        self.state.healed.store(true, Ordering::SeqCst);
    }

    /// How often each path was asked for.
    pub(crate) fn asked(&self) -> BTreeMap<String, usize> {
        self.state.asked.lock().expect("no panic").clone()
    }
}

/// The photo number `number`: noise, so that its size is that of a photo.
pub(crate) fn photo(number: u64, format: ImageFormat) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut noise = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let image = RgbImage::from_fn(64, 48, |_, _| Rgb([noise(), noise(), noise()]));
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).expect("encodes");
    bytes.into_inner()
}

fn serve(stream: &TcpStream, state: &State) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        reader.read_line(&mut first).ok().filter(|n| *n > 0)?;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
            if line.trim().is_empty() {
                break;
            }
        }
        let path = first.split(' ').nth(1)?.to_owned();
        *state.asked.lock().ok()?.entry(path.clone()).or_default() += 1;
        let answer = answer(&path, state.healed.load(Ordering::SeqCst));
        let Some(answer) = answer else {
            // Nothing, until the other side gives up.
            let _ = reader.read_line(&mut String::new());
            let _ = stream.shutdown(Shutdown::Both);
            return None;
        };
        (&*stream).write_all(&answer).ok()?;
    }
}

fn answer(path: &str, healed: bool) -> Option<Vec<u8>> {
    let (kind, name) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    let number = name.trim_end_matches(".jpg").parse().unwrap_or(0);
    let jpeg = || photo(number, ImageFormat::Jpeg);
    Some(match kind {
        "hanging" if !healed => return None,
        "flaky" if !healed => whole("503 Service Unavailable", "", b"later"),
        "photo" | "hanging" | "flaky" => whole("200 OK", "", &jpeg()),
        "png" => whole("200 OK", "", &photo(number, ImageFormat::Png)),
        "noai" => whole("200 OK", "X-Robots-Tag: noai\r\n", &jpeg()),
        "html" => whole("200 OK", "Content-Type: image/jpeg\r\n", b"<html>"),
        "broken" => whole("200 OK", "", &jpeg()[..1000]),
        "moved" => whole("302 Found", &format!("Location: /photo/{name}\r\n"), b""),
        _ => whole("404 Not Found", "", b"nothing here"),
    })
}

fn whole(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}
