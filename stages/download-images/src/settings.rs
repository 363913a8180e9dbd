//! `[download_images]`

use laioncele_core::{CoreError, Manifest};
use serde::{Deserialize, Serialize};

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
    /// What becomes of a photo whose bytes are not those of the source's hash. `drop` is for sources whose hashes are of the
    /// files as they are on the web; where they are of files that were encoded again, as in parts of DataComp, `keep`.
    #[serde(skip_serializing_if = "OnHashMismatch::is_drop")]
    pub on_hash_mismatch: OnHashMismatch,
    /// Hosts that may have loopback, private or link-local addresses.
    pub allow_hosts: Vec<String>,
    /// Seconds for one try, from the first byte sent to the last received, redirects included.
    #[serde(skip_serializing)]
    pub timeout_s: f64,
    /// Tries after the first one, for what is worth trying again.
    #[serde(skip_serializing)]
    pub retries: u32,
    /// Seconds of the first back-off; each further one is twice as long.
    #[serde(skip_serializing)]
    pub backoff_s: f64,
    /// Seconds that all tries of one url may take together.
    #[serde(skip_serializing)]
    pub deadline_s: f64,
    /// Requests under way at once.
    #[serde(skip_serializing)]
    pub concurrency: usize,
    /// Requests under way at once to one host.
    #[serde(skip_serializing)]
    pub per_host: usize,
    /// How we introduce ourselves.
    #[serde(skip_serializing)]
    pub user_agent: String,
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
            on_hash_mismatch: OnHashMismatch::Drop,
            allow_hosts: Vec::new(),
            timeout_s: 20.0,
            retries: 2,
            backoff_s: 1.0,
            deadline_s: 90.0,
            concurrency: 64,
            per_host: 8,
            user_agent: concat!(
                "laioncele/",
                env!("CARGO_PKG_VERSION"),
                " (dataset research; honours X-Robots-Tag)"
            )
            .to_owned(),
        }
    }
}

impl Settings {
    /// Reads and checks the section.
    ///
    /// # Errors
    /// [`CoreError::Manifest`].
    pub fn from_manifest(manifest: &Manifest) -> Result<Self, CoreError> {
        let settings: Self = manifest.section("download_images")?;
        let positive = [
            ("timeout_s", settings.timeout_s),
            ("deadline_s", settings.deadline_s),
        ];
        if let Some((key, value)) = positive
            .into_iter()
            .find(|(_, v)| !(*v > 0.0 && v.is_finite()))
        {
            return Err(manifest.error(format!(
                "[download_images] {key} = {value}: must be above 0"
            )));
        }
        if !(settings.backoff_s >= 0.0 && settings.backoff_s.is_finite()) {
            return Err(manifest.error(format!(
                "[download_images] backoff_s = {}: must not be below 0",
                settings.backoff_s
            )));
        }
        if settings.concurrency == 0 || settings.per_host == 0 {
            return Err(manifest.error(
                "[download_images] concurrency and per_host must be at least 1".to_owned(),
            ));
        }
        Ok(settings)
    }
}
