//! Connections that are kept open for another request to the same origin.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::target::Origin;
use crate::{http1, http2};

/// A connection of either version.
pub(crate) enum Connection {
    Http1(Box<http1::Connection>),
    Http2(http2::Connection),
}

impl Connection {
    /// Whether several requests may be under way on it.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self, Self::Http2(_))
    }
}

/// Open connections without work.
pub(crate) struct Pool {
    kept: Mutex<Kept>,
    per_origin: usize,
}

struct Kept {
    origins: HashMap<Origin, Vec<(Instant, Connection)>>,
    count: usize,
    swept: Instant,
}

/// How long a connection is kept without work.
const KEPT: Duration = Duration::from_secs(20);
/// Connections kept at most: each holds a file descriptor.
const MOST: usize = 1024;
/// How often those that are too old are looked for.
const SWEEP: Duration = Duration::from_secs(1);

impl Pool {
    pub(crate) fn new(per_origin: usize) -> Self {
        Self {
            kept: Mutex::new(Kept {
                origins: HashMap::new(),
                count: 0,
                swept: Instant::now(),
            }),
            per_origin: per_origin.max(1),
        }
    }

    /// A connection to `origin` that looks alive. One of HTTP/2 stays in the pool too.
    pub(crate) fn take(&self, origin: &Origin) -> Option<Connection> {
        let mut kept = self.lock();
        let kept = &mut *kept;
        let connections = kept.origins.get_mut(origin)?;
        while let Some((since, connection)) = connections.pop() {
            match connection {
                Connection::Http2(shared) if shared.is_open() => {
                    connections.push((Instant::now(), Connection::Http2(shared.clone())));
                    return Some(Connection::Http2(shared));
                }
                Connection::Http1(own) if since.elapsed() < KEPT && own.is_quiet() => {
                    kept.count -= 1;
                    return Some(Connection::Http1(own));
                }
                _ => kept.count -= 1,
            }
        }
        kept.origins.remove(origin);
        None
    }

    /// Keeps a connection, if there is place for it.
    pub(crate) fn keep(&self, origin: Origin, connection: Connection) {
        let mut kept = self.lock();
        if kept.swept.elapsed() > SWEEP {
            kept.sweep();
        }
        let full = kept.count >= MOST;
        let connections = kept.origins.entry(origin).or_default();
        let another = connection.is_shared() && connections.iter().any(|(_, c)| c.is_shared());
        if full || another || connections.len() >= self.per_origin {
            return;
        }
        connections.push((Instant::now(), connection));
        kept.count += 1;
    }

    /// Keeps no connection to `origin` that is shared.
    pub(crate) fn drop_shared(&self, origin: &Origin) {
        let mut kept = self.lock();
        let kept = &mut *kept;
        if let Some(connections) = kept.origins.get_mut(origin) {
            let before = connections.len();
            connections.retain(|(_, connection)| !connection.is_shared());
            kept.count -= before - connections.len();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn sweep(&mut self) {
        self.swept = Instant::now();
        for connections in self.origins.values_mut() {
            connections.retain(|(since, _)| since.elapsed() < KEPT);
        }
        self.origins
            .retain(|_, connections| !connections.is_empty());
        self.count = self.origins.values().map(Vec::len).sum();
    }
}
