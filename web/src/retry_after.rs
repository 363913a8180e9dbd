//! `Retry-After`: how long a server wants to be left alone.

use std::time::{Duration, SystemTime};

use crate::head::Head;

/// No server gets more.
const MOST: Duration = Duration::from_hours(1);

/// Seconds or an HTTP date, an hour at most; none where there is neither.
pub(crate) fn retry_after(head: &Head) -> Option<Duration> {
    let text = std::str::from_utf8(head.first("retry-after")?).ok()?.trim();
    let digits = text.split('.').next().unwrap_or_default();
    let wait = if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than a number holds is more than an hour.
        digits.parse().map_or(MOST, Duration::from_secs)
    } else {
        httpdate::parse_http_date(text)
            .ok()?
            .duration_since(SystemTime::now())
            .unwrap_or_default()
    };
    Some(wait.min(MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Duration> {
        let headers = vec![(b"retry-after".to_vec(), text.as_bytes().to_vec())];
        retry_after(&Head {
            status: 429,
            old: false,
            headers,
        })
    }

    #[test]
    fn retry_after_reads_seconds_and_dates() {
        assert_eq!(read("7"), Some(Duration::from_secs(7)));
        assert_eq!(read("0"), Some(Duration::ZERO));
        assert_eq!(read("1.5"), Some(Duration::from_secs(1)));
        assert_eq!(read("99999"), Some(MOST));
        assert_eq!(read("99999999999999999999999"), Some(MOST));
        assert_eq!(read("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("Wed, 21 Oct 2099 07:28:00 GMT"), Some(MOST));
        for text in ["", "-5", "soon", "."] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
