//! Redirects, addresses, kept connections, spellings, and what the gate is told.

use std::collections::BTreeMap;
use std::time::Duration;

use laioncele_core::DropReason;
use laioncele_web::{Client, Retry, Room, Verdict};

use crate::server::{Server, Step};
use crate::{Counting, PHOTO, client, get, ok, outcome, settings};

fn redirect(code: u16, location: &[u8]) -> Vec<Step> {
    let head = format!("HTTP/1.1 {code} Moved\r\nContent-Length: 0\r\nLocation: ");
    vec![Step::Send(
        [head.as_bytes(), location, b"\r\n\r\n"].concat(),
    )]
}

fn pages<const N: usize>(pages: [(&str, Vec<Step>); N]) -> BTreeMap<String, Vec<Step>> {
    pages.map(|(path, steps)| (path.to_owned(), steps)).into()
}

fn photo() -> Vec<Step> {
    vec![Step::Send(ok(PHOTO, ""))]
}

#[tokio::test]
async fn every_kind_of_redirect_is_followed() {
    let mut all = pages([
        ("/a/relative", redirect(302, b"../b.jpg")),
        ("/b.jpg", photo()),
        ("/space", redirect(302, b"/with space.jpg")),
        ("/with%20space.jpg", photo()),
        ("/utf8", redirect(302, "/\u{fc}.jpg".as_bytes())),
        ("/%C3%BC.jpg", photo()),
        ("/latin", redirect(302, b"/\xfc.jpg")),
        ("/%FC.jpg", photo()),
        ("/fragment", redirect(302, b"/b.jpg#top")),
    ]);
    for code in [300, 301, 302, 303, 305, 306, 307, 308] {
        all.insert(format!("/{code}"), redirect(code, b"/b.jpg"));
    }
    let paths: Vec<_> = all.keys().cloned().collect();
    let server = Server::start(all);
    let client = client(settings());
    for path in paths {
        let done = get(&client, &server.url(&path)).await;
        assert_eq!(
            done.redirected_to.is_some(),
            !path.contains(".jpg"),
            "{path}"
        );
        assert_eq!(outcome(done).as_deref(), Ok(PHOTO), "{path}");
    }
}

#[tokio::test]
async fn redirects_are_counted_and_circles_end() {
    let mut all: BTreeMap<_, _> = (0..9)
        .map(|k| {
            (
                format!("/{k}"),
                redirect(302, format!("/{}", k + 1).as_bytes()),
            )
        })
        .collect();
    all.insert("/9".to_owned(), photo());
    all.insert("/circle".to_owned(), redirect(302, b"/circle"));
    all.insert("/not-modified".to_owned(), redirect(304, b"/9"));
    let server = Server::start(all);
    let client = client(settings());
    let found = outcome(get(&client, &server.url("/4")).await);
    assert_eq!(found.as_deref(), Ok(PHOTO));
    let found = outcome(get(&client, &server.url("/3")).await);
    assert_eq!(found, Err(DropReason::TooManyRedirects));
    let found = outcome(get(&client, &server.url("/circle")).await);
    assert_eq!(found, Err(DropReason::TooManyRedirects));
    assert_eq!(server.asked("/circle"), 2);
    let found = outcome(get(&client, &server.url("/not-modified")).await);
    assert_eq!(found, Err(DropReason::BadResponse));
}

#[tokio::test]
async fn no_spelling_leads_to_a_forbidden_address() {
    let canary = Server::start_at("127.0.0.2", pages([("/", photo())]));
    let port = canary.address.port();
    let hosts = [
        "127.0.0.2",
        "127.2",
        "2130706434",
        "0x7f000002",
        "0177.0.0.2",
        "127.0.0.2.",
        "%31%32%37.0.0.2",
        "\u{2460}\u{2461}\u{2466}.\u{24ea}.\u{24ea}.\u{2461}",
        "\u{ff11}\u{ff12}\u{ff17}.0.0.2",
        "127\u{3002}0\u{3002}0\u{3002}2",
        "[::ffff:127.0.0.2]",
        "[::127.0.0.2]",
        "[64:ff9b::7f00:2]",
        "[2002:7f00:2::]",
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "0",
        "[::]",
        "[::1%25lo]",
        "383.256.256.258",
        "169.254.169.254",
        "user:secret@127.0.0.2",
    ];
    let redirects = hosts.iter().enumerate().map(|(k, host)| {
        let location = format!("http://{host}:{port}/");
        (format!("/{k}"), redirect(302, location.as_bytes()))
    });
    let server = Server::start(redirects.collect());
    let client = client(settings());
    for (k, host) in hosts.iter().enumerate() {
        for url in [
            format!("http://{host}:{port}/"),
            format!("//{host}:{port}/"),
            server.url(&format!("/{k}")),
        ] {
            let found = outcome(get(&client, &url).await);
            assert_eq!(found, Err(DropReason::BlockedAddress), "{host}: {url}");
        }
    }
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn other_schemes_are_no_urls() {
    let server = Server::start(pages([("/x", redirect(302, b"ftp://127.0.0.1/x"))]));
    let client = client(settings());
    for url in [
        "ftp://127.0.0.1/x",
        "file:///etc/passwd",
        "not a url",
        "",
        &server.url("/x"),
    ] {
        let found = outcome(get(&client, url).await);
        assert_eq!(found, Err(DropReason::BadUrl), "{url}");
    }
}

#[tokio::test]
async fn requests_carry_neither_credentials_nor_cookies() {
    let cookie =
        b"HTTP/1.1 302 Found\r\nSet-Cookie: a=b\r\nLocation: /echo\r\nContent-Length: 0\r\n\r\n"
            .to_vec();
    let server = Server::start(pages([
        ("/echo", vec![Step::Echo]),
        ("/cookie", vec![Step::Send(cookie)]),
    ]));
    let client = client(settings());
    let url = server
        .url("/cookie")
        .replace("http://", "http://user:secret@");
    let head = outcome(get(&client, &url).await).expect("an answer");
    let head = String::from_utf8(head).expect("text").to_lowercase();
    assert!(head.starts_with("get /echo http/1.1\r\n"), "{head}");
    assert!(
        head.contains(&format!("\r\nhost: {}\r\n", server.address)),
        "{head}"
    );
    assert!(head.contains("\r\nuser-agent: laioncele/"), "{head}");
    for name in ["authorization", "cookie", "referer", "secret"] {
        assert!(!head.contains(name), "{head}");
    }
}

#[tokio::test]
async fn kept_connections_are_used_and_dead_ones_replaced() {
    let kept = vec![Step::Send(ok(PHOTO, "")), Step::Keep];
    let server = Server::start(pages([("/kept", kept), ("/dies", vec![])]));
    let client = client(settings());
    for _ in 0..5 {
        let found = outcome(get(&client, &server.url("/kept")).await);
        assert_eq!(found.as_deref(), Ok(PHOTO));
    }
    assert_eq!((server.connections(), server.asked("/kept")), (1, 5));
    // The kept connection is closed without an answer, and so is the new one: asked twice, no more.
    let found = outcome(get(&client, &server.url("/dies")).await);
    assert_eq!(found, Err(DropReason::Connect));
    assert_eq!((server.connections(), server.asked("/dies")), (2, 2));
}

#[tokio::test]
async fn entities_are_decoded_when_the_url_as_written_is_unknown() {
    let server = Server::start(pages([("/x?a=1&b=2", photo()), ("/odd?a&amp;b", photo())]));
    let client = client(settings());
    for path in [
        "/x?a=1&b=2",
        "/x?a=1&amp;b=2",
        "/x?a=1&amp;amp;b=2",
        "/x?a=1&#38;b=2",
        "/x?a=1&#X26;b=2",
        "/odd?a&amp;b",
    ] {
        let found = outcome(get(&client, &server.url(path)).await);
        assert_eq!(found.as_deref(), Ok(PHOTO), "{path}");
    }
    assert_eq!(server.asked("/odd?a&b"), 0);
    let done = get(&client, &server.url("/no?a&amp;b")).await;
    assert_eq!(
        (done.status, outcome(done)),
        (Some(404), Err(DropReason::Http4xx))
    );
}

async fn told(client: &Client, server: &Server, path: &str) -> Vec<Option<Verdict>> {
    let gate = Counting::default();
    let _ = client
        .get(&server.url(path), &gate, &Room::new(1 << 20))
        .await;
    let told = gate.told.lock().expect("no panic");
    assert!(told.iter().all(|(host, _)| host == "127.0.0.1"));
    told.iter().map(|(_, verdict)| *verdict).collect()
}

#[tokio::test]
async fn the_gate_is_asked_before_each_hop_and_told_how_it_went() {
    let busy = b"HTTP/1.1 429 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n".to_vec();
    let server = Server::start(pages([
        ("/moved", redirect(301, b"/photo")),
        ("/photo", photo()),
        ("/busy", vec![Step::Send(busy)]),
        ("/nothing", vec![]),
        (
            "/cut",
            vec![Step::Send(
                b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n".to_vec(),
            )],
        ),
        ("/away", redirect(301, b"http://10.0.0.1/")),
    ]));
    let client = client(settings());
    let answered = Some(Verdict::Answered);
    assert_eq!(told(&client, &server, "/moved").await, [answered, answered]);
    assert_eq!(told(&client, &server, "/missing").await, [answered]);
    let wait = Duration::from_secs(7);
    assert_eq!(
        told(&client, &server, "/busy").await,
        [Some(Verdict::Busy(wait))]
    );
    assert_eq!(
        told(&client, &server, "/nothing").await,
        [Some(Verdict::Silent)]
    );
    assert_eq!(told(&client, &server, "/cut").await, [answered]);
    assert_eq!(told(&client, &server, "/away").await, [answered]);
    let done = get(&client, &server.url("/busy")).await;
    assert_eq!(done.result.err().map(|f| f.retry), Some(Retry::After(wait)));
}

#[tokio::test]
async fn waiting_at_the_gate_is_no_time_of_the_try() {
    let server = Server::start(pages([("/", photo())]));
    let mut settings = settings();
    settings.timeout = Duration::from_secs(2);
    let gate = Counting {
        wait: Duration::from_millis(2500),
        ..Counting::default()
    };
    let client = client(settings);
    let done = client.get(&server.url("/"), &gate, &Room::new(1)).await;
    assert_eq!(outcome(done).as_deref(), Ok(PHOTO));
}

#[tokio::test]
async fn a_proxy_gets_whole_urls_and_forbidden_addresses_are_kept_from_it() {
    let target = "http://127.0.0.1:9/x";
    let server = Server::start(pages([(target, photo())]));
    let mut settings = settings();
    settings.proxy = Some(format!("http://{}", server.address));
    let client = client(settings);
    assert_eq!(outcome(get(&client, target).await).as_deref(), Ok(PHOTO));
    let found = outcome(get(&client, "http://127.0.0.2:9/x").await);
    assert_eq!(found, Err(DropReason::BlockedAddress));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn thousands_of_tries_under_way_are_small() {
    let client = client(settings());
    let (gate, room) = (Counting::default(), Room::new(1));
    let size = size_of_val(&client.get("http://127.0.0.1/", &gate, &room));
    assert!(size < 16 << 10, "{size} bytes");
}
