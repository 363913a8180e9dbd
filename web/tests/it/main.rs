//! The client against servers that send raw bytes.

mod answers;
mod hops;
mod secure;
mod server;
mod sites;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use laioncele_core::DropReason;
use laioncele_web::{Client, Failure, Gate, Open, Pass, Room, Try, Verdict, WebSettings};

/// Bytes that begin as a photo does.
pub(crate) const PHOTO: &[u8] =
    b"\xff\xd8\xff\xe0 a photo, as far as anybody here can tell \0\r\n\r\n";

/// The settings of all tests: one host of this machine may be asked.
pub(crate) fn settings() -> WebSettings {
    WebSettings {
        max_bytes: 1 << 16,
        allow_hosts: vec!["127.0.0.1".to_owned()],
        connect_timeout: Duration::from_secs(20),
        timeout: Duration::from_secs(20),
        ..WebSettings::default()
    }
}

pub(crate) fn client(settings: WebSettings) -> Client {
    Client::new(settings, None).expect("a client")
}

pub(crate) async fn get(client: &Client, url: &str) -> Try {
    client.get(url, &Open, &Room::new(1 << 20)).await
}

/// What a try is to a table of expectations.
pub(crate) fn outcome(done: Try) -> Result<Vec<u8>, DropReason> {
    match done.result {
        Ok(body) => Ok(body.bytes),
        Err(failure) => {
            assert!(
                failure.detail.is_some_and(|d| !d.is_empty()),
                "{:?}",
                failure.reason
            );
            Err(failure.reason)
        }
    }
}

pub(crate) fn ok(body: &[u8], headers: &str) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A gate that lets everybody in, after a while, and remembers what it is told.
#[derive(Clone, Default)]
pub(crate) struct Counting {
    pub(crate) told: Arc<Mutex<Vec<(String, Option<Verdict>)>>>,
    pub(crate) wait: Duration,
}

struct Counted {
    told: Arc<Mutex<Vec<(String, Option<Verdict>)>>>,
    at: usize,
}

impl Gate for Counting {
    fn enter<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Box<dyn Pass>, Failure>> {
        Box::pin(async move {
            tokio::time::sleep(self.wait).await;
            let mut told = self.told.lock().expect("no panic");
            told.push((host.to_owned(), None));
            let at = told.len() - 1;
            let told = self.told.clone();
            Ok(Box::new(Counted { told, at }) as Box<dyn Pass>)
        })
    }
}

impl Pass for Counted {
    fn leave(self: Box<Self>, verdict: Verdict) {
        self.told.lock().expect("no panic")[self.at].1 = Some(verdict);
    }
}
