//! Repairs a mention's characters: entities, mark-up, mojibake, compatibility forms, quotes,
//! dashes, symbols, spaces.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// `raw` in NFC with plain quotes and dashes, single spaces, and neither mark-up, symbols nor
/// control characters.
pub(super) fn repair(raw: &str) -> Cow<'_, str> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b" '\"-.,()/:#".contains(&b);
    if raw.bytes().all(is_plain) {
        return tidy(raw);
    }
    let text = without_tags(&decode_entities(&decode_entities(raw)));
    let text = undo_mojibake(&text).unwrap_or(text);
    let plain: String = text.chars().filter_map(before_folding).collect();
    let folded: String = plain.nfkc().filter_map(after_folding).collect();
    Cow::Owned(tidy(&folded).into_owned())
}

/// Single spaces, none at the ends, NFC.
pub(super) fn tidy(text: &str) -> Cow<'_, str> {
    if is_tidy(text) {
        return Cow::Borrowed(text);
    }
    let words: Vec<_> = text.split_whitespace().collect();
    let joined = words.join(" ");
    Cow::Owned(if joined.is_ascii() {
        joined
    } else {
        joined.nfc().collect()
    })
}

/// Whether text is printable ASCII whose words are parted by single spaces.
fn is_tidy(text: &str) -> bool {
    let mut space = true;
    for byte in text.bytes() {
        if (byte == b' ' && space) || !(b' '..=b'~').contains(&byte) {
            return false;
        }
        space = byte == b' ';
    }
    !space || text.is_empty()
}

/// Quotes and dashes become `'`, `"`, `-`; other symbols (™ © ★, emoji, currency) become spaces,
/// before NFKC turns ™ into letters.
fn before_folding(c: char) -> Option<char> {
    Some(match c {
        '\u{2018}' | '\u{2019}' | '\u{201b}' | '\u{2032}' | '\u{00b4}' | '`' | '\u{02bc}'
        | '\u{02b9}' => '\'',
        '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{201f}' | '\u{2033}' | '«' | '»' => '"',
        '\u{2010}'..='\u{2013}' | '\u{2212}' => '-',
        '\u{2014}' | '\u{2015}' => '|',
        '&' | '+' | '|' | '$' => c,
        _ => match c.general_category() {
            GeneralCategory::Format => return None,
            GeneralCategory::OtherSymbol
            | GeneralCategory::ModifierSymbol
            | GeneralCategory::MathSymbol
            | GeneralCategory::CurrencySymbol
            | GeneralCategory::Control
            | GeneralCategory::PrivateUse
            | GeneralCategory::Unassigned
            | GeneralCategory::Surrogate => ' ',
            _ => c,
        },
    })
}

/// What compatibility folding leaves behind (full-width quotes, spacing marks).
fn after_folding(c: char) -> Option<char> {
    match c {
        '_' | '<' | '>' | '=' | '~' | '^' | '\u{2028}' | '\u{2029}' => Some(' '),
        '`' => Some('\''),
        _ => Some(c),
    }
}

/// Named and numeric character references; what is none stays.
fn decode_entities(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('&') {
        let (before, tail) = rest.split_at(at);
        out.push_str(before);
        let end = tail.bytes().take(10).position(|b| b == b';');
        match end.and_then(|end| Some((entity(tail.get(1..end)?)?, end))) {
            Some((c, end)) => {
                out.push(c);
                rest = &tail[end + 1..];
            }
            None => {
                out.push('&');
                rest = &tail[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn entity(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => number.parse(),
        };
        return code.ok().and_then(char::from_u32);
    }
    Some(match name {
        "amp" => '&',
        "apos" | "rsquo" | "lsquo" => '\'',
        "quot" | "ldquo" | "rdquo" => '"',
        "lt" => '<',
        "gt" => '>',
        "nbsp" => ' ',
        "ndash" | "mdash" => '-',
        "eacute" => 'é',
        "egrave" => 'è',
        "aacute" => 'á',
        "iacute" => 'í',
        "oacute" => 'ó',
        "uacute" => 'ú',
        "ntilde" => 'ñ',
        "ccedil" => 'ç',
        "auml" => 'ä',
        "euml" => 'ë',
        "ouml" => 'ö',
        "uuml" => 'ü',
        "szlig" => 'ß',
        "oslash" => 'ø',
        "aring" => 'å',
        _ => return None,
    })
}

/// Cuts `<…>` where it begins like a tag, also one that is not closed.
fn without_tags(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('<') {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        if tail.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') {
            out.push(' ');
            rest = tail.split_once('>').map_or("", |(_, after)| after);
        } else {
            out.push('<');
            rest = tail;
        }
    }
    out.push_str(rest);
    out
}

/// UTF-8 that was read as Windows-1252 (`RenÃ©e`), read rightly; `None` where it is not that.
fn undo_mojibake(text: &str) -> Option<String> {
    if !text.contains(['Ã', 'Â', 'â', 'Å', 'Ä', 'Ð', 'Ñ']) {
        return None;
    }
    let bytes: Option<Vec<u8>> = text.chars().map(windows_1252).collect();
    let repaired = String::from_utf8(bytes?).ok()?;
    (repaired.chars().count() < text.chars().count()).then_some(repaired)
}

fn windows_1252(c: char) -> Option<u8> {
    /// Code points of the bytes 0x80 to 0x9f; 0 where there is none.
    const HIGH: [u32; 32] = [
        0x20ac, 0, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160, 0x2039,
        0x0152, 0, 0x017d, 0, 0, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x02dc,
        0x2122, 0x0161, 0x203a, 0x0153, 0, 0x017e, 0x0178,
    ];
    let code = u32::from(c);
    if let Ok(byte) = u8::try_from(code) {
        return Some(byte);
    }
    let slot = HIGH.iter().position(|h| *h == code)?;
    u8::try_from(0x80 + slot).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repair_undoes_entities_markup_and_mojibake() {
        for (raw, wanted) in [
            ("Conan O&amp;#39;Brien", "Conan O'Brien"),
            ("<b>Eva Mendes</b><br", "Eva Mendes"),
            ("RenÃ©e Zellweger", "Renée Zellweger"),
            ("Selena Gomez™ ★", "Selena Gomez"),
            ("Ｅｍｍａ\u{2003}Ｗａｔｓｏｎ", "Emma Watson"),
            ("Jean\u{2011}Claude\u{200b}", "Jean-Claude"),
            ("Rene\u{301}e", "Renée"),
            ("Peter O’Toole", "Peter O'Toole"),
            ("a & b &; &nothing;", "a & b &; &nothing;"),
        ] {
            assert_eq!(repair(raw), wanted);
        }
    }
}
