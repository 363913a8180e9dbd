//! One request and its answer, over a connection that was kept or a new one.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use laioncele_core::DropReason;

use crate::answer::{Cap, NoHead};
use crate::connect::{Connector, Offer};
use crate::failure::Failure;
use crate::head::Head;
use crate::http1::{self, Framing};
use crate::http2;
use crate::patience::Patience;
use crate::pool::{Connection, Pool};
use crate::room::{Room, RoomShare};
use crate::stream::Stream;
use crate::target::{Origin, Target};

/// Sends requests.
pub(crate) struct Exchange {
    connector: Connector,
    pool: Pool,
    user_agent: String,
    /// Those that said over HTTP/2 that they answer over HTTP/1.1 only: so they are asked from then on.
    http1_only: Mutex<HashSet<Origin>>,
}

/// An answer whose body has not been read.
pub(crate) struct Answer {
    pub(crate) head: Head,
    origin: Origin,
    body: Unread,
}

enum Unread {
    Http1(Box<http1::Connection>, Framing),
    Http2(http2::Unread),
}

/// Origins that are remembered for that.
const HTTP1_ONLY: usize = 10_000;
/// What some servers say to a connection that was idle, before they close it.
const REQUEST_TIMEOUT: u16 = 408;
/// A body that nobody wants is read up to so many bytes, because a new connection costs more.
const SWALLOWED: usize = 32 << 10;
/// And for so long.
const SWALLOWING: Duration = Duration::from_millis(300);

impl Exchange {
    pub(crate) fn new(connector: Connector, pool: Pool, user_agent: String) -> Self {
        Self {
            connector,
            pool,
            user_agent,
            http1_only: Mutex::default(),
        }
    }

    /// Checks what needs no lookup.
    ///
    /// # Errors
    /// `blocked_address`.
    pub(crate) fn check(&self, target: &Target) -> Result<(), Failure> {
        self.connector.check(&target.origin())
    }

    /// Asks for `target`. A kept connection that turns out to be dead, or to be answered on by half a head or a
    /// complaint that it was idle, is replaced by a new one at once.
    ///
    /// # Errors
    /// There is no answer, or it has no head.
    pub(crate) async fn ask(
        &self,
        target: &Target,
        patience: &mut Patience,
    ) -> Result<Answer, Failure> {
        let origin = target.origin();
        let kept = self.pool.take(&origin);
        if let Some(connection) =
            kept.filter(|c| self.offer(&origin) == Offer::Http2 || !c.is_shared())
        {
            match self.ask_over(connection, target, &origin, patience).await {
                Ok(answer) if answer.head.status != REQUEST_TIMEOUT => return Ok(answer),
                Err(NoHead::Failed(failure)) if failure.reason == DropReason::Timeout => {
                    return Err(failure);
                }
                _ => tracing::trace!(?origin, "a kept connection was dead"),
            }
        }
        let offer = self.offer(&origin);
        let failure = match self.ask_anew(target, &origin, offer, patience).await {
            Err(failure) if self.offer(&origin) != offer => failure,
            asked => return asked,
        };
        let again = Box::pin(self.ask_anew(target, &origin, Offer::Http1, patience)).await;
        again.map_err(|_| {
            // A server that does not speak HTTP/1.1 either has failed over HTTP/2.
            self.http1_only().remove(&origin);
            failure
        })
    }

    /// Asks over a new connection.
    async fn ask_anew(
        &self,
        target: &Target,
        origin: &Origin,
        offer: Offer,
        patience: &mut Patience,
    ) -> Result<Answer, Failure> {
        // Connecting has a large future of its own, which is not held while a body comes.
        let stream = Box::pin(self.connector.connect(origin, offer, patience)).await?;
        let connection = self.begin(stream, origin, patience).await?;
        self.ask_over(connection, target, origin, patience)
            .await
            .map_err(|error| match error {
                NoHead::Closed(why) => Failure::cut_off(why),
                NoHead::Failed(failure) => failure,
            })
    }

    async fn begin(
        &self,
        stream: Stream,
        origin: &Origin,
        patience: &mut Patience,
    ) -> Result<Connection, Failure> {
        if !stream.is_http2() {
            return Ok(Connection::Http1(Box::new(http1::Connection::new(stream))));
        }
        let opened = Box::pin(http2::Connection::open(stream));
        let shared = patience.bound("connecting", opened).await??;
        self.pool
            .keep(origin.clone(), Connection::Http2(shared.clone()));
        Ok(Connection::Http2(shared))
    }

    async fn ask_over(
        &self,
        connection: Connection,
        target: &Target,
        origin: &Origin,
        patience: &mut Patience,
    ) -> Result<Answer, NoHead> {
        let (head, body) = match connection {
            Connection::Http1(mut own) => {
                let head = own.ask(&self.request(target), patience).await?;
                let framing = http1::framing(&head).map_err(NoHead::Failed)?;
                (head, Unread::Http1(own, framing))
            }
            Connection::Http2(mut shared) => {
                let headers = self.headers();
                let asked = Box::pin(shared.ask(target.as_str(), &headers, patience)).await;
                if asked.is_err() && shared.wants_http1() {
                    self.do_without_http2(origin);
                }
                let (head, unread) = asked?;
                (head, Unread::Http2(unread))
            }
        };
        let origin = origin.clone();
        Ok(Answer { head, origin, body })
    }

    /// Reads the body and keeps the connection where that is possible.
    ///
    /// # Errors
    /// `too_large`, `connect`, `bad_response`, `timeout`.
    pub(crate) async fn body(
        &self,
        answer: Answer,
        cap: Cap,
        share: &mut RoomShare,
        patience: &mut Patience,
    ) -> Result<Vec<u8>, Failure> {
        match answer.body {
            Unread::Http1(mut connection, framing) => {
                let (bytes, whole) = connection.body(framing, cap, share, patience).await?;
                if whole && http1::keeps_alive(&answer.head) {
                    self.pool.keep(answer.origin, Connection::Http1(connection));
                }
                Ok(bytes)
            }
            Unread::Http2(unread) => {
                let body = Box::pin(unread.body(cap, share, patience)).await;
                if let Err(failure) = &body
                    && failure.reason == DropReason::Connect
                {
                    self.pool.drop_shared(&answer.origin);
                }
                body
            }
        }
    }

    /// Does without the body. The connection is kept where that costs little.
    pub(crate) async fn discard(&self, answer: Answer) {
        let worthwhile = match &answer.body {
            Unread::Http1(_, Framing::Length(length)) => *length <= SWALLOWED as u64,
            Unread::Http1(_, Framing::Chunked) => true,
            Unread::Http1(_, Framing::Close) | Unread::Http2(_) => false,
        };
        if worthwhile && http1::keeps_alive(&answer.head) {
            let cap = Cap {
                bytes: SWALLOWED,
                cut: true,
            };
            let mut share = Room::new(SWALLOWED).share();
            let mut patience = Patience::new(SWALLOWING);
            let _ = self.body(answer, cap, &mut share, &mut patience).await;
        }
    }

    /// The versions that `origin` may choose from.
    fn offer(&self, origin: &Origin) -> Offer {
        match self.http1_only().contains(origin) {
            true => Offer::Http1,
            false => Offer::Http2,
        }
    }

    fn do_without_http2(&self, origin: &Origin) {
        let mut origins = self.http1_only();
        if origins.len() >= HTTP1_ONLY {
            origins.clear();
        }
        origins.insert(origin.clone());
    }

    fn http1_only(&self) -> MutexGuard<'_, HashSet<Origin>> {
        self.http1_only
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn headers(&self) -> [(&str, &str); 3] {
        [
            ("user-agent", &self.user_agent),
            ("accept", "*/*"),
            // Photos gain nothing by packing.
            ("accept-encoding", "identity"),
        ]
    }

    fn request(&self, target: &Target) -> Vec<u8> {
        let through_proxy = self.connector.proxy().is_some() && !target.origin().tls;
        let asked = if through_proxy {
            target.as_str()
        } else {
            target.path_and_query()
        };
        let mut request = format!("GET {asked} HTTP/1.1\r\nHost: {}\r\n", target.authority());
        for (name, value) in [
            ("User-Agent", self.user_agent.as_str()),
            ("Accept", "*/*"),
            ("Accept-Encoding", "identity"),
        ] {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        request.into_bytes()
    }
}
