//! What limits and rules a request keeps.

use std::time::Duration;

/// What limits and rules a request keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct WebSettings {
    /// Bytes of a body at most, unpacked.
    pub max_bytes: u64,
    /// Redirects followed at most.
    pub max_redirects: u32,
    /// Whether `X-Robots-Tag` opt-outs are honoured.
    pub honour_opt_out: bool,
    /// Whether robots.txt is asked for and honoured.
    pub robots_txt: bool,
    /// Whether reservations of the TDM reservation protocol are honoured.
    pub tdm_reservation: bool,
    /// Hosts that may have loopback, private or link-local addresses.
    pub allow_hosts: Vec<String>,
    /// For connecting, TLS included.
    pub connect_timeout: Duration,
    /// For one try, redirects included.
    pub timeout: Duration,
    /// How we introduce ourselves.
    pub user_agent: String,
    /// Idle connections kept to one host at most.
    pub idle_per_host: usize,
}
