//! What a url that a page wrote means: HTML's entities in it.
//!
//! A page writes the `&` of a url as `&amp;`; who copies the page's source has a url that no server
//! knows. The tables keep a url as its source wrote it. What it means is asked for where that
//! fails, and makes its id, so that both spellings are one image.

use std::borrow::Cow;

/// `written` with its entities decoded, also those that were escaped twice: numeric ones and
/// `NAMED`. Line breaks and tabs that were written as entities are left out, as they are from
/// any url. Linear in the length, which never grows.
pub fn as_meant(written: &str) -> Cow<'_, str> {
    if !written.contains('&') {
        return Cow::Borrowed(written);
    }
    let mut meant = String::with_capacity(written.len());
    let mut rest = written;
    while let Some(at) = rest.find('&') {
        meant.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        // Escaped by each program that it went through.
        while let Some(('&', length)) = entity(rest) {
            rest = &rest[length..];
        }
        match entity(rest) {
            Some((character, length)) => {
                if !matches!(character, '\t' | '\n' | '\r') {
                    meant.push(character);
                }
                rest = &rest[length..];
            }
            None => meant.push('&'),
        }
    }
    meant.push_str(rest);
    if meant == written {
        Cow::Borrowed(written)
    } else {
        Cow::Owned(meant)
    }
}

/// Bytes between `&` and `;` at most: `#x10ffff`.
const LENGTH: usize = 8;

/// The character that the entity at the start of `text`, after its `&`, stands for, and its bytes
/// with the `;`.
fn entity(text: &str) -> Option<(char, usize)> {
    let end = text.bytes().take(LENGTH + 1).position(|b| b == b';')?;
    let name = text.get(..end)?;
    let character = match name.strip_prefix('#') {
        Some(digits) => numbered(digits)?,
        None => NAMED.iter().find(|(known, _)| *known == name)?.1,
    };
    Some((character, end + 1))
}

/// The character of an entity's digits. Not those that no url can hold in any form.
fn numbered(digits: &str) -> Option<char> {
    let (digits, base) = match digits.strip_prefix(['x', 'X']) {
        Some(digits) => (digits, 16),
        None => (digits, 10),
    };
    // A sign is no digit, though `from_str_radix` takes it.
    if !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let character = char::from_u32(u32::from_str_radix(digits, base).ok()?)?;
    let stays = character.is_control() && !matches!(character, '\t' | '\n' | '\r');
    (!stays).then_some(character)
}

/// HTML's names of what is likely in a url: its own signs, and the letters of Latin-1 that programs
/// escape in file names.
const NAMED: &[(&str, char)] = &[
    ("amp", '&'),
    ("AMP", '&'),
    ("quot", '"'),
    ("apos", '\''),
    ("lt", '<'),
    ("gt", '>'),
    ("nbsp", '\u{a0}'),
    ("Tab", '\t'),
    ("NewLine", '\n'),
    ("colon", ':'),
    ("sol", '/'),
    ("period", '.'),
    ("quest", '?'),
    ("equals", '='),
    ("num", '#'),
    ("percnt", '%'),
    ("comma", ','),
    ("semi", ';'),
    ("plus", '+'),
    ("lpar", '('),
    ("rpar", ')'),
    ("excl", '!'),
    ("lowbar", '_'),
    ("commat", '@'),
    ("ast", '*'),
    ("dollar", '$'),
    ("Agrave", 'À'),
    ("Aacute", 'Á'),
    ("Acirc", 'Â'),
    ("Atilde", 'Ã'),
    ("Auml", 'Ä'),
    ("Aring", 'Å'),
    ("AElig", 'Æ'),
    ("Ccedil", 'Ç'),
    ("Egrave", 'È'),
    ("Eacute", 'É'),
    ("Ecirc", 'Ê'),
    ("Euml", 'Ë'),
    ("Igrave", 'Ì'),
    ("Iacute", 'Í'),
    ("Icirc", 'Î'),
    ("Iuml", 'Ï'),
    ("ETH", 'Ð'),
    ("Ntilde", 'Ñ'),
    ("Ograve", 'Ò'),
    ("Oacute", 'Ó'),
    ("Ocirc", 'Ô'),
    ("Otilde", 'Õ'),
    ("Ouml", 'Ö'),
    ("Oslash", 'Ø'),
    ("Ugrave", 'Ù'),
    ("Uacute", 'Ú'),
    ("Ucirc", 'Û'),
    ("Uuml", 'Ü'),
    ("Yacute", 'Ý'),
    ("THORN", 'Þ'),
    ("szlig", 'ß'),
    ("agrave", 'à'),
    ("aacute", 'á'),
    ("acirc", 'â'),
    ("atilde", 'ã'),
    ("auml", 'ä'),
    ("aring", 'å'),
    ("aelig", 'æ'),
    ("ccedil", 'ç'),
    ("egrave", 'è'),
    ("eacute", 'é'),
    ("ecirc", 'ê'),
    ("euml", 'ë'),
    ("igrave", 'ì'),
    ("iacute", 'í'),
    ("icirc", 'î'),
    ("iuml", 'ï'),
    ("eth", 'ð'),
    ("ntilde", 'ñ'),
    ("ograve", 'ò'),
    ("oacute", 'ó'),
    ("ocirc", 'ô'),
    ("otilde", 'õ'),
    ("ouml", 'ö'),
    ("oslash", 'ø'),
    ("ugrave", 'ù'),
    ("uacute", 'ú'),
    ("ucirc", 'û'),
    ("uuml", 'ü'),
    ("yacute", 'ý'),
    ("thorn", 'þ'),
    ("yuml", 'ÿ'),
];

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
            ("http://a.example/?a&amp;amp;#38;b", "http://a.example/?a&b"),
            (
                "http://a.example/?a&amp;amp;quot;b",
                "http://a.example/?a\"b",
            ),
            (
                "http://a.example/&quot;x&apos;&lt;&gt;",
                "http://a.example/\"x'<>",
            ),
            (
                "http://a.example/&#228;&uuml;.jpg",
                "http://a.example/äü.jpg",
            ),
            ("http&#58;//a.example/1.jpg", "http://a.example/1.jpg"),
            (
                "http://a.example/&#10;1&#x0D;.&Tab;jpg",
                "http://a.example/1.jpg",
            ),
            (
                "http://a.example/a&#32;b&#xa0;c",
                "http://a.example/a b\u{a0}c",
            ),
        ] {
            assert_eq!(as_meant(written), expected);
        }
    }

    #[test]
    fn what_is_no_entity_stays() {
        for url in [
            "http://a.example/?a=1&b=2",
            "http://a.example/?a=1&amp=2",
            "http://a.example/?a&copies;b&AMPERSAND;",
            "http://a.example/?a&#0;c&#xd800;d&#99999999;e&;f&&#;&#x;&#+38;",
            "http://a.example/?x&ä;&",
        ] {
            assert!(
                matches!(as_meant(url), Cow::Borrowed(same) if same == url),
                "{url}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_ends_without_growing(text in "[&#;xamp0-9ä]{0,40}") {
            prop_assert!(as_meant(&text).len() <= text.len());
        }

        #[test]
        fn what_is_escaped_is_meant(text in "[a-z<>\"'/?=.ä&]{0,30}", times in 0usize..6) {
            let plain = text.replace(';', "");
            let mut written = plain.clone();
            for _ in 0..times {
                for (character, entity) in [("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\"", "&quot;"), ("'", "&#39;")] {
                    written = written.replace(character, entity);
                }
            }
            prop_assert_eq!(as_meant(&written), plain);
        }
    }
}
