//! Patterns of paths as robots.txt and tdmrep.json have them: `*` is any run of characters, `$` at the end is the end.

/// A pattern, matched against normalized paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    written: String,
    /// The pieces between the `*`.
    pieces: Vec<String>,
    to_the_end: bool,
}

/// Bytes of a path that are looked at, so that no url makes matching slow.
const MAX_PATH: usize = 4096;

impl Pattern {
    pub(crate) fn new(written: &str) -> Self {
        let (bare, to_the_end) = match written.strip_suffix('$') {
            Some(bare) => (bare, true),
            None => (written, false),
        };
        let mut pieces: Vec<String> = bare.split('*').map(normalized).collect();
        // Runs of `*` are one.
        let last = pieces.len() - 1;
        let mut at = 0;
        pieces.retain(|piece| {
            at += 1;
            at == 1 || at == last + 1 || !piece.is_empty()
        });
        Self {
            written: written.to_owned(),
            pieces,
            to_the_end,
        }
    }

    /// As the site wrote it.
    pub(crate) fn as_str(&self) -> &str {
        &self.written
    }

    /// How specific it is.
    pub(crate) fn len(&self) -> usize {
        self.written.len()
    }

    /// Whether a path that is [`normalized`] begins as the pattern says.
    pub(crate) fn matches(&self, path: &str) -> bool {
        let Some((first, others)) = self.pieces.split_first() else {
            return true;
        };
        let Some(mut rest) = path.strip_prefix(first.as_str()) else {
            return false;
        };
        let Some((last, middle)) = others.split_last() else {
            return !self.to_the_end || rest.is_empty();
        };
        for piece in middle {
            match rest.find(piece.as_str()) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
        }
        if self.to_the_end {
            rest.ends_with(last.as_str())
        } else {
            rest.contains(last.as_str())
        }
    }
}

/// A path in one spelling: escapes of what needs none undone, others in upper case, everything beyond ASCII escaped.
pub(crate) fn normalized(path: &str) -> String {
    let bytes = &path.as_bytes()[..path.len().min(MAX_PATH)];
    let (mut out, mut at) = (String::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let byte = escaped.unwrap_or(bytes[at]);
        let unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if unreserved || (escaped.is_none() && byte.is_ascii()) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        at += if escaped.is_some() { 3 } else { 1 };
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Pattern::new(pattern).matches(&normalized(path))
    }

    #[test]
    fn patterns_match_from_the_start() {
        for (pattern, path) in [
            ("/", "/x"),
            ("/fish", "/fish.html"),
            ("/fish*", "/fisheries"),
            ("/*.php", "/a/x.php?y"),
            ("/*.php$", "/x.php"),
            ("/a*b*c$", "/a1b2c3c"),
            ("*", "/"),
            ("/a**b", "/axb"),
            ("/%41", "/A"),
            ("/\u{fc}", "/%c3%BC"),
            ("/a%2fb", "/a%2Fb"),
            ("/*$", "/x"),
            ("/x$", "/x"),
            ("", "/x"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("/fish", "/Fish"),
            ("/fish/", "/fish"),
            ("/*.php$", "/x.php?y"),
            ("/x$", "/xy"),
            ("/a*b*c", "/acb"),
            ("/a%2fb", "/a/b"),
            ("/a*b$", "/ab/c"),
            ("/aa*aa$", "/aaa"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }

    proptest! {
        #[test]
        fn matching_is_as_defined(pattern in "/[ab*]{0,6}\\$?", path in "/[ab]{0,8}") {
            fn slow(pattern: &[u8], path: &[u8]) -> bool {
                match (pattern, path) {
                    ([], _) => true,
                    (b"$", _) => path.is_empty(),
                    ([b'*', rest @ ..], _) => (0..=path.len()).any(|k| slow(rest, &path[k..])),
                    ([p, rest @ ..], [c, others @ ..]) => p == c && slow(rest, others),
                    _ => false,
                }
            }
            prop_assert_eq!(matches(&pattern, &path), slow(pattern.as_bytes(), path.as_bytes()));
        }

        #[test]
        fn normalized_is_stable(path in "[ -~\u{80}-\u{ff}]{0,30}") {
            let once = normalized(&path);
            prop_assert_eq!(normalized(&once), once);
        }
    }
}
