//! What a url asks for: as a source wrote it, or as a `Location` says, read as browsers read urls.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use laioncele_core::DropReason;
use laioncele_core::url::as_meant;
use url::{Host, ParseError, Url};

use crate::address::is_blocked;
use crate::failure::Failure;

/// A http or https url without credentials and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    url: Url,
}

/// Whom a connection leads to: what is kept and reused belongs to one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) tls: bool,
    pub(crate) host: Host<String>,
    pub(crate) port: u16,
}

impl Target {
    /// Reads a url: blanks around, tabs and line ends inside, capitals in the scheme, raw UTF-8, spaces and odd
    /// spellings of addresses are all as in the WHATWG's standard. A url without a scheme but with `//` is http.
    ///
    /// # Errors
    /// `bad_url`; `blocked_address` where the host can only be meant as an address that is not public.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let text = trim(text);
        let parsed = match Url::parse(text) {
            Err(ParseError::RelativeUrlWithoutBase) if text.starts_with("//") => {
                Url::parse(&format!("http:{text}"))
            }
            parsed => parsed,
        };
        let url = parsed.map_err(|error| match blocked_spelling(text) {
            Some(failure) => failure,
            None => Failure::last(DropReason::BadUrl, error.to_string()),
        })?;
        Self::of(url)
    }

    /// Where a redirect from here leads: `location` as the header holds it. What is not UTF-8 is kept byte by byte.
    ///
    /// # Errors
    /// `bad_response` for what is no url, `bad_url` for other schemes, `blocked_address` as in [`Target::parse`].
    pub(crate) fn redirect(&self, location: &[u8]) -> Result<Self, Failure> {
        let text = match std::str::from_utf8(location) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(escape_high_bytes(location)),
        };
        let url = self.url.join(trim(&text)).map_err(|error| {
            blocked_spelling(trim(&text))
                .unwrap_or_else(|| Failure::malformed(format!("Location is no url: {error}")))
        })?;
        Self::of(url)
    }

    fn of(mut url: Url) -> Result<Self, Failure> {
        let bad = |why: String| Failure::last(DropReason::BadUrl, why);
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad(format!("scheme {}", url.scheme())));
        }
        if url.host().is_none() || url.port_or_known_default() == Some(0) {
            return Err(bad("no host to ask".to_owned()));
        }
        // Credentials would be sent to whom they may not belong, and no public photo needs them.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_fragment(None);
        Ok(Self { url })
    }

    /// The same origin's `path`.
    pub(crate) fn with_path(&self, path: &str) -> Self {
        let mut url = self.url.clone();
        url.set_path(path);
        url.set_query(None);
        Self { url }
    }

    pub(crate) fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// The host in lower case, as it stands in the url.
    pub(crate) fn host_text(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Path and query, as they are asked for.
    pub(crate) fn path_and_query(&self) -> &str {
        &self.url[url::Position::BeforePath..]
    }

    /// What stands in the `Host` header: the port too where it is not the scheme's.
    pub(crate) fn authority(&self) -> &str {
        &self.url[url::Position::BeforeHost..url::Position::AfterPort]
    }

    pub(crate) fn origin(&self) -> Origin {
        let tls = self.url.scheme() == "https";
        Origin {
            tls,
            host: self
                .url
                .host()
                .map_or_else(|| Host::Domain(String::new()), |host| host.to_owned()),
            port: self
                .url
                .port_or_known_default()
                .unwrap_or(if tls { 443 } else { 80 }),
        }
    }
}

/// The spellings of a url in the order in which they are asked for: as it is written, then with HTML's `&amp;` decoded,
/// once and once more. A numeric entity (`&#38;`) is decoded at once: as it is written, `#` would cut the url there, and
/// nobody means that. Last what it means by the rule that ids are made by.
pub(crate) fn spellings(written: &str) -> Vec<String> {
    let mut all = vec![replace_ignoring_case(
        &replace_ignoring_case(written, "&#38;", "&"),
        "&#x26;",
        "&",
    )];
    while all.len() < 3 {
        let last = &all[all.len() - 1];
        let decoded = replace_ignoring_case(last, "&amp;", "&");
        if decoded == *last {
            break;
        }
        all.push(decoded);
    }
    let meant = as_meant(written);
    if all.iter().all(|known| *known != meant) {
        all.push(meant.into_owned());
    }
    all
}

fn replace_ignoring_case(text: &str, what: &str, by: &str) -> String {
    let (lower, mut at, mut out) = (text.to_ascii_lowercase(), 0, String::new());
    while let Some(found) = lower[at..].find(what) {
        out.push_str(&text[at..at + found]);
        out.push_str(by);
        at += found + what.len();
    }
    out.push_str(&text[at..]);
    out
}

/// Without blanks of any script and marks without width at the ends.
fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| {
        c.is_whitespace() || c.is_control() || "\u{feff}\u{200b}".contains(c)
    })
}

fn escape_high_bytes(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        if byte.is_ascii() {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
        text
    })
}

/// Whether the host of a url that cannot be read is an address after all, by the rules of laxer programs (zone ids,
/// octets above 255), and not a public one.
fn blocked_spelling(text: &str) -> Option<Failure> {
    let address = spelled_address(text)?;
    is_blocked(address).then(|| {
        Failure::last(
            DropReason::BlockedAddress,
            format!("a spelling of {address}, which is not a public address"),
        )
    })
}

fn spelled_address(text: &str) -> Option<IpAddr> {
    let rest = match text.split_once(':') {
        Some((scheme, rest)) if scheme.bytes().all(|b| b.is_ascii_alphanumeric()) => rest,
        _ => text,
    };
    let rest = rest.trim_start_matches(['/', '\\']);
    let authority = rest.split(['/', '\\', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    if let Some(inside) = host.strip_prefix('[') {
        let digits = inside.split([']', '%']).next()?;
        return digits.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    let host = host.split(':').next()?.trim_end_matches('.');
    let parts: Vec<u64> = host.split('.').map(lax_number).collect::<Option<_>>()?;
    let (last, before) = parts.split_last()?;
    if before.len() > 3 {
        return None;
    }
    let high = before
        .iter()
        .enumerate()
        .fold(0u64, |sum, (k, part)| sum | (part & 0xff) << (24 - 8 * k));
    let low = last & (0xffff_ffff >> (8 * before.len()));
    Some(Ipv4Addr::from((high | low) as u32).into())
}

/// Decimal, octal (`0177`) or hexadecimal (`0x7f`), cut to 64 bits.
fn lax_number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    digits
        .chars()
        .try_fold(0u64, |number, c| {
            let digit = c.to_digit(radix)?;
            Some(number.wrapping_mul(radix.into()).wrapping_add(digit.into()))
        })
        .filter(|_| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Target {
        Target::parse(text).unwrap_or_else(|e| panic!("{text:?}: {e:?}"))
    }

    fn reason(text: &str) -> DropReason {
        Target::parse(text).expect_err(text).reason
    }

    #[test]
    fn parse_forgives_what_sources_write() {
        for (text, asked) in [
            (
                "  http://a.example/x.jpg \u{a0}\n",
                "http://a.example/x.jpg",
            ),
            ("\u{feff}HTTP://A.example/x.jpg", "http://a.example/x.jpg"),
            ("http://a.example/a b.jpg#top", "http://a.example/a%20b.jpg"),
            ("http://a.example/\u{fc}.jpg", "http://a.example/%C3%BC.jpg"),
            ("http://a.exam\tple/\nx.jpg", "http://a.example/x.jpg"),
            ("//a.example/x.jpg", "http://a.example/x.jpg"),
            ("http:a.example/x.jpg", "http://a.example/x.jpg"),
            ("http:\\\\a.example\\x.jpg", "http://a.example/x.jpg"),
            (
                "http://user:secret@a.example/x.jpg?login",
                "http://a.example/x.jpg?login",
            ),
            (
                "http://a.example/q?u=http://b.example/x&t=%2F",
                "http://a.example/q?u=http://b.example/x&t=%2F",
            ),
        ] {
            assert_eq!(parsed(text).as_str(), asked, "{text:?}");
        }
    }

    #[test]
    fn parse_refuses_what_is_no_web_url() {
        for text in [
            "",
            "not a url",
            "ftp://a.example/x",
            "file:///etc/passwd",
            "data:image/png;base64,AA",
            "http://",
            "http://a b/",
            "http://a.example:99999/",
            "javascript:alert(1)",
            "http://a.example:0/",
            "www.a.example/x.jpg",
        ] {
            assert_eq!(reason(text), DropReason::BadUrl, "{text:?}");
        }
    }

    #[test]
    fn unreadable_spellings_of_blocked_addresses_are_known() {
        for text in [
            "http://[fe80::1%25eth0]/x",
            "http://[::1%lo]/x",
            "http://383.256.256.257/",
            "http://0x100000000000000007f000001/",
            "//[::1%25lo]:80/",
        ] {
            assert_eq!(reason(text), DropReason::BlockedAddress, "{text:?}");
        }
        assert_eq!(
            reason("http://[2606:4700::1111%25eth0]/"),
            DropReason::BadUrl
        );
        assert_eq!(reason("http://264.8.8.8/"), DropReason::BadUrl);
    }

    #[test]
    fn odd_spellings_of_addresses_are_addresses() {
        let loopback = Host::Ipv4(Ipv4Addr::LOCALHOST);
        for host in [
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "127.1",
            "127.0.0.1.",
            "0x7f.1",
            "%31%32%37.0.0.1",
            "127%2e0%2e0%2e1",
            "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
            "\u{2460}\u{2461}\u{2466}.\u{24ea}.\u{24ea}.\u{2460}",
            "127\u{3002}0\u{3002}0\u{3002}1",
            "127\u{ff0e}0\u{ff0e}0\u{ff61}1",
        ] {
            assert_eq!(
                parsed(&format!("http://{host}/x")).origin().host,
                loopback,
                "{host}"
            );
            let hop = parsed("http://a.example/").redirect(format!("//{host}/x").as_bytes());
            assert_eq!(hop.map(|t| t.origin().host), Ok(loopback.clone()), "{host}");
        }
    }

    #[test]
    fn redirect_reads_every_kind_of_location() {
        let from = parsed("http://a.example/dir/x.jpg?q#f");
        for (location, asked) in [
            (&b"y.jpg"[..], "http://a.example/dir/y.jpg"),
            (b"../y z.jpg", "http://a.example/y%20z.jpg"),
            (b"//b.example/y", "http://b.example/y"),
            (b" HTTPS://b.example ", "https://b.example/"),
            (
                "/\u{fc}ber.jpg".as_bytes(),
                "http://a.example/%C3%BCber.jpg",
            ),
            (b"/\xfcber.jpg", "http://a.example/%FCber.jpg"),
            (b"?r", "http://a.example/dir/x.jpg?r"),
            (b"http://u:p@b.example/\ty#z", "http://b.example/y"),
        ] {
            let hop = from.redirect(location);
            assert_eq!(hop.as_ref().map(Target::as_str), Ok(asked), "{location:?}");
        }
    }

    #[test]
    fn spellings_go_from_the_written_to_the_decoded() {
        assert_eq!(
            spellings("http://a/x?a&amp;b"),
            ["http://a/x?a&amp;b", "http://a/x?a&b"]
        );
        assert_eq!(spellings("http://a/x?a&AMP;amp;b").len(), 3);
        assert_eq!(spellings("http://a/x?a&#38;b&#X26;c"), ["http://a/x?a&b&c"]);
        assert_eq!(spellings("http://a/x?a&b"), ["http://a/x?a&b"]);
        assert_eq!(spellings("http&#58;//a/x")[1], "http://a/x");
    }

    proptest! {
        #[test]
        fn targets_are_clean_and_stable(text in "(http://|https:|//|)[ -~\u{80}-\u{2fff}]{0,40}") {
            if let Ok(target) = Target::parse(&text) {
                let again = parsed(target.as_str());
                prop_assert_eq!(&again, &target);
                prop_assert!(target.path_and_query().starts_with('/'));
                prop_assert!(!target.as_str().bytes().any(|b| b <= b' ' || b >= 0x7f));
                prop_assert!(!target.authority().contains('@'));
            }
        }

        #[test]
        fn redirect_accepts_any_bytes(location: Vec<u8>) {
            let _ = parsed("http://a.example/b").redirect(&location);
        }

        #[test]
        fn every_lax_spelling_of_an_address_is_that_address(v4: [u8; 4], form in 0usize..4) {
            let [a, b, c, d] = v4;
            let number = u32::from_be_bytes(v4);
            let host = match form {
                0 => format!("{number}"),
                1 => format!("0x{number:x}"),
                2 => format!("{a:#o}.{b}.{c}.{d}").replace("0o", "0"),
                _ => format!("{a}.{}", number & 0xff_ffff),
            };
            let address = IpAddr::from(v4);
            prop_assert_eq!(spelled_address(&format!("http://{host}/")), Some(address));
            prop_assert_eq!(parsed(&format!("http://{host}/")).origin().host, Host::<String>::Ipv4(v4.into()));
        }
    }
}
