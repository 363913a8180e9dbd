//! One url: request, redirects, body under its caps, tries again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use laioncele_core::spec::HostMap;
use laioncele_core::{DropReason, ImageId, StageError};
use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Client, Response, Url, redirect};
use tokio::sync::Semaphore;

use crate::address::SafeResolver;
use crate::failure::{Failure, Retry};
use crate::opt_out::opt_out;
use crate::settings::Settings;

/// Fetches urls with the settings' limits.
pub(crate) struct Fetcher {
    client: Client,
    resolver: Arc<SafeResolver>,
    settings: Settings,
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Fetcher {
    pub(crate) fn new(settings: Settings, map: Option<HostMap>) -> Result<Self, StageError> {
        // Several fetchers may live in one process; the first one has installed the provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let resolver = Arc::new(SafeResolver::new(map, settings.allow_hosts.clone()));
        let client = Client::builder()
            .user_agent(&settings.user_agent)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .dns_resolver(resolver.clone())
            .pool_max_idle_per_host(settings.per_host)
            .build()
            .map_err(StageError::environment)?;
        Ok(Self {
            client,
            resolver,
            settings,
            hosts: Mutex::default(),
        })
    }

    /// The bytes at `url`, tried again where that may help.
    pub(crate) async fn fetch(&self, image: ImageId, url: &str) -> Result<Vec<u8>, Failure> {
        let url = web_url(url)?;
        let deadline = Instant::now() + Duration::from_secs_f64(self.settings.deadline_s);
        let mut attempt = 0;
        loop {
            let turn = self.turn(&url).await;
            let failure = match self.try_once(url.clone(), deadline).await {
                Ok(bytes) => return Ok(bytes),
                Err(failure) => failure,
            };
            let Some(wait) = self
                .wait(image, attempt, failure.retry)
                .filter(|w| Instant::now() + *w < deadline)
            else {
                return Err(failure);
            };
            tracing::debug!(%url, ?failure, ?wait, "trying again");
            attempt += 1;
            drop(turn);
            tokio::time::sleep(wait).await;
        }
    }

    /// Waits until the host may be asked once more.
    async fn turn(&self, url: &Url) -> Option<tokio::sync::OwnedSemaphorePermit> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let semaphore = {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            hosts
                .entry(host)
                .or_insert_with(|| Arc::new(Semaphore::new(self.settings.per_host)))
                .clone()
        };
        semaphore.acquire_owned().await.ok()
    }

    /// How long to wait before try `attempt` + 2; `None` to give up. The jitter is a function of
    /// image and attempt.
    fn wait(&self, image: ImageId, attempt: u32, retry: Retry) -> Option<Duration> {
        if attempt >= self.settings.retries {
            return None;
        }
        let jitter = 0.5 + (image.0.rotate_left(attempt * 16) & 0xffff) as f64 / 65_536.0;
        match retry {
            Retry::Never => None,
            Retry::After(wait) => Some(wait),
            Retry::AfterBackoff => Some(Duration::from_secs_f64(
                self.settings.backoff_s * f64::from(1 << attempt.min(10)) * jitter,
            )),
        }
    }

    async fn try_once(&self, url: Url, deadline: Instant) -> Result<Vec<u8>, Failure> {
        let end = (Instant::now() + Duration::from_secs_f64(self.settings.timeout_s)).min(deadline);
        let work = async { self.body(self.follow(url).await?).await };
        tokio::time::timeout_at(end.into(), work)
            .await
            .unwrap_or(Err(Failure {
                reason: DropReason::Timeout,
                detail: None,
                retry: Retry::AfterBackoff,
            }))
    }

    /// Follows redirects by hand, so that every hop is checked like the first.
    async fn follow(&self, mut url: Url) -> Result<Response, Failure> {
        for hop in 0.. {
            self.resolver
                .check_literal(url.host_str().unwrap_or_default())
                .map_err(|e| Failure::last(DropReason::BlockedAddress, e.to_string()))?;
            let response = self
                .client
                .get(url.clone())
                .send()
                .await
                .map_err(|e| Failure::client(&e))?;
            if !response.status().is_redirection() {
                return self.accept(response);
            }
            if hop >= self.settings.max_redirects {
                return Err(Failure::last(DropReason::TooManyRedirects, hop.to_string()));
            }
            url = next_hop(&url, response.headers())?;
        }
        unreachable!("the loop above only ends by returning")
    }

    fn accept(&self, response: Response) -> Result<Response, Failure> {
        let status = response.status();
        if !status.is_success() {
            return Err(Failure::status(
                status.as_u16(),
                retry_after(response.headers()),
            ));
        }
        let tags = response.headers().get_all("x-robots-tag");
        if let Some(directive) = opt_out(tags.iter().map(reqwest::header::HeaderValue::as_bytes))
            .filter(|_| self.settings.honour_opt_out)
        {
            return Err(Failure::last(DropReason::OptOut, directive));
        }
        match response.content_length() {
            Some(length) if length > self.settings.max_bytes => Err(Failure::last(
                DropReason::TooLarge,
                format!("{length} bytes"),
            )),
            _ => Ok(response),
        }
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| Failure::client(&e))? {
            if (bytes.len() + chunk.len()) as u64 > self.settings.max_bytes {
                return Err(Failure::last(
                    DropReason::TooLarge,
                    format!("more than {} bytes", self.settings.max_bytes),
                ));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

fn web_url(text: &str) -> Result<Url, Failure> {
    let bad = |why: String| Failure::last(DropReason::BadUrl, why);
    let url = Url::parse(text).map_err(|e| bad(e.to_string()))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        other => Err(bad(format!("scheme {other}"))),
    }
}

fn next_hop(from: &Url, headers: &HeaderMap) -> Result<Url, Failure> {
    let bad = |why: &str| Failure::last(DropReason::BadResponse, why.to_owned());
    let location = headers
        .get(LOCATION)
        .ok_or_else(|| bad("redirect without Location"))?;
    let text = location.to_str().map_err(|_| bad("Location is not text"))?;
    let url = from.join(text).map_err(|_| bad("Location is no url"))?;
    web_url(url.as_str())
}

/// Seconds or an HTTP date, an hour at most.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text)
            .ok()?
            .duration_since(SystemTime::now())
            .unwrap_or_default(),
    };
    Some(wait.min(Duration::from_hours(1)))
}
