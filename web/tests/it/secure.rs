//! TLS, HTTP/2 and `CONNECT`, against servers whose authority only `SSL_CERT_FILE` names: each test runs itself again with
//! that variable set.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use laioncele_core::DropReason;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::{PHOTO, client, get, ok, outcome, settings};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

/// Runs `test` in a process whose `SSL_CERT_FILE` names our authority. `name` is the calling test's.
fn with_authority(name: &str, test: impl AsyncFnOnce()) {
    let authority = format!("{FIXTURES}/authority.pem");
    if std::env::var("SSL_CERT_FILE").is_ok_and(|file| file == authority) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        return runtime.expect("a runtime").block_on(test());
    }
    let again = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", &format!("secure::{name}"), "--nocapture"])
        .env("SSL_CERT_FILE", authority)
        .output()
        .expect("this program runs again");
    let said = String::from_utf8_lossy(&again.stdout);
    assert!(
        again.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&again.stderr)
    );
}

/// How requests over HTTP/2 are answered.
#[derive(Clone, Copy, PartialEq)]
enum Http2 {
    /// Not at all: it is not offered.
    None,
    Photo,
    /// In frames of one byte.
    Crumbs,
    /// With a wish for HTTP/1.1.
    WantsHttp1,
    /// With half a photo.
    Half,
}

/// A server under TLS. Over HTTP/1.1 it gives the photo.
struct Server {
    address: SocketAddr,
    /// The version of each connection, before it the head of a `CONNECT`.
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(http2: Http2) -> Self {
        let config = Arc::new(config(http2));
        Self::listen(move |tcp, seen| tls(tcp, &config, http2, seen))
    }

    /// A proxy that is the server behind itself.
    fn start_proxy() -> Self {
        let config = Arc::new(config(Http2::Photo));
        Self::listen(move |mut tcp, seen| {
            note(seen, &head(&mut tcp)?);
            tcp.write_all(b"HTTP/1.1 200 Established\r\nVia: a\r\n\r\n")?;
            tls(tcp, &config, Http2::Photo, seen)
        })
    }

    fn listen<F>(serve: F) -> Self
    where
        F: Fn(TcpStream, &Mutex<Vec<String>>) -> std::io::Result<()> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let (serve, all) = (Arc::new(serve), seen.clone());
        std::thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                let (serve, seen) = (serve.clone(), all.clone());
                std::thread::spawn(move || serve(tcp, &seen));
            }
        });
        Self { address, seen }
    }

    fn url(&self) -> String {
        format!("https://{}/x.jpg", self.address)
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no panic").clone()
    }
}

fn note(seen: &Mutex<Vec<String>>, what: &str) {
    seen.lock().expect("no panic").push(what.to_owned());
}

fn config(http2: Http2) -> ServerConfig {
    let chain = CertificateDer::from_pem_file(format!("{FIXTURES}/server.pem"));
    let key = PrivateKeyDer::from_pem_file(format!("{FIXTURES}/server.key"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![chain.expect("a certificate")], key.expect("a key"))
        .expect("a pair");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if http2 != Http2::None {
        config.alpn_protocols.insert(0, b"h2".to_vec());
    }
    config
}

fn head(stream: &mut impl Read) -> std::io::Result<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

type Tls = StreamOwned<ServerConnection, TcpStream>;

fn tls(
    tcp: TcpStream,
    config: &Arc<ServerConfig>,
    http2: Http2,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let connection = ServerConnection::new(config.clone()).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(connection, tcp);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    if stream.conn.alpn_protocol() == Some(b"h2") {
        note(seen, "HTTP/2");
        return answer_http2(&mut stream, http2);
    }
    note(seen, "HTTP/1.1");
    loop {
        head(&mut stream)?;
        stream.write_all(&ok(PHOTO, ""))?;
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `:status: 200` in the table that every connection begins with.
const OK: [u8; 1] = [0x88];

fn send(stream: &mut Tls, kind: u8, flags: u8, id: u32, payload: &[u8]) -> std::io::Result<()> {
    let length = (payload.len() as u32).to_be_bytes();
    let head = [&length[1..], &[kind, flags], &id.to_be_bytes()].concat();
    stream.write_all(&[&head, payload].concat())
}

fn answer_http2(stream: &mut Tls, http2: Http2) -> std::io::Result<()> {
    stream.read_exact(&mut [0; 24])?;
    send(stream, SETTINGS, 0, 0, &[])?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; length as usize])?;
        if head[3] != HEADERS {
            continue;
        }
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        if http2 == Http2::WantsHttp1 {
            send(stream, RST_STREAM, 0, id, &[0, 0, 0, 13])?;
            continue;
        }
        send(stream, HEADERS, END_HEADERS, id, &OK)?;
        match http2 {
            Http2::Half => {
                send(stream, DATA, 0, id, &PHOTO[..20])?;
                send(stream, RST_STREAM, 0, id, &[0, 0, 0, 8])?;
            }
            Http2::Crumbs => {
                for byte in PHOTO.repeat(500).chunks(1) {
                    send(stream, DATA, 0, id, byte)?;
                }
                send(stream, DATA, END_STREAM, id, b"")?;
            }
            _ => send(stream, DATA, END_STREAM, id, PHOTO)?,
        }
    }
}

#[test]
fn http2_is_spoken_where_the_server_chooses_it() {
    with_authority("http2_is_spoken_where_the_server_chooses_it", async || {
        for (http2, version) in [(Http2::Photo, "HTTP/2"), (Http2::None, "HTTP/1.1")] {
            let (server, client) = (Server::start(http2), client(settings()));
            for _ in 0..2 {
                let found = outcome(get(&client, &server.url()).await);
                assert_eq!(found.as_deref(), Ok(PHOTO), "{version}");
            }
            assert_eq!(server.seen(), [version], "one connection");
        }
    });
}

#[test]
fn a_body_in_crumbs_over_http2_comes_whole() {
    with_authority("a_body_in_crumbs_over_http2_comes_whole", async || {
        let (server, client) = (Server::start(Http2::Crumbs), client(settings()));
        let body = get(&client, &server.url()).await.result.expect("a body");
        assert!(body.bytes == PHOTO.repeat(500), "{}", body.bytes.len());
    });
}

#[test]
fn who_wants_http1_is_asked_so_from_then_on() {
    with_authority("who_wants_http1_is_asked_so_from_then_on", async || {
        let (server, client) = (Server::start(Http2::WantsHttp1), client(settings()));
        for _ in 0..2 {
            let found = outcome(get(&client, &server.url()).await);
            assert_eq!(found.as_deref(), Ok(PHOTO));
        }
        assert_eq!(server.seen(), ["HTTP/2", "HTTP/1.1"]);
    });
}

#[test]
fn http2_that_breaks_off_a_body_fails_as_that() {
    with_authority("http2_that_breaks_off_a_body_fails_as_that", async || {
        let (server, client) = (Server::start(Http2::Half), client(settings()));
        for _ in 0..2 {
            let found = outcome(get(&client, &server.url()).await);
            assert_eq!(found, Err(DropReason::Connect));
        }
        assert!(server.seen().iter().all(|version| version == "HTTP/2"));
    });
}

#[test]
fn tls_goes_through_the_tunnel_of_a_proxy() {
    with_authority("tls_goes_through_the_tunnel_of_a_proxy", async || {
        let server = Server::start_proxy();
        let mut settings = settings();
        settings.proxy = Some(format!("http://{}", server.address));
        let client = client(settings);
        let found = outcome(get(&client, "https://127.0.0.1:9/x.jpg").await);
        assert_eq!(found.as_deref(), Ok(PHOTO));
        let seen = server.seen();
        assert_eq!(
            seen[0],
            "CONNECT 127.0.0.1:9 HTTP/1.1\r\nHost: 127.0.0.1:9\r\n\r\n"
        );
        assert_eq!(seen[1..], ["HTTP/2"]);
        let found = outcome(get(&client, "https://127.0.0.2:9/x.jpg").await);
        assert_eq!(found, Err(DropReason::BlockedAddress));
    });
}

#[tokio::test]
async fn an_unknown_authority_is_refused() {
    let (server, client) = (Server::start(Http2::Photo), client(settings()));
    let found = outcome(get(&client, &server.url()).await);
    // In a test that runs itself again this one is not chosen, so that the authority is unknown here.
    assert_eq!(found, Err(DropReason::Tls));
    assert!(server.seen().is_empty());
}
