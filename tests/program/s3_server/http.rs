//! As much of HTTP/1.1 as the server's one client speaks.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

/// A request with its whole body.
pub(super) struct Request {
    pub(super) method: String,
    /// As it was sent, encoded.
    pub(super) path: String,
    /// Decoded.
    pub(super) query: BTreeMap<String, String>,
    /// By their names in small letters.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Request {
    /// The next request of a connection; none at its end.
    pub(super) fn read(stream: &TcpStream) -> Option<Self> {
        // The client sends a request when it has read the last answer: nothing of the next is read ahead.
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let mut words = line.split_whitespace();
        let (method, target) = (words.next()?.to_owned(), words.next()?);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = headers
            .get("content-length")
            .and_then(|text| text.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body).ok()?;
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        };
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        Some(Self {
            method,
            path: path.to_owned(),
            query: pairs.map(pair).collect(),
            headers,
            body,
        })
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(super) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// Bucket and object.
    pub(super) fn place(&self) -> (String, String) {
        let path = self.path.trim_start_matches('/');
        let (bucket, name) = path.split_once('/').unwrap_or((path, ""));
        (decoded(bucket), decoded(name))
    }
}

/// An answer.
pub(super) struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn of(status: u16, body: Vec<u8>) -> Self {
        let headers = Vec::new();
        Self {
            status,
            headers,
            body,
        }
    }

    pub(super) fn empty(status: u16) -> Self {
        Self::of(status, Vec::new())
    }

    pub(super) fn xml(text: String) -> Self {
        Self::of(200, text.into_bytes()).with("Content-Type", "application/xml".to_owned())
    }

    /// An answer as S3 gives it, which repeats the caller's key.
    pub(super) fn error(status: u16, code: &str) -> Self {
        let key = super::ACCESS_KEY;
        let text = format!(
            "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>no</Message><AWSAccessKeyId>{key}</AWSAccessKeyId></Error>"
        );
        Self::of(status, text.into_bytes())
    }

    pub(super) fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(super) fn send(&self, mut stream: &TcpStream, head_only: bool) -> io::Result<()> {
        let mut bytes = self.head();
        if !head_only {
            bytes.extend(&self.body);
        }
        stream.write_all(&bytes)
    }

    /// Sends what announces a whole body, and half of it.
    pub(super) fn send_half(&self, mut stream: &TcpStream, head_only: bool) {
        let mut bytes = self.head();
        if !head_only {
            bytes.extend(&self.body[..self.body.len() / 2]);
        }
        drop(stream.write_all(&bytes));
    }

    fn head(&self) -> Vec<u8> {
        let mut text = format!(
            "HTTP/1.1 {} said\r\nContent-Length: {}\r\n",
            self.status,
            self.body.len()
        );
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        (text + "\r\n").into_bytes()
    }
}

/// `text` with what is written as `%41` as it is meant.
pub(super) fn decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        let digits = match byte {
            b'%' => bytes.next().zip(bytes.next()),
            _ => None,
        };
        let digits = digits.and_then(|(a, b)| {
            let digits = [a, b];
            u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()
        });
        decoded.push(digits.unwrap_or(byte));
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// What a `Range` header asks for of `size` bytes; none for what cannot be had.
pub(super) fn range(header: &str, size: usize) -> Option<Range<usize>> {
    let (start, end) = header.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (start, end) {
        ("", last) => size.saturating_sub(last.parse().ok()?)..size,
        (first, "") => first.parse().ok()?..size,
        (first, last) => first.parse().ok()?..size.min(last.parse::<usize>().ok()? + 1),
    };
    (range.start < range.end).then_some(range)
}

/// A moment of the calendar.
pub(super) struct Utc {
    year: i64,
    month: usize,
    day: i64,
    weekday: usize,
    seconds: i64,
    nanoseconds: u32,
}

/// `time` by the calendar.
pub(super) fn utc(time: SystemTime) -> Utc {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (
        (since.as_secs() / 86_400) as i64,
        (since.as_secs() % 86_400) as i64,
    );
    // Years that begin in March, so that a leap day ends one.
    let shifted = days + 719_468;
    let era_day = shifted % 146_097;
    let era_year = (era_day - era_day / 1460 + era_day / 36_524 - era_day / 146_096) / 365;
    let year_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
    let march_month = (5 * year_day + 2) / 153;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    Utc {
        year: era_year + shifted / 146_097 * 400 + i64::from(month <= 2),
        month: month as usize,
        day: year_day - (153 * march_month + 2) / 5 + 1,
        weekday: ((days + 4) % 7) as usize,
        seconds,
        nanoseconds: since.subsec_nanos(),
    }
}

impl Utc {
    fn clock(&self) -> String {
        let s = self.seconds;
        format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
    }

    pub(super) fn rfc3339(&self) -> String {
        let (year, month, day) = (self.year, self.month, self.day);
        let (clock, milliseconds) = (self.clock(), self.nanoseconds / 1_000_000);
        format!("{year}-{month:02}-{day:02}T{clock}.{milliseconds:03}Z")
    }

    pub(super) fn rfc2822(&self) -> String {
        let weekday = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"][self.weekday];
        let months = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let (day, month, year) = (self.day, months[self.month - 1], self.year);
        format!("{weekday}, {day:02} {month} {year} {} GMT", self.clock())
    }
}

#[test]
fn days_are_those_of_the_calendar() {
    use std::time::Duration;
    let at = |seconds| utc(UNIX_EPOCH + Duration::from_secs(seconds));
    assert_eq!(at(0).rfc2822(), "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!(at(951_827_696).rfc3339(), "2000-02-29T12:34:56.000Z");
    assert_eq!(at(1_795_996_800).rfc2822(), "Mon, 30 Nov 2026 00:00:00 GMT");
}
