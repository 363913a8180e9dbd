//! From a host to addresses that may be connected to: public ones, unless the host is allowed others.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolveHosts};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::Name;
use laioncele_core::spec::HostMap;
use laioncele_core::{DropReason, StageError};
use tokio::sync::Semaphore;
use url::Host;

use crate::address::is_blocked;
use crate::failure::Failure;

/// Resolves hosts: mapped hosts to the embedded world's port, others by the system's name servers and hosts file; never
/// to a blocked address unless the host is allowed.
pub(crate) struct Resolver {
    map: Option<HostMap>,
    allowed: Vec<String>,
    dns: Option<TokioResolver>,
    turns: Semaphore,
}

/// Answers are remembered as long as they say, within these bounds.
const REMEMBERED: [Duration; 2] = [Duration::from_secs(60), Duration::from_hours(1)];
/// That there is no answer is forgotten sooner.
const REMEMBERED_ABSENCE: [Duration; 2] = [Duration::from_secs(30), Duration::from_mins(5)];
/// Answers remembered at most.
const REMEMBERED_ANSWERS: u64 = 50_000;
/// For one question to one name server; a second try follows.
const PATIENCE: Duration = Duration::from_secs(3);
/// Lookups under way at once: each takes a socket or two.
const LOOKUPS: usize = 1000;
/// Addresses of one host at most: all are checked, the first ones are tried.
const ADDRESSES: usize = 256;

impl Resolver {
    /// # Errors
    /// The system's resolver configuration cannot be read, and not all hosts may be mapped.
    pub(crate) fn new(map: Option<HostMap>, allowed: Vec<String>) -> Result<Self, StageError> {
        let dns = match system_dns() {
            Ok(dns) => Some(dns),
            Err(_) if map.is_some() => None,
            Err(error) => return Err(StageError::environment(error)),
        };
        Ok(Self {
            map,
            allowed,
            dns,
            turns: Semaphore::new(LOOKUPS),
        })
    }

    /// A resolver that knows mapped hosts and addresses only.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn without_dns(map: Option<HostMap>, allowed: Vec<String>) -> Self {
        Self {
            map,
            allowed,
            dns: None,
            turns: Semaphore::new(1),
        }
    }

    /// The addresses of a host, IPv4 first; at least one, and all of them checked.
    ///
    /// # Errors
    /// `dns` where there is none, `blocked_address` where one may not be connected to.
    pub(crate) async fn addresses(
        &self,
        host: &Host<String>,
        port: u16,
    ) -> Result<Vec<SocketAddr>, Failure> {
        self.check_literal(host)?;
        let addresses = match host {
            Host::Ipv4(v4) => vec![IpAddr::V4(*v4)],
            Host::Ipv6(v6) => vec![IpAddr::V6(*v6)],
            Host::Domain(name) => {
                if let Some(map) = self.map.as_ref().filter(|m| name.ends_with(&m.suffix)) {
                    return Ok(vec![map.address]);
                }
                self.look_up(name).await?
            }
        };
        let blocked = addresses.iter().copied().find(|ip| is_blocked(*ip));
        if let Some(address) = blocked.filter(|_| !self.is_allowed(host)) {
            return Err(blocked_host(host, &address.to_string()));
        }
        Ok(addresses
            .into_iter()
            .map(|ip| SocketAddr::new(ip, port))
            .collect())
    }

    /// Checks a host that is an address or always means this machine: nobody need be asked for that.
    ///
    /// # Errors
    /// `blocked_address`.
    pub(crate) fn check_literal(&self, host: &Host<String>) -> Result<(), Failure> {
        let address = match host {
            Host::Ipv4(v4) => IpAddr::V4(*v4),
            Host::Ipv6(v6) => IpAddr::V6(*v6),
            Host::Domain(name) if is_localhost(name) && !self.is_allowed(host) => {
                return Err(blocked_host(host, "this machine"));
            }
            Host::Domain(_) => return Ok(()),
        };
        if is_blocked(address) && !self.is_allowed(host) {
            return Err(blocked_host(host, &address.to_string()));
        }
        Ok(())
    }

    /// Whether the settings let `host` have any address.
    fn is_allowed(&self, host: &Host<String>) -> bool {
        let text = host.to_string();
        let bare = |t: &str| {
            let t = t.trim_start_matches('[').trim_end_matches(']');
            t.trim_end_matches('.').to_ascii_lowercase()
        };
        self.allowed.iter().any(|a| bare(a) == bare(&text))
    }

    async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, Failure> {
        let dns = self
            .dns
            .as_ref()
            .ok_or_else(|| no_address(name, "no name server"))?;
        // With the last dot, so that no search domain is appended.
        let question = Name::from_str_relaxed(name)
            .map(|mut n| {
                n.set_fqdn(true);
                n
            })
            .map_err(|error| no_address(name, &error.to_string()))?;
        let _turn = self.turns.acquire().await;
        let found = dns
            .lookup_ip(question)
            .await
            .map_err(|error| failed_lookup(name, &error))?;
        let mut addresses: Vec<_> = found.iter().take(ADDRESSES + 1).collect();
        if addresses.is_empty() {
            return Err(no_address(name, "no address records"));
        }
        if addresses.len() > ADDRESSES {
            return Err(no_address(name, "too many addresses"));
        }
        addresses.sort_by_key(IpAddr::is_ipv6);
        Ok(addresses)
    }
}

fn system_dns() -> Result<TokioResolver, NetError> {
    let mut builder = TokioResolver::builder_tokio()?;
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Always;
    options.timeout = PATIENCE;
    options.attempts = 2;
    options.cache_size = REMEMBERED_ANSWERS;
    options.max_active_requests = LOOKUPS;
    options.positive_min_ttl = Some(REMEMBERED[0]);
    options.positive_max_ttl = Some(REMEMBERED[1]);
    options.negative_min_ttl = Some(REMEMBERED_ABSENCE[0]);
    options.negative_max_ttl = Some(REMEMBERED_ABSENCE[1]);
    builder.build()
}

/// `localhost` and what is under it is this machine whatever a name server says (RFC 6761).
fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
}

fn blocked_host(host: &Host<String>, address: &str) -> Failure {
    Failure::last(
        DropReason::BlockedAddress,
        format!("{host} leads to {address}, which is not a public address"),
    )
}

fn no_address(name: &str, why: &str) -> Failure {
    Failure::last(DropReason::Dns, format!("no address for {name}: {why}"))
}

/// A name that does not exist will not exist in a minute; a name server that does not answer may.
fn failed_lookup(name: &str, error: &NetError) -> Failure {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(_)) => no_address(name, "no such name"),
        other => Failure::passing(DropReason::Dns, format!("no address for {name}: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Target;

    fn resolver(allowed: &[&str]) -> Resolver {
        Resolver::without_dns(None, allowed.iter().map(|a| (*a).to_owned()).collect())
    }

    fn host(text: &str) -> Host<String> {
        Target::parse(text).expect("a url").origin().host
    }

    #[tokio::test]
    async fn addresses_are_checked_unless_allowed() {
        for url in [
            "http://127.0.0.1/",
            "http://[::1]/",
            "http://localhost/",
            "http://LOCALHOST./",
            "http://a.localhost/",
            "http://[::ffff:10.0.0.1]/",
            "http://0/",
        ] {
            let found = resolver(&["192.168.1.1"]).addresses(&host(url), 80).await;
            assert_eq!(found.expect_err(url).reason, DropReason::BlockedAddress);
        }
        for (url, allowed) in [
            ("http://127.0.0.1:8080/", "127.0.0.1"),
            ("http://[::1]/", "[::1]"),
            ("http://[::1]/", "::1"),
            ("http://2130706433/", "127.0.0.1"),
        ] {
            let found = resolver(&[allowed]).addresses(&host(url), 80).await;
            assert_eq!(found.map(|f| f.len()), Ok(1), "{url}");
        }
        let unknown = resolver(&[])
            .addresses(&host("http://a.example/"), 80)
            .await;
        assert_eq!(unknown.map_err(|f| f.reason), Err(DropReason::Dns));
    }

    #[tokio::test]
    async fn mapped_hosts_lead_to_the_map() {
        let address = SocketAddr::from(([127, 0, 0, 1], 4321));
        let suffix = ".example".to_owned();
        let mut resolver = resolver(&[]);
        resolver.map = Some(HostMap { suffix, address });
        let found = resolver.addresses(&host("https://a.example/"), 443).await;
        assert_eq!(found, Ok(vec![address]));
        let found = resolver.addresses(&host("http://127.0.0.1/"), 80).await;
        assert_eq!(found.map_err(|f| f.reason), Err(DropReason::BlockedAddress));
    }
}
