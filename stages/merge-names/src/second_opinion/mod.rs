//! The second opinion: a language model is asked about what the rules leave open, as the paper did.
//!
//! Only closed questions are asked ([`Question`]), and of a reply only `yes`, `no` and `unsure` are used: no text of a model
//! enters the data. Questions are asked in batches, each with control questions whose answers are known. A reply that is not
//! exactly the JSON asked for, or fails a control, is thrown away and its questions are asked in two halves, down to a single
//! one, which then has no answer. Answers are kept in the run's cache under a digest of the question, the words it is asked in
//! and the model, so that nothing is paid for twice.

mod answers;
mod cache;
mod endpoint;
mod question;
mod reply;
mod settings;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use laioncele_core::{Cache, Digest};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use cache::AnswerCache;
use endpoint::{Completion, Endpoint};
use question::{INSTRUCTIONS, controls};

pub(crate) use answers::Answers;
pub use endpoint::SecondOpinionError;
pub(crate) use endpoint::check_key;
pub use question::{Answer, Question};
pub use settings::SecondOpinionSettings;

/// Characters of a token, about, where the server does not count.
const CHARACTERS_PER_TOKEN: u64 = 4;
/// Tokens of one answer, about.
const TOKENS_PER_ANSWER: u64 = 14;
/// Questions that were asked alone in vain, with no useful reply at all, after which the model is given up.
const PATIENCE: u64 = 20;

/// What was asked and what it took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    /// Different questions.
    pub questions: u64,
    /// Answered by the cache.
    pub cached: u64,
    /// Answered now.
    pub answered: u64,
    /// Without an answer: no useful reply, too long, or the budget was spent.
    pub unanswered: u64,
    /// Requests made, tries again included; in a dry run those that would be made.
    pub requests: u64,
    /// Tokens sent: by the server's count, or estimated.
    pub tokens_in: u64,
    /// Tokens received.
    pub tokens_out: u64,
    /// What that costs at the manifest's prices.
    pub cost: f64,
}

/// The answers, and the account.
#[derive(Debug, Default)]
pub struct Opinions {
    /// By question; absent where there is none.
    pub answers: BTreeMap<Question, Answer>,
    /// What it took.
    pub account: Account,
}

/// Asks `questions` in their order, the most important first, or in a dry run only counts. `cancelled` is looked at before
/// each request.
///
/// # Errors
/// [`SecondOpinionError`]: answers so far are in the cache.
pub fn ask(
    questions: impl IntoIterator<Item = Question>,
    settings: &SecondOpinionSettings,
    cache: Cache,
    cancelled: Arc<AtomicBool>,
) -> Result<Opinions, SecondOpinionError> {
    let cache = AnswerCache::open(cache)?;
    let mut opinions = Opinions::default();
    let (mut open, mut seen) = (Vec::new(), HashSet::new());
    for question in questions {
        let digest = question.digest(&settings.model);
        if !seen.insert(digest) {
            continue;
        }
        match cache.answer(digest) {
            Some(answer) => {
                opinions.answers.insert(question, answer);
            }
            None => open.push(question),
        }
    }
    opinions.account.cached = opinions.answers.len() as u64;
    opinions.account.questions = (opinions.answers.len() + open.len()) as u64;
    open.retain(Question::can_be_asked);
    let batches: Vec<Vec<Question>> = open.chunks(settings.batch).map(<[_]>::to_vec).collect();
    if settings.dry_run {
        estimate(&batches, settings, &mut opinions.account);
        return Ok(opinions);
    }
    if !batches.is_empty() {
        Asking::new(settings, cache, cancelled)?.all(batches, &mut opinions)?;
    }
    let account = &mut opinions.account;
    account.unanswered = account.questions - account.cached - account.answered;
    Ok(opinions)
}

fn estimate(batches: &[Vec<Question>], settings: &SecondOpinionSettings, account: &mut Account) {
    for batch in batches {
        let request = Request::new(batch.clone(), settings);
        account.requests += 1;
        account.tokens_in += request.tokens();
        account.tokens_out += request.texts.len() as u64 * TOKENS_PER_ANSWER;
    }
    account.cost = cost(account.tokens_in, account.tokens_out, settings);
    account.unanswered = account.questions - account.cached;
}

fn cost(tokens_in: u64, tokens_out: u64, settings: &SecondOpinionSettings) -> f64 {
    (tokens_in as f64 * settings.price_in + tokens_out as f64 * settings.price_out) / 1e6
}

/// A batch with its controls in place, as it is sent.
struct Request {
    /// The questions, controls left out.
    questions: Vec<Question>,
    /// In the order of the ids: what the answer must be, for a control.
    texts: Vec<Option<Answer>>,
    body: String,
}

impl Request {
    /// The controls' kind and places follow from the questions: nobody who writes a name can know them beforehand.
    fn new(questions: Vec<Question>, settings: &SecondOpinionSettings) -> Self {
        let digest = questions.iter().fold(0u64, |sum, q| {
            sum.rotate_left(7) ^ q.digest(&settings.model).low_u64()
        });
        let mut asked: Vec<(Question, Option<Answer>)> =
            questions.iter().map(|q| (q.clone(), None)).collect();
        let [a, b, c, d] = controls();
        let chosen = if digest & 1 == 0 { [a, b] } else { [c, d] };
        for (k, (question, answer)) in (0u32..).zip(chosen) {
            let place = (digest >> (8 + 16 * k)) as usize % (asked.len() + 1);
            asked.insert(place, (question, Some(answer)));
        }
        let listed: Vec<_> = (1..)
            .zip(&asked)
            .map(|(id, (q, _))| q.to_json(id))
            .collect();
        let mut body = json!({
            "model": settings.model,
            "temperature": 0,
            "messages": [
                {"role": "system", "content": INSTRUCTIONS},
                {"role": "user", "content": json!({"questions": listed}).to_string()},
            ],
        });
        if settings.json_mode {
            body["response_format"] = json!({"type": "json_object"});
        }
        Self {
            questions,
            texts: asked.into_iter().map(|(_, answer)| answer).collect(),
            body: body.to_string(),
        }
    }

    fn tokens(&self) -> u64 {
        self.body.len() as u64 / CHARACTERS_PER_TOKEN
    }

    /// The answers to the questions, in their order.
    fn read(&self, content: &str) -> Result<Vec<Answer>, reply::Useless> {
        let answers = reply::read(content, self.texts.len())?;
        let mut found = Vec::with_capacity(self.questions.len());
        for (answer, control) in answers.into_iter().zip(&self.texts) {
            match control {
                None => found.push(answer),
                Some(known) if *known == answer => {}
                Some(_) => return Err(reply::Useless::Control),
            }
        }
        Ok(found)
    }
}

/// Batches being asked, several at a time.
struct Asking {
    settings: SecondOpinionSettings,
    endpoint: Endpoint,
    cache: AnswerCache,
    cancelled: Arc<AtomicBool>,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    answers: Vec<(Question, Answer)>,
    requests: u64,
    tokens_in: u64,
    tokens_out: u64,
    /// Questions asked alone in vain.
    in_vain: u64,
}

impl Asking {
    fn new(
        settings: &SecondOpinionSettings,
        cache: AnswerCache,
        cancelled: Arc<AtomicBool>,
    ) -> Result<Arc<Self>, SecondOpinionError> {
        Ok(Arc::new(Self {
            settings: settings.clone(),
            endpoint: Endpoint::new(settings)?,
            cache,
            cancelled,
            found: Mutex::default(),
        }))
    }

    fn all(
        self: Arc<Self>,
        batches: Vec<Vec<Question>>,
        opinions: &mut Opinions,
    ) -> Result<(), SecondOpinionError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| {
                laioncele_core::CoreError::from_io("the asynchronous runtime".as_ref(), e)
            })?;
        runtime.block_on(self.clone().ask_batches(batches))?;
        let found = std::mem::take(&mut *self.found());
        let account = &mut opinions.account;
        account.answered = found.answers.len() as u64;
        (account.requests, account.tokens_in, account.tokens_out) =
            (found.requests, found.tokens_in, found.tokens_out);
        account.cost = cost(found.tokens_in, found.tokens_out, &self.settings);
        opinions.answers.extend(found.answers);
        Ok(())
    }

    async fn ask_batches(
        self: Arc<Self>,
        batches: Vec<Vec<Question>>,
    ) -> Result<(), SecondOpinionError> {
        let places = Arc::new(Semaphore::new(self.settings.concurrency));
        let mut asked = JoinSet::new();
        for batch in batches {
            let place = places.clone().acquire_owned().await;
            while let Some(done) = asked.try_join_next() {
                flatten(done)?;
            }
            if !self.may_ask() {
                break;
            }
            let asking = self.clone();
            asked.spawn(async move {
                let _place = place;
                asking.ask_batch(batch).await
            });
        }
        while let Some(done) = asked.join_next().await {
            flatten(done)?;
        }
        Ok(())
    }

    /// Asks a batch, and where the reply is useless each half of it.
    async fn ask_batch(&self, batch: Vec<Question>) -> Result<(), SecondOpinionError> {
        let mut waiting = vec![batch];
        while let Some(questions) = waiting.pop() {
            let request = Request::new(questions, &self.settings);
            let completion = self.endpoint.complete(&request.body, || self.count());
            let Some(completion) = completion.await? else {
                return Ok(());
            };
            self.count_tokens(&request, &completion);
            match request.read(completion.content.as_deref().unwrap_or_default()) {
                Ok(answers) => self.keep(request, answers).await?,
                Err(why) => {
                    tracing::debug!(%why, questions = request.questions.len(), "a useless reply");
                    let mut questions = request.questions;
                    if questions.len() == 1 {
                        self.in_vain()?;
                    } else {
                        waiting.push(questions.split_off(questions.len() / 2));
                        waiting.push(questions);
                    }
                }
            }
        }
        Ok(())
    }

    /// The store has a runtime of its own, which must not be waited for on this one.
    async fn keep(&self, request: Request, answers: Vec<Answer>) -> Result<(), SecondOpinionError> {
        let digest = |q: &Question| q.digest(&self.settings.model);
        let digests = request.questions.iter().map(digest);
        let answered: Vec<_> = digests.zip(answers.iter().copied()).collect();
        let (cache, prompt) = (self.cache.clone(), Digest::of(request.body.as_bytes()));
        let kept = tokio::task::spawn_blocking(move || cache.put(prompt, &answered));
        flatten(
            kept.await
                .map(|kept| kept.map_err(SecondOpinionError::from)),
        )?;
        let answers = request.questions.into_iter().zip(answers);
        self.found().answers.extend(answers);
        Ok(())
    }

    fn in_vain(&self) -> Result<(), SecondOpinionError> {
        let mut found = self.found();
        found.in_vain += 1;
        if found.answers.is_empty() && found.in_vain >= PATIENCE {
            return Err(SecondOpinionError::NeverUseful {
                model: self.settings.model.clone(),
                questions: found.in_vain,
            });
        }
        Ok(())
    }

    /// Whether another request is within the budget and wanted.
    fn may_ask(&self) -> bool {
        let found = self.found();
        let spent = cost(found.tokens_in, found.tokens_out, &self.settings);
        !self.cancelled.load(Ordering::Relaxed)
            && found.requests < self.settings.max_requests
            && (self.settings.max_cost == 0.0 || spent < self.settings.max_cost)
    }

    /// As [`Self::may_ask`], and counts the request.
    fn count(&self) -> bool {
        let may = self.may_ask();
        if may {
            self.found().requests += 1;
        }
        may
    }

    fn count_tokens(&self, request: &Request, completion: &Completion) {
        let mut found = self.found();
        let (sent, received) = completion.tokens;
        let content = completion.content.as_deref().unwrap_or_default();
        found.tokens_in += if sent == 0 { request.tokens() } else { sent };
        found.tokens_out += if received == 0 {
            content.len() as u64 / CHARACTERS_PER_TOKEN
        } else {
            received
        };
    }

    fn found(&self) -> std::sync::MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A panic of a task goes on as a panic.
fn flatten(
    done: Result<Result<(), SecondOpinionError>, tokio::task::JoinError>,
) -> Result<(), SecondOpinionError> {
    match done {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Ok(()),
    }
}
