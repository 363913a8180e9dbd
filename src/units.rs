//! Durations and sizes as a person writes them on the command line.

use std::time::Duration;

/// `10s`, `500ms`, `2m`, `1h`, or plain seconds; above 0.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let units = [
        ("ms", 0.001),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
        ("d", 86400.0),
    ];
    let seconds = scaled(text, &units).ok_or("not a time such as 10s, 500ms or 2m")?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|d| !d.is_zero())
        .ok_or_else(|| "it must be above 0".to_owned())
}

/// `200MB`, `64MiB`, `1.5GB`, or plain bytes; at least 1.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let units = [
        ("kb", 1e3),
        ("mb", 1e6),
        ("gb", 1e9),
        ("tb", 1e12),
        ("kib", 1024.0),
        ("mib", 1_048_576.0),
        ("gib", 1_073_741_824.0),
        ("b", 1.0),
        ("", 1.0),
    ];
    let bytes = scaled(text, &units).ok_or("not a size such as 200MB or 64MiB")?;
    if (1.0..1e18).contains(&bytes) {
        Ok(bytes as u64)
    } else {
        Err("it must be at least 1 byte".to_owned())
    }
}

/// A number times its unit; without one, as it is.
fn scaled(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let text = text.trim();
    let end = text.find(|c: char| c.is_ascii_alphabetic());
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let unit = unit.to_ascii_lowercase();
    let factor = match units.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) => *factor,
        None if unit.is_empty() => 1.0,
        None => return None,
    };
    let number: f64 = number.trim().parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_or_are_seconds() {
        for (text, milliseconds) in [
            ("10s", 10_000),
            ("500ms", 500),
            ("2 m", 120_000),
            ("1.5", 1500),
            ("1H", 3_600_000),
        ] {
            assert_eq!(
                duration(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for text in ["", "s", "-1s", "0", "10 parsecs", "inf", "1e300d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_have_units_or_are_bytes() {
        for (text, bytes) in [
            ("200MB", 200_000_000),
            ("64MiB", 64 << 20),
            ("1.5 gb", 1_500_000_000),
            ("4096", 4096),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "-5MB", "5 apples", "1e30"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
