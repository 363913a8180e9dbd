//! Answers requests: each [`PageBehaviour`], byte by byte. Traps are answered in `trap`.

use std::io::{Read, Result, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use super::files::{self, Encode};
use super::request::Request;
use super::state::{State, Visits, lock};
use crate::behaviour::{NO_OPT_OUTS, PageBehaviour};
use crate::recipe::ImageRecipe;
use crate::web::{HOST_SUFFIX, Page, Web};

/// How long [`PageBehaviour::Slow`] waits before it answers.
const SLOW: Duration = Duration::from_millis(300);
/// How long [`PageBehaviour::RetryAfterSecond`] wants to be left alone.
const REST: Duration = Duration::from_secs(1);
/// The time between two bytes of a slow answer, and between two looks whether the server has stopped.
pub(super) const TICK: Duration = Duration::from_millis(100);
/// Headers of [`PageBehaviour::ManyHeaders`].
const MANY_HEADERS: usize = 300;

pub(super) const TEXT: &str = "Content-Type: text/plain\r\n";
pub(super) const JPEG: &str = "Content-Type: image/jpeg\r\n";
pub(super) const PNG: &str = "Content-Type: image/png\r\n";

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
pub(super) struct Responder<'a> {
    pub(super) state: &'a State,
    pub(super) stream: &'a TcpStream,
    pub(super) page: &'a Page,
    /// With its query.
    pub(super) path: &'a str,
    host: &'a str,
    key: &'a str,
}

impl Responder<'_> {
    /// Behaviours that give the image in the end; the others are traps.
    fn respond(&self) -> Result<bool> {
        use PageBehaviour as B;
        match self.page.behaviour {
            B::Normal | B::UnknownHost | B::NoTls | B::HashMismatch | B::RawPath => self.image(""),
            B::Redirect => self.image_after_redirects(1),
            B::ThreeRedirects => self.image_after_redirects(3),
            B::Slow => {
                self.pause(SLOW);
                self.image("")
            }
            B::TooManyRequestsOnce | B::UnavailableOnce | B::RetryAfterPast
                if self.visit().count == 1 =>
            {
                self.not_yet()
            }
            B::TooManyRequestsOnce | B::UnavailableOnce | B::RetryAfterPast => self.image(""),
            B::RetryAfterSecond => self.after_a_second(),
            B::Chunked => self.chunked("HTTP/1.1", 1000, ""),
            B::TextContentType => self.file(TEXT, ImageRecipe::jpeg),
            B::PngNamedJpg => self.file(JPEG, ImageRecipe::png),
            B::OptOutOfOtherRobot => {
                let line = |value: &&str| format!("X-Robots-Tag: {value}\r\n");
                self.image(&NO_OPT_OUTS.iter().map(line).collect::<String>())
            }
            other => self.rude(other),
        }
    }

    /// Odd heads, redirects, urls and ends of connections.
    fn rude(&self, behaviour: PageBehaviour) -> Result<bool> {
        use PageBehaviour as B;
        match behaviour {
            B::EarlyHints => {
                let hint = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";
                self.raw(&hint.repeat(3))?;
                self.raw(b"HTTP/1.1 100 Continue\r\n\r\n")?;
                self.image("")
            }
            B::ManyHeaders => {
                let line = |n: usize| format!("X-Trace-{n}: passed by cache {n}\r\n");
                self.image(&(0..MANY_HEADERS).map(line).collect::<String>())
            }
            B::FoldedHeaders => {
                self.image("X-Policy: a; b;\r\n  c;\r\n\td\r\nVary:\r\n Accept\r\n")
            }
            B::HeaderWithoutColon => self.image("Served with pleasure\r\n: no name\r\n=====\r\n"),
            B::BareLineFeeds => {
                let bytes = self.bytes(ImageRecipe::jpeg)?;
                let head = format!("HTTP/1.1 200 OK\nContent-Length: {}\n\n", bytes.len());
                self.raw(&[head.as_bytes(), &bytes].concat())?;
                Ok(true)
            }
            B::TinyChunks => self.chunked("HTTP/1.1", 3, ";of=few"),
            B::ChunkedHttp10 => {
                self.chunked("HTTP/1.0", 700, "")?;
                Ok(false)
            }
            B::UntilClose => {
                let bytes = self.bytes(ImageRecipe::jpeg)?;
                self.raw(&[b"HTTP/1.0 200 OK\r\n\r\n", &bytes[..]].concat())?;
                Ok(false)
            }
            B::DiesOnReuse => {
                self.image("Connection: keep-alive\r\n")?;
                let mut stream = self.stream;
                let _next = stream.read(&mut [0])?;
                Ok(false)
            }
            B::RawLocation if self.redirects() == 0 => {
                let (path, _) = self.path.split_once('?').unwrap_or((self.path, ""));
                self.redirect(&format!(
                    "/\u{fc}ber uns/..{path}?moved=1&to=S\u{e3}o Paulo"
                ))
            }
            B::CookieBanner if self.redirects() == 0 => {
                let cookies = "Set-Cookie: seen=1; Path=/\r\nSet-Cookie: all=1; Domain=example\r\n";
                self.status("302 Found", &format!("{cookies}Location: ?moved=1\r\n"))
            }
            B::RawLocation | B::CookieBanner => self.image(""),
            B::AmpInUrl if self.path.ends_with("?size=large&v=2") => self.image(""),
            B::AmpInUrl => self.status("404 Not Found", ""),
            other => self.packed(other),
        }
    }

    /// Packed images, rightly and wrongly labelled.
    fn packed(&self, behaviour: PageBehaviour) -> Result<bool> {
        use PageBehaviour as B;
        let gzip = format!("{JPEG}Content-Encoding: gzip\r\n");
        let deflate = format!("{JPEG}Content-Encoding: deflate\r\n");
        match behaviour {
            B::Gzip => self.file(&gzip, files::gzip),
            B::GzipSilent => self.file(JPEG, files::gzip),
            B::Deflate => self.file(&deflate, files::zlib),
            B::DeflateRaw => self.file(&deflate, files::raw_deflate),
            B::GzipLie => self.file(&gzip, ImageRecipe::jpeg),
            B::GzipBomb => self.file(&gzip, files::gzip_bomb),
            B::GzipCut => self.file(&gzip, files::half_gzip),
            other => self.format(other),
        }
    }

    /// Images in other formats.
    fn format(&self, behaviour: PageBehaviour) -> Result<bool> {
        use PageBehaviour as B;
        match behaviour {
            B::Gif => self.file(JPEG, files::gif),
            B::AnimatedGif => self.file(JPEG, files::animated_gif),
            B::Bmp => self.file(JPEG, files::bmp),
            B::Tiff => self.file(JPEG, files::tiff),
            B::WebP => self.file(JPEG, files::webp),
            B::GrayJpeg => self.file(JPEG, files::gray_jpeg),
            B::DeepPng => self.file(JPEG, files::deep_png),
            B::TransparentPng => self.file(JPEG, files::transparent_png),
            B::Avif => self.body(JPEG, files::AVIF),
            B::CmykJpeg => self.body(JPEG, files::CMYK_JPEG),
            B::OneBitPng => self.body(JPEG, files::ONE_BIT_PNG),
            B::PalettePng => self.body(JPEG, files::PALETTE_PNG),
            B::AnimatedWebP => self.body(JPEG, files::ANIMATED_WEBP),
            B::Stamped => {
                let bytes = self.bytes(ImageRecipe::jpeg)?;
                self.body(JPEG, &files::with_comment(&bytes, self.key))
            }
            trap => self.trap(trap),
        }
    }

    /// What is said of a page at its first visit, when there is an image at the second.
    fn not_yet(&self) -> Result<bool> {
        match self.page.behaviour {
            PageBehaviour::TooManyRequestsOnce => {
                self.status("429 Too Many Requests", "Retry-After: 0\r\n")
            }
            PageBehaviour::RetryAfterPast => {
                let past = "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\n";
                self.status("429 Too Many Requests", past)
            }
            _ => self.status("503 Service Unavailable", ""),
        }
    }

    /// The image for those who let a second pass, as they were asked to.
    fn after_a_second(&self) -> Result<bool> {
        let visits = self.visit();
        if visits.count == 1 {
            self.status("503 Service Unavailable", "Retry-After: 1\r\n")
        } else if visits.too_early {
            self.status("403 Forbidden", "")
        } else {
            self.image("")
        }
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
    pub(super) fn redirects(&self) -> u32 {
        let query = self.path.split_once("?moved=").map_or("", |(_, q)| q);
        let number = query.split('&').next().unwrap_or_default();
        number.parse().unwrap_or(0)
    }

    /// Counts this visit of the page. Returns the page's visits since the start.
    fn visit(&self) -> Visits {
        let mut visits = lock(&self.state.visits);
        let visits = visits
            .entry(self.key.to_owned())
            .or_insert_with(Visits::now);
        visits.count += 1;
        visits.too_early |= visits.count > 1 && visits.first.elapsed() < REST;
        *visits
    }

    pub(super) fn redirect(&self, to: &str) -> Result<bool> {
        self.status("302 Found", &format!("Location: {to}\r\n"))
    }

    pub(super) fn status(&self, status: &str, headers: &str) -> Result<bool> {
        send(self.stream, status, headers, b"")?;
        Ok(true)
    }

    pub(super) fn body(&self, headers: &str, body: &[u8]) -> Result<bool> {
        send(self.stream, "200 OK", headers, body)?;
        Ok(true)
    }

    /// The image as a JPEG file, with further headers.
    pub(super) fn image(&self, headers: &str) -> Result<bool> {
        self.file(&format!("{JPEG}{headers}"), ImageRecipe::jpeg)
    }

    pub(super) fn file(&self, headers: &str, encode: Encode) -> Result<bool> {
        let bytes = self.bytes(encode)?;
        self.body(headers, &bytes)
    }

    /// The image in chunks of `size` bytes, with an `extension` behind each one's size.
    fn chunked(&self, version: &str, size: usize, extension: &str) -> Result<bool> {
        let bytes = self.bytes(ImageRecipe::jpeg)?;
        let mut answer =
            format!("{version} 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
        for chunk in bytes.chunks(size) {
            answer.extend(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
            answer.extend(chunk);
            answer.extend(b"\r\n");
        }
        self.raw(&answer)?;
        self.raw(b"0\r\nX-Sum: 1\r\n\r\n")?;
        Ok(true)
    }

    /// The page's file. It is rendered at the first request only.
    pub(super) fn bytes(&self, encode: Encode) -> Result<Arc<[u8]>> {
        if let Some(bytes) = lock(&self.state.files).get(self.key) {
            return Ok(bytes.clone());
        }
        let encoded = encode(&self.page.image, &self.state.web.people);
        let bytes: Arc<[u8]> = encoded.map_err(std::io::Error::other)?.into();
        lock(&self.state.files).insert(self.key.to_owned(), bytes.clone());
        Ok(bytes)
    }

    pub(super) fn raw(&self, bytes: &[u8]) -> Result<()> {
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
}

fn send(mut stream: &TcpStream, status: &str, headers: &str, body: &[u8]) -> Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat())
}
