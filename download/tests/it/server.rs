//! A server that does as a test says and remembers who was asked what, and how much at once.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use laioncele_core::spec::HostMap;
use laioncele_download::EngineSettings;
use laioncele_web::WebSettings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// What the server does with a request.
pub(crate) enum Answer {
    /// Answers after so long: status, more headers (`NAME: VALUE` lines), body.
    After(Duration, u16, String, Vec<u8>),
    /// Says nothing for as long as the server lives.
    Never,
}

impl Answer {
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::After(Duration::ZERO, 200, String::new(), body.into())
    }

    pub(crate) fn status(status: u16) -> Self {
        Self::After(Duration::ZERO, status, String::new(), Vec::new())
    }

    pub(crate) fn redirect(to: &str) -> Self {
        let location = format!("Location: {to}\r\n");
        Self::After(Duration::ZERO, 302, location, Vec::new())
    }

    pub(crate) fn later(self, wait: Duration) -> Self {
        match self {
            Self::After(_, status, headers, body) => Self::After(wait, status, headers, body),
            Self::Never => Self::Never,
        }
    }

    pub(crate) fn with(self, header: &str) -> Self {
        match self {
            Self::After(wait, status, headers, body) => {
                Self::After(wait, status, format!("{headers}{header}\r\n"), body)
            }
            Self::Never => Self::Never,
        }
    }
}

/// A request that has come: host, path, how often this path was asked for before.
pub(crate) struct Request {
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) before: usize,
}

/// What has come to one host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    now: usize,
    /// Requests under way at once at most.
    pub(crate) most: usize,
    /// All requests, in order: when they came, and their paths.
    pub(crate) requests: Vec<(Instant, String)>,
}

type Behaviour = dyn Fn(&Request) -> Answer + Send + Sync;

#[derive(Default)]
struct Memory(Mutex<HashMap<String, Asked>>);

/// Ends when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    memory: Arc<Memory>,
    runtime: Option<Runtime>,
}

impl Server {
    pub(crate) fn new(behaviour: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("an address");
        let memory = Arc::<Memory>::default();
        runtime.spawn(accept(listener, Arc::new(behaviour), memory.clone()));
        Self {
            address,
            memory,
            runtime: Some(runtime),
        }
    }

    pub(crate) fn map(&self) -> Option<HostMap> {
        Some(HostMap {
            suffix: ".example".to_owned(),
            address: self.address,
        })
    }

    pub(crate) fn asked(&self, host: &str) -> Asked {
        self.memory.lock().get(host).cloned().unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Asked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn came(&self, host: &str, path: &str) -> Request {
        let mut memory = self.lock();
        let asked = memory.entry(host.to_owned()).or_default();
        asked.now += 1;
        asked.most = asked.most.max(asked.now);
        let before = asked.requests.iter().filter(|(_, p)| p == path).count();
        asked.requests.push((Instant::now(), path.to_owned()));
        Request {
            host: host.to_owned(),
            path: path.to_owned(),
            before,
        }
    }

    fn went(&self, host: &str) {
        if let Some(asked) = self.lock().get_mut(host) {
            asked.now -= 1;
        }
    }
}

async fn accept(listener: TcpListener, behaviour: Arc<Behaviour>, memory: Arc<Memory>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (behaviour, memory) = (behaviour.clone(), memory.clone());
        tokio::spawn(async move { serve(stream, &*behaviour, &memory).await });
    }
}

async fn serve(mut stream: TcpStream, behaviour: &Behaviour, memory: &Memory) -> Option<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await.ok()? == 0 {
                return None;
            }
        }
        let head = String::from_utf8(head).ok()?;
        let path = head.split(' ').nth(1)?;
        let host = head.lines().find_map(|l| l.strip_prefix("Host: "))?;
        let request = memory.came(host, path);
        let answer = behaviour(&request);
        let Answer::After(wait, status, headers, body) = answer else {
            // Until the client has gone.
            let _ = stream.read(&mut [0]).await;
            memory.went(host);
            return None;
        };
        tokio::time::sleep(wait).await;
        let length = body.len();
        let answer = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\n\r\n");
        // Before the client can know that it is free to ask again.
        memory.went(host);
        stream.write_all(answer.as_bytes()).await.ok()?;
        stream.write_all(&body).await.ok()?;
    }
}

/// Settings for tests: two tries more, short waits, no limit that gets in the way.
pub(crate) fn settings() -> EngineSettings {
    EngineSettings {
        web: WebSettings::default(),
        retries: 2,
        backoff: Duration::from_millis(20),
        deadline: Duration::from_secs(20),
        concurrency: 64,
        per_host: 64,
        per_host_rate: None,
        breaker_after: 1000,
        memory: 64 << 20,
        threads: 2,
        shared: None,
    }
}
