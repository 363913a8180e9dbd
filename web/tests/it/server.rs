//! A server that sends raw bytes, by path.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is done after a request.
#[derive(Clone)]
pub(crate) enum Step {
    /// Bytes as they are.
    Send(Vec<u8>),
    /// The same again and again, until the client has had enough.
    Forever(Vec<u8>),
    /// Nothing, until the client has had enough.
    Hold,
    /// The connection stays open for the next request.
    Keep,
    /// The request's head as body.
    Echo,
}

/// Steps for each path, and what has been asked.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<BTreeMap<String, usize>>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) fn start(pages: BTreeMap<String, Vec<Step>>) -> Self {
        Self::start_at("127.0.0.1", pages)
    }

    pub(crate) fn start_at(ip: &str, pages: BTreeMap<String, Vec<Step>>) -> Self {
        let listener = TcpListener::bind((ip, 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        let asked = Arc::<Mutex<BTreeMap<String, usize>>>::default();
        let connections = Arc::<AtomicUsize>::default();
        let pages = Arc::new(pages);
        let (all, count) = (Arc::clone(&asked), connections.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                let (pages, asked) = (pages.clone(), all.clone());
                std::thread::spawn(move || serve(stream, &pages, &asked));
            }
        });
        Self {
            address,
            asked,
            connections,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How often a path was asked for.
    pub(crate) fn asked(&self, path: &str) -> usize {
        let asked = self.asked.lock().expect("no panic");
        asked.get(path).copied().unwrap_or(0)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn serve(
    mut stream: TcpStream,
    pages: &BTreeMap<String, Vec<Step>>,
    asked: &Mutex<BTreeMap<String, usize>>,
) -> Option<()> {
    loop {
        let request = read_head(&mut stream)?;
        let path = request.split(' ').nth(1)?.to_owned();
        *asked.lock().ok()?.entry(path.clone()).or_default() += 1;
        let steps = pages.get(&path).cloned().unwrap_or_else(|| {
            vec![Step::Send(
                b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    .to_vec(),
            )]
        });
        let mut keep = false;
        for step in steps {
            match step {
                Step::Send(bytes) => stream.write_all(&bytes).ok()?,
                Step::Forever(bytes) => loop {
                    stream.write_all(&bytes).ok()?;
                },
                Step::Hold => while stream.read(&mut [0]).ok()? > 0 {},
                Step::Keep => keep = true,
                Step::Echo => {
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{request}",
                        request.len()
                    );
                    stream.write_all(head.as_bytes()).ok()?;
                }
            }
        }
        if !keep {
            // The client may still write: a reset would take away what it has not read.
            stream.shutdown(std::net::Shutdown::Write).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
            while stream.read(&mut [0; 1024]).ok()? > 0 {}
            return Some(());
        }
    }
}

fn read_head(stream: &mut TcpStream) -> Option<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        (stream.read(&mut byte).ok()? == 1).then_some(())?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}
