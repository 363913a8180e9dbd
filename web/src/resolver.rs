//! From a host to addresses that may be connected to: public ones, unless the host is allowed others.

use std::net::{IpAddr, SocketAddr};

use laioncele_core::spec::HostMap;
use laioncele_core::{DropReason, StageError};
use url::Host;

use crate::address::is_blocked;
use crate::dns::{Dns, NoAddress, is_localhost};
use crate::failure::Failure;
use crate::patience::Patience;

/// Resolves hosts: mapped hosts to the embedded world's port, others by the system's name servers and hosts file; never
/// to a blocked address unless the host is allowed.
pub(crate) struct Resolver {
    map: Option<HostMap>,
    allowed: Vec<String>,
    dns: Option<Dns>,
}

impl Resolver {
    /// # Errors
    /// The system's resolver configuration cannot be read, and not all hosts may be mapped.
    pub(crate) fn new(map: Option<HostMap>, allowed: Vec<String>) -> Result<Self, StageError> {
        let dns = match Dns::of_system() {
            Ok(dns) => Some(dns),
            Err(_) if map.is_some() => None,
            Err(error) => return Err(StageError::environment(error)),
        };
        Ok(Self { map, allowed, dns })
    }

    /// A resolver that knows mapped hosts and addresses only.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn without_dns(map: Option<HostMap>, allowed: Vec<String>) -> Self {
        Self {
            map,
            allowed,
            dns: None,
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
        patience: &mut Patience,
    ) -> Result<Vec<SocketAddr>, Failure> {
        self.check_literal(host)?;
        let addresses = match host {
            Host::Ipv4(v4) => vec![IpAddr::V4(*v4)],
            Host::Ipv6(v6) => vec![IpAddr::V6(*v6)],
            Host::Domain(name) => {
                if let Some(map) = self.map.as_ref().filter(|m| name.ends_with(&m.suffix)) {
                    return Ok(vec![map.address]);
                }
                self.look_up(name, patience).await?
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

    async fn look_up(&self, name: &str, patience: &mut Patience) -> Result<Vec<IpAddr>, Failure> {
        let Some(dns) = &self.dns else {
            return Err(no_address(name, "no name server"));
        };
        match dns.look_up(name, patience).await? {
            Ok(addresses) => Ok(addresses),
            Err(NoAddress::Never(why)) => Err(no_address(name, &why)),
            // A name server that does not answer may do so in a minute.
            Err(NoAddress::Now(why)) => {
                let detail = format!("no address for {name}: {why}");
                Err(Failure::passing(DropReason::Dns, detail))
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Target;

    fn resolver(allowed: &[&str]) -> Resolver {
        Resolver::without_dns(None, allowed.iter().map(|a| (*a).to_owned()).collect())
    }

    async fn addresses(resolver: &Resolver, url: &str) -> Result<Vec<SocketAddr>, DropReason> {
        let mut patience = Patience::new(std::time::Duration::from_secs(20));
        let (host, port) = (host(url), 80);
        let found = resolver.addresses(&host, port, &mut patience).await;
        found.map_err(|failure| failure.reason)
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
            let found = addresses(&resolver(&["192.168.1.1"]), url).await;
            assert_eq!(found, Err(DropReason::BlockedAddress), "{url}");
        }
        for (url, allowed) in [
            ("http://127.0.0.1:8080/", "127.0.0.1"),
            ("http://[::1]/", "[::1]"),
            ("http://[::1]/", "::1"),
            ("http://2130706433/", "127.0.0.1"),
        ] {
            let found = addresses(&resolver(&[allowed]), url).await;
            assert_eq!(found.map(|f| f.len()), Ok(1), "{url}");
        }
        let unknown = addresses(&resolver(&[]), "http://a.example/").await;
        assert_eq!(unknown, Err(DropReason::Dns));
    }

    #[tokio::test]
    async fn mapped_hosts_lead_to_the_map() {
        let address = SocketAddr::from(([127, 0, 0, 1], 4321));
        let suffix = ".example".to_owned();
        let mut resolver = resolver(&[]);
        resolver.map = Some(HostMap { suffix, address });
        let found = addresses(&resolver, "https://a.example/").await;
        assert_eq!(found, Ok(vec![address]));
        let found = addresses(&resolver, "http://127.0.0.1/").await;
        assert_eq!(found, Err(DropReason::BlockedAddress));
    }
}
