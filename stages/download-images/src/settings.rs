//! `[download_images]`

use std::time::Duration;

use laioncele_core::{CoreError, Manifest};
use laioncele_download::{EngineSettings, PhotoRules};
use laioncele_web::WebSettings;
use serde::{Deserialize, Serialize};

use crate::size;

/// `[download_images]`. What only changes how fast or how patiently we ask stays out of the key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Bytes of a file at most.
    pub max_bytes: u64,
    /// Width × height at most, by the header.
    pub max_pixels: u64,
    /// Pixels of the shorter side at least.
    pub min_side: u32,
    /// Redirects followed at most.
    pub max_redirects: u32,
    /// Whether `X-Robots-Tag` opt-outs are honoured.
    pub honour_opt_out: bool,
    /// Whether each site's robots.txt is asked for and honoured.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub robots_txt: bool,
    /// Whether reservations by the TDM reservation protocol (`tdm-reservation: 1`, `/.well-known/tdmrep.json`) are honoured.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tdm_reservation: bool,
    /// What becomes of a photo whose bytes are not those of the source's hash. `drop` is for sources whose hashes are of the
    /// files as they are on the web; where they are of files that were encoded again, as in parts of DataComp, `keep`.
    #[serde(skip_serializing_if = "OnHashMismatch::is_drop")]
    pub on_hash_mismatch: OnHashMismatch,
    /// Hosts that may have loopback, private or link-local addresses.
    pub allow_hosts: Vec<String>,
    /// Seconds for one try, from the first byte sent to the last received, redirects included.
    #[serde(skip_serializing)]
    pub timeout_s: f64,
    /// Seconds for connecting, TLS included.
    #[serde(skip_serializing)]
    pub connect_timeout_s: f64,
    /// Tries after the first one, for what is worth trying again.
    #[serde(skip_serializing)]
    pub retries: u32,
    /// Seconds of the first back-off; each further one is twice as long.
    #[serde(skip_serializing)]
    pub backoff_s: f64,
    /// Seconds that all tries of one url may take together. Waiting until its host may be asked does not count.
    #[serde(skip_serializing)]
    pub deadline_s: f64,
    /// Requests that a worker has under way at once.
    #[serde(skip_serializing)]
    pub concurrency: usize,
    /// Requests under way at once to one host, over all workers of the run.
    #[serde(skip_serializing)]
    pub per_host: usize,
    /// Requests a second to one host, over all workers of the run; 0: no limit.
    #[serde(skip_serializing)]
    pub per_host_rate: f64,
    /// Times in a row that a host must not answer until it is left alone for a while; what is left of it then fails with the
    /// class of its last failure.
    #[serde(skip_serializing)]
    pub breaker_after: u32,
    /// Bytes that bodies under way may take together in each worker: a number, or text such as `"200MB"`.
    #[serde(skip_serializing, deserialize_with = "size::deserialize")]
    pub memory: u64,
    /// How we introduce ourselves.
    #[serde(skip_serializing)]
    pub user_agent: String,
    /// The proxy that all requests go through, `http://HOST:PORT`. The environment's proxies are never used. A proxy looks hosts
    /// up by itself: where it leads, our check of addresses cannot tell.
    #[serde(skip_serializing)]
    pub proxy: String,
    /// A url or mail address for those who want us to behave otherwise; part of the User-Agent.
    #[serde(skip_serializing)]
    pub contact: String,
}

/// What becomes of a photo whose bytes are not those of the source's hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnHashMismatch {
    /// It is dropped as `hash_mismatch`.
    #[default]
    Drop,
    /// It is kept, like one without a hash.
    Keep,
}

impl OnHashMismatch {
    /// Whether this is the default, which older keys did not name.
    fn is_drop(&self) -> bool {
        *self == Self::Drop
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_bytes: 20 << 20,
            max_pixels: 100_000_000,
            min_side: 64,
            max_redirects: 5,
            honour_opt_out: true,
            robots_txt: false,
            tdm_reservation: false,
            on_hash_mismatch: OnHashMismatch::Drop,
            allow_hosts: Vec::new(),
            timeout_s: 10.0,
            connect_timeout_s: 5.0,
            retries: 2,
            backoff_s: 1.0,
            deadline_s: 30.0,
            concurrency: 1000,
            per_host: 8,
            per_host_rate: 0.0,
            breaker_after: 10,
            memory: 200_000_000,
            user_agent: concat!(
                "laioncele/",
                env!("CARGO_PKG_VERSION"),
                " (dataset research; honours X-Robots-Tag)"
            )
            .to_owned(),
            proxy: String::new(),
            contact: String::new(),
        }
    }
}

/// Longest timeout in seconds: a day.
const MAX_SECONDS: f64 = 86_400.0;

impl Settings {
    /// Reads and checks the section.
    ///
    /// # Errors
    /// [`CoreError::Manifest`].
    pub fn from_manifest(manifest: &Manifest) -> Result<Self, CoreError> {
        let settings: Self = manifest.section("download_images")?;
        match settings.wrong() {
            Some(what) => Err(manifest.error(format!("[download_images] {what}"))),
            None => Ok(settings),
        }
    }

    /// What is wrong, if anything is.
    fn wrong(&self) -> Option<String> {
        let positive = [
            ("timeout_s", self.timeout_s),
            ("connect_timeout_s", self.connect_timeout_s),
            ("deadline_s", self.deadline_s),
        ];
        let not_negative = [
            ("backoff_s", self.backoff_s),
            ("per_host_rate", self.per_host_rate),
        ];
        for (key, value) in positive {
            if !(value > 0.0 && value <= MAX_SECONDS) {
                return Some(format!(
                    "{key} = {value}: must be above 0, and a day at most"
                ));
            }
        }
        for (key, value) in not_negative {
            if !(0.0..=MAX_SECONDS).contains(&value) {
                return Some(format!(
                    "{key} = {value}: must not be below 0 or above {MAX_SECONDS}"
                ));
            }
        }
        if self.concurrency == 0 || self.per_host == 0 || self.breaker_after == 0 {
            return Some("concurrency, per_host and breaker_after must be at least 1".to_owned());
        }
        if self.memory < 1 << 20 {
            return Some(format!("memory = {}: must be at least 1MiB", self.memory));
        }
        let printable = |text: &str| text.bytes().all(|b| matches!(b, b' '..=b'~'));
        if !printable(&self.user_agent) || !printable(&self.contact) {
            return Some(
                "user_agent and contact must be printable ASCII, as a header is".to_owned(),
            );
        }
        // Not printed: a manifest with a password would be recorded in the run's folder.
        if self.proxy.contains('@') {
            return Some(
                "proxy holds a user or a password, which is never sent: it is http://HOST:PORT"
                    .to_owned(),
            );
        }
        None
    }

    /// What the bytes of a photo must be.
    pub(crate) fn photo_rules(&self) -> PhotoRules {
        PhotoRules {
            min_side: self.min_side,
            max_pixels: self.max_pixels,
        }
    }

    /// The engine's settings, for a worker with `threads`; `shared` where there are several.
    pub(crate) fn engine(
        &self,
        threads: usize,
        shared: Option<std::path::PathBuf>,
    ) -> EngineSettings {
        EngineSettings {
            web: self.web(),
            retries: self.retries,
            backoff: Duration::from_secs_f64(self.backoff_s),
            deadline: Duration::from_secs_f64(self.deadline_s),
            concurrency: self.concurrency,
            per_host: self.per_host,
            per_host_rate: (self.per_host_rate > 0.0).then_some(self.per_host_rate),
            breaker_after: self.breaker_after,
            memory: usize::try_from(self.memory).unwrap_or(usize::MAX),
            threads,
            shared,
        }
    }

    fn web(&self) -> WebSettings {
        WebSettings {
            max_bytes: self.max_bytes,
            max_redirects: self.max_redirects,
            honour_opt_out: self.honour_opt_out,
            robots_txt: self.robots_txt,
            tdm_reservation: self.tdm_reservation,
            allow_hosts: self.allow_hosts.clone(),
            connect_timeout: Duration::from_secs_f64(self.connect_timeout_s.min(self.timeout_s)),
            timeout: Duration::from_secs_f64(self.timeout_s),
            user_agent: self.introduction(),
            idle_per_host: self.per_host,
            proxy: (!self.proxy.is_empty()).then(|| self.proxy.clone()),
        }
    }

    fn introduction(&self) -> String {
        match self.contact.trim() {
            "" => self.user_agent.clone(),
            contact => format!("{} (contact: {contact})", self.user_agent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_and_speed_are_in_no_key() -> Result<(), serde_json::Error> {
        let key = serde_json::to_value(Settings::default())?;
        let names: Vec<_> = key.as_object().into_iter().flatten().collect();
        let names: Vec<_> = names.iter().map(|(name, _)| name.as_str()).collect();
        // What earlier versions had there, so that a default that is new re-keys nothing.
        let expected = "allow_hosts honour_opt_out max_bytes max_pixels max_redirects min_side";
        assert_eq!(names.join(" "), expected);
        Ok(())
    }

    #[test]
    fn a_contact_is_part_of_the_introduction() {
        let mut settings = Settings::default();
        assert!(settings.introduction().ends_with("X-Robots-Tag)"));
        settings.contact = "mailto:us@example.org".to_owned();
        let introduction = settings.introduction();
        assert!(introduction.ends_with("(contact: mailto:us@example.org)"));
        settings.contact = "a\r\nCookie: b".to_owned();
        assert!(settings.wrong().is_some());
    }

    #[test]
    fn values_out_of_range_are_named() {
        let wrong = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.wrong().unwrap_or_default()
        };
        assert_eq!(wrong(|_| {}), "");
        assert!(wrong(|s| s.timeout_s = f64::NAN).starts_with("timeout_s"));
        assert!(wrong(|s| s.deadline_s = 1e300).starts_with("deadline_s"));
        assert!(wrong(|s| s.per_host_rate = -1.0).starts_with("per_host_rate"));
        assert!(wrong(|s| s.memory = 10).starts_with("memory"));
        assert!(wrong(|s| s.per_host = 0).contains("per_host"));
        let secret = wrong(|s| s.proxy = "http://me:hunter2@proxy:80".to_owned());
        assert!(secret.starts_with("proxy") && !secret.contains("hunter2"));
    }
}
