//! One entry's turn: a try, and what follows from how it ended.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures::future::{AbortHandle, Abortable};
use laioncele_core::DropReason;
use laioncele_web::{Body, Failure, Retry, Try};

use super::Traffic;
use super::gate::{Permit, TryGate};
use crate::backoff;
use crate::delivery::{Ended, Held};
use crate::item::Attempt;
use crate::queue::{CallId, Entry};

impl Traffic {
    /// One try at `entry`, whose host has been told. The entry then is on its way to the decoder, waits for its next try,
    /// or has ended.
    pub(super) async fn ask(self: &Arc<Self>, call: CallId, mut entry: Entry) {
        let permit = Permit::new(self.clone(), entry.host.clone());
        let gate = TryGate::new(self.clone(), permit);
        let (handle, registration) = AbortHandle::new_pair();
        let Some(number) = self.register(call, handle) else {
            return gate.settle(None);
        };
        let (at, started) = (SystemTime::now(), Instant::now());
        let patience = self.settings.deadline.saturating_sub(entry.spent);
        let tried = Abortable::new(self.try_once(&entry, &gate, patience), registration).await;
        self.unregister(call, number);
        let Ok(tried) = tried else {
            return gate.settle(None);
        };
        gate.settle(tried.result.as_ref().err());
        let took = started.elapsed().saturating_sub(gate.waited());
        entry.spent += took;
        let class = tried.result.as_ref().err().map(|failure| failure.reason);
        if gate.has_asked() {
            entry.attempts.push(Attempt {
                at,
                took,
                class,
                status: tried.status,
            });
        }
        match tried.result {
            Ok(body) => self.hand_on(call, entry, tried.redirected_to, body),
            Err(failure) => self.after(call, entry, tried.redirected_to, failure),
        }
    }

    /// A try that is given up after `patience`, waiting for turns not included.
    async fn try_once(&self, entry: &Entry, gate: &TryGate, patience: Duration) -> Try {
        /// So that time spent waiting is not looked at all the time.
        const LOOK_AGAIN: Duration = Duration::from_millis(50);
        let started = Instant::now();
        let mut asked = std::pin::pin!(self.client.get(&entry.item.url, gate, &self.room));
        let mut end = started + patience;
        loop {
            tokio::select! {
                biased;
                tried = &mut asked => return tried,
                () = tokio::time::sleep_until(end.into()) => {}
            }
            let over = started + patience + gate.waited();
            if Instant::now() >= over {
                break;
            }
            end = over.max(Instant::now() + LOOK_AGAIN);
        }
        gate.given_up();
        let seconds = self.settings.deadline.as_secs_f64();
        Try {
            result: Err(Failure::last(
                DropReason::Timeout,
                format!("not done in {seconds} s"),
            )),
            status: None,
            redirected_to: None,
        }
    }

    fn register(&self, call: CallId, handle: AbortHandle) -> Option<u64> {
        let mut state = self.lock();
        let number = state.number();
        let call = state.calls.get_mut(&call)?;
        call.tries.insert(number, handle);
        Some(number)
    }

    fn unregister(&self, call: CallId, number: u64) {
        if let Some(call) = self.lock().calls.get_mut(&call) {
            call.tries.remove(&number);
        }
    }

    /// Gives the bytes to the threads that decode.
    fn hand_on(
        self: &Arc<Self>,
        call: CallId,
        entry: Entry,
        redirected_to: Option<String>,
        body: Body,
    ) {
        let Some(receiver) = self.receiver(call) else {
            return;
        };
        let waiting = self.lock().load.came(body.bytes.len());
        let ended = Ended {
            item: entry.item,
            attempts: entry.attempts,
            redirected_to,
        };
        let traffic = self.clone();
        self.jobs.put(Box::new(move || {
            // A call that has ended wants nothing any more.
            if traffic.receiver(call).is_some() {
                let held = Held::new(body.share, receiver.untaken);
                receiver.deliver.bytes(ended, body.bytes, held);
            }
            drop(waiting);
            traffic.room_was_made();
        }));
    }

    /// Puts the entry behind the others for another try, or ends it.
    fn after(
        &self,
        call: CallId,
        mut entry: Entry,
        redirected_to: Option<String>,
        failure: Failure,
    ) {
        let tries = entry.attempts.len() as u32;
        let wait = (tries <= self.settings.retries)
            .then(|| {
                let number = tries.saturating_sub(1);
                backoff::wait(entry.item.id, number, self.settings.backoff, failure.retry)
            })
            .flatten()
            .filter(|wait| entry.spent + *wait < self.settings.deadline);
        let Some(wait) = wait else {
            return self.fail(call, entry, redirected_to, failure);
        };
        tracing::debug!(url = entry.item.url, ?failure, ?wait, "asking again");
        entry.spent += wait;
        entry.last = Some(Box::new(failure));
        let mut state = self.lock();
        state.queue.push_later(call, entry, Instant::now() + wait);
        self.set_clock(&mut state);
    }
}

/// The end of an entry that was to be asked for again when its host no longer was.
pub(super) fn not_again(last: Failure, refusal: &Failure) -> Failure {
    let why = refusal.detail.as_deref().unwrap_or("not asked");
    let detail = match last.detail {
        Some(detail) => format!("{detail}; then {why}"),
        None => why.to_owned(),
    };
    Failure {
        reason: last.reason,
        detail: Some(detail),
        retry: Retry::Never,
    }
}
