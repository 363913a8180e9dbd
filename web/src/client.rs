//! One try at one url: redirects, head, body under their caps.

use laioncele_core::spec::HostMap;
use laioncele_core::{DropReason, StageError};

use crate::answer::Cap;
use crate::connect::Connector;
use crate::encoding;
use crate::exchange::{Answer, Exchange};
use crate::failure::Failure;
use crate::gate::{Gate, Pass};
use crate::head::Head;
use crate::hop::{Reached, leave, redirect};
use crate::opt_out::opt_out;
use crate::patience::Patience;
use crate::pool::Pool;
use crate::proxy::Proxy;
use crate::resolver::Resolver;
use crate::retry_after::retry_after;
use crate::room::{Room, RoomShare};
use crate::settings::WebSettings;
use crate::target::{Target, spellings};
use crate::tdm;
use crate::wishes::{Means, Wishes};

/// Asks for urls. One is shared by all tasks of a worker.
pub struct Client {
    settings: WebSettings,
    exchange: Exchange,
    wishes: Wishes,
}

/// The bytes of an answer and their share of the room.
pub struct Body {
    /// The bytes, unpacked.
    pub bytes: Vec<u8>,
    /// Given back when the bytes are no longer needed.
    pub share: RoomShare,
}

/// How one try ended.
pub struct Try {
    /// The body, or why there is none.
    pub result: Result<Body, Failure>,
    /// The status of the last answer, where there was one.
    pub status: Option<u16>,
    /// Where the last hop led, where that was not the url itself.
    pub redirected_to: Option<String>,
}

/// What a try has seen so far.
#[derive(Default)]
struct Trace {
    status: Option<u16>,
    redirected_to: Option<String>,
}

/// How one hop ended well.
enum Hop {
    Body(Body),
    Redirect(Target),
}

impl Client {
    /// A client whose hosts under `map` all lead to one address.
    ///
    /// # Errors
    /// No certificate store, no resolver configuration, a proxy that is none.
    pub fn new(settings: WebSettings, map: Option<HostMap>) -> Result<Self, StageError> {
        let resolver = Resolver::new(map, settings.allow_hosts.clone())?;
        let proxy = settings.proxy.as_deref().map(Proxy::parse).transpose()?;
        let connector = Connector::new(resolver, proxy, settings.connect_timeout)?;
        let pool = Pool::new(settings.idle_per_host);
        let exchange = Exchange::new(connector, pool, settings.user_agent.clone());
        Ok(Self {
            wishes: Wishes::new(&settings),
            settings,
            exchange,
        })
    }

    /// One try at `url`, redirects included. `gate` is asked before each hop, `room` before bytes are held. Waiting for
    /// either does not count as time of the try.
    ///
    /// A url with HTML's `&amp;` is asked for as it is written; when that ends with a 4xx code, as it is meant.
    pub async fn get(&self, url: &str, gate: &dyn Gate, room: &Room) -> Try {
        let mut patience = Patience::new(self.settings.timeout);
        let mut trace = Trace::default();
        let spellings = spellings(url);
        let mut result = Err(Failure::last(DropReason::BadUrl, None));
        for spelling in &spellings {
            trace = Trace::default();
            result = self
                .follow(spelling, gate, room, &mut patience, &mut trace)
                .await;
            let unknown = |failure: &Failure| {
                let reason = failure.reason;
                reason == DropReason::BadUrl
                    || (reason == DropReason::Http4xx && trace.status != Some(429))
            };
            if !result.as_ref().is_err_and(unknown) {
                break;
            }
        }
        Try {
            result,
            status: trace.status,
            redirected_to: trace.redirected_to,
        }
    }

    async fn follow(
        &self,
        url: &str,
        gate: &dyn Gate,
        room: &Room,
        patience: &mut Patience,
        trace: &mut Trace,
    ) -> Result<Body, Failure> {
        let mut target = Target::parse(url)?;
        let mut asked: Vec<Target> = Vec::new();
        loop {
            self.exchange.check(&target)?;
            let means = Means {
                exchange: &self.exchange,
                gate,
                room,
            };
            let allowed = Box::pin(self.wishes.check(&target, means));
            patience.pause(allowed).await?;
            let pass = patience.pause(gate.enter(target.host_text())).await?;
            let next = match self.hop(&target, pass, room, patience, trace).await? {
                Hop::Body(body) => return Ok(body),
                Hop::Redirect(next) => next,
            };
            asked.push(target);
            // Once back to where we were may be a server that wakes up; twice is a circle.
            let circle = asked.iter().filter(|t| **t == next).count() > 1;
            if circle || asked.len() > self.settings.max_redirects as usize {
                let many = asked.len();
                let detail = if circle {
                    format!("{many}, in a circle")
                } else {
                    many.to_string()
                };
                return Err(Failure::last(DropReason::TooManyRedirects, detail));
            }
            trace.redirected_to = Some(next.as_str().to_owned());
            target = next;
        }
    }

    /// Asks `target` and tells the gate how that went.
    async fn hop(
        &self,
        target: &Target,
        pass: Box<dyn Pass>,
        room: &Room,
        patience: &mut Patience,
        trace: &mut Trace,
    ) -> Result<Hop, Failure> {
        let (reached, done) = match self.exchange.ask(target, patience).await {
            Ok(answer) => {
                trace.status = Some(answer.head.status);
                let reached = Reached::by(&answer.head);
                (reached, self.judge(target, answer, room, patience).await)
            }
            Err(failure) => (Reached::Nothing, Err(failure)),
        };
        leave(pass, reached, &done);
        done
    }

    /// What an answer is to us, by its head; then its body.
    async fn judge(
        &self,
        target: &Target,
        answer: Answer,
        room: &Room,
        patience: &mut Patience,
    ) -> Result<Hop, Failure> {
        let head = &answer.head;
        let refused = match head.status {
            300..400 => redirect(target, head),
            200..300 => match self.opted_out(head) {
                None => return self.body(answer, room, patience).await.map(Hop::Body),
                Some(directive) => Err(Failure::last(DropReason::OptOut, directive)),
            },
            code => Err(Failure::status(code, retry_after(head))),
        };
        self.exchange.discard(answer).await;
        refused.map(Hop::Redirect)
    }

    fn opted_out(&self, head: &Head) -> Option<String> {
        let reserved = self.settings.tdm_reservation && tdm::is_reserved(head);
        opt_out(head.all("x-robots-tag"))
            .filter(|_| self.settings.honour_opt_out)
            .or_else(|| reserved.then(|| "tdm-reservation: 1".to_owned()))
    }

    async fn body(
        &self,
        answer: Answer,
        room: &Room,
        patience: &mut Patience,
    ) -> Result<Body, Failure> {
        let labels = answer.head.list("content-encoding");
        let bytes = usize::try_from(self.settings.max_bytes).unwrap_or(usize::MAX);
        let mut share = room.share();
        let cap = Cap { bytes, cut: false };
        let packed = self
            .exchange
            .body(answer, cap, &mut share, patience)
            .await?;
        let bytes = encoding::unpack(packed, labels, bytes, &mut share).await?;
        Ok(Body { bytes, share })
    }
}
