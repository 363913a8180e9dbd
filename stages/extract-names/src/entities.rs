//! HTML entities in urls.
//!
//! A page writes the `&` of a url as `&amp;`; who copies the page's source has a url that no server
//! knows. So the entities of the characters that HTML escapes, and numeric ones, are decoded. A url
//! in which `&amp;` is meant does not exist but in theory: it would name a parameter `amp;…`.

/// `url` with its entities decoded, also those that were escaped twice; none where it has none.
pub(crate) fn decoded(url: &str) -> Option<String> {
    let mut text = once(url)?;
    // Escaped by each program that it went through.
    for _ in 0..3 {
        let Some(again) = once(&text) else { break };
        text = again;
    }
    Some(text)
}

/// Letters of an entity at most: `#x10ffff`.
const LENGTH: usize = 8;

fn once(text: &str) -> Option<String> {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, from) = rest.split_at(at);
        decoded.push_str(before);
        let end = from.bytes().take(LENGTH + 2).position(|b| b == b';');
        let found = end.and_then(|end| Some((character(&from[1..end])?, end + 1)));
        let (character, length) = found.unwrap_or(('&', 1));
        decoded.push(character);
        rest = &from[length..];
    }
    decoded.push_str(rest);
    (decoded != text).then_some(decoded)
}

/// What an entity stands for, if it may stand in a url.
fn character(name: &str) -> Option<char> {
    let number = |digits: &str, base| u32::from_str_radix(digits, base).ok();
    let plain = match name {
        "amp" => '&',
        "quot" => '"',
        "apos" => '\'',
        "lt" => '<',
        "gt" => '>',
        _ => {
            let digits = name.strip_prefix('#')?;
            let code = match digits.strip_prefix(['x', 'X']) {
                Some(digits) => number(digits, 16),
                None => number(digits, 10),
            };
            char::from_u32(code?)?
        }
    };
    (!plain.is_control() && !plain.is_whitespace()).then_some(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn entities_of_html_are_decoded() {
        for (written, expected) in [
            (
                "http://a.example/?a=1&amp;b=2&#38;c=3&#x26;d=4",
                "http://a.example/?a=1&b=2&c=3&d=4",
            ),
            ("http://a.example/?a&amp;amp;b", "http://a.example/?a&b"),
            (
                "http://a.example/&quot;x&apos;&lt;&gt;",
                "http://a.example/\"x'<>",
            ),
            ("http://a.example/&#228;.jpg", "http://a.example/ä.jpg"),
        ] {
            assert_eq!(decoded(written).as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_is_no_entity_stays() {
        for url in [
            "http://a.example/?a=1&b=2",
            "http://a.example/?a=1&amp=2",
            "http://a.example/?a&copy;b",
            "http://a.example/?a&#10;b&#0;c&#xd800;d&#99999999;e&;f&",
            "http://a.example/?x&ä;",
        ] {
            assert_eq!(decoded(url), None, "{url}");
        }
    }

    proptest! {
        #[test]
        fn any_text_ends_without_growing(text in "[&#;xamp0-9ä]{0,40}") {
            if let Some(decoded) = decoded(&text) {
                prop_assert!(decoded.len() <= text.len());
            }
        }
    }
}
