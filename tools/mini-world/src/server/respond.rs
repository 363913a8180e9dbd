//! Answers requests: each [`PageBehaviour`], byte by byte.

use std::io::{Read, Result, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use super::request::Request;
use super::state::{State, lock};
use crate::behaviour::{OPT_OUTS, PageBehaviour};
use crate::recipe::{ImageRecipe, RecipeError};
use crate::render::Anatomy;
use crate::web::{HOST_SUFFIX, Page, Web};

/// How long [`PageBehaviour::Slow`] waits before it answers.
const SLOW: Duration = Duration::from_millis(300);
/// The time between two bytes of [`PageBehaviour::SlowDrip`], and between two looks whether the
/// server has stopped.
const TICK: Duration = Duration::from_millis(100);

/// A piece of a body without end.
static ENDLESS: [u8; 32 << 10] = [0xff; 32 << 10];
const TEXT: &str = "Content-Type: text/plain\r\n";
const JPEG: &str = "Content-Type: image/jpeg\r\n";
const PNG: &str = "Content-Type: image/png\r\n";

/// Answers one request. False if the connection must be closed.
pub(super) fn respond(state: &State, stream: &TcpStream, request: &Request) -> Result<bool> {
    let Request::Get { host, path, keep } = request else {
        let status = match request {
            Request::OtherMethod => "405 Method Not Allowed",
            _ => "400 Bad Request",
        };
        send(stream, status, "Connection: close\r\n", b"")?;
        return Ok(false);
    };
    if !host.ends_with(HOST_SUFFIX) {
        let status = "421 Misdirected Request";
        send(stream, status, TEXT, b"no such host here\n")?;
        return Ok(*keep);
    }
    let key = Web::key(host, path);
    let Some(page) = state.web.pages.get(&key) else {
        send(stream, "404 Not Found", TEXT, b"no such page\n")?;
        return Ok(*keep);
    };
    let responder = Responder {
        state,
        stream,
        page,
        path,
        host,
        key: &key,
    };
    Ok(responder.respond()? && *keep)
}

/// Answers a request for a page that exists. Its functions return false if the connection must be
/// closed.
struct Responder<'a> {
    state: &'a State,
    stream: &'a TcpStream,
    page: &'a Page,
    path: &'a str,
    host: &'a str,
    key: &'a str,
}

impl Responder<'_> {
    /// Behaviours that give the image in the end; the others are traps.
    fn respond(&self) -> Result<bool> {
        use PageBehaviour as B;
        match self.page.behaviour {
            B::Normal | B::UnknownHost | B::NoTls | B::HashMismatch => self.image(""),
            B::Redirect => self.image_after_redirects(1),
            B::ThreeRedirects => self.image_after_redirects(3),
            B::Slow => {
                self.pause(SLOW);
                self.image("")
            }
            B::TooManyRequestsOnce if self.is_first_request() => {
                self.status("429 Too Many Requests", "Retry-After: 0\r\n")
            }
            B::UnavailableOnce if self.is_first_request() => {
                self.status("503 Service Unavailable", "")
            }
            B::TooManyRequestsOnce | B::UnavailableOnce => self.image(""),
            B::Chunked => self.chunked(),
            B::TextContentType => self.file(TEXT, ImageRecipe::jpeg),
            B::PngNamedJpg => self.file(JPEG, ImageRecipe::png),
            B::OptOutOfOtherRobot => self
                .image("X-Robots-Tag: googlebot: noindex\r\nX-Robots-Tag: nofollow, noarchive\r\n"),
            trap => self.trap(trap),
        }
    }

    /// Traps that are valid HTTP with a redirect or without a body.
    fn trap(&self, trap: PageBehaviour) -> Result<bool> {
        use PageBehaviour as B;
        match trap {
            B::RedirectToFtp => self.redirect("ftp://files.example/photo.jpg"),
            B::RedirectToUnknownHost => self.redirect("http://nowhere.invalid/photo.jpg"),
            B::RedirectToLoopback => self.redirect("http://127.0.0.1/secret.jpg"),
            B::RedirectToLocalhost => self.redirect("http://localhost/secret.jpg"),
            B::RedirectToMetadata => self.redirect("http://169.254.169.254/latest/meta-data/"),
            B::RedirectLoop => self.redirect(self.path),
            B::EndlessRedirects => self.redirect(&format!("?moved={}", self.redirects() + 1)),
            B::RedirectWithoutLocation => self.status("302 Found", ""),
            B::NotFound => self.status("404 Not Found", ""),
            B::Gone => self.status("410 Gone", ""),
            B::Forbidden => self.status("403 Forbidden", ""),
            B::Unavailable => self.status("503 Service Unavailable", ""),
            trap => self.file_trap(trap),
        }
    }

    /// Traps that are valid HTTP with a body.
    fn file_trap(&self, trap: PageBehaviour) -> Result<bool> {
        use PageBehaviour as B;
        match trap {
            B::Html => {
                let page = b"<!DOCTYPE html><html><body>This picture has moved on.</body></html>";
                self.body(JPEG, page)
            }
            B::EmptyBody => self.body(JPEG, b""),
            B::Thumbnail => self.file(JPEG, thumbnail),
            B::TruncatedFile => self.file(JPEG, first_half),
            B::HugePixels => self.file(PNG, |_, _| huge_png()),
            B::OptOut(index) => {
                let values = OPT_OUTS[index % OPT_OUTS.len()];
                let line = |value: &&str| format!("X-Robots-Tag: {value}\r\n");
                self.image(&values.iter().map(line).collect::<String>())
            }
            trap => self.broken_protocol(trap),
        }
    }

    /// Traps that break the protocol. The connection ends with each of them.
    fn broken_protocol(&self, trap: PageBehaviour) -> Result<bool> {
        use PageBehaviour as B;
        match trap {
            B::NotHttp => self.raw(b"220 mail.example ESMTP ready\r\n\r\n")?,
            B::ClosedMidBody => {
                let bytes = self.bytes(ImageRecipe::jpeg)?;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len());
                self.raw(head.as_bytes())?;
                self.raw(&bytes[..bytes.len() / 3])?;
            }
            B::HugeContentLength => {
                self.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n")?;
            }
            B::EndlessBody => {
                self.raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
                while !self.state.is_stopped() {
                    self.raw(&ENDLESS)?;
                }
            }
            B::SlowDrip => {
                self.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")?;
                while !self.state.is_stopped() {
                    self.raw(&[0xff])?;
                    std::thread::sleep(TICK);
                }
            }
            B::NoAnswer => self.wait_for_close()?,
            // `ClosedAtOnce`: all other behaviours are answered above.
            _ => {}
        }
        Ok(false)
    }

    /// The image after `count` redirects, of which the second has an absolute url.
    fn image_after_redirects(&self, count: u32) -> Result<bool> {
        let redirects = self.redirects();
        if redirects >= count {
            return self.image("");
        }
        let path = self.path.split('?').next().unwrap_or_default();
        let next = format!("{path}?moved={}", redirects + 1);
        match redirects {
            1 => self.redirect(&format!("http://{}{next}", self.host)),
            _ => self.redirect(&next),
        }
    }

    /// How many redirects led to this request.
    fn redirects(&self) -> u32 {
        let query = self.path.split_once("?moved=").map_or("", |(_, q)| q);
        query.parse().unwrap_or(0)
    }

    /// Whether this is the page's first request since the start.
    fn is_first_request(&self) -> bool {
        let mut requests = lock(&self.state.requests);
        let count = requests.entry(self.key.to_owned()).or_insert(0);
        *count += 1;
        *count == 1
    }

    fn redirect(&self, to: &str) -> Result<bool> {
        self.status("302 Found", &format!("Location: {to}\r\n"))
    }

    fn status(&self, status: &str, headers: &str) -> Result<bool> {
        send(self.stream, status, headers, b"")?;
        Ok(true)
    }

    fn body(&self, headers: &str, body: &[u8]) -> Result<bool> {
        send(self.stream, "200 OK", headers, body)?;
        Ok(true)
    }

    /// The image as a JPEG file, with further headers.
    fn image(&self, headers: &str) -> Result<bool> {
        self.file(&format!("{JPEG}{headers}"), ImageRecipe::jpeg)
    }

    fn file(&self, headers: &str, encode: Encode) -> Result<bool> {
        let bytes = self.bytes(encode)?;
        self.body(headers, &bytes)
    }

    fn chunked(&self) -> Result<bool> {
        let bytes = self.bytes(ImageRecipe::jpeg)?;
        self.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        for chunk in bytes.chunks(1000) {
            self.raw(format!("{:x}\r\n", chunk.len()).as_bytes())?;
            self.raw(chunk)?;
            self.raw(b"\r\n")?;
        }
        self.raw(b"0\r\n\r\n")?;
        Ok(true)
    }

    /// The page's file. It is rendered at the first request only.
    fn bytes(&self, encode: Encode) -> Result<Arc<[u8]>> {
        if let Some(bytes) = lock(&self.state.files).get(self.key) {
            return Ok(bytes.clone());
        }
        let encoded = encode(&self.page.image, &self.state.web.people);
        let bytes: Arc<[u8]> = encoded.map_err(std::io::Error::other)?.into();
        lock(&self.state.files).insert(self.key.to_owned(), bytes.clone());
        Ok(bytes)
    }

    fn raw(&self, bytes: &[u8]) -> Result<()> {
        let mut stream = self.stream;
        stream.write_all(bytes)
    }

    /// Sleeps for `time`, or until the server stops.
    fn pause(&self, time: Duration) {
        let mut left = time;
        while !left.is_zero() && !self.state.is_stopped() {
            let nap = left.min(TICK);
            std::thread::sleep(nap);
            left -= nap;
        }
    }

    /// Sends nothing until the client closes the connection.
    fn wait_for_close(&self) -> Result<()> {
        let mut stream = self.stream;
        let mut byte = [0];
        while stream.read(&mut byte)? > 0 {}
        Ok(())
    }
}

/// How the file of a page is made of its image. The second argument are the people of the web.
type Encode = fn(&ImageRecipe, &[Anatomy]) -> std::result::Result<Vec<u8>, RecipeError>;

fn thumbnail(image: &ImageRecipe, people: &[Anatomy]) -> std::result::Result<Vec<u8>, RecipeError> {
    let small = ImageRecipe {
        height: 16,
        ..image.clone()
    };
    small.jpeg(people)
}

fn first_half(
    image: &ImageRecipe,
    people: &[Anatomy],
) -> std::result::Result<Vec<u8>, RecipeError> {
    let mut bytes = image.jpeg(people)?;
    bytes.truncate(bytes.len() / 2);
    Ok(bytes)
}

/// A PNG whose header announces 50,000 × 50,000 pixels.
fn huge_png() -> std::result::Result<Vec<u8>, RecipeError> {
    const SIDE: [u8; 4] = 50_000u32.to_be_bytes();
    let mut bytes = Vec::new();
    let mut file = std::io::Cursor::new(&mut bytes);
    image::RgbImage::new(1, 1).write_to(&mut file, image::ImageFormat::Png)?;
    // The signature and the length of the header chunk take 12 bytes. The checksum covers the
    // chunk's type and content.
    bytes[16..20].copy_from_slice(&SIDE);
    bytes[20..24].copy_from_slice(&SIDE);
    let checksum = crc32fast::hash(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
    Ok(bytes)
}

fn send(mut stream: &TcpStream, status: &str, headers: &str, body: &[u8]) -> Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_png_has_a_valid_header() -> std::result::Result<(), RecipeError> {
        let file = std::io::Cursor::new(huge_png()?);
        let reader = image::ImageReader::with_format(file, image::ImageFormat::Png);
        assert_eq!(reader.into_dimensions()?, (50_000, 50_000));
        Ok(())
    }
}
