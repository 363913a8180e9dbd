//! What sites say in robots.txt and tdmrep.json.

use std::collections::BTreeMap;

use laioncele_core::DropReason;
use laioncele_web::WebSettings;

use crate::server::{Server, Step};
use crate::{PHOTO, client, get, ok, outcome, settings};

fn site(files: &[(&str, &[u8])]) -> Server {
    let photos = ["/a.jpg", "/private/a.jpg"].map(|path| (path, ok(PHOTO, "")));
    let files = files.iter().map(|(path, body)| (*path, ok(body, "")));
    let pages: BTreeMap<_, _> = photos
        .into_iter()
        .chain(files)
        .map(|(path, bytes)| (path.to_owned(), vec![Step::Send(bytes)]))
        .collect();
    Server::start(pages)
}

fn robots() -> WebSettings {
    WebSettings {
        robots_txt: true,
        ..settings()
    }
}

const FILE: &[u8] = b"User-agent: *\nDisallow: /\n\nUser-agent: laioncele\nDisallow: /private/\n";

#[tokio::test]
async fn robots_txt_is_asked_once_and_honoured() {
    let server = site(&[("/robots.txt", FILE)]);
    let client = client(robots());
    let urls = [server.url("/a.jpg"), server.url("/private/a.jpg")];
    let tries = (0..20).map(|k| get(&client, &urls[k % 2]));
    for (k, done) in futures::future::join_all(tries)
        .await
        .into_iter()
        .enumerate()
    {
        match k % 2 {
            0 => assert_eq!(outcome(done).as_deref(), Ok(PHOTO)),
            _ => {
                let failure = done.result.err().expect("refused");
                assert_eq!(failure.reason, DropReason::OptOut);
                assert_eq!(
                    failure.detail.as_deref(),
                    Some("robots.txt: Disallow: /private/")
                );
            }
        }
    }
    assert_eq!(server.asked("/robots.txt"), 1);
    assert_eq!(server.asked("/private/a.jpg"), 0);
}

#[tokio::test]
async fn robots_txt_is_not_asked_unless_set() {
    let server = site(&[("/robots.txt", FILE)]);
    let found = outcome(get(&client(settings()), &server.url("/private/a.jpg")).await);
    assert_eq!(found.as_deref(), Ok(PHOTO));
    assert_eq!(server.asked("/robots.txt"), 0);
}

#[tokio::test]
async fn a_missing_robots_txt_allows_and_a_broken_one_forbids() {
    let server = site(&[]);
    let found = outcome(get(&client(robots()), &server.url("/a.jpg")).await);
    assert_eq!(found.as_deref(), Ok(PHOTO));
    let broken = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_vec();
    let pages = [("/robots.txt", broken), ("/a.jpg", ok(PHOTO, ""))];
    let server = Server::start(
        pages
            .map(|(p, b)| (p.to_owned(), vec![Step::Send(b)]))
            .into(),
    );
    let client = client(robots());
    for _ in 0..3 {
        let found = outcome(get(&client, &server.url("/a.jpg")).await);
        assert_eq!(found, Err(DropReason::OptOut));
    }
    assert_eq!(
        (server.asked("/robots.txt"), server.asked("/a.jpg")),
        (1, 0)
    );
}

#[tokio::test]
async fn tdm_reservations_are_honoured_in_the_file_and_in_the_header() {
    let file = br#"[{"location": "/private/*", "tdm-reservation": 1}]"#;
    let mut pages: BTreeMap<_, _> = [
        ("/.well-known/tdmrep.json", ok(file, "")),
        ("/a.jpg", ok(PHOTO, "TDM-Reservation: 0\r\n")),
        ("/b.jpg", ok(PHOTO, "tdm-reservation: 1\r\n")),
        ("/private/a.jpg", ok(PHOTO, "")),
    ]
    .map(|(p, b)| (p.to_owned(), vec![Step::Send(b)]))
    .into();
    let server = Server::start(pages.clone());
    let honouring = || {
        client(WebSettings {
            tdm_reservation: true,
            ..settings()
        })
    };
    let reserving = honouring();
    for (path, expected) in [
        ("/a.jpg", None),
        ("/b.jpg", Some(DropReason::OptOut)),
        ("/private/a.jpg", Some(DropReason::OptOut)),
    ] {
        let found = outcome(get(&reserving, &server.url(path)).await);
        assert_eq!(found.err(), expected, "{path}");
    }
    let found = outcome(get(&client(settings()), &server.url("/b.jpg")).await);
    assert_eq!(found.as_deref(), Ok(PHOTO));
    pages.remove("/.well-known/tdmrep.json");
    let server = Server::start(pages);
    let found = outcome(get(&honouring(), &server.url("/private/a.jpg")).await);
    assert_eq!(found.as_deref(), Ok(PHOTO));
}
