//! Answering: each [`Manner`], byte by byte.

use std::io::{Read, Result, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use super::request::Request;
use super::{State, lock};
use crate::manner::{Manner, OPT_OUTS};
use crate::picture::{Picture, PictureError};
use crate::web::{HOST_SUFFIX, Page, Web};

/// How long [`Manner::Slow`] keeps silent.
const SLOW: Duration = Duration::from_millis(300);
/// Between two bytes of [`Manner::Drip`], and between two looks whether the web has stopped.
const TICK: Duration = Duration::from_millis(100);
/// Redirects of [`Manner::MovedOften`].
const OFTEN: u32 = 3;

const PLAIN_TYPE: &str = "Content-Type: text/plain\r\n";
const JPEG_TYPE: &str = "Content-Type: image/jpeg\r\n";

/// Answers one request; false if the connection is to be closed.
pub(super) fn answer(state: &State, stream: &TcpStream, request: &Request) -> Result<bool> {
    let Request::Get { host, path, keep } = request else {
        let status = match request {
            Request::OtherMethod => "405 Method Not Allowed",
            _ => "400 Bad Request",
        };
        send(stream, status, "Connection: close\r\n", b"")?;
        return Ok(false);
    };
    if !host.ends_with(HOST_SUFFIX) {
        send(
            stream,
            "421 Misdirected Request",
            PLAIN_TYPE,
            b"no such host here\n",
        )?;
        return Ok(*keep);
    }
    let key = Web::key(host, path);
    let Some(page) = state.web.pages.get(&key) else {
        send(stream, "404 Not Found", PLAIN_TYPE, b"no such page\n")?;
        return Ok(*keep);
    };
    let visit = Visit {
        state,
        stream,
        page,
        path,
        host,
        key: &key,
    };
    Ok(visit.answer()? && *keep)
}

/// A request for a page that exists.
struct Visit<'a> {
    state: &'a State,
    stream: &'a TcpStream,
    page: &'a Page,
    path: &'a str,
    host: &'a str,
    key: &'a str,
}

impl Visit<'_> {
    /// False if the connection is to be closed.
    fn answer(&self) -> Result<bool> {
        match self.page.manner {
            Manner::Plain | Manner::NoHost | Manner::NoTls | Manner::OtherHash => self.picture(""),
            Manner::Moved => self.moved(1, false),
            Manner::MovedOften => self.moved(OFTEN, true),
            Manner::Slow => {
                self.pause(SLOW);
                self.picture("")
            }
            Manner::BusyAtFirst if self.is_first() => {
                self.status("429 Too Many Requests", "Retry-After: 0\r\n")
            }
            Manner::BrokenAtFirst if self.is_first() => self.status("503 Service Unavailable", ""),
            Manner::BusyAtFirst | Manner::BrokenAtFirst => self.picture(""),
            Manner::Chunked => self.chunked(),
            Manner::CalledText => self.file(PLAIN_TYPE, Picture::jpeg),
            Manner::PngInside => self.file(JPEG_TYPE, Picture::png),
            Manner::NotForUs => self.picture(
                "X-Robots-Tag: googlebot: noindex\r\nX-Robots-Tag: nofollow, noarchive\r\n",
            ),
            trap => self.trap(trap),
        }
    }

    fn trap(&self, trap: Manner) -> Result<bool> {
        match trap {
            Manner::ToFtp => self.redirect("ftp://files.example/photo.jpg"),
            Manner::ToNowhere => self.redirect("http://nowhere.invalid/photo.jpg"),
            Manner::ToLoopback => self.redirect("http://127.0.0.1/secret.jpg"),
            Manner::ToLocalhost => self.redirect("http://localhost/secret.jpg"),
            Manner::ToMetadata => self.redirect("http://169.254.169.254/latest/meta-data/"),
            Manner::Loop => self.redirect(self.path),
            Manner::Chain => self.redirect(&format!("?moved={}", self.moves() + 1)),
            Manner::NowhereToGo => self.status("302 Found", ""),
            Manner::Missing => self.status("404 Not Found", ""),
            Manner::Gone => self.status("410 Gone", ""),
            Manner::Forbidden => self.status("403 Forbidden", ""),
            Manner::Broken => self.status("503 Service Unavailable", ""),
            Manner::Html => {
                let page = b"<!DOCTYPE html><html><body>This picture has moved on.</body></html>";
                self.body(JPEG_TYPE, page)
            }
            Manner::Empty => self.body(JPEG_TYPE, b""),
            Manner::Thumbnail => self.file(JPEG_TYPE, |picture, people| {
                let small = Picture {
                    side: 16,
                    ..picture.clone()
                };
                small.jpeg(people)
            }),
            Manner::Truncated => self.file(JPEG_TYPE, |picture, people| {
                let mut bytes = picture.jpeg(people)?;
                bytes.truncate(bytes.len() / 2);
                Ok(bytes)
            }),
            Manner::HugePixels => self.file("Content-Type: image/png\r\n", |_, _| huge_png()),
            Manner::OptOut(dress) => {
                let values = OPT_OUTS[dress % OPT_OUTS.len()];
                let line = |value: &&str| format!("X-Robots-Tag: {value}\r\n");
                self.picture(&values.iter().map(line).collect::<String>())
            }
            rude => self.rude(rude),
        }
    }

    /// Answers that break the protocol, each the connection's last.
    fn rude(&self, manner: Manner) -> Result<bool> {
        match manner {
            Manner::Gibberish => self.raw(b"220 mail.example ESMTP ready\r\n\r\n")?,
            Manner::CutOff => {
                let bytes = self.bytes(Picture::jpeg)?;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len());
                self.raw(head.as_bytes())?;
                self.raw(&bytes[..bytes.len() / 3])?;
            }
            Manner::Huge => {
                self.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n")?
            }
            Manner::Endless => {
                self.raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
                while !self.state.is_stopped() {
                    self.raw(&[0xff; 32 << 10])?;
                }
            }
            Manner::Drip => {
                self.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")?;
                while !self.state.is_stopped() {
                    self.raw(&[0xff])?;
                    std::thread::sleep(TICK);
                }
            }
            Manner::Silent => self.until_they_leave()?,
            // A hang-up; the others have been answered above.
            _ => {}
        }
        Ok(false)
    }

    /// The picture after so many redirects.
    fn moved(&self, times: u32, absolute: bool) -> Result<bool> {
        let moves = self.moves();
        if moves >= times {
            return self.picture("");
        }
        let path = self.path.split('?').next().unwrap_or_default();
        let next = format!("{path}?moved={}", moves + 1);
        match absolute && moves == 1 {
            true => self.redirect(&format!("http://{}{next}", self.host)),
            false => self.redirect(&next),
        }
    }

    /// How many redirects led here.
    fn moves(&self) -> u32 {
        let query = self.path.split_once("?moved=").map_or("", |(_, q)| q);
        query.parse().unwrap_or(0)
    }

    /// Whether the url is asked for the first time since the start.
    fn is_first(&self) -> bool {
        let mut asked = lock(&self.state.asked);
        let count = asked.entry(self.key.to_owned()).or_insert(0);
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

    fn picture(&self, headers: &str) -> Result<bool> {
        self.file(&format!("{JPEG_TYPE}{headers}"), Picture::jpeg)
    }

    fn file(&self, headers: &str, make: Make) -> Result<bool> {
        let bytes = self.bytes(make)?;
        self.body(headers, &bytes)
    }

    fn chunked(&self) -> Result<bool> {
        let bytes = self.bytes(Picture::jpeg)?;
        self.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        for chunk in bytes.chunks(1000) {
            self.raw(format!("{:x}\r\n", chunk.len()).as_bytes())?;
            self.raw(chunk)?;
            self.raw(b"\r\n")?;
        }
        self.raw(b"0\r\n\r\n")?;
        Ok(true)
    }

    /// The page's file, made once.
    fn bytes(&self, make: Make) -> Result<Arc<[u8]>> {
        if let Some(bytes) = lock(&self.state.files).get(self.key) {
            return Ok(bytes.clone());
        }
        let made = make(&self.page.picture, &self.state.web.people);
        let bytes: Arc<[u8]> = made.map_err(std::io::Error::other)?.into();
        lock(&self.state.files).insert(self.key.to_owned(), bytes.clone());
        Ok(bytes)
    }

    fn raw(&self, bytes: &[u8]) -> Result<()> {
        let mut stream = self.stream;
        stream.write_all(bytes)
    }

    fn pause(&self, time: Duration) {
        let mut left = time;
        while !left.is_zero() && !self.state.is_stopped() {
            let nap = left.min(TICK);
            std::thread::sleep(nap);
            left -= nap;
        }
    }

    /// Says nothing until the other side closes.
    fn until_they_leave(&self) -> Result<()> {
        let mut stream = self.stream;
        let mut byte = [0];
        while stream.read(&mut byte)? > 0 {}
        Ok(())
    }
}

/// How a page's file is made of its picture.
type Make = fn(&Picture, &[crate::render::Anatomy]) -> std::result::Result<Vec<u8>, PictureError>;

fn send(mut stream: &TcpStream, status: &str, headers: &str, body: &[u8]) -> Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat())
}

/// A PNG whose header announces 50,000 × 50,000 pixels.
fn huge_png() -> std::result::Result<Vec<u8>, PictureError> {
    const SIDE: [u8; 4] = 50_000u32.to_be_bytes();
    let mut bytes = Vec::new();
    let mut file = std::io::Cursor::new(&mut bytes);
    image::RgbImage::new(1, 1).write_to(&mut file, image::ImageFormat::Png)?;
    // The signature has 8 bytes, the header chunk's length and type 8 more; its checksum covers type and content.
    bytes[16..20].copy_from_slice(&SIDE);
    bytes[20..24].copy_from_slice(&SIDE);
    let checksum = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
    Ok(bytes)
}

/// PNG's checksum.
fn crc32(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _: u32| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
    let byte = |crc: u32, b: &u8| (0..8).fold(crc ^ u32::from(*b), bit);
    !bytes.iter().fold(!0, byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_pngs() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn the_huge_png_has_a_valid_header() -> std::result::Result<(), PictureError> {
        let reader = image::ImageReader::with_format(
            std::io::Cursor::new(huge_png()?),
            image::ImageFormat::Png,
        );
        assert_eq!(reader.into_dimensions()?, (50_000, 50_000));
        Ok(())
    }
}
