//! Raw answers, and what becomes of them.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use laioncele_core::DropReason::{
    self, BadResponse, Connect, Http4xx, Http5xx, OptOut, Timeout, TooLarge,
};

use crate::server::{Server, Step};
use crate::{PHOTO, client, get, ok, outcome, settings};

type Case = (&'static str, Vec<Step>, Result<(), DropReason>);

fn raw(head: &str, body: &[u8]) -> Vec<Step> {
    vec![Step::Send([head.as_bytes(), body].concat())]
}

fn good(name: &'static str, head: &str) -> Case {
    let head = head.replace("LEN", &PHOTO.len().to_string());
    (name, raw(&head, PHOTO), Ok(()))
}

fn bad(name: &'static str, reason: DropReason, answer: &str) -> Case {
    (name, raw(answer, b""), Err(reason))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .expect("packed")
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .expect("packed")
}

/// The photo in chunks of one byte, each with an extension of `extension` bytes.
fn tiny_chunks(extension: usize) -> Vec<u8> {
    let chunk = |byte: &u8| {
        let head = format!("1;{}\r\n", "x".repeat(extension));
        [head.as_bytes(), &[*byte], b"\r\n"].concat()
    };
    PHOTO.iter().flat_map(chunk).collect()
}

fn rude_heads() -> Vec<Case> {
    let many: String = (0..4000).map(|k| format!("x-{k}: {k}\r\n")).collect();
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n".repeat(40);
    vec![
        good("plain", "HTTP/1.1 200 OK\r\nContent-Length: LEN\r\n\r\n"),
        good(
            "wrong-type",
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: LEN\r\n\r\n",
        ),
        good("no-reason", "HTTP/1.1 200\r\nContent-Length: LEN\r\n\r\n"),
        good("old", "HTTP/1.0 200 OK\r\n\r\n"),
        good("no-length", "HTTP/1.1 200 OK\r\n\r\n"),
        good(
            "length-is-no-number",
            "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        ),
        good("bare-lf", "HTTP/1.1 200 OK\nContent-Length: LEN\n\n"),
        good(
            "blank-lines-first",
            "\r\n\nHTTP/1.1 200 OK\r\nContent-Length: LEN\r\n\r\n",
        ),
        good(
            "folded",
            "HTTP/1.1 200 OK\r\nX-A: one\r\n two\r\n\tthree\r\nContent-Length: LEN\r\n\r\n",
        ),
        good(
            "no-colon",
            "HTTP/1.1 200 OK\r\nwhat is this\r\nContent-Length: LEN\r\n\r\n",
        ),
        good(
            "blank-before-colon",
            "HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length : LEN\r\n\r\n",
        ),
        good(
            "no-name",
            "HTTP/1.1 200 OK\r\n: x\r\nContent-Length: LEN\r\n\r\n",
        ),
        good(
            "high-bytes",
            "HTTP/1.1 200 Tr\u{e8}s bien\r\nX-\u{fc}: \u{e9}\u{2713}\r\nContent-Length: LEN\r\n\r\n",
        ),
        good(
            "same-length-twice",
            "HTTP/1.1 200 OK\r\nContent-Length: LEN\r\nContent-Length: LEN, LEN\r\n\r\n",
        ),
        good(
            "thousands-of-headers",
            &format!("HTTP/1.1 200 OK\r\n{many}Content-Length: LEN\r\n\r\n"),
        ),
        good(
            "hints",
            &format!(
                "HTTP/1.1 100 Continue\r\n\r\n{hints}HTTP/1.1 200 OK\r\nContent-Length: LEN\r\n\r\n"
            ),
        ),
        (
            "longer-than-said",
            vec![Step::Send([&ok(PHOTO, "")[..], b"and more"].concat())],
            Ok(()),
        ),
    ]
}

fn rude_bodies() -> Vec<Case> {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let one = [
        format!("{:X} \r\n", PHOTO.len()).as_bytes(),
        PHOTO,
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    let trailers = [&tiny_chunks(0)[..], b"0;last\r\nX-T: 1\r\n folded\r\n\r\n"].concat();
    let no_end = [&tiny_chunks(0)[..], b"0\r\n"].concat();
    let extended = [&tiny_chunks(900)[..], b"0\r\n\r\n"].concat();
    let both = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: Chunked\r\n\r\n";
    let old = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    vec![
        ("chunked", raw(chunked, &one), Ok(())),
        ("chunked-and-length", raw(both, &one), Ok(())),
        ("chunked-old", raw(old, &one), Ok(())),
        ("tiny-chunks", raw(chunked, &trailers), Ok(())),
        ("no-end-of-trailers", raw(chunked, &no_end), Ok(())),
        ("long-extensions", raw(chunked, &extended), Ok(())),
        (
            "gzip",
            vec![Step::Send(ok(&gzip(PHOTO), "Content-Encoding: gzip\r\n"))],
            Ok(()),
        ),
        (
            "x-gzip",
            vec![Step::Send(ok(&gzip(PHOTO), "Content-Encoding: X-GZIP\r\n"))],
            Ok(()),
        ),
        (
            "gzip-in-silence",
            vec![Step::Send(ok(&gzip(PHOTO), ""))],
            Ok(()),
        ),
        (
            "gzip-lie",
            vec![Step::Send(ok(PHOTO, "Content-Encoding: gzip\r\n"))],
            Ok(()),
        ),
        (
            "gzip-twice",
            vec![Step::Send(ok(
                &gzip(&gzip(PHOTO)),
                "Content-Encoding: gzip, gzip\r\n",
            ))],
            Ok(()),
        ),
        (
            "deflate",
            vec![Step::Send(ok(
                &zlib(PHOTO),
                "Content-Encoding: deflate\r\n",
            ))],
            Ok(()),
        ),
        (
            "br-lie",
            vec![Step::Send(ok(PHOTO, "Content-Encoding: br\r\n"))],
            Ok(()),
        ),
        (
            "identity",
            vec![Step::Send(ok(PHOTO, "Content-Encoding: identity\r\n"))],
            Ok(()),
        ),
        (
            "gzip-transfer",
            raw(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
                &{
                    let packed = gzip(PHOTO);
                    [
                        format!("{:x}\r\n", packed.len()).as_bytes(),
                        &packed,
                        b"\r\n0\r\n\r\n",
                    ]
                    .concat()
                },
            ),
            Ok(()),
        ),
    ]
}

fn broken() -> Vec<Case> {
    let packed = gzip(PHOTO);
    vec![
        ("nothing", vec![], Err(Connect)),
        bad("half-a-head", Connect, "HTTP/1.1 200 OK\r\nContent-Le"),
        bad(
            "cut",
            Connect,
            "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nabc",
        ),
        bad(
            "cut-between-chunks",
            Connect,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
        ),
        bad(
            "cut-in-a-chunk",
            Connect,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\na",
        ),
        bad(
            "another-protocol",
            BadResponse,
            "220 mail.example ESMTP\r\n\r\n",
        ),
        bad("no-head", BadResponse, "<html>"),
        bad(
            "lengths-that-differ",
            BadResponse,
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        ),
        bad(
            "chunk-without-size",
            BadResponse,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        ),
        bad(
            "chunk-longer-than-said",
            BadResponse,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
        ),
        bad(
            "size-overflows",
            BadResponse,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000001\r\na\r\n",
        ),
        bad(
            "switches",
            BadResponse,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        ),
        bad(
            "not-modified",
            BadResponse,
            "HTTP/1.1 304 Not Modified\r\n\r\n",
        ),
        bad(
            "nowhere",
            BadResponse,
            "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
        ),
        bad(
            "missing",
            Http4xx,
            "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone",
        ),
        bad("broken-server", Http5xx, "HTTP/1.1 503 Busy\r\n\r\n"),
        bad("strange-code", Http5xx, "HTTP/1.1 999 Denied\r\n\r\n"),
        bad(
            "opted-out",
            OptOut,
            "HTTP/1.1 200 OK\r\nX-Robots-Tag: all\r\nx-robots-tag: NoAI\r\nContent-Length: 9999\r\n\r\n",
        ),
        (
            "cut-gzip",
            vec![Step::Send(ok(
                &packed[..packed.len() - 9],
                "Content-Encoding: gzip\r\n",
            ))],
            Err(BadResponse),
        ),
    ]
}

fn endless() -> Vec<Case> {
    let forever =
        |head: &str, again: &[u8]| vec![Step::Send(head.into()), Step::Forever(again.into())];
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let zeros = gzip(&vec![0; 1 << 20]);
    vec![
        (
            "hints-for-ever",
            forever("", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
            Err(BadResponse),
        ),
        (
            "headers-for-ever",
            forever("HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
            Err(BadResponse),
        ),
        (
            "header-for-ever",
            forever("HTTP/1.1 200 OK\r\nX-A: ", b"aaaaaaaa"),
            Err(BadResponse),
        ),
        ("blank-for-ever", forever("", b"\r\n"), Err(BadResponse)),
        (
            "extension-for-ever",
            forever(&format!("{chunked}1;"), b"aaaaaaaa"),
            Err(BadResponse),
        ),
        (
            "extensions-for-ever",
            forever(
                chunked,
                format!("1;{}\r\na\r\n", "x".repeat(4000)).as_bytes(),
            ),
            Err(BadResponse),
        ),
        (
            "body-for-ever",
            forever("HTTP/1.1 200 OK\r\n\r\n", &[0xff; 1000]),
            Err(TooLarge),
        ),
        (
            "chunks-for-ever",
            forever(chunked, b"1\r\na\r\n"),
            Err(TooLarge),
        ),
        (
            "huge-chunk",
            forever(&format!("{chunked}ffffffffffffffff\r\n"), b"a"),
            Err(TooLarge),
        ),
        (
            "huge-length",
            raw(
                "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n",
                b"",
            ),
            Err(TooLarge),
        ),
        (
            "bomb",
            vec![Step::Send(ok(&zeros, "Content-Encoding: gzip\r\n"))],
            Err(TooLarge),
        ),
        (
            "trailers-for-ever",
            forever(&format!("{chunked}0\r\n"), b"X-T: 1\r\n"),
            Ok(()),
        ),
    ]
}

async fn check(cases: Vec<Case>) {
    let pages: BTreeMap<_, _> = cases
        .iter()
        .map(|(n, steps, _)| (format!("/{n}"), steps.clone()))
        .collect();
    let server = Server::start(pages);
    let client = client(settings());
    for (name, _, expected) in cases {
        let found = outcome(get(&client, &server.url(&format!("/{name}"))).await);
        match expected {
            Ok(()) if name == "trailers-for-ever" => assert_eq!(found, Ok(Vec::new()), "{name}"),
            Ok(()) => assert_eq!(found.as_deref(), Ok(PHOTO), "{name}"),
            Err(reason) => assert_eq!(found, Err(reason), "{name}"),
        }
    }
}

#[tokio::test]
async fn rude_heads_cost_no_photo() {
    check(rude_heads()).await;
}

#[tokio::test]
async fn rude_bodies_cost_no_photo() {
    check(rude_bodies()).await;
}

#[tokio::test]
async fn broken_answers_get_their_class() {
    check(broken()).await;
}

#[tokio::test]
async fn endless_answers_end() {
    check(endless()).await;
}

#[tokio::test]
async fn silence_and_drips_are_timeouts() {
    let drip = vec![
        Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\nabc".to_vec()),
        Step::Hold,
    ];
    let half = vec![Step::Send(b"HTTP/1.1 200 OK\r\nConte".to_vec()), Step::Hold];
    let pages = [
        ("/silent", vec![Step::Hold]),
        ("/half", half),
        ("/drip", drip),
    ];
    let server = Server::start(pages.map(|(p, s)| (p.to_owned(), s)).into());
    let mut settings = settings();
    settings.timeout = Duration::from_millis(300);
    let client = client(settings);
    for path in ["/silent", "/half", "/drip"] {
        let found = outcome(get(&client, &server.url(path)).await);
        assert_eq!(found, Err(Timeout), "{path}");
    }
}
