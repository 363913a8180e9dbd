//! The head of an answer, as forgiving as browsers read it.

/// Status and headers of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// HTTP/1.0 or older: no connection is kept unless the server says so.
    pub(crate) old: bool,
    /// Names in lower case, values without blanks around, in the order of the answer.
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Head {
    /// The values of a header whose name is `name` in lower case.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers
            .iter()
            .filter(move |(n, _)| n == name.as_bytes())
            .map(|(_, v)| v.as_slice())
    }

    /// The first value of a header.
    pub(crate) fn first<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// The words of a header that is a list divided by commas, in lower case.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        self.all(name)
            .flat_map(|v| v.split(|b| *b == b','))
            .map(|w| String::from_utf8_lossy(w.trim_ascii()).to_lowercase())
            .filter(|w| !w.is_empty())
            .collect()
    }
}

/// Where the head ends in bytes that come piece by piece. Each byte is looked at once.
#[derive(Default)]
pub(crate) struct HeadEnd {
    seen: usize,
    line: usize,
    begun: bool,
}

impl HeadEnd {
    /// The length of the head with its blank line, once `bytes` hold it. `bytes` are those of the call before and more.
    /// Blank lines before the head belong to it; lines may end in a bare LF.
    pub(crate) fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        while let Some(at) = bytes[self.seen..].iter().position(|b| *b == b'\n') {
            let end = self.seen + at;
            let blank = bytes[self.line..end].iter().all(|b| *b == b'\r');
            self.seen = end + 1;
            self.line = end + 1;
            if blank && self.begun {
                return Some(end + 1);
            }
            self.begun |= !blank;
        }
        self.seen = bytes.len();
        None
    }
}

/// Reads a head: status line, then headers. Lines without a colon are passed over, folded lines are joined, blanks
/// around names and values do not count.
///
/// # Errors
/// The first line is no HTTP status line.
pub(crate) fn parse(bytes: &[u8]) -> Result<Head, String> {
    let mut lines = bytes
        .split(|b| *b == b'\n')
        .map(<[u8]>::trim_ascii_end)
        .skip_while(|line| line.is_empty());
    let first = lines.next().unwrap_or_default();
    let (old, status) = status_line(first).ok_or_else(|| no_http(first))?;
    let mut headers: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for line in lines {
        if line.first().is_some_and(|b| b" \t".contains(b)) {
            if let Some((_, value)) = headers.last_mut() {
                value.push(b' ');
                value.extend_from_slice(line.trim_ascii());
            }
        } else if let Some(colon) = line.iter().position(|b| *b == b':') {
            let name = line[..colon].trim_ascii().to_ascii_lowercase();
            headers.push((name, line[colon + 1..].trim_ascii().to_vec()));
        }
    }
    Ok(Head {
        status,
        old,
        headers,
    })
}

/// Whether bytes may still become a head: they begin as one does.
pub(crate) fn may_be_http(bytes: &[u8]) -> bool {
    let begun = bytes.trim_ascii_start();
    let known = begun.len().min(5);
    begun[..known].eq_ignore_ascii_case(&b"HTTP/"[..known])
}

/// `HTTP/1.1 200 OK`, the reason being optional: whether the version is old, and the code.
fn status_line(line: &[u8]) -> Option<(bool, u16)> {
    if !may_be_http(line) {
        return None;
    }
    let rest = line.get(5..)?;
    let blank = rest.iter().position(u8::is_ascii_whitespace)?;
    let (version, rest) = (&rest[..blank], rest[blank..].trim_ascii_start());
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let code = rest.get(..3)?;
    let status = std::str::from_utf8(code).ok()?.parse().ok()?;
    (digits == 3 && status >= 100).then_some((version == b"1.0" || version == b"0.9", status))
}

/// Says what came instead of HTTP, by its first characters.
pub(crate) fn no_http(line: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&line[..line.len().min(40)]);
    format!("no HTTP: {:?}", shown.trim())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(text: &str) -> Head {
        parse(text.as_bytes()).expect("a head")
    }

    #[test]
    fn parse_forgives_what_browsers_forgive() {
        let odd = "\r\nHTTP/1.1 200\nno colon here\r\nX-Odd : a\r\n folded\r\n\tmore\r\nLatin: caf\u{e9}\r\n: no name\r\n\r\n";
        let read = head(odd);
        assert_eq!((read.status, read.old), (200, false));
        assert_eq!(read.first("x-odd"), Some(&b"a folded more"[..]));
        assert_eq!(read.first("latin"), Some("caf\u{e9}".as_bytes()));
        assert!(head("http/1.0 404 Not Found\r\n\r\n").old);
        let many: String = (0..5000).map(|k| format!("a{k}: {k}\r\n")).collect();
        assert_eq!(
            head(&format!("HTTP/1.1 200 OK\r\n{many}\r\n"))
                .headers
                .len(),
            5000
        );
    }

    #[test]
    fn parse_refuses_what_is_no_http() {
        for text in [
            "",
            "\r\n\r\n",
            "SMTP 220 hello\r\n\r\n",
            "HTTP/1.1\r\n\r\n",
            "HTTP/1.1 20\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 abc\r\n\r\n",
            "HTTP/1.1 099 x\r\n\r\n",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn lists_are_divided_by_commas_over_all_headers() {
        let read = head("HTTP/1.1 200 OK\r\nA: x, Y ,,\r\na: z\r\n\r\n");
        assert_eq!(read.list("a"), ["x", "y", "z"]);
    }

    proptest! {
        #[test]
        fn the_end_of_a_head_is_the_same_in_pieces(bytes in "[\r\na: ]{0,60}", cuts in prop::collection::vec(0usize..60, 0..5)) {
            let bytes = bytes.as_bytes();
            let whole = HeadEnd::default().find(bytes);
            let mut cuts: Vec<_> = cuts.into_iter().map(|c| c.min(bytes.len())).chain([bytes.len()]).collect();
            cuts.sort_unstable();
            let mut end = HeadEnd::default();
            let found = cuts.iter().find_map(|cut| end.find(&bytes[..*cut]));
            prop_assert_eq!(found, whole);
        }

        #[test]
        fn parse_accepts_any_bytes(bytes: Vec<u8>) {
            let _ = parse(&bytes);
            let _ = parse(&[b"HTTP/1.1 200 OK\r\n", bytes.as_slice()].concat());
        }
    }
}
