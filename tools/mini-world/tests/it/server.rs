//! The server through its socket: images, redirects, pages that fail at first, hosts that are not its own, and the end.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use laioncele_mini_world::render::Anatomy;
use laioncele_mini_world::{ImageRecipe, Page, PageBehaviour, Web, WebServer};

fn image() -> ImageRecipe {
    ImageRecipe {
        people: vec![0],
        seed: 1,
        close_up: false,
        posed: false,
        height: 64,
        quality: 90,
    }
}

/// A web with one page of this behaviour at `http://a.example/page.jpg`.
fn web(behaviour: PageBehaviour) -> Web {
    let page = Page {
        image: image(),
        behaviour,
    };
    Web {
        people: vec![Anatomy::stranger(1)],
        pages: BTreeMap::from([("a.example/page.jpg".to_owned(), page)]),
    }
}

fn serve(behaviour: PageBehaviour) -> WebServer {
    WebServer::serve(web(behaviour), 0).unwrap()
}

fn request(address: SocketAddr, host: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// Head and body of the answer.
fn get(server: &WebServer, host: &str, path: &str) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    let mut stream = request(server.address(), host, path);
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let body = bytes.split_off(end + 4);
    (String::from_utf8(bytes).unwrap(), body)
}

fn status(head: &str) -> &str {
    head.split(' ').nth(1).unwrap()
}

#[test]
fn a_normal_page_gives_the_jpeg_of_its_recipe() {
    let server = serve(PageBehaviour::Normal);
    let (head, body) = get(&server, "a.example", "/page.jpg?size=1");
    assert_eq!(status(&head), "200");
    assert_eq!(body, image().jpeg(&[Anatomy::stranger(1)]).unwrap());
}

#[test]
fn three_redirects_lead_to_the_image_and_one_is_absolute() {
    let server = serve(PageBehaviour::ThreeRedirects);
    let (mut path, mut absolute) = ("/page.jpg".to_owned(), 0);
    for _ in 0..3 {
        let (head, _) = get(&server, "a.example", &path);
        assert_eq!(status(&head), "302");
        let location = head.lines().find_map(|l| l.strip_prefix("Location: "));
        let location = location.unwrap().trim();
        let relative = location.strip_prefix("http://a.example");
        absolute += u32::from(relative.is_some());
        path = relative.unwrap_or(location).to_owned();
    }
    assert_eq!(absolute, 1);
    assert_eq!(status(&get(&server, "a.example", &path).0), "200");
}

#[test]
fn a_page_that_fails_once_answers_the_second_request() {
    let server = serve(PageBehaviour::UnavailableOnce);
    let status_of = || status(&get(&server, "a.example", "/page.jpg").0).to_owned();
    assert_eq!([status_of(), status_of()], ["503", "200"]);
}

#[test]
fn other_hosts_and_missing_pages_are_refused() {
    let server = serve(PageBehaviour::Normal);
    let status_of = |host, path| status(&get(&server, host, path).0).to_owned();
    assert_eq!(status_of("a.test", "/page.jpg"), "421");
    assert_eq!(status_of("a.example", "/other.jpg"), "404");
}

#[test]
fn dropping_the_server_ends_its_endless_answers() {
    for behaviour in [
        PageBehaviour::SlowDrip,
        PageBehaviour::EndlessBody,
        PageBehaviour::NoAnswer,
    ] {
        let server = serve(behaviour);
        let mut stream = request(server.address(), "a.example", "/page.jpg");
        // Against a test that hangs: a server that never ends its answer runs into it.
        stream
            .set_read_timeout(Some(Duration::from_mins(1)))
            .unwrap();
        if behaviour != PageBehaviour::NoAnswer {
            stream.read_exact(&mut [0; 50]).unwrap();
        }
        drop(server);
        let mut chunk = vec![0; 64 << 10];
        loop {
            match stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    let kind = error.kind();
                    assert_eq!(kind, std::io::ErrorKind::ConnectionReset, "{behaviour:?}");
                    break;
                }
            }
        }
    }
}

#[test]
fn who_comes_back_too_early_never_gets_the_image() {
    let server = serve(PageBehaviour::RetryAfterSecond);
    let get = || get(&server, "a.example", "/page.jpg").0;
    let first = get();
    assert_eq!(status(&first), "503");
    assert!(first.contains("Retry-After: 1\r\n"), "{first}");
    // Both tries come before a second has passed, or one after the other had.
    let early = get();
    if status(&early) == "403" {
        std::thread::sleep(Duration::from_millis(1100));
        assert_eq!(status(&get()), "403");
    }
}

#[test]
fn urls_with_entities_are_known_as_they_are_meant() {
    let server = serve(PageBehaviour::AmpInUrl);
    let status_of = |path| status(&get(&server, "a.example", path).0).to_owned();
    assert_eq!(status_of("/page.jpg?size=large&amp;v=2"), "404");
    assert_eq!(status_of("/page.jpg?size=large&v=2"), "200");
}

#[test]
fn a_kept_connection_that_dies_gives_one_image() {
    let server = serve(PageBehaviour::DiesOnReuse);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head = b"GET /page.jpg HTTP/1.1\r\nHost: a.example\r\n\r\n";
    stream.write_all(head).unwrap();
    let mut bytes = vec![0; 1];
    stream.read_exact(&mut bytes).unwrap();
    stream.write_all(head).unwrap();
    // The connection may be reset, because the second request is not read to its end.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 1);
    assert!(text.contains("keep-alive"));
}

#[test]
fn a_redirect_to_this_machine_names_the_server_itself() {
    let server = serve(PageBehaviour::RedirectToLoopback);
    let (head, _) = get(&server, "a.example", "/page.jpg");
    let location = format!("Location: http://{}/", server.address());
    assert!(head.contains(&location), "{head}");
}
