//! What sites say about themselves in files of their own: robots.txt and tdmrep.json, asked for once per origin, before
//! the first photo.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use laioncele_core::DropReason;
use tokio::sync::OnceCell;

use crate::answer::Cap;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::gate::Gate;
use crate::hop::{Reached, leave, redirect};
use crate::patience::Patience;
use crate::retry_after::retry_after;
use crate::robots_txt::{self, RobotsTxt};
use crate::room::Room;
use crate::settings::WebSettings;
use crate::target::{Origin, Target};
use crate::tdm::{self, TdmFile};

/// The files of all origins that were asked.
pub(crate) struct Wishes {
    robots_txt: Option<Files<RobotsTxt>>,
    tdm: Option<Files<TdmFile>>,
    timeout: Duration,
}

/// With what a file is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Means<'a> {
    pub(crate) exchange: &'a Exchange,
    pub(crate) gate: &'a dyn Gate,
    pub(crate) room: &'a Room,
}

/// Redirects of a file that are followed (RFC 9309 asks for five).
const REDIRECTS: usize = 5;

impl Wishes {
    pub(crate) fn new(settings: &WebSettings) -> Self {
        Self {
            robots_txt: settings.robots_txt.then(Files::default),
            tdm: settings.tdm_reservation.then(Files::default),
            timeout: settings.timeout,
        }
    }

    /// Whether the site lets us ask for `target`.
    ///
    /// # Errors
    /// `opt_out`, with the rule; what keeps us from the site's files.
    pub(crate) async fn check(&self, target: &Target, means: Means<'_>) -> Result<(), Failure> {
        let (origin, path) = (target.origin(), target.path_and_query());
        let refused = |detail: String| Failure::last(DropReason::OptOut, detail);
        if let Some(files) = &self.robots_txt {
            let file = self.file(target, "/robots.txt", robots_txt::MAX_BYTES, means);
            let read = async {
                Ok(RobotsTxt::parse(&unless_unavailable(
                    file.await,
                    "robots.txt",
                )?))
            };
            let file = Box::pin(files.get(origin.clone(), read)).await?;
            if let Some(rule) = file.forbids(path) {
                return Err(refused(format!("robots.txt: Disallow: {rule}")));
            }
        }
        if let Some(files) = &self.tdm {
            let file = self.file(target, "/.well-known/tdmrep.json", tdm::MAX_BYTES, means);
            // A site that cannot answer this has reserved nothing; whether it is there, the photo will show.
            let read = async { Ok(TdmFile::parse(&file.await.unwrap_or_default())) };
            let file = Box::pin(files.get(origin, read)).await?;
            if let Some(rule) = file.reserves(path) {
                return Err(refused(format!("tdmrep.json: {rule}")));
            }
        }
        Ok(())
    }

    /// The beginning of a file of `target`'s origin; nothing where there is none.
    async fn file(
        &self,
        target: &Target,
        path: &str,
        max: usize,
        means: Means<'_>,
    ) -> Result<Vec<u8>, Failure> {
        let mut target = target.with_path(path);
        let mut patience = Patience::new(self.timeout);
        for _ in 0..=REDIRECTS {
            match self.hop(&target, max, means, &mut patience).await? {
                Ok(bytes) => return Ok(bytes),
                Err(next) => target = next,
            }
        }
        // More redirects than that are as no file.
        Ok(Vec::new())
    }

    /// One hop to a file: its bytes, or where to go on.
    async fn hop(
        &self,
        target: &Target,
        max: usize,
        means: Means<'_>,
        patience: &mut Patience,
    ) -> Result<Result<Vec<u8>, Target>, Failure> {
        let exchange = means.exchange;
        exchange.check(target)?;
        let pass = patience.pause(means.gate.enter(target.host_text())).await?;
        let answer = match exchange.ask(target, patience).await {
            Ok(answer) => answer,
            Err(failure) => {
                let failed = Err(failure);
                leave(pass, Reached::Nothing, &failed);
                return failed;
            }
        };
        let reached = Reached::by(&answer.head);
        let done = match answer.head.status {
            200..300 => {
                let mut share = means.room.share();
                let cap = Cap {
                    bytes: max,
                    cut: true,
                };
                exchange
                    .body(answer, cap, &mut share, patience)
                    .await
                    .map(Ok)
            }
            300..400 => redirect(target, &answer.head).map(Err),
            400..500 if answer.head.status != 429 => Ok(Ok(Vec::new())),
            code => Err(Failure::status(code, retry_after(&answer.head))),
        };
        leave(pass, reached, &done);
        done
    }
}

/// A site that is there but cannot say what it wants must be taken to want nothing asked; one that is not there shows
/// that by its own class.
fn unless_unavailable(file: Result<Vec<u8>, Failure>, name: &str) -> Result<Vec<u8>, Failure> {
    file.map_err(|failure| match failure.reason {
        DropReason::Http4xx | DropReason::Http5xx | DropReason::BadResponse => Failure {
            reason: DropReason::OptOut,
            detail: Some(format!("{name}: {}", failure.detail.unwrap_or_default())),
            retry: failure.retry,
        },
        _ => failure,
    })
}

/// One kind of file of many origins. Those who want the same one wait for it together.
struct Files<T> {
    slots: Mutex<HashMap<Origin, Slot<T>>>,
}

struct Slot<T> {
    since: Instant,
    file: Arc<OnceCell<Result<Arc<T>, Failure>>>,
    /// What the file said before it grew too old.
    before: Option<Arc<T>>,
}

/// How long a file is good.
const GOOD: Duration = Duration::from_hours(24);
/// How long it is not asked for again when it could not be had.
const BAD: Duration = Duration::from_mins(1);
/// Origins that are remembered at most.
const ORIGINS: usize = 20_000;

impl<T> Default for Files<T> {
    fn default() -> Self {
        Self {
            slots: Mutex::default(),
        }
    }
}

impl<T> Files<T> {
    /// The file of `origin`: what is remembered, or what `read` gives.
    async fn get(
        &self,
        origin: Origin,
        read: impl Future<Output = Result<T, Failure>>,
    ) -> Result<Arc<T>, Failure> {
        let (file, before) = self.slot(origin);
        let read = async { read.await.map(Arc::new) };
        match (file.get_or_init(|| read).await, before) {
            (Ok(file), _) => Ok(file.clone()),
            (Err(_), Some(before)) => Ok(before),
            (Err(failure), None) => Err(failure.clone()),
        }
    }

    fn slot(&self, origin: Origin) -> (Arc<OnceCell<Result<Arc<T>, Failure>>>, Option<Arc<T>>) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let old = slots.remove(&origin);
        let slot = match old {
            Some(slot) if !slot.is_old() => slot,
            old => Slot::after(old),
        };
        let found = (slot.file.clone(), slot.before.clone());
        if slots.len() >= ORIGINS {
            slots.retain(|_, slot| !slot.is_old());
        }
        if slots.len() >= ORIGINS {
            slots.clear();
        }
        slots.insert(origin, slot);
        found
    }
}

impl<T> Slot<T> {
    /// An empty slot that remembers what the one before it said.
    fn after(old: Option<Self>) -> Self {
        let before = old.and_then(|old| match old.file.get() {
            Some(Ok(file)) => Some(file.clone()),
            _ => old.before,
        });
        Self {
            since: Instant::now(),
            file: Arc::default(),
            before,
        }
    }

    fn is_old(&self) -> bool {
        let good = match self.file.get() {
            Some(Err(_)) => BAD,
            _ => GOOD,
        };
        self.since.elapsed() > good
    }
}
