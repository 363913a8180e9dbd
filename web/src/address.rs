//! Which addresses are public: the only ones that a url from the web may lead to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Azure's WireServer: reachable from every virtual machine there, and from nowhere else.
const AZURE_WIRE_SERVER: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

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
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && b & 0xfe == 18)
        || v4 == AZURE_WIRE_SERVER
}

fn is_blocked_v6(v6: Ipv6Addr) -> bool {
    let s = v6.segments();
    let global = s[0] & 0xe000 == 0x2000;
    // 2001::/23 is for protocols: Teredo, benchmarks, ORCHID.
    let protocols = s[0] == 0x2001 && s[1] < 0x0200;
    let documentation = (s[0] == 0x2001 && s[1] == 0x0db8) || (s[0] == 0x3fff && s[1] < 0x1000);
    !global || protocols || documentation
}

/// The IPv4 address inside a mapped, translated (64:ff9b::/96), 6to4 or ISATAP address.
fn embedded_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = v6.segments();
    let from = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match s {
        [0, 0, 0, 0, 0, 0xffff, h, l]
        | [0, 0, 0, 0, 0xffff, 0, h, l]
        | [0x64, 0xff9b, 0, 0, 0, 0, h, l]
        | [0x2002, h, l, ..] => Some(from(h, l)),
        [0, 0, 0, 0, 0, 0, h, l] if h != 0 => Some(from(h, l)),
        [first, _, _, _, 0 | 0x0200, 0x5efe, h, l] if first & 0xe000 == 0x2000 => Some(from(h, l)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn is_blocked_covers_all_non_public_ranges() {
        let dangers = "127.0.0.1 127.9.9.9 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 \
             169.254.169.254 0.0.0.0 0.1.2.3 100.64.0.1 100.100.100.200 224.0.0.1 239.255.255.255 \
             240.0.0.1 255.255.255.255 198.18.0.1 198.19.255.255 192.0.0.192 192.0.2.1 \
             198.51.100.7 203.0.113.9 192.88.99.1 168.63.129.16 :: ::1 fe80::1 fec0::1 fc00::1 \
             fd00:ec2::254 ff02::1 2001:db8::1 3fff::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 \
             2001:2::1 2001:10::1 2001:20::1 100::1 5f00::1 4000::1 ::ffff:127.0.0.1 \
             ::ffff:169.254.169.254 ::ffff:0:127.0.0.1 64:ff9b::7f00:1 64:ff9b:1::7f00:1 \
             2002:7f00:1:: 2002:a9fe:a9fe::1 ::127.0.0.1 2606:4700::5efe:10.0.0.1";
        for text in dangers.split_whitespace() {
            assert!(is_blocked(text.parse().expect("an address")), "{text}");
        }
        let public = "8.8.8.8 1.1.1.1 172.32.0.1 100.128.0.1 198.20.0.1 192.0.1.1 2606:4700::1111 \
             2a00:1450::1 2001:4860:4860::8888 ::ffff:8.8.8.8 64:ff9b::808:808 2002:808:808::1";
        for text in public.split_whitespace() {
            assert!(!is_blocked(text.parse().expect("an address")), "{text}");
        }
    }

    proptest! {
        #[test]
        fn ipv6_that_carries_ipv4_is_blocked_like_it(v4: [u8; 4]) {
            let v4 = Ipv4Addr::from(v4);
            let [a, b, c, d] = v4.octets();
            prop_assert_eq!(is_blocked(v4.into()), is_blocked(v4.to_ipv6_mapped().into()));
            let (h, l) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            let nat64 = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, h, l);
            prop_assert_eq!(is_blocked(v4.into()), is_blocked(nat64.into()));
            let six_to_four = Ipv6Addr::new(0x2002, h, l, 0, 0, 0, 0, 1);
            prop_assert_eq!(is_blocked(v4.into()), is_blocked(six_to_four.into()));
        }
    }
}
