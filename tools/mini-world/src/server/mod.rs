//! The embedded world's web as a real HTTP/1.1 server on a loopback port: made by hand, since it must misbehave.

mod answer;
mod request;

use std::collections::HashMap;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::WorldError;
use crate::web::Web;

/// How long a connection may idle between requests.
const IDLE: Duration = Duration::from_secs(60);

/// A running web. Dropping it stops it and closes its connections.
pub struct WebServer {
    address: SocketAddr,
    state: Arc<State>,
    listener: Option<JoinHandle<()>>,
}

/// What the connections share.
struct State {
    web: Web,
    stopped: AtomicBool,
    /// Answered pictures, by their url; a world's pictures are some megabytes together.
    files: Mutex<HashMap<String, Arc<[u8]>>>,
    /// How often the urls that fail at first were asked for.
    asked: Mutex<HashMap<String, u32>>,
    /// Open connections, to be closed when it stops.
    open: Mutex<HashMap<u64, TcpStream>>,
}

impl WebServer {
    /// Serves the web of the file `web` on 127.0.0.1; port 0 takes a free one.
    ///
    /// # Errors
    /// A file that is missing or of another shape, a port that is taken.
    pub fn start(web: &Path, port: u16) -> Result<Self, WorldError> {
        Self::serve(Web::load(web)?, port)
    }

    /// Serves `web` on 127.0.0.1; port 0 takes a free one.
    ///
    /// # Errors
    /// A port that is taken.
    pub fn serve(web: Web, port: u16) -> Result<Self, WorldError> {
        let failed = |source| WorldError::Listen { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let state = Arc::new(State {
            web,
            stopped: AtomicBool::new(false),
            files: Mutex::default(),
            asked: Mutex::default(),
            open: Mutex::default(),
        });
        let shared = state.clone();
        let listener = std::thread::spawn(move || accept(&listener, &shared));
        Ok(Self {
            address,
            state,
            listener: Some(listener),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        // The listener looks at `stopped` when somebody comes.
        let woken = TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).is_ok();
        if let Some(listener) = self.listener.take().filter(|_| woken) {
            let _ = listener.join();
        }
        for stream in lock(&self.state.open).values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl State {
    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    for (number, stream) in (0..).zip(listener.incoming()) {
        if state.is_stopped() {
            return;
        }
        match stream.and_then(|s| Ok((s.try_clone()?, s))) {
            Ok((copy, stream)) => {
                lock(&state.open).insert(number, copy);
                let state = state.clone();
                std::thread::spawn(move || {
                    if let Err(error) = talk(&stream, &state) {
                        tracing::trace!(%error, "connection ended");
                    }
                    // The copy keeps the socket open: say goodbye on both.
                    let _ = stream.shutdown(Shutdown::Both);
                    lock(&state.open).remove(&number);
                });
            }
            // No descriptor left: somebody will go.
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Answers the requests of one connection until either side has enough.
fn talk(stream: &TcpStream, state: &State) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(IDLE))?;
    let mut reader = request::Reader::new(stream);
    while let Some(request) = reader.next()? {
        if !answer::answer(state, stream, &request)? {
            return Ok(());
        }
    }
    Ok(())
}
