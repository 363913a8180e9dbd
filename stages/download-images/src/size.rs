//! Sizes in the manifest: a number of bytes, or text such as `"200MB"`.

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// Reads a number of bytes, or a number with a unit: `kB`, `MB` and `GB` are powers of 1000, `KiB`, `MiB` and `GiB` of
/// 1024.
///
/// # Errors
/// Text of another form.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Size {
        Bytes(u64),
        Text(String),
    }
    match Size::deserialize(deserializer)? {
        Size::Bytes(bytes) => Ok(bytes),
        Size::Text(text) => parse(&text).ok_or_else(|| {
            let form = "a number of bytes, or text such as \"200MB\" or \"1.5GiB\"";
            D::Error::custom(format!("`{text}` is no size: it must be {form}"))
        }),
    }
}

fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit: f64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * unit;
    (bytes < 1e15).then_some(bytes.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("200MB", 200_000_000),
            (" 1.5 GiB ", 3 << 29),
            ("64kb", 64_000),
            ("7", 7),
        ] {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        for text in ["", "MB", "-1", "1 MBit", "1e3", "99999999999999GB"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
