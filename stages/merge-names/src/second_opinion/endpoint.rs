//! One request to an OpenAI-compatible chat endpoint: paced, under caps of time and size, tried again where that may help.

use std::time::{Duration, SystemTime};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, redirect};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::settings::SecondOpinionSettings;

/// Bytes of a reply that are read at most.
const MOST_BYTES: usize = 1 << 20;
/// The longest wait that a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_mins(10);
/// The first wait of a server that asks for none; doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Why the model cannot be asked: a matter of the environment.
#[derive(Debug, thiserror::Error)]
pub enum SecondOpinionError {
    /// The variable that should hold the key is not set, or is no header value.
    #[error(
        "[merge_names.second_opinion] api_key_env: the environment variable {variable} is not set, or holds no key: set it, or take the line out"
    )]
    Key {
        /// The variable.
        variable: String,
    },
    /// The client could not be made.
    #[error("cannot make an HTTP client")]
    Client(#[source] reqwest::Error),
    /// The server refused the request itself.
    #[error(
        "{url} refused the request with HTTP {status}: {message}\n  check url, model and api_key_env of [merge_names.second_opinion]"
    )]
    Refused {
        /// The address asked.
        url: String,
        /// HTTP status.
        status: u16,
        /// What the server says, shortened.
        message: String,
    },
    /// No reply after all tries.
    #[error(
        "{url} gave no reply in {tries} tries, the last: {last}\n  answers so far are kept: run again once it is back, or take [merge_names.second_opinion] out"
    )]
    Unreachable {
        /// The address asked.
        url: String,
        /// Requests made.
        tries: u32,
        /// How the last one ended.
        last: String,
    },
    /// Replies come, but never the JSON that is asked for.
    #[error(
        "model `{model}` answered none of {questions} questions in the form that is asked for: check the model's name, try json_mode = false, or take [merge_names.second_opinion] out"
    )]
    NeverUseful {
        /// The model.
        model: String,
        /// Questions asked one by one in vain.
        questions: u64,
    },
    /// The cache cannot be read or written.
    #[error(transparent)]
    Cache(#[from] laioncele_core::CoreError),
}

/// What came back.
pub(super) struct Completion {
    /// The text of the first choice; none where the reply has none.
    pub(super) content: Option<String>,
    /// Tokens read and written, by the server's own count; 0 where it does not say.
    pub(super) tokens: (u64, u64),
}

impl Completion {
    fn useless() -> Self {
        Self {
            content: None,
            tokens: (0, 0),
        }
    }
}

/// A chat endpoint.
pub(super) struct Endpoint {
    client: Client,
    url: String,
    settings: SecondOpinionSettings,
    /// The key, which no message may repeat.
    key: Option<String>,
    /// When the next request may start.
    next: Mutex<Instant>,
}

/// How a try failed.
enum Failure {
    /// Worth another try, after this wait if the server named one.
    Passing(String, Option<Duration>),
    /// Not worth one.
    Lasting(SecondOpinionError),
}

impl Endpoint {
    /// # Errors
    /// [`SecondOpinionError::Key`] or [`SecondOpinionError::Client`].
    pub(super) fn new(settings: &SecondOpinionSettings) -> Result<Self, SecondOpinionError> {
        // The process may have installed it before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("laioncele/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers(settings)?)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(SecondOpinionError::Client)?;
        Ok(Self {
            client,
            url: format!("{}/chat/completions", settings.url.trim_end_matches('/')),
            settings: settings.clone(),
            key: key(settings)?,
            next: Mutex::new(Instant::now()),
        })
    }

    /// Sends `body`; `may_ask` is asked before each try, and its no ends in `None`.
    ///
    /// # Errors
    /// A refusal of the request, or no reply after all tries.
    pub(super) async fn complete(
        &self,
        body: &str,
        may_ask: impl Fn() -> bool,
    ) -> Result<Option<Completion>, SecondOpinionError> {
        for attempt in 0.. {
            if !may_ask() {
                return Ok(None);
            }
            self.pace().await;
            let patience = Duration::from_secs_f64(self.settings.timeout_s);
            let outcome = match timeout(patience, self.try_once(body)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Failure::Passing("it took too long".to_owned(), None)),
            };
            let (last, wait) = match outcome {
                Ok(completion) => return Ok(Some(completion)),
                Err(Failure::Lasting(error)) => return Err(error),
                Err(Failure::Passing(last, wait)) => (last, wait),
            };
            if attempt >= self.settings.retries {
                return Err(SecondOpinionError::Unreachable {
                    url: self.url.clone(),
                    tries: attempt + 1,
                    last,
                });
            }
            tracing::debug!(attempt, last, "asking for a second opinion again");
            let doubled = FIRST_WAIT.saturating_mul(1 << attempt.min(10));
            sleep(wait.unwrap_or(doubled).min(LONGEST_WAIT)).await;
        }
        Ok(None)
    }

    /// Waits for this request's place in the minute.
    async fn pace(&self) {
        let gap = Duration::from_secs_f64(60.0 / self.settings.requests_per_minute);
        let start = {
            let mut next = self.next.lock().await;
            let start = (*next).max(Instant::now());
            *next = start + gap;
            start
        };
        sleep_until(start).await;
    }

    async fn try_once(&self, body: &str) -> Result<Completion, Failure> {
        let request = self.client.post(&self.url).body(body.to_owned());
        let response = request.send().await.map_err(|e| passing(&e))?;
        let status = response.status();
        let wait = retry_after(response.headers());
        let text = text(response).await?;
        if status.is_success() {
            return Ok(completion(&text));
        }
        if matches!(status.as_u16(), 400 | 413 | 422) {
            // Perhaps for one text in it: asked in halves, as after a useless reply.
            return Ok(Completion::useless());
        }
        if status == StatusCode::TOO_MANY_REQUESTS
            || status == StatusCode::REQUEST_TIMEOUT
            || status.is_server_error()
        {
            return Err(Failure::Passing(format!("HTTP {}", status.as_u16()), wait));
        }
        Err(Failure::Lasting(SecondOpinionError::Refused {
            url: self.url.clone(),
            status: status.as_u16(),
            message: without(&text, self.key.as_deref())
                .chars()
                .filter(|c| !c.is_control())
                .take(200)
                .collect(),
        }))
    }
}

/// Whether the key that the settings name is there.
///
/// # Errors
/// [`SecondOpinionError::Key`].
pub(crate) fn check_key(settings: &SecondOpinionSettings) -> Result<(), SecondOpinionError> {
    headers(settings).map(drop)
}

fn headers(settings: &SecondOpinionSettings) -> Result<HeaderMap, SecondOpinionError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(key) = key(settings)? {
        let value = HeaderValue::from_str(&format!("Bearer {key}"));
        let mut value = value.map_err(|_| missing(settings))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

/// The key in the variable that the settings name.
fn key(settings: &SecondOpinionSettings) -> Result<Option<String>, SecondOpinionError> {
    let Some(variable) = &settings.api_key_env else {
        return Ok(None);
    };
    let key = std::env::var(variable).map_err(|_| missing(settings))?;
    match key.trim() {
        "" => Err(missing(settings)),
        key => Ok(Some(key.to_owned())),
    }
}

fn missing(settings: &SecondOpinionSettings) -> SecondOpinionError {
    SecondOpinionError::Key {
        variable: settings.api_key_env.clone().unwrap_or_default(),
    }
}

/// What a server says, without the key that it was sent: some repeat it.
fn without(text: &str, key: Option<&str>) -> String {
    match key {
        Some(key) => text.replace(key, "[key]"),
        None => text.to_owned(),
    }
}

fn passing(error: &reqwest::Error) -> Failure {
    let cause = laioncele_core::error::chain(error);
    Failure::Passing(cause, None)
}

async fn text(mut response: Response) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| passing(&e))? {
        if bytes.len() + chunk.len() > MOST_BYTES {
            return Err(Failure::Passing("a reply without end".to_owned(), None));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[derive(Deserialize)]
struct Body {
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

fn completion(text: &str) -> Completion {
    let Ok(body) = serde_json::from_str::<Body>(text) else {
        return Completion::useless();
    };
    let tokens = body.usage.map(|u| (u.prompt_tokens, u.completion_tokens));
    let first = body.choices.into_iter().next();
    Completion {
        content: first.and_then(|c| c.message.content),
        tokens: tokens.unwrap_or_default(),
    }
}

/// Seconds or an HTTP date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text)
            .ok()?
            .duration_since(SystemTime::now())
            .ok(),
    }
}
