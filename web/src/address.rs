//! Which addresses a url from the web may lead to: public ones only. And the resolver that keeps to
//! it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use laioncele_core::spec::HostMap;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Why a host gives no address to connect to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    #[error("no address for {0}")]
    NoAddress(String),
    #[error("{host} leads to {address}, which is not a public address")]
    Blocked { host: String, address: IpAddr },
}

/// Whether `address` is anything but a public unicast address: loopback, private, shared,
/// link-local (with the cloud metadata services), documentation, benchmarking, multicast, reserved,
/// unspecified, and IPv6 forms that carry such an IPv4 address inside.
pub(crate) fn is_blocked(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_blocked_v4(v4),
        IpAddr::V6(v6) => embedded_v4(v6).map_or_else(|| is_blocked_v6(v6), is_blocked_v4),
    }
}

fn is_blocked_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    v4.is_loopback()
        || v4.is_private()
        || v4.is_link_local()
        || v4.is_documentation()
        || v4.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && b & 0xfe == 18)
}

fn is_blocked_v6(v6: Ipv6Addr) -> bool {
    let first = v6.segments()[0];
    let global = first & 0xe000 == 0x2000;
    let documentation = first == 0x2001 && v6.segments()[1] == 0x0db8;
    !global || documentation
}

/// The IPv4 address inside a mapped, translated (64:ff9b::/96) or 6to4 address.
fn embedded_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = v6.segments();
    let from = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match s {
        [0, 0, 0, 0, 0, 0xffff, h, l] | [0x64, 0xff9b, 0, 0, 0, 0, h, l] | [0x2002, h, l, ..] => {
            Some(from(h, l))
        }
        [0, 0, 0, 0, 0, 0, h, l] if h != 0 => Some(from(h, l)),
        _ => None,
    }
}

/// When each host was resolved, and to what.
type Known = HashMap<String, (Instant, Vec<SocketAddr>)>;

/// Resolves hosts for the HTTP client: mapped hosts to the embedded world's port, others by the
/// system, remembered for a while; never to a blocked address unless the host is allowed.
pub(crate) struct SafeResolver {
    map: Option<HostMap>,
    allowed: Vec<String>,
    known: Arc<Mutex<Known>>,
}

const REMEMBERED: Duration = Duration::from_mins(5);

impl SafeResolver {
    pub(crate) fn new(map: Option<HostMap>, allowed: Vec<String>) -> Self {
        Self {
            map,
            allowed,
            known: Arc::default(),
        }
    }

    /// Checks the host of a url that is an address already, which the client never asks a resolver
    /// for.
    pub(crate) fn check_literal(&self, host: &str) -> Result<(), AddressError> {
        let literal: Result<IpAddr, _> = host.trim_start_matches('[').trim_end_matches(']').parse();
        match literal {
            Ok(address) if is_blocked(address) && !self.is_allowed(host) => {
                Err(AddressError::Blocked {
                    host: host.to_owned(),
                    address,
                })
            }
            _ => Ok(()),
        }
    }

    fn is_allowed(&self, host: &str) -> bool {
        self.allowed.iter().any(|a| a.eq_ignore_ascii_case(host))
    }

    fn mapped(&self, host: &str) -> Option<SocketAddr> {
        self.map
            .as_ref()
            .filter(|m| host.to_ascii_lowercase().ends_with(&m.suffix))
            .map(|m| m.address)
    }
}

impl Resolve for SafeResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        if let Some(address) = self.mapped(&host) {
            return Box::pin(async move { Ok(Box::new(std::iter::once(address)) as Addrs) });
        }
        let (allowed, known) = (self.is_allowed(&host), self.known.clone());
        Box::pin(async move {
            let lock = || known.lock().unwrap_or_else(PoisonError::into_inner);
            let hit = lock()
                .get(&host)
                .filter(|(at, _)| at.elapsed() < REMEMBERED)
                .map(|(_, found)| found.clone());
            let found = match hit {
                Some(found) => found,
                None => look_up(&host).await?,
            };
            lock().insert(host.clone(), (Instant::now(), found.clone()));
            let blocked = found.iter().map(SocketAddr::ip).find(|ip| is_blocked(*ip));
            match blocked.filter(|_| !allowed) {
                Some(address) => Err(AddressError::Blocked { host, address }.into()),
                None => Ok(Box::new(found.into_iter()) as Addrs),
            }
        })
    }
}

async fn look_up(host: &str) -> Result<Vec<SocketAddr>, AddressError> {
    let found: Vec<_> = tokio::net::lookup_host((host, 0))
        .await
        .map_err(|_| AddressError::NoAddress(host.to_owned()))?
        .collect();
    if found.is_empty() {
        Err(AddressError::NoAddress(host.to_owned()))
    } else {
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn is_blocked_covers_all_non_public_ranges() {
        let dangers = "127.0.0.1 127.9.9.9 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 169.254.169.254 0.0.0.0 100.64.0.1 224.0.0.1 \
                       255.255.255.255 198.18.0.1 192.0.0.192 :: ::1 fe80::1 fc00::1 fd00:ec2::254 ff02::1 2001:db8::1 ::ffff:127.0.0.1 \
                       ::ffff:169.254.169.254 64:ff9b::7f00:1 2002:7f00:1:: ::127.0.0.1";
        for text in dangers.split_whitespace() {
            assert!(is_blocked(text.parse().expect("an address")), "{text}");
        }
        for text in
            "8.8.8.8 1.1.1.1 172.32.0.1 100.128.0.1 2606:4700::1111 2a00:1450::1 ::ffff:8.8.8.8"
                .split_whitespace()
        {
            assert!(!is_blocked(text.parse().expect("an address")), "{text}");
        }
    }

    proptest! {
        #[test]
        fn mapped_ipv6_is_blocked_like_its_ipv4(v4: [u8; 4]) {
            let v4 = Ipv4Addr::from(v4);
            prop_assert_eq!(is_blocked(v4.into()), is_blocked(v4.to_ipv6_mapped().into()));
        }
    }
}
