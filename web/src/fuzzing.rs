//! The parsers of what the web sends, for the targets under `fuzz/`: each takes any bytes and checks what must hold.

use url::Host;

use crate::answer::Cap;
use crate::patience::Patience;
use crate::resolver::Resolver;
use crate::robots_txt::RobotsTxt;
use crate::room::Room;
use crate::target::{Target, spellings};
use crate::tdm::TdmFile;
use crate::{encoding, head, http1, opt_out, retry_after};

/// A url as a source might hold it.
///
/// # Panics
/// A target that is not clean, or is read otherwise the second time.
pub fn url(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for spelling in spellings(&text) {
        if let Ok(target) = Target::parse(&spelling) {
            check_target(&target);
        }
    }
}

/// The value of a `Location`.
///
/// # Panics
/// As [`url`].
pub fn location(bytes: &[u8]) {
    let from = Target::parse("http://a.example/dir/x.jpg?q").expect("a url");
    if let Ok(target) = from.redirect(bytes) {
        check_target(&target);
    }
}

fn check_target(target: &Target) {
    let again = Target::parse(target.as_str()).expect("what was read once can be read again");
    assert_eq!(&again, target);
    assert!(target.as_str().bytes().all(|b| (b'!'..0x7f).contains(&b)));
    assert!(target.path_and_query().starts_with('/'));
    assert!(!target.authority().contains(['@', '/', '?', '#', '\\']));
    let origin = target.origin();
    let address = match origin.host {
        Host::Ipv4(v4) => Some(v4.into()),
        Host::Ipv6(v6) => Some(v6.into()),
        Host::Domain(ref name) => name.parse().ok(),
    };
    if address.is_some_and(crate::address::is_blocked) {
        let resolver = Resolver::without_dns(None, Vec::new());
        assert!(resolver.check_literal(&origin.host).is_err());
    }
}

/// All that a server sends on a connection: heads, body, encodings.
///
/// # Panics
/// A body beyond its cap, or no runtime.
pub fn answer(bytes: &[u8]) {
    const MAX: usize = 1 << 16;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut patience = Patience::new(std::time::Duration::from_secs(10));
        let mut share = Room::new(MAX).share();
        let stream = tokio::io::join(bytes, tokio::io::sink());
        let mut connection = http1::Connection::new(stream);
        let Ok(head) = connection.ask(b"GET", &mut patience).await else {
            return;
        };
        let _ = (http1::keeps_alive(&head), retry_after::retry_after(&head));
        let _ = opt_out::opt_out(head.all("x-robots-tag"));
        let Ok(framing) = http1::framing(&head) else {
            return;
        };
        let cap = Cap {
            bytes: MAX,
            cut: head.status % 2 == 1,
        };
        let body = connection.body(framing, cap, &mut share, &mut patience);
        let Ok((body, _)) = body.await else {
            return;
        };
        assert!(body.len() <= MAX);
        let labels = head.list("content-encoding");
        if let Ok(plain) = encoding::unpack(body, labels, MAX, &mut share).await {
            assert!(plain.len() <= MAX);
        }
    });
}

/// A head by itself, whole and in two pieces.
///
/// # Panics
/// The end of the head depends on the pieces.
pub fn head(bytes: &[u8]) {
    let _ = head::parse(bytes);
    let whole = head::HeadEnd::default().find(bytes);
    let mut end = head::HeadEnd::default();
    let half = end.find(&bytes[..bytes.len() / 2]);
    assert_eq!(half.or_else(|| end.find(bytes)), whole);
}

/// The value of an `X-Robots-Tag`.
pub fn robots_tag(bytes: &[u8]) {
    let _ = opt_out::opt_out(bytes.split(|b| *b == b'\n'));
}

/// A path in the first line, robots.txt or tdmrep.json after it.
pub fn robots_txt(bytes: &[u8]) {
    let end = bytes.iter().position(|b| *b == b'\n').unwrap_or(0);
    let path = String::from_utf8_lossy(&bytes[..end]);
    let _ = RobotsTxt::parse(&bytes[end..]).forbids(&path);
    let _ = TdmFile::parse(&bytes[end..]).reserves(&path);
}
