//! The embedded world's web as an HTTP/1.1 server on a loopback port. It is written by hand because
//! it must misbehave in ways that no HTTP library allows.

mod files;
mod packed;
mod request;
mod respond;
mod state;
mod trap;

use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::WorldError;
use crate::web::Web;
use request::RequestReader;
use state::{State, lock};

/// How long a connection may be idle between requests.
const IDLE: Duration = Duration::from_mins(1);
/// How long to wait when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// A running server. Dropping it stops it and closes its connections.
pub struct WebServer {
    address: SocketAddr,
    state: Arc<State>,
    listener: Option<JoinHandle<()>>,
}

impl WebServer {
    /// Serves the web of the file `web` on 127.0.0.1. Port 0 takes a free port.
    ///
    /// # Errors
    /// A file that is missing or not a web, a port that is taken.
    pub fn start(web: &Path, port: u16) -> Result<Self, WorldError> {
        Self::serve(Web::load(web)?, port)
    }

    /// Serves `web` on 127.0.0.1. Port 0 takes a free port.
    ///
    /// # Errors
    /// A port that is taken.
    pub fn serve(web: Web, port: u16) -> Result<Self, WorldError> {
        let failed = |source| WorldError::Listen { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let state = Arc::new(State::new(web));
        let shared = state.clone();
        let listener = std::thread::spawn(move || accept(&listener, &shared));
        Ok(Self {
            address,
            state,
            listener: Some(listener),
        })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.state.stop();
        // The listener looks whether it must stop when a connection comes.
        let woken = TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).is_ok();
        if let Some(listener) = self.listener.take().filter(|_| woken) {
            let _ = listener.join();
        }
        for stream in lock(&self.state.open).values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Accepts connections until the server stops, and serves each on a thread of its own.
fn accept(listener: &TcpListener, state: &Arc<State>) {
    for (number, stream) in (0..).zip(listener.incoming()) {
        if state.is_stopped() {
            return;
        }
        match stream.and_then(|stream| Ok((stream.try_clone()?, stream))) {
            Ok((copy, stream)) => {
                lock(&state.open).insert(number, copy);
                let state = state.clone();
                std::thread::spawn(move || {
                    if let Err(error) = serve_connection(&stream, &state) {
                        tracing::trace!(%error, "connection ended");
                    }
                    // The copy keeps the socket open, so dropping the stream does not close it.
                    let _ = stream.shutdown(Shutdown::Both);
                    lock(&state.open).remove(&number);
                });
            }
            // No file descriptor is left: another connection will end and free one.
            Err(_) => std::thread::sleep(ACCEPT_PAUSE),
        }
    }
}

/// Answers the requests of one connection until one side closes it.
fn serve_connection(stream: &TcpStream, state: &State) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(IDLE))?;
    let mut reader = RequestReader::new(stream);
    while let Some(request) = reader.next()? {
        if !respond::respond(state, stream, &request)? {
            return Ok(());
        }
    }
    Ok(())
}
