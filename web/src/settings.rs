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
    /// The proxy that all requests go through, `http://HOST:PORT`. It looks hosts up once more by itself, so that what is
    /// checked of addresses is what our own name server says.
    pub proxy: Option<String>,
}

impl Default for WebSettings {
    fn default() -> Self {
        Self {
            max_bytes: 20 << 20,
            max_redirects: 5,
            honour_opt_out: true,
            robots_txt: false,
            tdm_reservation: false,
            allow_hosts: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(30),
            user_agent: concat!("laioncele/", env!("CARGO_PKG_VERSION")).to_owned(),
            idle_per_host: 8,
            proxy: None,
        }
    }
}
