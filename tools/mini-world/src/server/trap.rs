//! Answers of traps: pages that end without their image.

use std::io::{Read, Result};

use super::files;
use super::respond::{JPEG, PNG, Responder, TICK};
use crate::behaviour::{ADDRESSES, OPT_OUTS, OTHER_SCHEMES, PageBehaviour};
use crate::recipe::ImageRecipe;

/// A piece of a body without end.
static ENDLESS: [u8; 32 << 10] = [0xff; 32 << 10];
/// The most bytes of one header that a page sends.
const HUGE_HEADER: usize = 1 << 20;
const OK: &[u8] = b"HTTP/1.1 200 OK\r\n";

impl Responder<'_> {
    /// Traps that are valid HTTP with a redirect or without a body.
    pub(super) fn trap(&self, trap: PageBehaviour) -> Result<bool> {
        use PageBehaviour as B;
        let path = self.path;
        match trap {
            B::RedirectToFtp => self.redirect("ftp://files.example/photo.jpg"),
            B::RedirectToScheme(at) => self.redirect(OTHER_SCHEMES[at % OTHER_SCHEMES.len()]),
            B::RedirectToUnknownHost => self.redirect("http://nowhere.invalid/photo.jpg"),
            // This very server answers there: who comes has another end than who does not.
            B::RedirectToLoopback => {
                let address = self.stream.local_addr()?;
                self.redirect(&format!("http://{address}/secret.jpg"))
            }
            B::RedirectToLocalhost => self.redirect("http://localhost/secret.jpg"),
            B::RedirectToMetadata => self.redirect("http://169.254.169.254/latest/meta-data/"),
            B::RedirectToAddress(at) => {
                let host = ADDRESSES[at % ADDRESSES.len()];
                self.redirect(&format!("http://{host}/secret.jpg"))
            }
            B::RedirectLoop => self.redirect(path),
            B::RedirectCircle => self.redirect(&format!("?moved={}", 1 - self.redirects().min(1))),
            B::EndlessRedirects => self.redirect(&format!("?moved={}", self.redirects() + 1)),
            B::RedirectWithoutLocation => self.status("302 Found", ""),
            B::NotFound => self.status("404 Not Found", ""),
            B::Gone => self.status("410 Gone", ""),
            B::Forbidden => self.status("403 Forbidden", ""),
            B::RetryAfterHour => self.status("429 Too Many Requests", "Retry-After: 3600\r\n"),
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
            B::Svg => self.body(JPEG, files::SVG),
            B::EmptyBody => self.body(JPEG, b""),
            B::Thumbnail => self.file(JPEG, files::thumbnail),
            B::TrackingPixel => self.file(JPEG, files::tracking_pixel),
            B::TruncatedFile => self.file(JPEG, files::half_jpeg),
            B::TruncatedPng => self.file(PNG, files::half_png),
            B::TruncatedGif => self.file(JPEG, files::half_gif),
            B::HugePixels => self.file(PNG, files::huge_png),
            B::HugeJpeg => self.file(JPEG, files::huge_jpeg),
            B::HugeGif => self.file(JPEG, files::huge_gif),
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
                self.with_lengths(&[bytes.len()], &bytes[..bytes.len() / 3])?;
            }
            B::ShortLength => {
                let bytes = self.bytes(ImageRecipe::jpeg)?;
                self.with_lengths(&[bytes.len() / 2], &bytes)?;
            }
            B::DifferentLengths => {
                let bytes = self.bytes(ImageRecipe::jpeg)?;
                self.with_lengths(&[bytes.len(), bytes.len() / 2], &bytes)?;
            }
            B::HugeContentLength => self.with_lengths(&[1 << 40], b"")?,
            B::HugeHeader => {
                self.raw(OK)?;
                self.raw(format!("X-Policy: {}\r\n\r\n", "x".repeat(HUGE_HEADER)).as_bytes())?;
            }
            B::NoAnswer => self.wait_for_close()?,
            trap => self.endless(trap)?,
        }
        Ok(false)
    }

    /// Traps that go on until the client has had enough.
    fn endless(&self, trap: PageBehaviour) -> Result<()> {
        use PageBehaviour as B;
        const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        match trap {
            B::EndlessBody => {
                self.for_ever(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", &ENDLESS)
            }
            B::EndlessChunks => {
                let chunk = [b"8000\r\n", &ENDLESS[..], b"\r\n"].concat();
                self.for_ever(CHUNKED, &chunk)
            }
            B::EndlessChunkExtension => {
                let first = [CHUNKED, b"5;name="].concat();
                self.for_ever(&first, &b"v".repeat(32 << 10))
            }
            B::EndlessHeaders => self.for_ever(OK, &b"X-Policy: none\r\n".repeat(1000)),
            B::EndlessHints => {
                let hint = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n";
                self.for_ever(b"", &hint.repeat(500))
            }
            B::SlowDrip => self.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"),
            B::SlowHead => self.drip(b"HTTP/1.1 200 OK\r\nX-Policy: "),
            // `ClosedAtOnce`: all other behaviours are answered above.
            _ => Ok(()),
        }
    }

    /// A head with these lengths, then `body`.
    fn with_lengths(&self, lengths: &[usize], body: &[u8]) -> Result<()> {
        let line = |length: &usize| format!("Content-Length: {length}\r\n");
        let lines: String = lengths.iter().map(line).collect();
        self.raw(&[OK, lines.as_bytes(), b"\r\n", body].concat())
    }

    /// `first`, then `piece` again and again.
    fn for_ever(&self, first: &[u8], piece: &[u8]) -> Result<()> {
        self.raw(first)?;
        while !self.state.is_stopped() {
            self.raw(piece)?;
        }
        Ok(())
    }

    /// `first`, then a byte now and then.
    fn drip(&self, first: &[u8]) -> Result<()> {
        self.raw(first)?;
        while !self.state.is_stopped() {
            self.raw(b"x")?;
            std::thread::sleep(TICK);
        }
        Ok(())
    }

    /// Sends nothing until the client closes the connection.
    fn wait_for_close(&self) -> Result<()> {
        let mut stream = self.stream;
        let mut byte = [0];
        while stream.read(&mut byte)? > 0 {}
        Ok(())
    }
}
